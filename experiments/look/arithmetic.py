"""`look arithmetic`: A - B + C on z, where each is the mean of exemplars (paper section 6.3.2); the turn vector.

A person chooses the exemplars on the contact sheet that `--sheet` writes, or names their indices on it.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

import gan
from experiments.look import sheet
from experiments.look.pages import Marks
from experiments.look.result import LookResult
from experiments.look.subject import Subject, mean_distance, open_subject, parse_indices, step_lengths
from experiments.run.context import Run
from experiments.run.environment import timed
from experiments.run.errors import UserError

EXEMPLARS = 3  # least number for each concept: "single samples ... were unstable" (the paper)
RADIUS = 0.25  # half-width of the uniform noise around the result (the paper)
STEPS, ROWS = 7, 4  # of the turn: pictures in a row, and samples that are turned
Concepts = list[tuple[str, list[int]]]  # (name, indices of the samples that show it) for each


def _named_concepts(texts: Mapping[str, str | None]) -> Concepts:
    """Return a concept for each letter, from its indices as text. Raises UserError if one is missing or too short."""
    if None in texts.values():
        options = ", ".join(f"--{letter} 3,14,15" for letter in texts)
        raise UserError(f"name the samples: --exemplars FILE.json from sheet.html (--sheet writes it), or {options}")
    return [(name, parse_indices(str(text), f"--{name}", least=EXEMPLARS)) for name, text in texts.items()]


def _marked_concepts(marks: Marks, names: Mapping[str, str | None]) -> Concepts:
    """Return the marked concept that each letter names, or the first ones if no letter names one.

    Raises UserError if there are too few, or if a name is not among them.
    """
    found = marks.concepts(least=EXEMPLARS)
    chosen = [str(name) for name in names.values()] if any(names.values()) else list(found)[: len(names)]
    if len(chosen) < len(names) or not found.keys() >= set(chosen):
        raise UserError(
            f"{marks.file} holds {', '.join(found) or 'no concepts'}; name {len(names)} of them, in order, with "
            f"{', '.join('--' + letter for letter in names)}, or mark them on {marks.page}"
        )
    return [(name, found[name]) for name in chosen]


def arithmetic(
    generator: Path, turn: bool, texts: Mapping[str, str | None], marks: Marks | None, seed: int, run: Run
) -> LookResult:
    """Compute A - B + C, or turn samples from A to B: arithmetic.png or turn.png, and figures.csv.

    texts: letter -> what was typed for it. The letters are a, b and c, or for a turn a (left) and b (right). A text is
    indices, or the name of a concept if there are `marks`. marks: exemplars that were marked on a sheet, or None. seed:
    seed of the z; `marks` bring their own.
    """
    concepts = _named_concepts(texts) if marks is None else _marked_concepts(marks, texts)
    subject = open_subject(generator, seed, run) if marks is None else marks.open_subject(generator, run)
    z = [subject.numbered(indices) for _, indices in concepts]
    settings = {"turn": turn, "concepts": [{"name": name, "indices": indices} for name, indices in concepts]}
    look = LookResult(subject.seed, {"generator": subject.weights}, settings)
    with timed(look.seconds, "draw"):
        picture, table = (_turn if turn else _analogy)(subject, concepts, z)
    look.pictures["turn.png" if turn else "arithmetic.png"] = picture
    look.tables["figures.csv"] = table
    for line in table.to_dict("records"):
        name = line[table.columns[0]]
        look.figures[name] = line
        look.says.append(", ".join([name, *(f"{key} {line[key]:.3f}" for key in table.columns[1:])]))
    return look


def _analogy(subject: Subject, concepts: Concepts, z: Sequence[Tensor]) -> tuple[bytes, pd.DataFrame]:
    """Compute A - B + C from the z of the concepts' exemplars, each float32 [n, nz]; return the picture and the table.

    The picture shows, from the left: exemplars, a row for each concept; the picture of each mean z; the result, framed,
    in the middle of 3x3 pictures with noise; the same arithmetic on pixels.
    """
    around = subject.draw(gan.around(gan.analogy(*z), 9, RADIUS, subject.noise))
    means = subject.draw(torch.stack([of_concept.mean(0) for of_concept in z]))
    exemplars = [subject.draw(of_concept) for of_concept in z]
    a, b, c = (images.astype(np.float64).mean(0) for images in exemplars)
    in_pixels = (a - b + c).round().clip(0, 255).astype(np.uint8)
    white = np.full_like(in_pixels, 255)
    picture = sheet.sheet(
        sheet.Block(
            np.stack([images[:EXEMPLARS] for images in exemplars]),
            "samples that a person chose",
            rows=_words(concepts),
        ),
        sheet.Block(means[:, None], "mean z"),
        sheet.Block(
            around.reshape(3, 3, *in_pixels.shape),
            f"A - B + C of the mean z (framed), and with noise of ±{RADIUS:g}",
            marked=(1, 1),
        ),
        sheet.Block(np.stack([white, in_pixels, white])[:, None], "A - B + C of pixels"),
    )
    result, ordinary = around[4].astype(np.float64), subject.ordinary()
    shown = {f"mean z of {name}": mean for (name, _), mean in zip(concepts, means[:, None], strict=True)}
    shown |= {"result": around[4:5], "in pixels": in_pixels[None]}
    shown |= {f"result with noise {RADIUS:g}, mean of 8": np.delete(around, 4, axis=0)}
    table = pd.DataFrame({"picture": list(shown)})
    sharpness = np.array([_sharpness(images) for images in shown.values()])
    table["sharpness"] = sharpness / (_sharpness(ordinary) or math.nan)
    distances = [np.mean([np.linalg.norm(image - result) for image in images]) for images in shown.values()]
    table["distance_to_result"] = np.array(distances) / mean_distance(torch.from_numpy(ordinary))
    return picture, table


def _turn(subject: Subject, concepts: Concepts, z: Sequence[Tensor]) -> tuple[bytes, pd.DataFrame]:
    """Move samples along the turn vector, from the mean of the first concept's z to that of the second.

    The picture's first row goes from one mean to the other. Each row below it shows a new sample, moved from half the
    vector before it to half the vector behind it. The middle column shows the samples as they were drawn.
    """
    first, last = (of_concept.mean(0) for of_concept in z)
    half, new = (last - first) / 2, subject.more_z(ROWS)
    ends = [(first, last), *((z - half, z + half) for z in new)]
    images = np.stack([subject.draw(gan.interpolate(*pair, steps=STEPS)) for pair in ends])
    rows, usual = torch.from_numpy(images), mean_distance(torch.from_numpy(subject.ordinary()))
    table = pd.DataFrame({"row": ["between the means", *(f"new sample {i}" for i in range(ROWS))]})
    table["smoothness_pixels"] = step_lengths(rows).amax(1).numpy() / usual
    table["first_to_last"] = step_lengths(rows[:, [0, -1]]).numpy()[:, 0] / usual
    left, right = _words(concepts)
    words = ["from mean z of A to that of B", *["new sample (middle)"] * ROWS]
    block = sheet.Block(images, rows=words, columns=[left, *[""] * (STEPS - 2), right])
    return sheet.sheet(block, title="Each row moves along the vector from A to B."), table


def _words(concepts: Concepts) -> list[str]:
    """Return the concepts' labels: the letters, and the names if they have any."""
    letters = zip("ABC", concepts, strict=False)
    return [letter if name == letter.lower() else f"{letter}: {name}" for letter, (name, _) in letters]


def _sharpness(images: np.ndarray) -> float:
    """Return the mean absolute difference between neighbouring pixels of uint8 [N, H, W, C]."""
    x = images.astype(np.float64)
    return float(np.abs(np.diff(x, axis=1)).mean() + np.abs(np.diff(x, axis=2)).mean()) / 2
