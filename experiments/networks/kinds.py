"""What BACKBONE= and LAYERS= may name, as data from which help texts, errors and docs/commands.md are made.

This module imports no torch; the module of a kind is imported when a network of that kind is made.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from experiments.run.context import RESULTS

WEIGHTS = RESULTS / "weights"
SHIPPED = tuple(sorted(file.parent.name for file in WEIGHTS.glob("*/discriminator.safetensors")))
QUICK = "imagenet32-half"  # half as many features as the full-width networks, for small disks and small memory

LAYERS_HELP = (
    "comma-separated layers or patterns, e.g. conv1,conv2 or 'layer*'; relu@2 is the second run of the module relu "
    "(default: LAYERS, or every stage)"
)


@dataclass(frozen=True)
class Kind:
    """One way to name a network.

    written: how such a name is written, with placeholders in capitals. meaning: what such a name stands for.
    pattern: regular expression that matches the whole name; its group is the text for the resolver.
    resolver: `module:function`, (that text, contender.Request) -> contender.Network. None if only `dcgan-eval eval`
    takes such names.
    """

    written: str
    meaning: str
    pattern: str
    resolver: str | None


_CHECKPOINT = "a discriminator trained here"
CHECKPOINT = Kind("FILE.safetensors", _CHECKPOINT, r"(.+\.safetensors)", "experiments.networks.project:open_checkpoint")
_SHIPPED = f"a network that comes with the project: {', '.join(f'`{name}`' for name in SHIPPED)}"
_PORT = "the state dict of a common PyTorch port of DCGAN, by itself or in a checkpoint, recognised by shapes and keys"
_RANDOM = "a network of this project, freshly initialised: a control row"
_THEANO = "the authors' released `.npy` arrays; if files are missing, only the stages before them"
_KMEANS = "one layer of K-means features with K centroids, learned from the training images: a control row"
_TORCHVISION = "a classifier of torchvision, freshly initialised unless weights are named"
_TIMM = "the same from timm, if that is installed"
_SUPERVISED = "networks trained with the labels; only `dcgan-eval eval` takes it, with `--table svhn`"
_FACTORY = "a function in your file that takes no arguments and returns a `torch.nn.Module` or a `features.Backbone`"
_MODULE = "the same in a module that Python can import"
FACTORIES = (  # their patterns match paths with a colon too
    Kind("file.py:factory", _FACTORY, r"(.+\.py:.+)", "experiments.networks.factories:call_factory"),
    Kind("module:factory", _MODULE, "([^:]+:.+)", "experiments.networks.factories:call_factory"),
)
KINDS = (  # a name is of the first kind whose pattern it matches
    Kind("NAME", _SHIPPED, f"({'|'.join(SHIPPED)})", "experiments.networks.project:open_shipped"),
    CHECKPOINT,
    Kind("netD.pth", _PORT, r"(.+\.pth?)", "experiments.networks.project:open_checkpoint"),
    Kind("random:PRESET[,width=N]", _RANDOM, "random:(.*)", "experiments.networks.project:draw_random"),
    Kind("theano:PRESET:FOLDER", _THEANO, "theano:(.*)", "experiments.networks.project:open_theano"),
    Kind("pixels", "the image itself: a control row", "(pixels)", "experiments.networks.project:make_pixels"),
    Kind("kmeans:K", _KMEANS, "kmeans:(.*)", "experiments.networks.kmeans:make_kmeans"),
    Kind(
        "torchvision:NAME[,size=N][,weights=DEFAULT]",
        _TORCHVISION,
        "torchvision:(.*)",
        "experiments.networks.libraries:make_torchvision",
    ),
    Kind("timm:NAME[,size=N][,weights=DEFAULT]", _TIMM, "timm:(.*)", "experiments.networks.libraries:make_timm"),
    Kind("supervised:PRESET[,width=N]", _SUPERVISED, "supervised:(.*)", None),
    *FACTORIES,
)
PREFIXES = tuple(start[1] for kind in KINDS if (start := re.match(r"(\w+):", kind.pattern)))


def listing() -> str:
    """Return the kinds for the help of a command: how each is written, and below it what it is."""
    return "\n".join(f"  {kind.written}\n      {kind.meaning.replace('`', '')}" for kind in KINDS)


def markdown_table() -> str:
    """Return the kinds as docs/commands.md shows them."""
    rows = [f"| `{kind.written}` | {kind.meaning} |" for kind in KINDS]
    return "\n".join(["| `BACKBONE=` | what it is |", "|---|---|", *rows, ""])


def parse_layers(text: str | None) -> tuple[str, ...] | None:
    """`conv1,layer*` -> ("conv1", "layer*"); None, which means every stage, if no text is given."""
    return tuple(part.strip() for part in text.split(",")) if text else None


def refuse_old_path(text: str) -> None:
    """Raise ValueError for a path that a network of the project had before such networks went by their names."""
    path = Path(text)
    if path.parts[-3:-1] == ("results", "weights") and path.stem in SHIPPED and not path.is_file():
        raise ValueError(f"write {path.stem}: networks that come with the project go by their names")
