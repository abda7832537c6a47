"""`look memorised`: whether a generator's samples are copies of its training images, and whether they are all alike.

Samples are compared twice: pixel by pixel, and by the discriminator's features. Only near-exact copies are counted.
If images were held out of training, they are compared like samples, to show what an honest generator would give.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import evaluation
from experiments.look import sheet
from experiments.look.comparison import CALIBRATION, TrainingImages, open_spaces, training_images
from experiments.look.result import LookResult
from experiments.look.subject import NUMBERED, Subject, network_name, open_subject
from experiments.run.context import Run
from experiments.run.environment import timed
from experiments.run.errors import UserError
from experiments.training.collapse import DIVERSITY
from experiments.training.files import GENERATOR
from experiments.training.monitor import early_generators

SHOWN = 16  # samples of each generator in the picture
PAIRED = 32  # samples shown next to their nearest training image
LEAST = 16  # fewest samples that allow an answer
HELD_OUT = "held-out images"
PLACED = ("below_1_percent", "below_5_percent", "median_ratio", "diversity", "spacing")  # of a Nearness, in the table


def memorised(
    generators: Sequence[Path], samples: int, seed: int, data: str | None, discriminator: str | None, run: Run
) -> LookResult:
    """Compare samples with training images: memorised.csv, samples.png, pictures of nearest pairs. Answers: verdicts.

    memorised.csv has a line for each network and space, samples.png a row for each network. generators: files, or
    folders of runs; for a folder, its generators of early epochs are compared too. samples: how many samples of each
    generator are compared. data: see `training_images`. discriminator: see `open_spaces`.
    """
    if not LEAST <= samples <= NUMBERED:
        raise UserError(f"--samples must lie between {LEAST} and {NUMBERED}, got {samples}")
    groups = [_files(named) for named in generators]
    subjects = _open_all([file for group in groups for file in group], seed, run)
    first = next(iter(subjects.values()))
    training = _common_training_images([file for file, *_ in groups], data, first.image_shape, run)
    n, name = len(training.rows), training.packed.name
    run.say(f"comparing with {n:,} images of {name}; 50,000 of 64x64 take minutes on two cores")
    look = LookResult(seed, {"training": training.packed.digest}, {"samples": samples, "training_images": n})
    shown = {label: subject.draw(subject.z[:samples]) for label, subject in subjects.items()}
    look.pictures["samples.png"] = sheet.sheet(
        sheet.Block(np.stack([images[:SHOWN] for images in shown.values()]), rows=list(shown)),
        title="Samples of the same z",
    )
    if len(training.held_out) >= LEAST:
        drawn = np.random.default_rng(seed).permutation(training.held_out)[:samples]
        shown[HELD_OUT] = training.images[np.sort(drawn)]

    spaces, weights = open_spaces(first.file, discriminator, training.some(CALIBRATION, seed), run)
    if not weights:
        run.say("comparing pixels only: no discriminator is next to the generator; name one with --discriminator")
    look.inputs.update(weights | {label: subject.weights for label, subject in subjects.items()})
    pixels, lines = training.pixels().numpy(), []
    found: dict[str, dict[str, evaluation.Nearness]] = {label: {} for label in shown}  # label -> space -> nearness
    for space, points in spaces.items():
        with timed(look.seconds, space):
            references = points(pixels)
            for label, images in shown.items():
                near = found[label][space] = evaluation.nearness(points(images), references, seed=seed)
                lines.append(_line(label, space, near))
                file = f"nearest-{label.replace(' ', '-').replace('/', '-')}-{space}.png"
                look.pictures[file] = sheet.pairs(
                    images[:PAIRED],
                    pixels[near.nearest[:PAIRED]],
                    names=("sample", "nearest"),
                    title=f"{label}, each beside its nearest training image, by {space}",
                )
    look.tables["memorised.csv"] = pd.DataFrame(lines)
    verdicts = {label: verdict(of_spaces) for label, of_spaces in found.items()}
    look.figures.update(verdicts=verdicts, lines=lines)
    look.answers.extend(f"{label}: {text}" for label, text in verdicts.items())
    return look


def verdict(spaces: Mapping[str, evaluation.Nearness]) -> str:
    """Return one line that says what was found. spaces: name of a space -> nearness in it."""
    told = [
        f"memorised: {near.copies} of {near.n} samples are at most a third as far from one training image as "
        f"from any other ({space}; {near.reference_copies} of {near.references} training images are)"
        for space, near in spaces.items()
        if near.memorised
    ][:1]
    told += [
        f"collapsed: samples differ from one another {near.diversity:.2f} times as much as training images do, "
        f"from the nearest other {near.spacing:.2f} times as much ({space})"
        for space, near in spaces.items()
        if min(near.diversity, near.spacing) < DIVERSITY
    ][:1]
    copies = {space: near for space, near in spaces.items() if near.copies}
    if copies and not told:
        space, near = max(copies.items(), key=lambda item: item[1].copies)
        told.append(
            f"{near.copies} of {near.n} samples are copies ({space}; {near.reference_copies} of {near.references} "
            "training images are): too few to decide"
        )
    return "; ".join(told) or "no near-exact copies, no collapse"


def _files(named: Path) -> list[Path]:
    """Return the file itself; for a run's folder, its generator and then its generators of early epochs."""
    if not named.is_dir():
        return [named]
    return [named / GENERATOR, *(file for file in early_generators(named).values() if file.exists())]


def _open_all(files: Sequence[Path], seed: int, run: Run) -> dict[str, Subject]:
    """Return label -> generator. Raises UserError if one is named twice, or if their images differ in size."""
    if len({file.resolve() for file in files}) < len(files):
        raise UserError("a generator is named twice; name each once")
    subjects = [open_subject(file, seed, run) for file in files]
    if len({subject.image_shape for subject in subjects}) > 1:
        raise UserError("the generators draw images of several sizes; name those of one run")
    labels, depth = [network_name(file) for file in files], 2
    while len(set(labels)) < len(labels):  # add folders above until the labels differ
        labels = ["/".join(file.resolve().parts[-depth:]) for file in files]
        depth += 1
    return dict(zip(labels, subjects, strict=True))


def _common_training_images(files: Sequence[Path], named: str | None, shape: Sequence[int], run: Run) -> TrainingImages:
    """Return the images that all were trained on. Raises UserError if they are not the same, or are too few."""
    known, *others = [training_images(file, named, run, shape) for file in files]
    for file, other in zip(files[1:], others, strict=True):
        if other.packed.digest != known.packed.digest or not np.array_equal(other.rows, known.rows):
            raise UserError(f"{file} was trained on other images than {files[0]}; look at them one by one")
    if len(known.rows) < LEAST:
        raise UserError(f"{known.packed.name} has {len(known.rows)} images; {LEAST} are needed to compare with")
    return known


def _line(label: str, space: str, near: evaluation.Nearness) -> dict[str, Any]:
    copies = evaluation.interval95_of_proportion(near.copies, near.n)
    line = {"images": label, "space": space, "n": near.n}
    line |= {"copies_percent": copies.estimate, "copies_low": copies.low, "copies_high": copies.high}
    line["training_copies_percent"] = 100 * near.reference_copies / near.references
    return line | {name: getattr(near, name) for name in PLACED}
