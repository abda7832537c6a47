"""`look arithmetic`: A - B + C on z, each the mean of exemplars (paper section 6.3.2), and the turn vector.

A person chooses the exemplars on the contact sheet that `--sheet` writes, or names their indices on it.
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

import gan
from experiments.look import pages as look_pages
from experiments.look import subject as look
from experiments.run import console
from experiments.run.circumstances import timed
from experiments.run.errors import UserError
from experiments.run.files import write_bytes
from results import figures

EXEMPLARS = 3  # of each concept, at least: "single samples ... were unstable" (the paper)
RADIUS = 0.25  # of the noise around the result (the paper)
STEPS, ROWS = 7, 4  # of the turn: pictures on the way, samples turned
ORDINARY = 256  # samples that a picture's sharpness and a distance are measured by


@dataclass(frozen=True)
class Concept:
    """A name and the samples that show it."""

    name: str
    indices: list[int]


def arithmetic(arguments: argparse.Namespace) -> int:
    """Writes arithmetic.png or turn.png, figures.csv and record.json; with --sheet the page alone."""
    if arguments.sheet:
        subject = look.opened(arguments)
        out = look.folder(arguments, "arithmetic", subject.name)
        print(look_pages.write_page(out, subject, "concepts", arguments.samples))
        return 0
    letters = "ab" if arguments.turn else "abc"
    if arguments.turn and arguments.c is not None:
        raise UserError("--turn takes two concepts, left as --a and right as --b; leave --c out")
    seconds: dict[str, float] = {}
    if arguments.exemplars is None:
        concepts, subject = _given(arguments, letters), look.opened(arguments)
    else:
        whole = look_pages.read_whole(arguments.exemplars, "concepts")
        subject = look.opened(arguments, whole["seed"])
        look_pages.check_weights(arguments.exemplars, whole, subject)
        concepts = _exported(arguments, whole, letters)
    chosen = [subject.numbered(concept.indices) for concept in concepts]
    out = look.folder(arguments, "turn" if arguments.turn else "arithmetic", subject.name)
    look.clear(out)
    with timed(seconds, "draw"):
        lines = (_turn if arguments.turn else _analogy)(out, subject, concepts, chosen)
    look.write_csv(out / "figures.csv", lines)
    look.write_record(
        out,
        arguments,
        seed=subject.seed,
        inputs={"generator": subject.weights},
        settings={"turn": arguments.turn, "concepts": [{"name": c.name, "indices": c.indices} for c in concepts]},
        figures={str(next(iter(line.values()))): line for line in lines},
        seconds=seconds,
    )
    for line in lines:
        console.say(", ".join(f"{key} {v:.3f}" if isinstance(v, float) else f"{v}" for key, v in line.items()))
    return 0


def _given(arguments: argparse.Namespace, letters: str) -> list[Concept]:
    """Of the options alone, one a letter."""
    texts = {letter: getattr(arguments, letter) for letter in letters}
    if None in texts.values():
        options = ", ".join(f"--{letter} 3,14,15" for letter in letters)
        raise UserError(f"name the samples: --exemplars FILE.json from sheet.html (--sheet writes it), or {options}")
    return [Concept(n, look.indices(text, f"--{n}", least=EXEMPLARS)) for n, text in texts.items()]


def _exported(arguments: argparse.Namespace, whole: dict[str, Any], letters: str) -> list[Concept]:
    """Those of the JSON that the options name, or its first ones."""
    found = look_pages.concepts_of(arguments.exemplars, whole, least=EXEMPLARS)
    named = [getattr(arguments, letter) for letter in letters]
    names = named if any(named) else list(found)[: len(letters)]
    if len(names) < len(letters) or any(name not in found for name in names):
        raise UserError(
            f"{arguments.exemplars} holds {', '.join(found) or 'no concepts'}; name {len(letters)} of them, in order, "
            f"with {', '.join('--' + letter for letter in letters)}, or mark them on sheet.html"
        )
    return [Concept(name, found[name]) for name in names]


def _analogy(out, subject: look.Subject, concepts: Sequence[Concept], chosen: Sequence[Tensor]) -> list[dict[str, Any]]:
    """arithmetic.png: a row a concept, exemplars and their mean; then 3x3 around the result; then pixel arithmetic."""
    result = gan.analogy(*chosen)
    around = subject.draw(gan.around(result, 9, RADIUS, subject.noise))
    means = subject.draw(torch.stack([z.mean(0) for z in chosen]))
    exemplars = [subject.draw(z) for z in chosen]
    a, b, c = (e.astype(np.float64).mean(0) for e in exemplars)
    in_pixels = (a - b + c).round().clip(0, 255).astype(np.uint8)
    white = np.full_like(in_pixels, 255)
    shape = in_pixels.shape
    write_bytes(
        out / "arithmetic.png",
        figures.blocks(
            np.stack([e[:EXEMPLARS] for e in exemplars]),
            means[:, None],
            around.reshape(3, 3, *shape),
            np.stack([white, in_pixels, white])[:, None],
        ),
    )
    ordinary = subject.draw(subject.z[-ORDINARY:])
    apart = look.apart(torch.from_numpy(ordinary))
    sharp = float(_sharpness(ordinary).mean()) or math.nan
    pictures = [*(f"mean z of {concept.name}" for concept in concepts), "result", "in pixels"]
    return [
        {
            "picture": name,
            "sharpness": float(_sharpness(image[None])[0] / sharp),
            "distance_to_result": float(np.linalg.norm(image.astype(float) - around[4])) / apart,
        }
        for name, image in zip(pictures, [*means, around[4], in_pixels], strict=True)
    ] + [
        {
            "picture": f"result with noise {RADIUS:g}, mean of 8",
            "sharpness": float(_sharpness(np.delete(around, 4, 0)).mean() / sharp),
            "distance_to_result": float(
                np.mean([np.linalg.norm(i.astype(float) - around[4]) for i in np.delete(around, 4, 0)])
            )
            / apart,
        }
    ]


def _turn(out, subject: look.Subject, concepts: Sequence[Concept], chosen: Sequence[Tensor]) -> list[dict[str, Any]]:
    """turn.png: new samples moved along the turn vector, from half of it before to half of it behind.

    The middle column is the samples as they were drawn.
    """
    left, right = (z.mean(0) for z in chosen)
    new = gan.sample_z(subject.trained.arch, ROWS, subject.noise)
    ways = [gan.interpolate(z - (right - left) / 2, z + (right - left) / 2, STEPS) for z in new]
    rows = [subject.draw(way) for way in ways]
    ends = subject.draw(gan.interpolate(left, right, STEPS))
    write_bytes(out / "turn.png", figures.blocks(np.stack([ends, *rows])))
    apart = look.apart(torch.from_numpy(subject.draw(subject.z[-ORDINARY:])))
    lines = []
    for name, images in zip(
        ["between the means", *(f"new sample {i}" for i in range(ROWS))], [ends, *rows], strict=True
    ):
        steps = np.linalg.norm(np.diff(images.astype(np.float64), axis=0).reshape(STEPS - 1, -1), axis=1) / apart
        way = float(np.linalg.norm(images[-1].astype(float) - images[0])) / apart
        lines.append({"row": name, "smoothness_pixels": float(steps.max()), "first_to_last": way})
    return lines


def _sharpness(images: np.ndarray) -> np.ndarray:
    """float64 [N]: mean absolute difference of pixels beside one another in uint8 [N, H, W, C]."""
    x = images.astype(np.float64)
    return (np.abs(np.diff(x, axis=1)).mean((1, 2, 3)) + np.abs(np.diff(x, axis=2)).mean((1, 2, 3))) / 2
