"""`look walk`: images on the way from one z to another (paper section 6.1), and whether they change smoothly.

A generator that had learnt its images by heart would stand still and then jump: the largest step of a row would come
near the distance of unrelated samples, and frames near training images, to one and then to the next.
"""

import argparse
import itertools
from typing import Any

import numpy as np
import torch
from torch import Tensor

import evaluation
import gan
from experiments.look import subject as look
from experiments.run import console
from experiments.run.circumstances import timed
from experiments.run.errors import UserError
from experiments.run.files import write_bytes
from results import figures

PATHS = {"straight": gan.interpolate, "spherical": gan.interpolate_on_sphere}
MOST = 1_000  # steps
COMPARED = 256  # samples whose mean distance a step is measured by
FRAMES = 30  # of the animation
REFERENCES = 1_000  # training images whose distances to their nearest are the measure of a frame's


def walk(arguments: argparse.Namespace) -> int:
    """Writes walk.png, walk.webp, walk.csv (a line a row), frames.csv, record.json; nearest.png where images are."""
    if not 2 <= arguments.steps <= MOST or not 1 <= arguments.rows < look.SHEET:
        raise UserError(f"a walk needs --steps of 2 to {MOST} and --rows of 1 to {look.SHEET - 1}")
    subject, seconds = look.opened(arguments), dict[str, float]()
    ends = list(range(arguments.rows + 1)) if arguments.z is None else look.indices(arguments.z, "--z", least=2)
    points = subject.numbered(ends)
    training = look.training(arguments, subject.file, subject.trained.arch.image_shape, needed=False)
    out = look.folder(arguments, "walk", subject.name)
    rows = len(ends) - 1
    way = PATHS[arguments.path]
    with timed(seconds, "draw"):
        images = subject.draw(_along(points, way, arguments.steps))
        samples = subject.draw(subject.z[-COMPARED:])
    found = {"pixels": _steps(torch.from_numpy(images), torch.from_numpy(samples), arguments.steps)}
    with timed(seconds, "features"):
        calibration = samples if training is None else training.some(look.CALIBRATION, arguments.seed)
        if (space := look.feature_space(arguments, subject.file, calibration)) is not None:
            both = space.of(np.concatenate([images, samples]), np.arange(len(images) + len(samples)))
            found["features"] = _steps(both[: len(images)], both[len(images) :], arguments.steps)
    look.clear(out)
    with timed(seconds, "pictures"):
        write_bytes(out / "walk.png", figures.blocks(images.reshape(rows, arguments.steps, *images.shape[1:])))
        write_bytes(out / "walk.webp", _animation(subject, points, way))
    lines: list[dict[str, Any]] = [{"row": i, "from": a, "to": b} for i, (a, b) in enumerate(itertools.pairwise(ends))]
    frames: list[dict[str, Any]] = [
        {"row": i // arguments.steps, "frame": i % arguments.steps} for i in range(len(images))
    ]
    for name, steps in found.items():
        for line, row in zip(lines, steps, strict=True):
            line |= {f"smoothness_{name}": float(row.max())}
        for frame in frames:
            k = frame["frame"]
            frame |= {f"step_{name}": float(steps[frame["row"], k - 1]) if k else ""}
    if training is not None:
        with timed(seconds, "nearest"):
            _nearest(out, images, training, arguments, lines, frames)
    look.write_csv(out / "walk.csv", lines)
    look.write_csv(out / "frames.csv", frames)
    told = {
        f"smoothness_{name}": look.spread(steps.max(1)) | {"max": float(steps.max())} for name, steps in found.items()
    }
    look.write_record(
        out,
        arguments,
        seed=subject.seed,
        inputs={"generator": subject.weights}
        | ({} if space is None else {"features": space.weights})
        | ({} if training is None else {"training": training.digest}),
        settings={"path": arguments.path, "steps": arguments.steps, "ends": ends},
        figures=told | ({} if training is None else {"least_nearest_ratio": min(f["nearest_ratio"] for f in frames)}),
        seconds=seconds,
    )
    for name, value in told.items():
        console.say(
            f"{name}: largest steps of the rows {value['mean']:.3f} on average (sd {value['sd']:.3f}, n {value['n']}), "
            f"at most {value['max']:.3f}; 1 is a jump to another sample"
        )
    return 0


def _along(points: Tensor, way, steps: int) -> Tensor:
    """[rows * steps, nz]: from each point to the next, both included."""
    return torch.cat([way(a, b, steps) for a, b in itertools.pairwise(points)])


def _animation(subject: look.Subject, points: Tensor, way) -> bytes:
    """All rows at once; each ends where the next begins, so that it goes round."""
    images = subject.draw(_along(points, way, FRAMES))
    rows = len(points) - 1
    by_frame = images.reshape(rows, FRAMES, *images.shape[1:]).swapaxes(0, 1)
    lines = 1 if rows % 2 else 2
    return figures.animation([figures.blocks(f.reshape(lines, rows // lines, *f.shape[1:])) for f in by_frame])


def _steps(frames: Tensor, samples: Tensor, steps: int) -> np.ndarray:
    """float64 [rows, steps - 1]: distances of neighbouring frames in mean distances between samples."""
    flat = frames.flatten(1).double()
    flat = flat.reshape(-1, steps, flat.shape[1])
    return ((flat[:, 1:] - flat[:, :-1]).norm(dim=2) / look.apart(samples)).numpy()


def _nearest(out, images: np.ndarray, training: look.Training, arguments, lines, frames) -> None:
    """Adds each frame's nearest training image, and the picture of frames above those."""
    pixels = training.pixels()
    distances, index = evaluation.nearest(torch.from_numpy(images), pixels)
    drawn = np.random.default_rng(arguments.seed).permutation(len(pixels))[:REFERENCES]
    usual = float(np.median(evaluation.nearest_others(pixels, drawn)[0]))
    for frame, distance, i in zip(frames, distances, index, strict=True):
        frame |= {
            "nearest": float(distance) / look.UNIT,
            "nearest_ratio": float(distance) / usual if usual else float("nan"),
            "nearest_index": int(training.rows[i]),
        }
    for line in lines:
        of_row = [frame for frame in frames if frame["row"] == line["row"]]
        line |= {
            "least_nearest_ratio": min(frame["nearest_ratio"] for frame in of_row),
            "nearest_images": len({frame["nearest_index"] for frame in of_row}),
        }
    both = np.stack([images, pixels[torch.from_numpy(index)].numpy()]).reshape(2, len(lines), -1, *images.shape[1:])
    write_bytes(out / "nearest.png", figures.blocks(both.swapaxes(0, 1).reshape(2 * len(lines), *both.shape[2:])))
