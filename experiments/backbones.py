"""`BACKBONE=`: what a user writes -> a network ready for feature extraction, its row name and its digest.

FILE.safetensors                    a checkpoint of this project
random:imagenet32[,width=64]        freshly initialised from the run's seed: the control row
theano:imagenet32:FOLDER            the authors' released arrays
pixels                              the image itself: the control row
kmeans:4800                         single-layer K-means features, learned from the table's own training images
module:factory, file.py:factory     a callable without arguments that returns a features.Backbone
"""

import dataclasses
import hashlib
import importlib
import importlib.util
import json
import os
import sys
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
            backbone = features.Backbone(model, _chosen(["pixels"], layers), (3, 32, 32), TANH_RANGE)
            return _contender(backbone, "raw pixels", Flatten(), NOTHING)
        if kind == "kmeans":
            return _kmeans(rest, layers, seed, kmeans or _unlearned)
        if kind == "random":
            return _random(rest, layers, seed)
        if kind == "theano":
            return _theano(rest, layers)
        if text.endswith(".safetensors") or (Path(text).is_file() and not text.endswith(".py")):
            return _checkpoint(Path(text), layers)
        if rest:
            return _factory(kind, rest, text, layers)
    except (ValueError, FileNotFoundError) as error:
        raise UserError(f"backbone {text!r}: {error}") from error
    raise UserError(
        f"backbone {text!r} is none of: a .safetensors file that exists, random:PRESET, theano:PRESET:FOLDER, pixels, "
        f"kmeans:K, module:factory, file.py:factory (presets: {', '.join(gan.PRESETS)})"
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
    backbone = features.Backbone(learn(int(text), seed), _chosen(["triangle"], layers), (3, 32, 32), (0, 255))
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


def _factory(where: str, attribute: str, text: str, layers: Sequence[str] | None) -> Contender:
    try:
        made = _attribute(where, attribute)()
    except Exception as error:  # whatever a user's file raises is the user's to read
        raise ValueError(f"cannot make it: {type(error).__name__}: {error}") from error
    if not isinstance(made, features.Backbone):
        raise ValueError(f"the factory must return a features.Backbone, got {type(made).__name__}")
    backbone = dataclasses.replace(made, layers=_chosen(made.layers, layers, made.model))
    return _contender(backbone, f"{Path(where).name}:{attribute}{_restricted(layers)}", features.max_grid(4))


def _attribute(where: str, attribute: str) -> Callable[[], object]:
    """An object of a Python file, or of a module that can be imported from here or the present folder."""
    if not where.endswith(".py"):
        if os.getcwd() not in sys.path:  # as `python -m` has it; a console script does not
            sys.path.insert(0, os.getcwd())
        return getattr(importlib.import_module(where), attribute)
    name = f"_backbone_{Path(where).stem}"  # never the name of a module that is in use
    spec = importlib.util.spec_from_file_location(name, where)
    assert spec is not None and spec.loader is not None  # so it is for every name that ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where the file's own dataclasses look themselves up
    spec.loader.exec_module(module)
    return getattr(module, attribute)


def _discriminator(
    net: gan.Discriminator,
    stages: Sequence[str],
    layers: Sequence[str] | None,
    name: str,
    trained_on: str | None = None,
) -> Contender:
    backbone = features.Backbone(net, _chosen(stages, layers), net.arch.image_shape, TANH_RANGE)
    return _contender(backbone, name + _restricted(layers), features.max_grid(4), trained_on)


def _chosen(available: Sequence[str], layers: Sequence[str] | None, model: nn.Module | None = None) -> Sequence[str]:
    """`layers` if the network has them, all stages when None. For a foreign model any module name will do."""
    if layers is None:
        return available
    known = available if model is None else [name for name, _ in model.named_modules()]
    if unknown := [name for name in layers if name not in known]:
        raise ValueError(f"no layer {unknown[0]!r}; the layers are {', '.join(available)}")
    return layers


def _restricted(layers: Sequence[str] | None) -> str:
    return f" [{','.join(layers)}]" if layers else ""


def _contender(
    backbone: features.Backbone, name: str, pool: Callable[[Tensor], Tensor], trained_on: str | None = None
) -> Contender:
    return Contender(backbone, name, pool, features.weights_digest(backbone.model), trained_on)
