"""`dcgan-eval data NAME ...`: get data sets by name and pack them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from experiments.commands.options import add_roots
from experiments.data.names import NAMES
from experiments.run import console
from experiments.run.context import Run

if TYPE_CHECKING:
    from experiments.data.packed import PackedSet

EXAMPLE = "dcgan-eval data cifar10-train cifar10-test --data-root ~/data"


def options(parser: argparse.ArgumentParser) -> None:
    """Add the names of the sets."""
    parser.add_argument("name", nargs="+", help=f"{', '.join(NAMES)}, or a set packed before")
    add_roots(parser)


def execute(arguments: argparse.Namespace, run: Run) -> int:
    """Get and print each set; return 1 if files were skipped because they could not be decoded."""
    from experiments.data.load import load

    skipped = [print_set(load(name, run), run) for name in arguments.name]
    return 1 if any(skipped) else 0


def print_set(packed: PackedSet, run: Run) -> int:
    """Print what the set is, name the files that were skipped, and return their number."""
    images = list(packed.images.shape)
    console.answer(f"{packed.name}: uint8 {images}, digest {packed.digest[:16]}, from {packed.meta['source']}")
    skipped = packed.meta.get("skipped_files", ())
    for file in skipped:
        run.say(f"skipped {file}")
    return len(skipped)
