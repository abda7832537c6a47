"""`look forget`: a generator without the maps that tell of an object (paper section 6.3.1).

A person draws boxes around the object on samples (`--sheet` writes the page). A logistic regression on the activations
of a layer tells positions inside the boxes from as many outside, in the same samples; every map with a positive weight
is then dropped at all positions. Dropping as many maps at random says how much of the change that is.
"""

import argparse
from typing import Any

import numpy as np
import torch

import evaluation
import features
import gan
from experiments.look import pages as look_pages
from experiments.look import subject as look
from experiments.look.pages import Box
from experiments.run import console
from experiments.run.circumstances import timed
from experiments.run.errors import UserError
from experiments.run.files import write_bytes
from results import figures

COLUMNS = 12  # samples of a picture


def forget(arguments: argparse.Namespace) -> int:
    """Writes boxed.png and new.png (rows: before, after, random maps dropped), maps.csv, figures.csv, record.json."""
    if arguments.sheet:
        subject = look.opened(arguments)
        out = look.folder(arguments, "forget", subject.name)
        print(look_pages.write_page(out, subject, "boxes", arguments.samples))
        return 0
    if arguments.boxes is None:
        raise UserError("name the boxes: --boxes FILE.json from boxes.html, which --sheet writes")
    if arguments.draws < 1:
        raise UserError(f"--draws must be at least 1, got {arguments.draws}")
    whole = look_pages.read_whole(arguments.boxes, "boxes")
    subject, seconds = look.opened(arguments, whole["seed"]), dict[str, float]()
    look_pages.check_weights(arguments.boxes, whole, subject)
    boxes = look_pages.boxes_of(arguments.boxes, whole, subject.trained.arch.image_shape)
    z = subject.numbered(list(boxes))
    layer = arguments.layer or _second_highest(subject.trained)
    if layer not in subject.trained.stage_names[:-1]:
        raise UserError(f"--layer must be one of {', '.join(subject.trained.stage_names[:-1])}, got {layer!r}")
    out = look.folder(arguments, "forget", subject.name)
    with timed(seconds, "fit"):
        fitted, by_place = _fit(subject, z, list(boxes.values()), layer)
    maps = np.flatnonzero(fitted.weights > 0)
    if len(maps) in (0, len(fitted.weights)):
        raise UserError(
            f"{len(maps)} of {len(fitted.weights)} maps of {layer} have a positive weight; draw other boxes"
        )
    drawn = np.random.default_rng(subject.seed)
    at_random = [np.sort(drawn.permutation(len(fitted.weights))[: len(maps)]) for _ in range(arguments.draws)]
    before, inside = subject.draw(z), _pixels_inside(list(boxes.values()), subject.trained.arch.size)
    new = gan.sample_z(subject.trained.arch, COLUMNS, subject.noise)
    boxed, fresh = [before], [subject.draw(new)]
    lines: list[dict[str, Any]] = []
    with timed(seconds, "drop"):
        sets = [("positive weight", maps), *((f"random {i}", chosen) for i, chosen in enumerate(at_random))]
        for name, dropped in console.progress(sets, total=len(sets), desc="drop maps", unit="set"):
            network = gan.freeze(gan.drop_maps(subject.trained, layer, dropped.tolist()))
            after = gan.draw(network, z).numpy()
            lines.append({"dropped": name, "maps": len(dropped)} | _change(before, after, inside))
            if len(boxed) < 3:
                boxed.append(after)
                fresh.append(gan.draw(network, new).numpy())
    look.clear(out)
    write_bytes(out / "boxed.png", figures.blocks(np.stack([images[:COLUMNS] for images in boxed])))
    write_bytes(out / "new.png", figures.blocks(np.stack(fresh)))
    look.write_csv(out / "figures.csv", lines)
    weights = [{"map": i, "weight": float(w), "dropped": int(w > 0)} for i, w in enumerate(fitted.weights)]
    look.write_csv(out / "maps.csv", weights)
    told = {
        "positions_inside": fitted.inside,
        "positions_outside": fitted.outside,
        "accuracy_percent": fitted.accuracy_percent,
        "held_out_accuracy_percent": fitted.held_out_percent,
        "place_alone_percent": by_place,
        "maps_dropped": len(maps),
        "positive_weight": {key: lines[0][key] for key in ("inside", "outside", "ratio")},
        "random": {key: look.spread([line[key] for line in lines[1:]]) for key in ("inside", "outside", "ratio")},
        "random_as_high": sum(line["ratio"] >= lines[0]["ratio"] for line in lines[1:]),
    }
    look.write_record(
        out,
        arguments,
        seed=subject.seed,
        inputs={"generator": subject.weights},
        settings={"layer": layer, "boxes": {str(i): of_sample for i, of_sample in boxes.items()}},
        figures=told,
        seconds=seconds,
    )
    random = told["random"]["ratio"]
    console.say(
        f"{len(maps)} of {len(fitted.weights)} maps of {layer} dropped; boxes told from the rest in "
        f"{fitted.accuracy_percent:.1f} % of {fitted.inside + fitted.outside} positions "
        f"({fitted.held_out_percent:.1f} % of samples left out, {by_place:.1f} % by their place alone)"
    )
    console.say(
        f"pixels change {lines[0]['ratio']:.2f} times as much inside the boxes as outside; with random maps dropped "
        f"{random['mean']:.2f} (sd {random['sd']:.2f}), in {told['random_as_high']} of {random['n']} draws as much"
    )
    return 0


