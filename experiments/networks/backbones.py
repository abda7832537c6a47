"""`BACKBONE=`: what a user writes -> a network ready for feature extraction, its row name and its digest.

FILE.safetensors                    a checkpoint of this project
random:imagenet32[,width=64]        freshly initialised from the run's seed: the control row
theano:imagenet32:FOLDER            the authors' released arrays
pixels                              the image itself: the control row
kmeans:4800                         single-layer K-means features, learned from the table's own training images
module:factory, file.py:factory     a callable without arguments that returns a features.Backbone or an nn.Module
torchvision:NAME, timm:NAME         of these libraries; [,size=64][,weights=DEFAULT], random weights unless named
FILE.pt2                            a program of torch.export.save
netD.pth, netD.safetensors          the state dict of a DCGAN discriminator's PyTorch port
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
from torch import Tensor, nn

import evaluation
import features
import gan
from experiments.networks import libraries as foreign
from experiments.networks.libraries import TANH_RANGE, Network, own
from experiments.run.errors import UserError
from gan.theano_weights import complete_stages

NOTHING = "nothing"
PAPER_GRID = features.max_grid(4)
FILES = (".safetensors", ".pth", ".pt2", ".pt", ".ts")
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
            return _contender(own(model, ["pixels"], (3, 32, 32), TANH_RANGE), layers, "raw pixels", NOTHING, Flatten())
        if kind == "kmeans":
            return _kmeans(rest, layers, seed, kmeans or _unlearned)
        if kind == "random":
            return _random(rest, layers, seed)
        if kind == "theano":
            return _theano(rest, layers)
        if kind in foreign.LIBRARIES:
            return _library(kind, rest, layers, seed)
        if text.endswith(FILES) or (Path(text).is_file() and not text.endswith(".py")):
            return _file(Path(text), layers)
        if rest:
            backbone = foreign.made(kind, rest, layers)
            return _measured(backbone, f"{Path(kind).name}:{rest}{_restricted(backbone, layers)}")
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
    network = own(learn(int(text), seed), ["triangle"], (3, 32, 32), (0, 255))
    contender = _contender(network, layers, f"k-means {text}, 1 layer", NOTHING, evaluation.QuadrantSums())
    return dataclasses.replace(contender, standardised=True)  # as the authors of the method do


def _unlearned(k: int, seed: int) -> evaluation.KMeansFeatures:
    """Of the right shapes alone: for a look at costs."""
    d = 3 * 36
    return evaluation.KMeansFeatures(torch.zeros(k, d), mean=torch.zeros(d), whitening=torch.eye(d))


def _random(text: str, layers: Sequence[str] | None, seed: int) -> Contender:
    arch, name = architecture(text)
    net = gan.Discriminator(arch)
    gan.initialise(net, torch.Generator().manual_seed(seed))
    return _contender(_discriminator(net, arch.stage_names), layers, f"random-init {name}", NOTHING)


def _theano(text: str, layers: Sequence[str] | None) -> Contender:
    preset, _, folder = text.partition(":")
    if not folder:
        raise ValueError("write theano:PRESET:FOLDER")
    net = gan.load_theano(folder, preset)
    assert isinstance(net, gan.Discriminator)
    stages = complete_stages(net)
    used = f", {stages[0]}-{stages[-1]}" if len(stages) < len(net.arch.strides) else ""
    return _contender(_discriminator(net, stages), layers, f"DCGAN {preset} (authors' weights{used})")


def _library(kind: str, text: str, layers: Sequence[str] | None, seed: int) -> Contender:
    network = foreign.LIBRARIES[kind](text, seed)
    name, trained = f"{kind} {text.replace(',', ' ').replace('=', ' ')}", ",weights=" in text
    return _contender(network, layers, name if trained else f"random-init {name}", None if trained else NOTHING)


def _file(file: Path, layers: Sequence[str] | None) -> Contender:
    if foreign.is_program(file):
        return _contender(foreign.program(file), layers, f"exported {file.stem}")
    if foreign.is_port(file):
        return _contender(foreign.port(file), layers, f"DCGAN port {file.stem}")
    net = gan.load(file)
    if not isinstance(net, gan.Discriminator):
        raise ValueError("the file holds a generator; features are taken from a discriminator")
    stem = file.resolve().parent.name if file.stem == "discriminator" else file.stem
    return _contender(_discriminator(net, net.arch.stage_names), layers, f"DCGAN {stem}", _trained_on(file))


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


def _discriminator(net: gan.Discriminator, stages: Sequence[str]) -> Network:
    return own(net, stages, net.arch.image_shape, TANH_RANGE)


def _contender(
    network: Network,
    layers: Sequence[str] | None,
    name: str,
    trained_on: str | None = None,
    pool: Callable[[Tensor], Tensor] = PAPER_GRID,
) -> Contender:
    backbone = network.backbone(layers)
    return _measured(backbone, name + _restricted(backbone, layers), trained_on, pool)


def _measured(
    backbone: features.Backbone,
    name: str,
    trained_on: str | None = None,
    pool: Callable[[Tensor], Tensor] = PAPER_GRID,
) -> Contender:
    return Contender(backbone, name, pool, features.weights_digest(backbone.model), trained_on)


def _restricted(backbone: features.Backbone, layers: Sequence[str] | None) -> str:
    return f" [{','.join(backbone.layers)}]" if layers else ""
