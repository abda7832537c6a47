"""`dcgan-eval data pack SOURCE`: pack the images of a folder, a zip or an LSUN LMDB for recipes."""

import argparse
import re
from pathlib import Path

from experiments.commands import options as shared
from experiments.commands.data import answer_sets
from experiments.data.names import is_name
from experiments.run import console
from experiments.run.context import Run
from experiments.run.errors import UserError

EXAMPLE = "dcgan-eval data pack ~/lsun/bedroom_train_lmdb --size 64 --name bedrooms"


def options(parser: argparse.ArgumentParser) -> None:
    """Add the source, and the properties of the packed set."""
    parser.add_argument(
        "source", metavar="SOURCE", type=Path, help="folder of images (and zips), zip, or folder of an LMDB"
    )
    parser.add_argument("--size", type=int, choices=(32, 64), required=True, help="width and height in pixels")
    parser.add_argument("--name", help="name of the set, for recipes (default: the source's name and the size)")
    parser.add_argument("--gray", action="store_true", help="one channel instead of three")
    shared.add_dry_run(parser)
    shared.add_allow_skipped(parser)
    shared.add_output(parser)
    shared.add_roots(parser)


def execute(arguments: argparse.Namespace, run: Run) -> int:
    """Pack the images, or say what would be done; return 1 if files could not be decoded."""
    from experiments.data.images.pack import PackSpec, pack_images, plan

    source: Path = arguments.source
    name = arguments.name or f"{_own_name(source)}-{arguments.size}"
    _check_name(name, run)
    folder = run.runs_root / "packed" / name
    planned, spec = plan(source), PackSpec(arguments.size, channels=1 if arguments.gray else 3)
    if arguments.dry_run:
        size = console.size(planned.count * spec.side**2 * spec.channels)
        images = console.counted(planned.count, "image")
        lines = [f"would pack {images} of {source} into {folder}: {size}, double while packing"]
        if n := len(planned.skipped):
            example = ": ".join(planned.skipped[0])
            lines.append(f"would skip {console.counted(n, 'file')}, such as {example}")
        shared.answer_plan(arguments, [*lines, shared.UNKNOWN])
        return 0
    return answer_sets(arguments, [pack_images(planned, folder, spec, run)], run)


def _own_name(source: Path) -> str:
    """Make a name from the source's own name."""
    own = source.resolve().stem if source.is_file() else source.resolve().name
    return re.sub(r"[^\w.-]+", "-", own).strip("-.") or "images"


def _check_name(name: str, run: Run) -> None:
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise UserError(f"--name must be one word of letters, digits, '_', '-' and '.', got {name!r}")
    if is_name(name):
        raise UserError(f"{name!r} is the name of a set that has its own source: choose another --name")
    given, own = (root.resolve() / "packed" / name for root in (run.data_root, run.runs_root))
    if given != own and given.exists():
        raise UserError(f"{given} has the same name and would be used instead of this set: choose another --name")