def _second_highest(generator: gan.Generator) -> str:
    """The second-highest stage that gives maps: the last gives the image. Of `dcgan64` 256 maps of 16x16, more than the
    200 that the paper dropped."""
    return generator.stage_names[max(0, len(generator.stage_names) - 3)]


def _fit(
    subject: look.Subject, z: torch.Tensor, boxes: list[list[Box]], layer: str
) -> tuple[evaluation.Presence, float]:
    """All positions whose middle lies in a box, and as many others of the same samples. UserError for too few.

    Also the share of held-out positions, in %, that is told by where they are, blind to the activations: objects that
    are always in one place are told that way.
    """
    with features.tapped(subject.frozen, [layer], lambda name, output: output) as forward:
        device = next(subject.frozen.parameters()).device
        maps = torch.cat([forward(part.to(device))[0].cpu() for part in z.split(128)]).numpy()  # [n, K, h, w]
    _, units, side, _ = maps.shape
    inside = _inside(boxes, side, subject.trained.arch.size / side).reshape(-1)
    if not inside.any() or inside.all():
        where = "cover no" if not inside.any() else "leave no"
        raise UserError(
            f"the boxes {where} position of {layer}'s {side}x{side} maps; draw them around the object alone"
        )
    rng = np.random.default_rng(subject.seed)
    others = rng.permutation(np.flatnonzero(~inside))[: int(inside.sum())]
    taken = np.sort(np.concatenate([np.flatnonzero(inside), others]))
    positions = maps.transpose(0, 2, 3, 1).reshape(-1, units)
    samples, places = np.divmod(taken, side * side)
    by_place = evaluation.presence(np.eye(side * side, dtype=np.float32)[places], inside[taken], samples)
    return evaluation.presence(positions[taken], inside[taken], samples), by_place.held_out_percent


def _inside(boxes: list[list[Box]], side: int, step: float) -> np.ndarray:
    """bool [n, side, side]: positions, `step` pixels apart, whose middle lies in a box of the sample."""
    middle = (np.arange(side) + 0.5) * step
    x, y = middle[None, :], middle[:, None]
    found = np.zeros((len(boxes), side, side), bool)
    for mask, of_sample in zip(found, boxes, strict=True):
        for x0, y0, x1, y1 in of_sample:
            mask |= (x0 <= x) & (x < x1) & (y0 <= y) & (y < y1)
    return found


def _pixels_inside(boxes: list[list[Box]], size: int) -> np.ndarray:
    return _inside(boxes, size, 1.0)


def _change(before: np.ndarray, after: np.ndarray, inside: np.ndarray) -> dict[str, float]:
    """Mean absolute change of uint8 pixels inside and outside, and the one over the other."""
    change = np.abs(after.astype(np.float64) - before).mean(3)
    within, without = float(change[inside].mean()), float(change[~inside].mean())
    return {"inside": within, "outside": without, "ratio": within / without if without else float("nan")}
