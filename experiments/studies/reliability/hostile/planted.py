"""Modules planted in the current folder, which must not be executed. Each case needs a new process."""

from pathlib import Path

from experiments.studies.reliability.case import CANARY, Case
from experiments.studies.reliability.mutate import Rng, pick
from experiments.studies.reliability.workplace import NETWORK, TRAINED

MODULES = (
    *("struct", "json", "torch", "numpy", "PIL", "pickle", "random", "sitecustomize", "usercustomize", "lmdb", "scipy"),
    *("experiments", "gan", "dedup", "hashlib", "secrets", "tempfile", "tqdm", "pandas", "safetensors", "torchvision"),
)
COMMANDS = (
    *(("data", "pack", "photos", "--size", "32", "--name", "p"), ("dedup", "photos", "--method", "phash")),
    *(
        ("data", "lsun-room-32"),
        ("eval", NETWORK, "--dry-run"),
        ("look", "walk", TRAINED, "--rows", "1", "--steps", "2"),
    ),
    *(
        ("report",),
        ("table", "svhn"),
        ("train", "tiny.toml", "--dry-run"),
        ("--version",),
        ("eval", "os:getcwd", "--dry-run"),
    ),
)
MANY = 2100  # photographs: more than one chunk, so that the program starts workers


def module(rng: Rng) -> Case:
    """Run a command in a folder in which somebody has put a module of Python."""
    name, command = pick(rng, MODULES), pick(rng, COMMANDS)
    as_folder = rng.random() < 0.3
    many = "photos" in command and rng.random() < 0.7

    def prepare(folder: Path) -> None:
        text = f"import os\nopen(os.path.join({str(folder)!r}, {CANARY!r}), 'a').write('imported {name}')\n"
        for place in (folder, folder / "photos"):
            target = place / name / "__init__.py" if as_folder else place / f"{name}.py"
            target.parent.mkdir(exist_ok=True, parents=True)
            target.write_text(text)
        if many:
            _copies(folder / "photos")
        lmdb = folder / "data/lsun/room_train_lmdb"
        lmdb.mkdir(parents=True)
        (lmdb / "data.mdb").write_bytes(b"x")

    needs = ("photos", TRAINED, "tiny.toml", "results", "runs/packed/tiny")
    return Case("planted module", f"{name}, {' '.join(command)[:40]}", command, prepare, needs=needs, fresh=True)


def _copies(folder: Path) -> None:
    """Link the first photograph many times."""
    first = sorted(folder.glob("*.png"))[0]
    for i in range(MANY):
        (folder / f"copy{i:05}.png").hardlink_to(first)
