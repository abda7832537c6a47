"""Hostile copies of what the program itself wrote: records, audits, runs, looks, tables, features, marks."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from experiments.studies.reliability import caches
from experiments.studies.reliability.case import Case
from experiments.studies.reliability.mutate import Rng, damage_file, edit_csv, on, pick, retype_json, retype_line
from experiments.studies.reliability.workplace import CHECKPOINT_IMAGES, EVAL, TRAINED

REPORT = ("report", "--out", "report.html")
TABLES = ("svhn", "cifar10", "mnist")
# fields of a record that may be null, or that no table shows
LOOSE = ("error_bar", "features", "max_units", "seed", "hardware", "versions", "seconds", "command", "started")


def records(rng: Rng) -> Case:
    """A file of committed records: other types, damaged bytes."""
    table = pick(rng, TABLES)
    change = pick(rng, (retype_line, retype_line, damage_file))
    how: dict[str, Any] = {"keep": LOOSE} if change is retype_line else {}
    command = pick(rng, (("table", table), ("table", table), REPORT, ("compare", "20261127-00000000", "pixels")))
    accepts = "same" if command[0] == "table" and change is retype_line else "any"
    prepare = on(f"results/runs/{table}.jsonl", change, rng, **how)
    results = ("results/tables/*",)
    return Case("records", table, command, prepare, accepts, " ".join(command), results, needs=("results",))


def own_records(rng: Rng) -> Case:
    """The user's own record, which `eval` looks up before it measures; it may measure again, with the same result."""
    change = pick(rng, (retype_line, damage_file))
    how: dict[str, Any] = {"keep": LOOSE} if change is retype_line else {}
    prepare = on("runs/records/cifar10.jsonl", change, rng, **how)
    needs = ("runs/records", "runs/packed", "runs/features")
    return Case("own records", "", EVAL, prepare, "same", "own records", needs=needs)


def costs(rng: Rng) -> Case:
    """The committed records of costs."""
    return _of_table("costs", "costs", "leaderboard", rng)


def ablations(rng: Rng) -> Case:
    """The committed record of the ablation, whose variants are nested in it."""
    return _of_table("ablation records", "ablation", "ablation", rng)


def _of_table(reader: str, file: str, table: str, rng: Rng) -> Case:
    """Return the case in which `table` reads a file of records with another type in one of its lines."""
    prepare = on(f"results/runs/{file}.jsonl", retype_line, rng, keep=LOOSE)
    command, tables = ("table", table), ("results/tables/*",)
    return Case(reader, "", command, prepare, "same", " ".join(command), tables, needs=("results",))


def audits(rng: Rng) -> Case:
    """A leakage audit."""
    change = pick(rng, (retype_json, retype_json, damage_file))
    prepare = on("results/leakage/tiny-in-cifar10-test.json", change, rng)
    return Case("audit", "", REPORT, prepare, "same", "report", ("report.html",), needs=("results",))


def report(rng: Rng) -> Case:
    """A folder of results of which one file is hostile."""
    files = {
        "training/run/training.json": (retype_json, damage_file),
        "training/run/epochs.csv": (edit_csv, damage_file),
        "training/run/samples.png": (damage_file,),
        "training/run/samples.webp": (damage_file,),
        "look/walk/record.json": (retype_json, damage_file),
        "look/walk/walk.csv": (edit_csv, damage_file),
        "look/walk/walk.png": (damage_file,),
        "tables/cifar10.csv": (edit_csv, damage_file),
        "tables/leaderboard.csv": (edit_csv,),
        "tables/mnist-curve.csv": (edit_csv, damage_file),
        "tables/svhn-paired.csv": (edit_csv,),
        "curves/imagenet32-half.csv": (edit_csv, damage_file),
        "curves/trials-width-32-aug.json": (retype_json,),
    }
    file = pick(rng, list(files))
    return Case("report", "", REPORT, on(f"results/{file}", pick(rng, files[file]), rng), needs=("results",))


def run_folder(rng: Rng) -> Case:
    """A stopped run of which one file is hostile, resumed; its earlier pictures must stay or it must be refused."""
    files = {
        "epochs.csv": (edit_csv, edit_csv, damage_file),
        "losses.csv": (edit_csv, edit_csv, damage_file),
        "data.json": (retype_json, damage_file),
        "removed.csv": (edit_csv, damage_file),
        "samples.png": (damage_file,),
        "samples.webp": (damage_file,),
    }
    file = pick(rng, list(files))
    prepare = on(f"train/half/{file}", pick(rng, files[file]), rng)
    argv = ("train", "tiny.toml", "--out", "train/half", *CHECKPOINT_IMAGES)
    results = (
        *(f"train/half/{name}.safetensors" for name in ("discriminator", "generator")),
        "train/half/epochs/*.png",
    )
    needs = ("tiny.toml", "train/half", "runs/packed/tiny")
    return Case("run's folder", file, argv, prepare, "same", "train/half", results, needs)


