"""`dcgan-eval report`: write one page with all results."""

import argparse
from pathlib import Path

from experiments.commands.options import add_roots
from experiments.run import console
from experiments.run.context import Run, in_clone

EXAMPLE = "dcgan-eval report --out report.html"


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `report`."""
    parser.add_argument("--out", type=Path, help="file (default: RUNS_ROOT/report.html)")
    add_roots(parser)


def execute(arguments: argparse.Namespace, run: Run) -> int:
    """Write the page and print its path; 1 if nothing is recorded."""
    from experiments.report.page import write_report  # imported here because it imports torch

    out = arguments.out or run.runs_root / "report.html"
    if not write_report(out, run):
        return 1
    if not in_clone():
        run.say("without pictures of training runs and looks, which only a clone of the project has")
    console.answer(str(out))
    return 0
