"""`look filters`: what in images the last convolution's maps respond to, beside an untrained network (section 6.2).

For each of some maps the images of the strongest responses are found; guided backpropagation shows what in them counts.
"""

import argparse
import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import features
import gan
from experiments.look import subject as look
from experiments.networks.resolve import resolve
from experiments.run import console
from experiments.run.circumstances import timed
from experiments.run.context import device_of
from experiments.run.errors import UserError
from experiments.run.files import write_bytes
from results import figures

SAMPLES = "samples"  # as --data: the images are drawn by the generator beside the discriminator
SHOWN = 6  # maps of the picture (the paper); all that are measured go into the CSV
GRAY = 127.5


def filters(arguments: argparse.Namespace) -> int:
    """Writes filters.png (maps and their images, the network as given and freshly initialised), CSV and record."""
    if min(arguments.maps, arguments.top, arguments.images) < 1:
        raise UserError("--maps, --top and --images must be at least 1")
    target = arguments.backbone
    if Path(target).is_dir():
        target = str(Path(target) / look.DISCRIMINATOR)
    contender = resolve(target, seed=arguments.seed)
    trained, seconds = contender.backbone, dict[str, float]()
    layer = trained.layers[-1] if arguments.layer == "last" else arguments.layer
    try:
        trained = replace(trained, layers=[layer])
        untrained = _untrained(trained, arguments.seed)
    except ValueError as error:
        raise UserError(f"{target}: {error}") from error
    file = Path(target)
    images, digest = _images(arguments, file)
    if len(images) < max(2, arguments.top):
        raise UserError(f"there are {len(images)} images for --top {arguments.top}; lower it")
    name = look.name_of(file) if file.is_file() else target.replace("/", "_").replace(":", "-")
    out = look.folder(arguments, "filters", name)
    lines: list[dict[str, Any]] = []
    shown = []
    for label, backbone in (("as given", trained), ("random-init", untrained)):
        with timed(seconds, label):
            backbone.model.to(device_of(arguments.device))
            look.calibrate(backbone, images[: look.CALIBRATION])
            found, picture = _responses(backbone, images, layer, arguments.maps, arguments.top)
        lines += [{"network": label} | line for line in found]
        shown.append(picture)
    look.clear(out)
    write_bytes(out / "filters.png", figures.blocks(*shown))
    look.write_csv(out / "filters.csv", lines)
    told = {
        label: _means([line for line in lines if line["network"] == label]) for label in ("as given", "random-init")
    }
    look.write_record(
        out,
        arguments,
        seed=arguments.seed,
        inputs={"network": contender.weights, "images": digest},
        settings={"layer": layer, "maps": arguments.maps, "top": arguments.top, "images": len(images)},
        figures=told,
        seconds=seconds,
    )
    for label, figure in told.items():
        console.say(
            f"{label}: half of the gradient's energy in {figure['half_energy_percent']['mean']:.2f} % of the pixels "
            f"(sd {figure['half_energy_percent']['sd']:.2f}, n {figure['n']})"
        )
    return 0


def _images(arguments: argparse.Namespace, file: Path) -> tuple[np.ndarray, str]:
    """At most --images of them, uint8 [N, H, W, C]; and the digest of their set, or of the generator that drew them."""
    if arguments.data == SAMPLES:
        beside = argparse.Namespace(**vars(arguments) | {"generator": file.with_name(look.GENERATOR)})
        subject = look.opened(beside)
        z = gan.sample_z(subject.trained.arch, arguments.images, subject.noise)
        return subject.draw(z), subject.weights
    training = look.training(arguments, file, None, needed=True)
    assert training is not None
    return training.some(arguments.images, arguments.seed), training.digest


def _untrained(backbone: features.Backbone, seed: int) -> features.Backbone:
    """The same network, freshly initialised by `seed`. ValueError where its modules do not say how."""
    model = copy.deepcopy(backbone.model)
    if isinstance(model, gan.Discriminator):
        gan.initialise(model, torch.Generator().manual_seed(seed))
        return replace(backbone, model=model)
    weighted = [m for m in model.modules() if next(m.parameters(recurse=False), None) is not None]
    if not weighted or not all(callable(getattr(m, "reset_parameters", None)) for m in weighted):
        raise ValueError("a network beside random weights needs modules with weights and reset_parameters()")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in weighted:
            _reset(module)
    return replace(backbone, model=model)


def _reset(module: nn.Module) -> None:
    module.reset_parameters()  # type: ignore[operator]


def _responses(
    backbone: features.Backbone, images: np.ndarray, layer: str, maps: int, top: int
) -> tuple[list[dict[str, Any]], np.ndarray]:
    """A line a map and image, and the picture: two rows a map of the first SHOWN, images above their gradients."""
    strongest = features.extract(backbone, images, pool=features.max_grid(1), progress=console.progress)
    alive = np.flatnonzero(strongest.max(0) > 0)[:maps]  # a map that responds to nothing has no gradient
    if len(alive) == 0:
        raise UserError(f"no map of {layer} responds to any image; choose another with --layer")
    order = np.argsort(-strongest[:, alive], axis=0, kind="stable")[:top].T  # [maps, top]
    lines: list[dict[str, Any]] = []
    rows: list[np.ndarray] = []
    for channel, chosen in zip(alive, order, strict=True):
        responses, gradients = features.guided_backprop(backbone, images[chosen], layer, [int(channel)] * top)
        areas, kurtosis = features.concentration(gradients)
        for rank in range(top):
            lines.append(
                {
                    **{"map": int(channel), "rank": rank, "response": float(responses[rank])},
                    **{"half_energy_percent": float(areas[rank]), "kurtosis": float(kurtosis[rank])},
                }
            )
        if len(rows) < 2 * SHOWN:
            rows += [_inputs(backbone, images[chosen]), _as_picture(gradients)]
    blank = np.full_like(rows[0], 255)
    return lines, np.stack(rows + [blank] * (2 * min(SHOWN, maps) - len(rows)))


def _as_picture(gradients: np.ndarray) -> np.ndarray:
    """float [n, C, H, W] -> uint8 [n, H, W, C]: gray is none, the largest of each is black or white."""
    most = np.abs(gradients).max((1, 2, 3), keepdims=True)
    scaled = GRAY + GRAY * gradients / np.where(most > 0, most, 1)
    return scaled.round().astype(np.uint8).transpose(0, 2, 3, 1)


def _inputs(backbone: features.Backbone, images: np.ndarray) -> np.ndarray:
    """The images as the network sees them: uint8 [n, H, W, C] of its size."""
    low, high = (torch.tensor(bound, device=backbone.device).reshape(-1, 1, 1) for bound in backbone.value_range)
    scaled = (backbone.prepare(images) - low) * (255 / (high - low))
    return scaled.round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()


def _means(lines: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {"n": len(lines)}
    for key in ("half_energy_percent", "kurtosis"):
        values = np.array([line[key] for line in lines])
        found[key] = {
            "mean": float(np.nanmean(values)),
            "sd": float(np.nanstd(values, ddof=1)) if len(values) > 1 else 0.0,
        }
    return found
