"""Hostile recipes, and hostile `--set`: values of other types, impossible sizes, unknown keys, what is no TOML."""

import dataclasses
import os
from pathlib import Path

from experiments.studies.reliability import workplace
from experiments.studies.reliability.case import Case
from experiments.studies.reliability.mutate import DEEP, Rng, damage, pick
from experiments.training.recipe import Recipe

VALUES = (
    *("3", "-1", "0", "1", "2", "7", "2147483648", "9223372036854775808", "9" * 23, "1" + "0" * 400, "0x10", "0.5"),
    *("1e400", "-1e400", "nan", "inf", "-inf", "1e-320", "true", '""', '"x"', '"\\u0000"', '"a\\nb"', '"\\u001b[31m"'),
    *("[]", "[[1]]", "{}", "{a = 1}", "1979-05-27", "07:32:00", '"../../etc"', '"/dev/zero"', '"pipe"', '"random:x"'),
)
KEYS = tuple(field.name for field in dataclasses.fields(Recipe) if field.name not in ("training", "name"))
TRAINING = (
    "images",
    *("decay_from", "batch_size", "lr", "beta1", "weight_decay", "seed", "discriminator_steps", "rotation", "r1"),
    *("augment", "precision", "crop", "mirror", "contrast", "temperature", "contrast_crop", "adversarial"),
)
TABLES = (
    *('dedup = "phash"', "dedup = 3", "[dedup]\nmethod = 3", '[dedup]\nmethod = "phash"\nradius = 64', "[dedup]"),
    *('[dedup]\nmethod = "phash"\nradius = true', "[[training]]", "[training.images]", "[unknown]", "training = 3"),
)


def recipe(rng: Rng) -> Case:
    """A recipe's file, changed, or one of its keys set on the command line."""
    whole = workplace.recipe()
    text, told, words = whole, "", []
    how = pick(rng, ("value", "value", "value", "set", "set", "table", "raw", "bytes"))
    place, value = pick(rng, [*KEYS, *(f"training.{key}" for key in TRAINING)]), pick(rng, VALUES)
    if how == "value":
        text, told = _with(whole, place, value), f"{place} = {value[:30]}"
    elif how == "set":
        # the operating system ends an argument at a NUL, so there is none in it
        told = pick(
            rng, (f"{place}={value}", f"{place} =", f"={value}", f".{place}={value}", f"a.b.c={value}", "x", "")
        )
        words = ["--set", told]
    elif how == "table":
        told = pick(rng, TABLES)
        text = f"{told}\n{whole}" if "=" in told.split("\n")[0] else f"{whole}\n{told}\n"
    elif how == "raw":
        text = pick(rng, ("", "\x00", "a = " + DEEP, "[" * 5000, "a" * 100_000, "=", "a = 1\na = 2", "a.b = 1\na = 2"))
        told = f"is {text[:12]!r}"
    content = text.encode()
    if how == "bytes":
        content, told = damage(content, rng)
    long = any(character in value for character in "79x") and how in ("value", "set")
    dry = long or how == "bytes" or rng.random() < 0.7
    argv = ("train", "hostile.toml", *words, *(["--dry-run"] if dry else ["--out", "out"]))

    def prepare(folder: Path) -> None:
        (folder / "hostile.toml").write_bytes(content)
        _pipe(folder / "pipe")

    return Case("recipe", told[:80], argv, prepare, needs=("runs/packed/tiny",))


def _with(text: str, place: str, value: str) -> str:
    """Return the recipe with this value at a key of its first or second table."""
    table, _, key = place.rpartition(".")
    lines = [line for line in text.splitlines() if not line.startswith(f"{key} =")]
    at = lines.index("[training]") + 1 if table else 0
    return "\n".join([*lines[:at], f"{key} = {value}", *lines[at:]]) + "\n"


def _pipe(path: Path) -> None:
    """Make a pipe, which waits for ever for somebody who writes."""
    os.mkfifo(path)
