"""The workplace of which each case gets a copy: tiny sets, a trained network, features, records, audits, looks."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from experiments.data.packed import pack
from experiments.run.context import RESULTS
from experiments.studies.reliability import caches
from experiments.studies.reliability.case import Case
from experiments.studies.reliability.pool import Pool

SIDE = 32
IMAGES = 48  # of the set "tiny"
CIFAR = {"train": 2_700, "test": 520}  # several chunks of features
NETWORK = "random:imagenet32,width=2"
RECIPE = """preset = "imagenet32"
dataset = "tiny"
width = 2
held_out = 8
[training]
images = {images}
decay_from = {decay_from}
batch_size = {batch_size}
"""
TRAINED = "train/run"  # folder of a finished run in the workplace
CHECKPOINT_IMAGES = ("--checkpoint-images", "16")
EVAL = ("eval", NETWORK, "--subset", "640", "--C", "0.01")
RECORDS = 2  # lines that are taken of each file of committed records


def recipe(*, images: int = 64, batch_size: int = 8) -> str:
    """Return the TOML of a recipe that trains on the set "tiny"."""
    return RECIPE.format(images=images, decay_from=images // 2, batch_size=batch_size)


def smooth(n: int, rng: np.random.Generator, side: int = SIDE) -> np.ndarray:
    """Make photograph-like noise: uint8 [n, side, side, 3]."""
    small = rng.integers(0, 256, (n, side // 8, side // 8, 3), dtype=np.uint8)
    return np.stack(
        [np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)) for image in small]
    )


def make(base: Path, seed: int = 0) -> dict[str, str]:
    """Make sets, photographs, caches and a folder of results; return the digests of the made-up CIFAR-10."""
    rng = np.random.default_rng(seed)
    images = smooth(IMAGES, rng)
    pack(base / "runs/packed/tiny", [images], shape=images.shape, source="made up", transform="none")
    digests = {}
    for split, n in CIFAR.items():
        labels = rng.permutation(np.arange(n) % 10)
        images = smooth(n, rng) // 2 + (12 * labels[:, None, None, None]).astype(np.uint8)
        folder = base / "runs/packed" / f"cifar10-{split}"
        pack(folder, [images], shape=images.shape, source="made up", transform="none", labels=labels)
        digests[f"{split} images"] = hashlib.sha256(images.tobytes()).hexdigest()
        digests[f"{split} labels"] = hashlib.sha256(labels.astype(np.uint8).tobytes()).hexdigest()
    photographs(base / "photos", rng)
    (base / "tiny.toml").write_text(recipe())
    _results(base / "results")
    caches.make(base)
    return digests


def photographs(folder: Path, rng: np.random.Generator, n: int = 8) -> None:
    """Write n photographs into a folder, the last equal to the first."""
    folder.mkdir(parents=True)
    images = smooth(n, rng, 48)
    images[-1] = images[0]
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i}.{('png', 'jpg')[i % 2]}")


def complete(base: Path, pool: Pool) -> None:
    """Run commands in the workplace, whose outputs are inputs of others: a run, features, a record, an audit, looks."""
    commands: Sequence[Sequence[str]] = (
        ("train", "tiny.toml", "--out", TRAINED, *CHECKPOINT_IMAGES),
        EVAL,
        ("dedup", "tiny", "--against", "cifar10-test"),
        ("dedup", "photos", "--method", "phash", "--radius", "4"),
        ("look", "walk", TRAINED, "--rows", "1", "--steps", "3", "--out", "results/look/walk"),
    )
    for command in commands:
        answer = pool.run(base, Case("workplace", "", tuple(command), limit=300))
        if answer.code:
            raise RuntimeError(f"the workplace cannot be made: {' '.join(command)} ended with {answer}")
    run = base / TRAINED
    if not (run / "state.safetensors").exists():
        raise RuntimeError("the workplace's run has no checkpoint")
    half = base / "train/half"  # as a stopped run leaves it
    shutil.copytree(run, half)
    for name in ("training.json", "discriminator.safetensors", "generator.safetensors"):
        (half / name).unlink()
    shutil.copytree(run, base / "results/training/run", ignore=shutil.ignore_patterns("*.safetensors"))
    for audit in (base / "runs/leakage").glob("*.json"):
        (base / "results/leakage").mkdir(exist_ok=True)
        shutil.copy(audit, base / "results/leakage")
    _marks(base, run)
    caches.make_of_run(base)


def _results(folder: Path) -> None:
    """Copy a few committed records, tables and curves."""
    for name in ("runs", "tables", "curves"):
        (folder / name).mkdir(parents=True)
    for file in (RESULTS / "runs").glob("*.jsonl"):
        lines = file.read_text().splitlines()[:RECORDS]
        (folder / "runs" / file.name).write_text("".join(f"{line}\n" for line in lines))
    for file in [*(RESULTS / "tables").glob("*.csv"), *(RESULTS / "curves").glob("*")]:
        shutil.copy(file, folder / file.parent.name)


def _marks(base: Path, run: Path) -> None:
    """Write what a person would export from the pages of two looks: boxes.json and concepts.json."""
    import features
    import gan

    weights = features.weights_digest(gan.load(run / "generator.safetensors"))
    head = {"seed": 0, "weights": weights}
    (base / "boxes.json").write_text(json.dumps(head | {"boxes": {"0": [[2, 2, 20, 20]], "3": [[4, 4, 18, 16]]}}))
    concepts = {"one": [0, 1, 2], "two": [3, 4, 5], "three": [6, 7, 8]}
    (base / "concepts.json").write_text(json.dumps(head | {"concepts": concepts}))
