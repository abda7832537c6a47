"""`dcgan-eval data ...`: sets by name, `data pack` (images -> packed form), `data lmdb` (images -> LSUN's form)."""

import argparse
import re
from pathlib import Path

from experiments.commands.options import Command, add_roots
from experiments.data import load as datasets
from experiments.data.images.lmdb_writer import write_lmdb
from experiments.data.images.pack import pack_images, plan
from experiments.deduplication import image_source as sources
from experiments.run import console
from experiments.run.context import Run
from experiments.run.errors import UserError

__all__ = ["add", "one_word"]

SUBCOMMANDS = ("pack", "lmdb")
SIDES = (32, 64)


def one_word(argv: list[str]) -> list[str]:
    """`data pack` and `data lmdb` as the one word that argparse takes for a command: `data` itself takes names."""
    if argv[:1] == ["data"] and argv[1:2] and argv[1] in SUBCOMMANDS:
        return [f"data {argv[1]}", *argv[2:]]
    return argv


def add(command: Command) -> None:
    """Add the three commands."""
    data = command(
        "data",
        _data,
        "Get data sets by name and pack them. `data pack` packs any images, `data lmdb` writes them in LSUN's form.",
        "DATA_ROOT=~/data dcgan-eval data cifar10-train",
    )
    data.add_argument("name", nargs="+", help=", ".join(datasets.NAMES))
    add_roots(data)

    packing = command(
        "data pack",
        _pack,
        "Pack the images of a folder, a zip or an LSUN LMDB: the shorter side resized, then the centre square.",
        "dcgan-eval data pack ~/lsun/bedroom_train_lmdb --size 64 --name bedrooms",
    )
    packing.add_argument(
        "source", metavar="SOURCE", type=Path, help="folder (of images, or of zips alone), zip, or folder of an LMDB"
    )
    packing.add_argument("--size", type=int, choices=SIDES, required=True, help="pixels")
    packing.add_argument("--name", help="of the set, for recipes (default: the source's, with the size)")
    packing.add_argument("--gray", action="store_true", help="one channel instead of three")
    packing.add_argument("--dry-run", action="store_true", help="say what would be done and stop")
    add_roots(packing)

    writing = command(
        "data lmdb",
        _lmdb,
        "Write images in LSUN's own form, an LMDB of encoded files.",
        "dcgan-eval data lmdb faces.zip data/lsun/faces_train_lmdb",
    )
    writing.add_argument("source", metavar="SOURCE", help="folder, zip, or the name of a set")
    writing.add_argument("out", metavar="OUT", type=Path, help="the folder to make")
    writing.add_argument("--dry-run", action="store_true", help="say what would be done and stop")
    add_roots(writing)


def _data(arguments: argparse.Namespace) -> int:
    skipped = 0
    for name in arguments.name:
        packed = datasets.load(name, Run(arguments.data_root, arguments.runs_root, progress=console.progress))
        skipped += _told(packed)
    return 1 if skipped else 0


def _told(packed: datasets.PackedSet) -> int:
    """Print what the set is, name what it lacks, and return how many files that are."""
    images = list(packed.images.shape)
    print(f"{packed.name}: uint8 {images}, digest {packed.digest[:16]}, from {packed.meta['source']}")
    skipped = packed.meta.get("skipped_files", ())
    for file in skipped:
        console.say(f"skipped {file}")
    return len(skipped)


def _pack(arguments: argparse.Namespace) -> int:
    source: Path = arguments.source
    name = arguments.name or f"{_plain(source)}-{arguments.size}"
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise UserError(f"--name must be one word of letters, digits, '_', '-' and '.', got {name!r}")
    if datasets.is_name(name):
        raise UserError(f"{name!r} is the name of a set that has its own source: choose another --name")
    if (given := arguments.data_root / "packed" / name).exists():
        raise UserError(f"{given} is a set of that name, which would be taken before this one: choose another --name")
    folder = arguments.runs_root / "packed" / name
    planned, channels = plan(source), 1 if arguments.gray else 3
    if arguments.dry_run:
        needed = planned.count * arguments.size**2 * channels
        print(f"would pack {planned.count:,} images of {source} into {folder}, {needed / 1e6:,.0f} MB, twice meanwhile")
        return 0
    packed = pack_images(
        planned,
        folder,
        side=arguments.size,
        channels=channels,
        work=arguments.runs_root / "packing",
        progress=console.progress,
    )
    return 1 if _told(packed) else 0


def _plain(source: Path) -> str:
    """A name made of the source's own."""
    own = source.resolve().stem if source.is_file() else source.resolve().name
    return re.sub(r"[^\w.-]+", "-", own).strip("-.") or "images"


def _lmdb(arguments: argparse.Namespace) -> int:
    roots = {"data_root": arguments.data_root, "runs_root": arguments.runs_root}
    name, out = arguments.source, arguments.out
    if out.exists():
        raise UserError(f"{out} exists: name a folder that does not, or remove it")
    is_set = sources.is_set(name, Run(**roots))
    if not is_set and not Path(name).exists():
        raise UserError(f"{name!r} is neither a folder, a zip nor a set: check the path, or name a set")
    if arguments.dry_run:
        print(f"would write {f'the set {name}' if is_set else f'{plan(Path(name)).count:,} images of {name}'} as {out}")
        return 0
    source = datasets.load(name, Run(**roots, progress=console.progress)) if is_set else Path(name)
    written = write_lmdb(source, out, progress=console.progress)
    print(f"{out}: {written.records:,} records")
    for file, reason in written.skipped:
        console.say(f"skipped {file}: {reason}")
    return 1 if written.skipped else 0
