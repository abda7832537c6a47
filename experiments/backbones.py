"""`BACKBONE=`: what a user writes -> a network ready for feature extraction, its row name and its digest.

FILE.safetensors                    a checkpoint of this project
random:imagenet32[,width=64]        freshly initialised from the run's seed: the control row
theano:imagenet32:FOLDER            the authors' released arrays
pixels                              the image itself: the control row
kmeans:4800                         single-layer K-means features, learned from the table's own training images
netD.pth, netD.safetensors          the state dict of a discriminator of the common PyTorch ports
FILE.pt2                            a program of torch.export.save
torchvision:NAME[,size=64]          a classifier of torchvision, random weights; timm:NAME of timm
module:factory, file.py:factory     a callable without arguments that returns a features.Backbone or an nn.Module
"""

import dataclasses
import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

import evaluation
import features
import gan
from experiments import foreign
from experiments.errors import UserError
from gan.theano_weights import complete_stages

NOTHING = "nothing"
TANH_RANGE = (-1.0, 1.0)  # what DCGANs are trained on: x / 127.5 - 1


Learner = Callable[[int, int], evaluation.KMeansFeatures]


@dataclass(frozen=True)
class Contender:
    """A backbone under its name in the tables."""

    backbone: features.Backbone
    name: str  # the method column without the classifier
    pool: Callable[[Tensor], Tensor]
    weights: str  # SHA-256 of the state dict, before any calibration
    trained_on: str | None = None  # digest of the packed set that taught it; NOTHING for a control, None if not known
    standardised: bool = False  # whether the classifier is given features of mean 0 and sd 1 over the training images


@dataclass(frozen=True)
class Flatten:
    """Pooling that keeps every value: [N, C, h, w] -> [N, C * h * w]."""

    def __call__(self, maps: Tensor) -> Tensor:
        return maps.flatten(1)


def resolve(
    text: str, *, layers: Sequence[str] | None = None, seed: int = 0, kmeans: Learner | None = None
) -> Contender:
    """The contender that `text` names (see the module). Raises UserError that lists what would be accepted.

    `layers`: names of the stages to use, in order; all when None. `seed` draws `random:` weights and K-means.
    `kmeans`: (centroids, seed) -> features learned from images; where None they stand for themselves, unlearned.
    """
    kind, _, rest = text.partition(":")
    try:
        if text == "pixels":
            model: nn.Module = nn.Sequential(OrderedDict(pixels=nn.Identity()))
            backbone = features.Backbone(model, foreign.chosen(["pixels"], layers), (3, 32, 32), TANH_RANGE)
            return _contender(backbone, "raw pixels", Flatten(), NOTHING)
        if kind == "kmeans":
            return _kmeans(rest, layers, seed, kmeans or _unlearned)
        if kind == "random":
            return _random(rest, layers, seed)
        if kind == "theano":
            return _theano(rest, layers)
        if kind in ("torchvision", "timm"):
            make = foreign.torchvision_backbone if kind == "torchvision" else foreign.timm_backbone
            trained = any(setting.startswith("weights=") for setting in rest.split(",")[1:])
            name = rest.replace(",", " ") if trained else f"random-init {rest.replace(',', ' ')}"
            return _foreign(make(rest, seed), f"{name} ({kind})", layers, None if trained else NOTHING)
        if text.endswith(".pt2"):
            return _foreign(foreign.exported_backbone(Path(text)), f"exported {Path(text).stem}", layers)
        if text.endswith((".safetensors", ".pth", ".pt")) or (Path(text).is_file() and not text.endswith(".py")):
            return _checkpoint(Path(text), layers)
        if rest:
            return _foreign(foreign.made_backbone(kind, rest), f"{Path(kind).name}:{rest}", layers)
    except (ValueError, FileNotFoundError) as error:
        raise UserError(f"backbone {text!r}: {error}") from error
    raise UserError(
        f"backbone {text!r} is none of: a .safetensors, .pth or .pt2 file that exists, random:PRESET, "
        f"theano:PRESET:FOLDER, pixels, kmeans:K, torchvision:NAME, timm:NAME, module:factory, file.py:factory "
        f"(presets: {', '.join(gan.PRESETS)})"
    )


def architecture(text: str) -> tuple[gan.Architecture, str]:
    """PRESET[,width=N,...] -> the architecture and its name in a method column. Raises ValueError for another text."""
    preset, *settings = text.split(",")
    arch = gan.architecture(preset)
    for setting in settings:
        key, _, value = setting.partition("=")
        if key not in ("width", "channels", "kernel") or not value.isdigit():
            raise ValueError(f"settings are width=N, channels=N and kernel=N, got {setting!r}")
        changes: dict[str, Any] = {key: int(value)}
        arch = dataclasses.replace(arch, **changes)
    return arch, " ".join([preset, *(s.replace("=", " ") for s in settings)])


