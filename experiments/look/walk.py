"""`look walk`: images on the way from one z to another (paper section 6.1), and whether they change smoothly.

A generator that had learnt its images by heart would stand still and then jump: the largest step of a row would come
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
from experiments.look.comparison import CALIBRATION, NotAtHandError, TrainingImages, open_spaces, training_images
from experiments.look.result import LookResult
from experiments.look.subject import NUMBERED, ORDINARY, Subject, mean_and_sd, mean_distance, open_subject, step_lengths
from experiments.run.context import Run
from experiments.run.environment import timed
from experiments.run.errors import UserError
from results import figures

PATHS = {"straight": gan.interpolate, "spherical": gan.interpolate_on_sphere}
MOST = 1_000  # steps
FRAMES = 30  # of the animation
REFERENCES = 1_000  # training images whose distances to their nearest are the unit of a frame's
UNIT = 127.5  # uint8 steps in 1 of [-1, 1]


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
    """walk.png, walk.webp; walk.csv (a line a row), frames.csv; nearest.png where the training images are at hand.

    The walk passes through the z that `ends` number, with `steps` images from one to the next on a path of PATHS.
    data: see `training_images`. discriminator: see `open_spaces`.
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
        look.pictures["walk.png"] = figures.blocks(images)
        look.pictures["walk.webp"] = _animation(subject, z, path)
    if training is not None:
        look.inputs["training"] = training.packed.digest
        with timed(look.seconds, "nearest"):
            nearest, look.pictures["nearest.png"] = _nearest(images, training, seed)
        frames = frames.join(nearest)
        by_row = frames.groupby("row")
        rows["least_nearest_ratio"] = by_row["nearest_ratio"].min()
        rows["nearest_images"] = by_row["nearest_index"].nunique()
        look.figures["least_nearest_ratio"] = float(frames["nearest_ratio"].min())
    look.tables.update({"walk.csv": rows, "frames.csv": frames})
    return look


def _training_images(subject: Subject, data: str | None, run: Run) -> TrainingImages | None:
    """None, with a line that says why, where they are not at hand: a walk shows something without them, too."""
    try:
        return training_images(subject.file, data, run, subject.image_shape)
    except NotAtHandError as error:
        run.say(f"without distances to training images: {error}")
        return None


def _images(subject: Subject, z: Tensor, path: str, steps: int) -> np.ndarray:
    """uint8 [rows, steps, H, W, C]: a row from each z to the next, both included."""
    images = subject.draw(torch.cat([PATHS[path](a, b, steps) for a, b in itertools.pairwise(z)]))
    return images.reshape(len(z) - 1, steps, *images.shape[1:])


def _animation(subject: Subject, z: Tensor, path: str) -> bytes:
    """All rows at once. Each ends where the next begins, so that the movement goes round."""
    frames = _images(subject, z, path, FRAMES).swapaxes(0, 1)
    lines = 1 if frames.shape[1] % 2 else 2
    return figures.animation([figures.blocks(frame.reshape(lines, -1, *frame.shape[1:])) for frame in frames])


def _steps(points: Tensor, steps: int) -> np.ndarray:
    """float64 [rows * steps]: distances of frames from those before them; NaN for a row's first.

    points: [rows * steps + ORDINARY, ...], the frames and then the ordinary samples, whose mean distance is the unit.
    """
    lengths = step_lengths(points[:-ORDINARY].unflatten(0, (-1, steps))) / mean_distance(points[-ORDINARY:])
    return nn.functional.pad(lengths, (1, 0), value=math.nan).flatten().numpy()


def _nearest(images: np.ndarray, training: TrainingImages, seed: int) -> tuple[pd.DataFrame, bytes]:
    """A line for each frame's nearest training image, and the picture of each row of frames above those."""
    pixels = training.pixels()
    found, index = evaluation.nearest(torch.from_numpy(np.concatenate(images)), pixels)
    drawn = np.random.default_rng(seed).permutation(len(pixels))[:REFERENCES]
    usual = float(np.median(evaluation.nearest_others(pixels, drawn)[0])) or math.nan
    distances, rows = found.astype(np.float64), training.rows[index]
    both = np.stack([images, training.packed.images[rows].reshape(images.shape)], axis=1)
    table = pd.DataFrame({"nearest": distances / UNIT, "nearest_ratio": distances / usual, "nearest_index": rows})
    return table, figures.blocks(np.concatenate(both))