def beside(rng: Rng) -> Case:
    """What lies beside a network: training.json and removed.csv, from which looks and audits learn its images."""
    file, change = pick(
        rng, (("training.json", retype_json), ("training.json", damage_file), ("removed.csv", edit_csv))
    )
    generator, discriminator = (f"{TRAINED}/{name}.safetensors" for name in ("generator", "discriminator"))
    command = pick(
        rng,
        (
            ("look", "memorised", TRAINED, "--samples", "8"),
            ("look", "walk", generator, "--rows", "1", "--steps", "2"),
            ("eval", discriminator, "--dry-run"),
            ("look", "filters", TRAINED, "--maps", "1", "--top", "1", "--images", "16"),
        ),
    )
    prepare = on(f"{TRAINED}/{file}", change, rng)
    return Case("beside a network", f"{command[1]}, {file}", command, prepare, needs=(TRAINED, "runs/packed/tiny"))


def marks(rng: Rng) -> Case:
    """The boxes or concepts that a person exported from a page."""
    file = pick(rng, ("boxes.json", "concepts.json"))
    forget = ("look", "forget", TRAINED, "--boxes", file, "--draws", "1", "--layer", "deconv2")
    adding = ("look", "arithmetic", TRAINED, "--exemplars", file, "--a", "one", "--b", "two", "--c", "three")
    argv = forget if file == "boxes.json" else adding
    prepare = on(file, pick(rng, (retype_json, retype_json, damage_file, _odd_marks)), rng)
    return Case("marks", file, argv, prepare, needs=(TRAINED, file))


def _odd_marks(file: Path, rng: Rng) -> str:
    whole = json.loads(file.read_text())
    key = "boxes" if "boxes" in whole else "concepts"
    odd: tuple[Any, ...] = (
        *({"0": [[0, 0, 1e308, 1e308]]}, {"0": [[2, 2, 2, 2]]}, {"9" * 5000: [[1, 1, 2, 2]]}, {"²": [[1, 1, 2, 2]]}),
        *({"0": [[float("nan")] * 4]}, {"-1": [[1, 1, 9, 9]]}, {"1023": [[1, 1, 9, 9]]}, {"1024": [[1, 1, 9, 9]]}),
        *({"one": [0, 0, 0], "two": [1, 2, 3], "three": [4, 5, 6]}, {"one": [10**30, 1, 2]}, {"\x1b": [0, 1, 2]}),
        *({"one": [0.0, 1.0, 2.0]}, {"": []}, {"one": [True, False, 2]}, {"0": [[1, 1, 9, 9]] * 5000}),
    )
    whole[key] = pick(rng, odd)
    if rng.random() < 0.2:
        whole["seed"] = pick(rng, (2**63, 2**64, -1, 2**63 - 1, True))
    file.write_text(json.dumps(whole))
    return f"{key} {str(whole[key])[:40]}"


def features(rng: Rng) -> Case:
    """The journal or the key of stored features; the features must be rebuilt or stay what they were."""
    how, own = pick(rng, ("chunks.json", "chunks.json", "key.json")), np.random.default_rng(int(rng.integers(2**63)))
    change = pick(rng, (retype_json, damage_file))

    def prepare(folder: Path) -> str:
        (store,) = (folder / "cache/features").iterdir()
        return change(store / how, own)

    reading = ("features", "cache")
    return Case(
        "stored features", how, reading, prepare, "same", "features", needs=("cache/features",), call=caches.CALL
    )


def kept_files(rng: Rng) -> Case:
    """A file of kept arrays, damaged: it must be refused or made again."""
    name = pick(rng, ("kept", "ablation", *caches.MADE_IN_PLACE))
    own = np.random.default_rng(int(rng.integers(2**63)))
    where = f"cache/{name}"

    def prepare(folder: Path) -> str:
        if name in caches.MADE_IN_PLACE:
            caches.make_in_place(name, folder / where)
        return damage_file(pick(own, caches.files(name, folder / where)), own)

    return Case("kept arrays", name, (name, "cache"), prepare, "same", name, needs=(where,), call=caches.CALL)