def _kmeans(text: str, layers: Sequence[str] | None, seed: int, learn: Learner) -> Contender:
    if not text.isdigit() or int(text) < 2:
        raise ValueError(f"write kmeans:K, K >= 2 centroids, got {text!r}")
    backbone = features.Backbone(learn(int(text), seed), foreign.chosen(["triangle"], layers), (3, 32, 32), (0, 255))
    contender = _contender(backbone, f"k-means {text}, 1 layer", evaluation.QuadrantSums(), NOTHING)
    return dataclasses.replace(contender, standardised=True)  # as the authors of the method do


def _unlearned(k: int, seed: int) -> evaluation.KMeansFeatures:
    """Of the right shapes alone: for a look at costs."""
    d = 3 * 36
    return evaluation.KMeansFeatures(torch.zeros(k, d), mean=torch.zeros(d), whitening=torch.eye(d))


def _random(text: str, layers: Sequence[str] | None, seed: int) -> Contender:
    arch, name = architecture(text)
    net = gan.Discriminator(arch)
    gan.initialise(net, torch.Generator().manual_seed(seed))
    return _discriminator(net, arch.stage_names, layers, f"random-init {name}", NOTHING)


def _theano(text: str, layers: Sequence[str] | None) -> Contender:
    preset, _, folder = text.partition(":")
    if not folder:
        raise ValueError("write theano:PRESET:FOLDER")
    net = gan.load_theano(folder, preset)
    assert isinstance(net, gan.Discriminator)
    stages = complete_stages(net)
    used = f", {stages[0]}-{stages[-1]}" if len(stages) < len(net.arch.strides) else ""
    return _discriminator(net, stages, layers, f"DCGAN {preset} (authors' weights{used})")


def _checkpoint(file: Path, layers: Sequence[str] | None) -> Contender:
    if not _is_own(file):
        return _foreign(foreign.port_backbone(file), f"DCGAN port {file.stem}", layers)
    net = gan.load(file)
    if not isinstance(net, gan.Discriminator):
        raise ValueError("the file holds a generator; features are taken from a discriminator")
    stem = file.resolve().parent.name if file.stem == "discriminator" else file.stem
    return _discriminator(net, net.arch.stage_names, layers, f"DCGAN {stem}", _trained_on(file))


def _trained_on(file: Path) -> str | None:
    """The digest of the training images, from what training wrote of exactly this file; None where nothing did."""
    with file.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    for summary in (file.with_suffix(".json"), file.with_name("training.json")):
        try:
            written = json.loads(summary.read_text())
            if written["discriminator"] == sha256:
                return str(written["data"]["digest"])
        except (OSError, ValueError, KeyError, TypeError):  # none there, or some other JSON of the user's
            continue
    return None


def _is_own(file: Path) -> bool:
    """Whether it is for `gan.load` to open: safetensors, unless it has no header of this project's."""
    if file.suffix != ".safetensors":
        return file.suffix not in (".pth", ".pt")
    try:
        with safe_open(file, "pt") as opened:
            return bool(opened.metadata())
    except (OSError, SafetensorError):
        return True  # which tells what is wrong


def _foreign(
    made: features.Backbone | foreign.Bare, name: str, layers: Sequence[str] | None, trained_on: str | None = None
) -> Contender:
    if isinstance(made, foreign.Bare):
        backbone = made.backbone(layers)
    else:
        backbone = dataclasses.replace(made, layers=foreign.chosen(made.layers, layers, made.model))
    return _contender(backbone, name + _restricted(layers), features.max_grid(4), trained_on)


def _discriminator(
    net: gan.Discriminator,
    stages: Sequence[str],
    layers: Sequence[str] | None,
    name: str,
    trained_on: str | None = None,
) -> Contender:
    backbone = features.Backbone(net, foreign.chosen(stages, layers), net.arch.image_shape, TANH_RANGE)
    return _contender(backbone, name + _restricted(layers), features.max_grid(4), trained_on)


def _restricted(layers: Sequence[str] | None) -> str:
    return f" [{','.join(layers)}]" if layers else ""


def _contender(
    backbone: features.Backbone, name: str, pool: Callable[[Tensor], Tensor], trained_on: str | None = None
) -> Contender:
    return Contender(backbone, name, pool, features.weights_digest(backbone.model), trained_on)
