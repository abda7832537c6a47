"""`look walk`: images on the way from one z to another (paper section 6.1), and whether they change smoothly.

A generator that had memorised its images would stand still and then jump: the largest step of a row would come
near the distance of unrelated samples, and frames would be near one training image and then near the next.
"""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

import evaluation
import gan
from experiments.look import sheet
from experiments.look.comparison import CALIBRATION, NotAtHandError, TrainingImages, open_spaces, training_images
from experiments.look.result import LookResult
from experiments.look.subject import NUMBERED, ORDINARY, Subject, mean_and_sd, mean_distance, open_subject, step_lengths
from experiments.run.context import Run
from experiments.run.environment import timed
from experiments.run.errors import UserError
from results import figures

PATHS = {"straight": gan.interpolate, "spherical": gan.interpolate_on_sphere}
MOST = 1_000  # steps, at most
FRAMES = 30  # frames of each row in the animation
REFERENCES = 1_000  # training images; their median distance to the nearest other is the unit of a frame's
UNIT = 127.5  # uint8 steps in a distance of 1 in [-1, 1]


def walk(
    generator: Path,
    ends: Sequence[int],
    steps: int,
    path: str,
    seed: int,
    data: str | None,
    discriminator: str | None,
    run: Run,
) -> LookResult:
    """Draw images between z: walk.png, walk.webp, walk.csv (a line for each row), frames.csv.

    If the training images are available, nearest.png is made too. ends: numbers of the z to pass through. steps: number
    of images from one z to the next, both included. path: a key of PATHS. seed: seed of the z and of all draws. data:
    see `training_images`. discriminator: see `open_spaces`.
    """
    if path not in PATHS:
        raise UserError(f"--path must be {' or '.join(PATHS)}, got {path!r}")
    if not 2 <= steps <= MOST or not 2 <= len(ends) <= NUMBERED:
        raise UserError(f"a walk needs --steps of 2 to {MOST} and --rows of 1 to {NUMBERED - 1}")
    subject = open_subject(generator, seed, run)
    z = subject.numbered(ends)
    training = _training_images(subject, data, run)
    look = LookResult(seed, {"generator": subject.weights}, {"path": path, "steps": steps, "ends": ends})
    with timed(look.seconds, "draw"):
        images = _images(subject, z, path, steps)
        drawn = np.concatenate([*images, subject.ordinary()])
    frames = pd.DataFrame(np.ndindex(images.shape[:2]), columns=["row", "frame"])
    rows = pd.DataFrame({"row": range(len(images)), "from": ends[:-1], "to": ends[1:]})
    with timed(look.seconds, "features"):
        calibration = drawn[-ORDINARY:] if training is None else training.some(CALIBRATION, seed)
        spaces, weights = open_spaces(generator, discriminator, calibration, run)
        look.inputs.update(weights)
        for space, points in spaces.items():
            frames[f"step_{space}"] = _steps(points(drawn), steps)
            rows[f"smoothness_{space}"] = largest = frames.groupby("row")[f"step_{space}"].max()
            found = mean_and_sd(largest) | {"max": float(largest.max()), "n": len(largest)}
            look.figures[f"smoothness_{space}"] = found
            look.says.append(
                f"smoothness_{space}: largest steps of the rows {found['mean']:.3f} on average (sd {found['sd']:.3f}, "
                f"n {found['n']}), at most {found['max']:.3f}; 1 is a jump to another sample"
            )
    with timed(look.seconds, "pictures"):
        look.pictures["walk.png"] = sheet.sheet(sheet.Block(images, rows=_names(ends), columns=_places(steps)))
        look.pictures["walk.webp"] = _animation(subject, z, path)
    if training is not None:
        look.inputs["training"] = training.packed.digest
        with timed(look.seconds, "nearest"):
            nearest, look.pictures["nearest.png"] = _nearest(images, training, ends, seed)
        frames = frames.join(nearest)
        by_row = frames.groupby("row")
        rows["least_nearest_ratio"] = by_row["nearest_ratio"].min()
        rows["nearest_images"] = by_row["nearest_index"].nunique()
        look.figures["least_nearest_ratio"] = float(frames["nearest_ratio"].min())
    look.tables.update({"walk.csv": rows, "frames.csv": frames})
    return look


def _training_images(subject: Subject, data: str | None, run: Run) -> TrainingImages | None:
    """Return the training images. If they are not available, say why and return None: a walk is useful without them."""
    try:
        return training_images(subject.file, data, run, subject.image_shape)
    except NotAtHandError as error:
        run.say(f"distances to training images are left out: {error}")
        return None


def _images(subject: Subject, z: Tensor, path: str, steps: int) -> np.ndarray:
    """Draw a row from each z to the next, both included: uint8 [rows, steps, H, W, C]."""
    images = subject.draw(torch.cat([PATHS[path](a, b, steps) for a, b in itertools.pairwise(z)]))
    return images.reshape(len(z) - 1, steps, *images.shape[1:])


def _names(ends: Sequence[int]) -> list[str]:
    """Return a label for each row of a walk."""
    return [f"z {first} to z {last}" for first, last in itertools.pairwise(ends)]


def _places(steps: int) -> list[str]:
    """Return a label for each image of a row: how far it is along the path."""
    return ["start", *(f"{i}/{steps - 1}" for i in range(1, steps - 1)), "end"]


def _animation(subject: Subject, z: Tensor, path: str) -> bytes:
    """Animate all rows at once. Each row ends where the next begins, so that the animation can be repeated."""
    frames = _images(subject, z, path, FRAMES).swapaxes(0, 1)
    lines = 1 if frames.shape[1] % 2 else 2
    blocks = [sheet.Block(frame.reshape(lines, -1, *frame.shape[1:])) for frame in frames]
    return figures.animation([sheet.sheet(block, title="The rows of walk.png, in motion") for block in blocks])


def _steps(points: Tensor, steps: int) -> np.ndarray:
    """Return the distance of each frame to the one before it, float64 [rows * steps]; NaN for a row's first frame.

    points: [rows * steps + ORDINARY, ...], the frames and then the ordinary samples, whose mean distance is the unit.
    """
    lengths = step_lengths(points[:-ORDINARY].unflatten(0, (-1, steps))) / mean_distance(points[-ORDINARY:])
    return nn.functional.pad(lengths, (1, 0), value=math.nan).flatten().numpy()


def _nearest(
    images: np.ndarray, training: TrainingImages, ends: Sequence[int], seed: int
) -> tuple[pd.DataFrame, bytes]:
    """Return a line for each frame's nearest training image, and the picture: rows of frames above these images."""
    pixels = training.pixels()
    found, index = evaluation.nearest(torch.from_numpy(np.concatenate(images)), pixels)
    drawn = np.random.default_rng(seed).permutation(len(pixels))[:REFERENCES]
    usual = float(np.median(evaluation.nearest_others(pixels, drawn)[0])) or math.nan
    distances, rows = found.astype(np.float64), training.rows[index]
    both = np.stack([images, training.images[rows].reshape(images.shape)], axis=1)
    table = pd.DataFrame({"nearest": distances / UNIT, "nearest_ratio": distances / usual, "nearest_index": rows})
    words = [text for name in _names(ends) for text in (name, "nearest training images")]
    return table, sheet.sheet(sheet.Block(np.concatenate(both), rows=words, columns=_places(images.shape[1])))
