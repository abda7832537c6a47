"""Hostile command lines: empty and odd words, unknown options, impossible numbers, strange paths, odd variables."""

import os
from pathlib import Path

from experiments.studies.reliability.case import Case
from experiments.studies.reliability.mutate import Rng, pick
from experiments.studies.reliability.workplace import NETWORK, TRAINED

NUMBERS = (
    "0",
    "-1",
    "1",
    "2",
    "1.5",
    "nan",
    "inf",
    "1e400",
    "9" * 30,
    "2147483648",
    "x",
    "",
    " ",
    "٣",
    "1_000",
    "0x10",
)
PATHS = (
    *(
        "",
        " ",
        ".",
        "/",
        "..",
        "/dev/null",
        "/dev/full",
        "/proc/self/mem",
        "/proc/1/x",
        "pipe",
        "file",
        "file/x",
        "a" * 300,
    ),
    *("new\nline", "\x1b[31mred", "\udcff", "-x", "=1+1", "~", "$HOME", "%s", "{}", "a/" * 300, "deep/er", "no/../x"),
)
WORDS = (
    "",
    " ",
    "x",
    "--",
    "-",
    "-x",
    "--bogus",
    "--=3",
    "\x1b[2J",
    "\udcff",
    "a" * 5000,
    "é",
    "\u202e",
    "%s",
    "help",
    "0",
)
NETWORKS = (NETWORK, "pixels", "random:imagenet32,width=2", "", " ", "nothing", "imagenet32-half")
DEVICES = ("cpu", "meta", "cuda", "cuda:99", "cpu:3", "mps", "xla", "", " ", "x", "cpu\n", "-1", "hpu", "auto", "CPU")
NUMBERED = {  # command -> words before, options that take numbers
    "train": (("train", "tiny.toml", "--dry-run"), ("--checkpoint-images",)),
    "eval": (("eval", NETWORK, "--dry-run"), ("--seed", "--subset", "--C", "--samples", "--trials")),
    "extract": (("extract", NETWORK, "--dry-run"), ("--seed", "--subset")),
    "ablate": (("ablate", NETWORK, "--dry-run"), ("--seed", "--subset")),
    "check": (("check", "nothing"), ("--seed",)),
    "dedup": (("dedup", "tiny", "--method", "phash", "--dry-run"), ("--radius",)),
    "compare": (("compare", "a", "b"), ("--alpha",)),
    "walk": (("look", "walk", TRAINED), ("--seed", "--steps", "--rows", "--z")),
    "sheet": (("look", "arithmetic", TRAINED, "--sheet"), ("--seed", "--samples")),
    "filters": (("look", "filters", TRAINED, "--images", "16"), ("--seed", "--maps", "--top", "--images")),
    "memorised": (("look", "memorised", TRAINED), ("--seed", "--samples")),
    "pack": (("data", "pack", "photos", "--dry-run"), ("--size",)),
}
CHOICES = (
    *(
        ("eval", NETWORK, "--dry-run", f"--{name}")
        for name in ("table", "protocol", "classifier", "batchnorm", "store")
    ),
    *(("eval", NETWORK, "--dry-run", f"--{name}") for name in ("layers", "C", "backbone", "device")),
    *(("dedup", "tiny", "--dry-run", f"--{name}") for name in ("method", "against", "out")),
    *(("table",), ("data",), ("train",), ("look",), ("compare", "a"), ("look", "walk"), ("data", "pack"), ()),
    *(("train", "tiny.toml", "--dry-run", f"--{name}") for name in ("set", "out", "device", "checkpoint-images")),
    ("data", "pack", "photos", "--size", "32", "--dry-run", "--name"),
)
NEEDS = ("tiny.toml", TRAINED, "runs/packed/tiny", "photos", "results")


def command_line(rng: Rng) -> Case:
    """A command line with one odd word."""
    how = pick(rng, ("number", "number", "choice", "choice", "device", "root", "out", "name", "variable", "extra"))
    env: dict[str, str] = {}
    if how == "number":
        before, options = NUMBERED[pick(rng, list(NUMBERED))]
        argv = (*before, pick(rng, options), pick(rng, NUMBERS))
    elif how == "choice":
        argv = (*pick(rng, CHOICES), pick(rng, (*WORDS, *PATHS)))
    elif how == "device":
        argv = (*pick(rng, (("eval", NETWORK, "--dry-run"), ("check", NETWORK), ("look", "walk", TRAINED))), "--device")
        argv = (*argv, pick(rng, DEVICES))
    elif how == "root":
        command = pick(rng, (("data", "tiny"), ("report",), ("table", "svhn"), ("eval", NETWORK, "--dry-run")))
        argv = (*command, pick(rng, ("--data-root", "--runs-root")), pick(rng, PATHS))
    elif how == "out":
        argv = (*_with_out(rng), "--out", pick(rng, PATHS))
    elif how == "name":
        named = pick(rng, (*WORDS, *PATHS))
        start = pick(rng, (("data",), ("dedup",), ("train",), ("look", "walk"), ("look", "filters"), ("compare", "a")))
        argv = (*start, named)
        if start == ("dedup",) and named in (".", "/", "..", "/dev/null", "~"):  # what it would find there takes long
            argv = (*argv, "--dry-run") if named == "." else (*start, "nothing")
    elif how == "variable":
        variable = pick(
            rng, ("DEVICE", "BACKBONE", "LAYERS", "DATA_ROOT", "RUNS_ROOT", "WORLD_SIZE", "RANK", "COLUMNS")
        )
        env = {variable: pick(rng, (*DEVICES, *NUMBERS, *NETWORKS))}
        argv = pick(
            rng, (("eval", "--dry-run"), ("data", "tiny"), ("train", "tiny.toml", "--dry-run"), ("check", NETWORK))
        )
    else:
        argv = pick(
            rng, (("table", "svhn"), ("data", "tiny"), ("report",), ("compare", "a", "b"), ("look", "walk", TRAINED))
        )
        argv = (*argv, *(pick(rng, WORDS) for _ in range(int(rng.integers(1, 4)))))
    argv = tuple(word.replace("\x00", "") for word in argv)
    return Case("command line", f"{how}: {' '.join(argv)[-60:]!r} {env or ''}", argv, _entries, needs=NEEDS, env=env)


def _with_out(rng: Rng) -> tuple[str, ...]:
    return pick(
        rng,
        (
            *(("report",), ("train", "tiny.toml", "--dry-run"), ("dedup", "tiny", "--method", "phash")),
            *(("look", "walk", TRAINED, "--rows", "1", "--steps", "2"), ("look", "arithmetic", TRAINED, "--sheet")),
        ),
    )


def _entries(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "file").write_text("x")
