"""A network with its name in the tables: ready for feature extraction, or with its layers still to be chosen."""

import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import features
from experiments.run.context import Run
from experiments.run.memory import check_memory
from features.weights import check_readable

NOTHING = "nothing"
BATCH = 128  # images that pass through a network at once (the authors' code)
PAPER_GRID = features.max_grid(4)
TANH_RANGE = (-1.0, 1.0)  # what DCGANs are trained on: x / 127.5 - 1


@dataclass(frozen=True)
class Contender:
    """A backbone with its name in the tables."""

    backbone: features.Backbone
    name: str  # the method column without the classifier
    pool: Callable[[Tensor], Tensor]
    weights: str  # SHA-256 of the state dict, before any calibration
    trained_on: str | None = None  # digest of its packed training set; NOTHING for a control, None if not known
    standardised: bool = False  # whether features are scaled to mean 0 and sd 1 over the training images
    notes: tuple[str, ...] = ()  # what is assumed about the network, for `check` to print
    trained_set: str | None = None  # name of that set, or of one with the same photographs; None if not known


@dataclass(frozen=True)
class Request:
    """What a network may depend on besides its own name.

    seed: seed of random weights and of K-means. learn_from: name of the packed set from whose images K-means is
    learned. run: gives the folders of that set and of learned features. If None, nothing is learned.
    """

    seed: int = 0
    run: Run | None = None
    learn_from: str = "cifar10-train"


@dataclass(frozen=True)
class Network:
    """A network whose layers are still to be chosen.

    name, pool, trained_on, standardised, notes, trained_set: as in Contender. image_shape, value_range, to_maps: as in
    features.Backbone.
    stages: the layers that are used unless others are named; if None, those that features.Backbone.from_model finds.
    only_stages: whether only these layers can be named.
    """

    name: str
    model: nn.Module
    stages: Sequence[str] | None = None
    image_shape: tuple[int, int, int] = (3, 32, 32)
    value_range: features.ValueRange = TANH_RANGE
    to_maps: Callable[[Any], Tensor] | None = None
    only_stages: bool = False
    pool: Callable[[Tensor], Tensor] = PAPER_GRID
    trained_on: str | None = None
    standardised: bool = False
    notes: tuple[str, ...] = ()
    trained_set: str | None = None

    def contender(self, layers: Sequence[str] | None) -> Contender:
        """Return the network with these layers (names or patterns), or with its stages if `layers` is None.

        Raises ValueError, which lists the existing layers or names the weights that cannot be read, and
        features.BackboneError for stages that cannot be layers.
        """
        check_readable(self.model)
        values, shape = math.prod(self.image_shape), "x".join(map(str, self.image_shape))
        check_memory(4 * BATCH * values, f"a batch of {BATCH} images of {shape}", "name a smaller size")
        backbone = self._backbone(layers)
        name = f"{self.name} [{','.join(backbone.layers)}]" if layers else self.name
        weights = features.weights_digest(self.model)
        told = self.trained_on, self.standardised, self.notes, self.trained_set
        return Contender(backbone, name, self.pool, weights, *told)

    def _backbone(self, layers: Sequence[str] | None) -> features.Backbone:
        shape, bounds, to_maps = self.image_shape, self.value_range, self.to_maps
        if self.stages is None or (layers is not None and not self.only_stages):
            return features.Backbone.from_model(
                self.model, image_shape=shape, value_range=bounds, layers=layers, to_maps=to_maps
            )
        backbone = features.Backbone(self.model, self.stages, shape, bounds, to_maps)
        if layers is None and self.only_stages:
            return backbone
        found = features.survey(self.model, torch.zeros(2, *shape, device=backbone.device), to_maps)
        if layers is not None:
            return dataclasses.replace(backbone, layers=features.choose_layers(found, layers, self.stages))
        for layer in self.stages:
            if calls := found.ambiguous(layer):
                wrong = f"layer {layer!r} runs {len(calls)} times in a pass; name a run: {', '.join(calls)}"
                raise features.BackboneError(backbone, [wrong])
        return backbone


def split_settings(text: str, pattern: str, known: str) -> tuple[str, dict[str, str]]:
    """NAME[,KEY=VALUE,...] -> the name, and the settings.

    Raises ValueError, which lists the `known` settings, if a setting does not match `pattern`.
    """
    name, *settings = text.split(",")
    for setting in settings:
        if not re.fullmatch(pattern, setting):
            raise ValueError(f"settings are {known}, got {setting!r}")
    return name, dict(setting.split("=", 1) for setting in settings)
