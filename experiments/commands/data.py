"""`dcgan-eval data NAME ...`: get data sets by name and pack them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.commands import options as shared
from experiments.data.names import NAMES
from experiments.run import console
from experiments.run.context import Run

if TYPE_CHECKING:
    from experiments.data.packed import PackedSet

EXAMPLE = """dcgan-eval data cifar10-train cifar10-test --data-root ~/data

--json prints {"sets": [...]}; a set has name, shape, digest, source, folder, and skipped, the number of files that
could not be read."""


def options(parser: argparse.ArgumentParser) -> None:
    """Add the names of the sets."""
    parser.add_argument("name", nargs="+", help=f"{', '.join(NAMES)}, or a set packed before")
    shared.add_allow_skipped(parser)
    shared.add_output(parser)
    shared.add_roots(parser)


def execute(arguments: argparse.Namespace, run: Run) -> int:
    """Get and print each set; return 1 if files were skipped because they could not be decoded."""
    from experiments.data.load import load

    return answer_sets(arguments, [load(name, run) for name in arguments.name], run)


def answer_sets(arguments: argparse.Namespace, sets: Sequence[PackedSet], run: Run) -> int:
    """Print what the sets are, and how many of their files were skipped; return the exit code."""
    found, lines, unread = [], [], []
    for packed in sets:
        skipped, source = packed.meta.get("skipped_files", ()), packed.meta["source"]
        shape, folder = list(packed.images.shape), _folder(packed.name, run)
        found.append(
            {
                "name": packed.name,
                "shape": shape,
                "digest": packed.digest,
                "source": source,
                "folder": str(folder),
                "skipped": len(skipped),
            }
        )
        told = f"{packed.name}: uint8 {shape}, digest {packed.digest[:16]}, from "
        lines.append(told + console.shortened(source, max(20, console.WIDTH - len(told))))
        if skipped:
            run.say(f"skipped {console.first_few(skipped)}")
        unread += shared.unread(len(skipped), folder / "meta.json")
    shared.answer(arguments, {"sets": found}, lines + unread)
    return shared.exit_code(arguments, len(unread))


def _folder(name: str, run: Run) -> Path:
    """Return the folder of a packed set: of the two where it may be, the one that is used."""
    given, built = (root / "packed" / name for root in (run.data_root, run.runs_root))
    return given if given.exists() else built
