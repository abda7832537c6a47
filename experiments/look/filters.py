"""`look filters`: what the last convolution's maps respond to, compared with an untrained network (section 6.2).

For each map, the images with the strongest responses are found. Guided backpropagation shows which pixels cause them.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import features
import gan
from experiments.look import sheet
from experiments.look.comparison import calibrate, strongest_responses, training_images
from experiments.look.result import LookResult
from experiments.look.subject import mean_and_sd, open_subject
from experiments.networks.resolve import resolve
from experiments.run.context import Run
from experiments.run.environment import timed
from experiments.run.errors import UserError
from experiments.training.files import GENERATOR

SAMPLES = "samples"  # for --data: the generator next to the discriminator draws the images
SHOWN = 6  # maps in the picture, as in the paper; the CSV has all that are measured
TITLES = {"as given": "trained", "random-init": "random weights"}
GRAY = 127.5
MOST = 10_000


def filters(
    backbone: str, layer: str, maps: int, top: int, images: int, data: str | None, seed: int, run: Run
) -> LookResult:
    """Show what maps respond to, in the network as given and freshly initialised: filters.png, filters.csv.

    backbone: a network, as for eval. layer: a name, or "last". maps: number of maps, the first ones that respond. top:
    number of images found for each map. images: number of images searched. data: name of a set, "samples", or None for
    the images that the network was trained on. Raises ValueError if the layer does not exist, or if the network cannot
    be initialised again.
    """
    if min(maps, top, images) < 1:
        raise UserError("--maps, --top and --images must be at least 1")
    if max(maps, top) > MOST or images > 100 * MOST:
        raise UserError(f"--maps and --top must be at most {MOST:,}, --images at most {100 * MOST:,}")
    contender = resolve(backbone, seed=seed)
    if layer == "last":
        layer = contender.backbone.layers[-1]
    trained = replace(contender.backbone, layers=[layer])
    networks = {"as given": trained, "random-init": _untrained(trained, seed)}
    # a set that is named may have any size: the network resizes what it is given
    shape = contender.backbone.image_shape if data is None else None
    searched, digest = _images(Path(backbone), data, images, shape, seed, run)
    if len(searched) < max(2, top):
        raise UserError(f"there are only {len(searched)} images for --top {top}; lower it")
    settings = {"layer": layer, "maps": maps, "top": top, "images": len(searched)}
    look = LookResult(seed, {"network": contender.weights, "images": digest}, settings)
    tables, blocks = {}, []
    for name, network in networks.items():
        with timed(look.seconds, name):
            calibrate(network, searched, run)
            tables[name], shown, labels = _responses(network, searched, maps, top, run)
        blocks.append(sheet.Block(shown, TITLES[name], labels))
        n, area = len(tables[name]), mean_and_sd(tables[name]["half_energy_percent"])
        look.figures[name] = {"n": n, "half_energy_percent": area, "kurtosis": mean_and_sd(tables[name]["kurtosis"])}
        look.says.append(
            f"{name}: half of the gradient's energy in {area['mean']:.2f} % of the pixels (sd {area['sd']:.2f}, n {n})"
        )
    title = f"Images to which a map of {layer} responds most, above their gradients by guided backpropagation"
    look.pictures["filters.png"] = sheet.sheet(*blocks, title=title)
    look.tables["filters.csv"] = pd.concat(tables, names=["network"]).reset_index("network")
    return look


def _images(
    file: Path, data: str | None, n: int, shape: Sequence[int] | None, seed: int, run: Run
) -> tuple[np.ndarray, str]:
    """Return at most `n` images, uint8 [N, H, W, C], and the digest of their set or of the generator that drew them.

    shape: see `training_images`.
    """
    if data == SAMPLES:
        subject = open_subject(file.with_name(GENERATOR), seed, run)
        return subject.draw(subject.more_z(n)), subject.weights
    training = training_images(file, data, run, shape)
    return training.some(n, seed), training.packed.digest


def _untrained(backbone: features.Backbone, seed: int) -> features.Backbone:
    """Return the same network, freshly initialised by `seed`. Raises ValueError if that is not possible."""
    model = copy.deepcopy(backbone.model)
    if isinstance(model, gan.Discriminator):
        gan.initialise(model, torch.Generator().manual_seed(seed))
        return replace(backbone, model=model)
    weighted = [m for m in model.modules() if next(m.parameters(recurse=False), None) is not None]
    resets: list[Any] = [getattr(module, "reset_parameters", None) for module in weighted]
    if not resets or not all(map(callable, resets)):
        raise ValueError("a comparison with random weights needs modules with weights and reset_parameters()")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for reset in resets:
            reset()
    return replace(backbone, model=model)


def _responses(
    backbone: features.Backbone, images: np.ndarray, maps: int, top: int, run: Run
) -> tuple[pd.DataFrame, np.ndarray, list[str]]:
    """Return a table with a line for each map and image; for SHOWN maps rows of images and of gradients; their labels.

    images, uint8 [N, H, W, C]. The rows are uint8 [2 * maps shown, top, H, W, C].
    """
    (layer,) = backbone.layers
    strongest = strongest_responses(backbone, images, run).numpy()
    alive = np.flatnonzero(strongest.max(0) > 0)[:maps]  # a map that responds to nothing has no gradient
    if len(alive) == 0:
        raise UserError(f"no map of {layer} responds to any image; choose another with --layer")
    order = np.argsort(-strongest[:, alive], axis=0, kind="stable")[:top].T  # [maps, top]
    tables: list[pd.DataFrame] = []
    rows: list[np.ndarray] = []
    for channel, chosen in zip(alive.tolist(), order, strict=True):
        responses, gradients = features.guided_backprop(backbone, images[chosen], layer, [channel] * top)
        areas, kurtosis = features.concentration(gradients)
        values = {"response": responses, "half_energy_percent": areas, "kurtosis": kurtosis}
        tables.append(pd.DataFrame({"map": channel, "rank": range(top)} | values))
        if len(rows) < 2 * SHOWN:
            rows += [_inputs(backbone, images[chosen]), _as_picture(gradients)]
    labels = [label for channel in alive[:SHOWN].tolist() for label in (f"map {channel}", "gradient")]
    return pd.concat(tables), np.stack(rows), labels


def _as_picture(gradients: np.ndarray) -> np.ndarray:
    """Turn gradients float [n, C, H, W] into uint8 [n, H, W, C]: 0 is gray, the largest of each is black or white."""
    most = np.abs(gradients).max((1, 2, 3), keepdims=True)
    scaled = GRAY + GRAY * gradients / np.where(most > 0, most, 1)
    return scaled.round().astype(np.uint8).transpose(0, 2, 3, 1)


def _inputs(backbone: features.Backbone, images: np.ndarray) -> np.ndarray:
    """Return the images as the network sees them: uint8 [n, H, W, C] of its size."""
    low, high = (torch.tensor(bound, device=backbone.device).reshape(-1, 1, 1) for bound in backbone.value_range)
    scaled = (backbone.prepare(images) - low) * (255 / (high - low))
    return scaled.round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
