"""`look forget`: a generator without the maps that respond to an object (paper section 6.3.1).

A person draws boxes around the object on samples (`--sheet` writes the page). A logistic regression on the activations
of a layer separates positions inside the boxes from as many positions outside, in the same samples. Every map with a
positive weight is then dropped at all positions. As many random maps are dropped for comparison.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

import evaluation
import features
import gan
from experiments.look import sheet
from experiments.look.pages import Box, Marks
from experiments.look.result import LookResult
from experiments.look.subject import Subject, mean_and_sd
from experiments.run.console import counted
from experiments.run.context import Run
from experiments.run.environment import timed
from experiments.run.errors import UserError

COLUMNS = 12  # samples in a picture
SHOWN = 2  # sets of dropped maps in the pictures: those that respond to the object, and the first random set
MOST = 10_000  # sets of random maps
BATCH = 128  # samples whose activations are taken at once
CHANGES = ("inside", "outside", "ratio")  # how much pixels change: columns of figures.csv


def forget(generator: Path, marks: Marks, layer: str | None, draws: int, run: Run) -> LookResult:
    """Redraw samples without the maps that respond to an object: boxed.png, new.png, maps.csv, figures.csv.

    The rows of both pictures are: before, after, random maps dropped. marks: the boxes exported from boxes.html, with
    their seed. layer: name of a layer; None for the second-highest whose output is maps. draws: number of sets of
    random maps that are dropped for comparison.
    """
    if draws < 1:
        raise UserError(f"--draws must be at least 1, got {draws}")
    if draws > MOST:
        raise UserError(f"--draws must be at most {MOST:,}, got {draws:,}")
    subject = marks.open_subject(generator, run)
    boxes = marks.boxes(subject.image_shape)
    z, layer = subject.numbered(boxes), _layer(layer, subject.trained)
    settings = {"layer": layer, "boxes": {str(i): of_sample for i, of_sample in boxes.items()}}
    look = LookResult(subject.seed, {"generator": subject.weights}, settings)
    with timed(look.seconds, "fit"):
        by_maps, by_place = _fit(subject, z, list(boxes.values()), layer)
    dropped = by_maps.weights > 0
    maps, of = int(dropped.sum()), len(dropped)
    if maps in (0, of):
        raise UserError(f"{maps} of {of} maps of {layer} have a positive weight; draw other boxes")
    rng = np.random.default_rng(subject.seed)
    sets = {"positive weight": np.flatnonzero(dropped)}
    sets |= {f"random {i}": np.sort(rng.permutation(of)[:maps]) for i in range(draws)}
    with timed(look.seconds, "drop"):
        inside = _inside(list(boxes.values()), subject.trained.arch.size, 1.0)
        table, look.pictures["boxed.png"], look.pictures["new.png"] = _redraw(subject, layer, sets, z, inside, run)
    look.tables["figures.csv"] = table
    columns = {"map": range(of), "weight": by_maps.weights, "dropped": dropped.astype(int)}
    look.tables["maps.csv"] = pd.DataFrame(columns)
    first, others = table.iloc[0], table[1:]
    random = {key: mean_and_sd(others[key]) | {"n": draws} for key in CHANGES}
    as_high = int((others["ratio"] >= first["ratio"]).sum())
    look.figures.update(
        positions_inside=by_maps.inside,
        positions_outside=by_maps.outside,
        accuracy_percent=by_maps.accuracy_percent,
        held_out_accuracy_percent=by_maps.held_out_percent,
        place_alone_percent=by_place.held_out_percent,
        maps_dropped=maps,
        positive_weight={key: float(first[key]) for key in CHANGES},
        random=random,
        random_as_high=as_high,
    )
    look.says.append(
        f"{maps} of {of} maps of {layer} dropped; the regression is right at {by_maps.accuracy_percent:.1f} % of "
        f"{by_maps.inside + by_maps.outside} positions ({by_maps.held_out_percent:.1f} % in samples left out, "
        f"{by_place.held_out_percent:.1f} % from the position only)"
    )
    look.says.append(
        f"pixels change {first['ratio']:.2f} times as much inside the boxes as outside; with random maps dropped "
        f"{random['ratio']['mean']:.2f} (sd {random['ratio']['sd']:.2f}), as much or more in {as_high} of {draws}"
    )
    return look


def _layer(named: str | None, generator: gan.Generator) -> str:
    """Return the named stage, or the second-highest whose output is maps: the last stage's output is the image.

    In `dcgan64` that stage has 256 maps of 16x16, more than the 200 that the paper dropped.
    """
    *with_maps, _ = generator.stage_names
    layer = named or with_maps[max(0, len(with_maps) - 2)]
    if layer not in with_maps:
        raise UserError(f"--layer must be one of {', '.join(with_maps)}, got {layer!r}")
    return layer


def _fit(subject: Subject, z: Tensor, boxes: Sequence[Sequence[Box]], layer: str) -> list[evaluation.Presence]:
    """Fit two regressions that separate positions inside the boxes from as many others in the same samples `z` [n, nz].

    A position is inside if its middle is in a box. The first regression sees the layer's maps. The second sees only the
    position: it finds objects that are always in one place. Raises UserError if no position is inside, or if all are.
    """
    with features.tapped(subject.frozen, [layer], lambda name, output: output) as forward:
        device = next(subject.frozen.parameters()).device
        maps = torch.cat([forward(part.to(device))[0].cpu() for part in z.split(BATCH)]).numpy()  # [n, maps, h, w]
    _, channels, side, _ = maps.shape
    inside = _inside(boxes, side, subject.trained.arch.size / side).reshape(-1)
    if inside.all() or not inside.any():
        which = "leave" if inside.any() else "cover"
        raise UserError(
            f"the boxes {which} no position of {layer}'s {side}x{side} maps; draw them around the object only"
        )
    others = np.random.default_rng(subject.seed).permutation(np.flatnonzero(~inside))[: int(inside.sum())]
    taken = np.sort(np.concatenate([np.flatnonzero(inside), others]))
    samples, places = np.divmod(taken, side * side)
    activations = maps.transpose(0, 2, 3, 1).reshape(-1, channels)[taken]
    one_hot = np.eye(side * side, dtype=np.float32)[places]
    return [evaluation.presence(units, inside[taken], samples) for units in (activations, one_hot)]


def _inside(boxes: Sequence[Sequence[Box]], side: int, step: float) -> np.ndarray:
    """Return whether the middle of a position is in a box of its sample: bool [n, side, side], `step` pixels apart."""
    middle = (np.arange(side) + 0.5) * step
    x, y = middle[None, :], middle[:, None]
    found = np.zeros((len(boxes), side, side), bool)
    for mask, of_sample in zip(found, boxes, strict=True):
        for x0, y0, x1, y1 in of_sample:
            mask |= (x0 <= x) & (x < x1) & (y0 <= y) & (y < y1)
    return found


def _redraw(
    subject: Subject, layer: str, sets: Mapping[str, np.ndarray], z: Tensor, inside: np.ndarray, run: Run
) -> tuple[pd.DataFrame, bytes, bytes]:
    """Draw `z` and new samples without each set of maps. Return a line for each set, and both pictures.

    A picture's first row is the samples as drawn; in each row below, one of the first SHOWN sets is dropped. inside:
    bool [n, H, W], the pixels inside the boxes.
    """
    unseen = subject.more_z(COLUMNS)
    boxed, new = [subject.draw(z)], [subject.draw(unseen)]
    lines = []
    for name, maps in run.progress(sets.items(), total=len(sets), desc="drop maps", unit="set"):
        network = gan.freeze(gan.drop_maps(subject.trained, layer, maps.tolist()))
        after = gan.draw(network, z).numpy()
        lines.append((name, len(maps), *_change(boxed[0], after, inside)))
        if len(boxed) <= SHOWN:
            boxed.append(after)
            new.append(gan.draw(network, unseen).numpy())
    n = len(next(iter(sets.values())))
    words = ["before", f"after: {counted(n, 'map')} dropped", f"{counted(n, 'random map')} dropped"]
    titles = ("Samples on which boxes were drawn", "New samples")
    pictures = [
        sheet.sheet(sheet.Block(np.stack([i[:COLUMNS] for i in rows]), rows=words), title=title)
        for rows, title in zip((boxed, new), titles, strict=True)
    ]
    return pd.DataFrame(lines, columns=["dropped", "maps", *CHANGES]), *pictures


def _change(before: np.ndarray, after: np.ndarray, inside: np.ndarray) -> tuple[float, float, float]:
    """Return CHANGES: the mean absolute change of uint8 pixels inside the boxes, that outside, and their ratio."""
    change = np.abs(after.astype(np.float64) - before).mean(3)
    within, without = float(change[inside].mean()), float(change[~inside].mean())
    return within, without, within / without if without else math.nan
