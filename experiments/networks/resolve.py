"""`BACKBONE=`: the name of a network -> the network, ready for feature extraction."""

import re
import zipfile
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import gan
from experiments.networks.contender import Contender, Request
from experiments.networks.kinds import CHECKPOINT, KINDS, SHIPPED, Kind
from experiments.run.context import Run
from experiments.run.errors import UserError, closest


def resolve(
    text: str,
    run: Run | None = None,
    *,
    layers: Sequence[str] | None = None,
    seed: int = 0,
    learn_from: str = "cifar10-train",
) -> Contender:
    """The network that `text` names; see `kinds.KINDS`. Raises UserError that says what would be accepted.

    run: where K-means features find the packed set `learn_from`, whose images teach them, and where they are kept;
    where it is None they stand unlearned, for their shapes and costs.
    layers: names or patterns, in the order in which they are used; every stage where None.
    seed: draws the weights of networks without trained ones, and K-means.
    """
    try:
        kind, name = _kind_of(text)
        if kind.resolver is None:
            raise ValueError(kind.meaning.replace("`", ""))
        module, _, function = kind.resolver.partition(":")
        resolver = getattr(import_module(module), function)
        return resolver(name, Request(seed, run, learn_from)).contender(layers)
    except (ValueError, FileNotFoundError) as error:
        raise UserError(f"backbone {text!r}: {error}") from error


def _kind_of(text: str) -> tuple[Kind, str]:
    """The kind of the name, and what the kind's resolver takes. Raises ValueError for a name of no kind."""
    path = Path(text)
    if _is_program(path):
        raise ValueError(
            "exported programs are not opened; write a function that makes the network and loads its state dict, and "
            "name it: file.py:factory"
        )
    if path.parts[-3:-1] == ("results", "weights") and path.stem in SHIPPED and not path.is_file():
        raise ValueError(f"write {path.stem}: networks that come with the project go by their names")
    for kind in KINDS:
        if match := re.fullmatch(kind.pattern, text):
            return kind, match[1]
    if path.is_file() and path.suffix != ".py":
        return CHECKPOINT, text
    known = [*SHIPPED, *(kind.written for kind in KINDS), *(f"random:{preset}" for preset in gan.PRESETS)]
    raise ValueError(
        f"no network is named like that; write {', '.join(kind.written for kind in KINDS)}{closest(text, known)}"
    )


def _is_program(file: Path) -> bool:
    """Whether a file is, or is called like, a program of torch.export or torch.jit."""
    if file.suffix in (".pt2", ".ts"):
        return True
    try:
        with zipfile.ZipFile(file) as archive:
            inside = [name.partition("/")[2] for name in archive.namelist()]
    except (OSError, zipfile.BadZipFile):
        return False
    return any(name.startswith(("code/", "models/")) for name in inside)
