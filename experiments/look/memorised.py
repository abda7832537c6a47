"""`look memorised`: whether a generator's samples are copies of its training images, and whether they are all alike.

Looked at twice: pixel by pixel, and by the discriminator's features. Near-exact copies alone are counted.
Images held out of training, where there are any, are looked at as if they were samples: what an honest generator gives.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch

import evaluation
from evaluation import Nearness
from experiments.look import subject as look
from experiments.run import console
from experiments.run.circumstances import timed
from experiments.run.errors import UserError
from experiments.run.files import write_bytes
from experiments.training.collapse import DIVERSITY
from experiments.training.monitor import early_generators
from results import figures

SHOWN = 16  # samples of each generator in the picture
PAIRED = 32  # samples shown beside their nearest
LEAST = 16  # samples that an answer can rest on
HELD_OUT = "held-out images"


def memorised(arguments: argparse.Namespace) -> int:
    """Writes memorised.csv (a line a network and space), samples.png (a row a network), pictures of nearest pairs and
    record.json; prints a verdict. Of a run's folder the generators after early epochs are looked at, too.
    """
    if not LEAST <= arguments.samples <= look.SHEET:
        raise UserError(f"--samples must lie between {LEAST} and {look.SHEET}, got {arguments.samples}")
    groups, seconds = [_generators(Path(named)) for named in arguments.generator], dict[str, float]()
    files = [file for group in groups for file in group]
    if len({file.resolve() for file in files}) < len(files):
        raise UserError("a generator is named twice; name each once")
    subjects = [look.opened(argparse.Namespace(**vars(arguments) | {"generator": file})) for file in files]
    if len({subject.trained.arch.image_shape for subject in subjects}) > 1:
        raise UserError("the generators draw images of several sizes; name those of one run")
    first, labels = subjects[0], _labels(subjects)
    training = _training(arguments, [group[0] for group in groups], first)
    if len(training.rows) < LEAST:
        raise UserError(f"{training.name} has {len(training.rows)} images; {LEAST} are needed to compare with")
    out = look.folder(arguments, "memorised", first.name)
    console.say(
        f"comparing with {len(training.rows):,} images of {training.name}: on two cores minutes for 50,000 of 64x64"
    )
    shown = {label: s.draw(s.z[: arguments.samples]) for label, s in zip(labels, subjects, strict=True)}
    look.clear(out)
    write_bytes(out / "samples.png", figures.blocks(np.stack([images[:SHOWN] for images in shown.values()])))
    if len(training.held_out) >= LEAST:
        held_out = np.random.default_rng(first.seed).permutation(training.held_out)[: arguments.samples]
        shown[HELD_OUT] = training.images[np.sort(held_out)]
    found: dict[tuple[str, str], Nearness] = {}
    with timed(seconds, "pixels"):
        references = training.pixels()
        for label, images in shown.items():
            found[label, "pixels"] = evaluation.nearness(torch.from_numpy(images), references, seed=first.seed)
    with timed(seconds, "features"):
        calibration = training.some(look.CALIBRATION, first.seed)
        if (space := look.feature_space(arguments, first.file, calibration)) is None:
            console.say("pixels alone: there is no discriminator beside the generator; name one with --discriminator")
        else:
            theirs = space.of(training.images, training.rows)
            for label, images in shown.items():
                near = evaluation.nearness(space.of(images, np.arange(len(images))), theirs, seed=first.seed)
                found[label, "features"] = near
    for (label, space_name), near in found.items():
        name = f"nearest-{label.replace(' ', '-').replace('/', '-')}-{space_name}.png"
        neighbours = references[torch.from_numpy(near.nearest[:PAIRED])].numpy()
        write_bytes(out / name, figures.pairs(shown[label][:PAIRED], neighbours))
    look.write_csv(out / "memorised.csv", [_line(*key, near) for key, near in found.items()])
    verdicts = {label: verdict({space: near for (of, space), near in found.items() if of == label}) for label in shown}
    look.write_record(
        out,
        arguments,
        seed=first.seed,
        inputs={"training": training.digest}
        | ({} if space is None else {"features": space.weights})
        | {label: s.weights for label, s in zip(labels, subjects, strict=True)},
        settings={"samples": arguments.samples, "training_images": len(training.rows)},
        figures={"verdicts": verdicts, "lines": [_line(*key, near) for key, near in found.items()]},
        seconds=seconds,
    )
    for label, text in verdicts.items():
        print(f"{label}: {text}")
    return 0


def verdict(spaces: dict[str, Nearness]) -> str:
    """One line of what was found in the spaces looked at, by name."""
    told = []
    for space, near in spaces.items():
        if near.memorised:
            told.append(
                f"memorised: {near.copies} of {near.n} samples are at most a third as far from one training image as "
                f"from any other ({space}; {near.reference_copies} of {near.references} training images are)"
            )
            break
    for space, near in spaces.items():
        if min(near.diversity, near.spacing) < DIVERSITY:
            told.append(
                f"collapsed: samples differ from one another {near.diversity:.2f} times as much as training images do, "
                f"from the nearest other {near.spacing:.2f} times as much ({space})"
            )
            break
    copies = {space: near for space, near in spaces.items() if near.copies}
    if copies and not told:
        space, near = max(copies.items(), key=lambda item: item[1].copies)
        told.append(
            f"{near.copies} of {near.n} samples are copies ({space}; {near.reference_copies} of {near.references} "
            "training images are): too few to tell"
        )
    return "; ".join(told) or "no near-exact copies, no collapse"


def _generators(named: Path) -> list[Path]:
    """The file itself; of a run's folder its generator, then those that it kept of early epochs."""
    if not named.is_dir():
        return [named]
    return [named / look.GENERATOR, *(file for file in early_generators(named).values() if file.exists())]


def _training(arguments: argparse.Namespace, files: list[Path], first: look.Subject) -> look.Training:
    """The images that all of the generators were trained on. UserError where they are not the same."""
    found = [look.training(arguments, file, first.trained.arch.image_shape, needed=True) for file in files]
    known = [training for training in found if training is not None]
    for file, other in zip(files[1:], known[1:], strict=True):
        if other.digest != known[0].digest or not np.array_equal(other.rows, known[0].rows):
            raise UserError(f"{file} was trained on other images than {files[0]}; look at them one by one")
    return known[0]


def _labels(subjects: list[look.Subject]) -> list[str]:
    """Their names; where some share one, the files with as many of the folders above as tell them apart."""
    labels, depth = [subject.name for subject in subjects], 2
    while len(set(labels)) < len(labels):
        labels = ["/".join(subject.file.resolve().parts[-depth:]) for subject in subjects]
        depth += 1
    return labels


def _line(label: str, space: str, near: Nearness) -> dict[str, Any]:
    interval = evaluation.interval95_of_proportion(near.copies, near.n)
    return {
        **{"images": label, "space": space, "n": near.n},
        **{"copies_percent": interval.estimate, "copies_low": interval.low, "copies_high": interval.high},
        "training_copies_percent": 100 * near.reference_copies / near.references,
        **{"below_1_percent": near.below_1_percent, "below_5_percent": near.below_5_percent},
        **{"median_ratio": near.median_ratio, "diversity": near.diversity, "spacing": near.spacing},
    }
