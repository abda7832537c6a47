"""`dcgan-eval look arithmetic`: add and subtract the mean z of exemplars, or move samples along a turn vector."""

import argparse
from pathlib import Path

from experiments.commands.look import options as shared
from experiments.run.context import Run
from experiments.run.errors import UserError

EXAMPLE = """dcgan-eval look arithmetic RUN --sheet
  dcgan-eval look arithmetic RUN --exemplars concepts.json
  dcgan-eval look arithmetic RUN --turn --a 3,14,15 --b 9,26,53"""


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `look arithmetic`."""
    shared.sheet_options(parser, "sheet.html, on which exemplars are chosen,", 200)
    parser.add_argument("--exemplars", type=Path, metavar="FILE.json", help="concepts exported from sheet.html")
    for letter in "abc":
        parser.add_argument(f"--{letter}", metavar="I,J,K", help="indices on the sheet; with --exemplars, a concept")
    parser.add_argument("--turn", action="store_true", help="turn new samples along the vector from --a to --b")
    shared.look_options(parser)


def execute(arguments: argparse.Namespace, run: Run) -> int:
    """Add and subtract, turn, or write the sheet."""
    if arguments.sheet:
        return shared.write_sheet("arithmetic", "concepts", arguments, run)
    if arguments.turn and arguments.c is not None:
        raise UserError("--turn takes two concepts, left as --a and right as --b; leave --c out")

    from experiments.look.arithmetic import arithmetic
    from experiments.look.pages import read_marks

    texts = {letter: getattr(arguments, letter) for letter in ("ab" if arguments.turn else "abc")}
    marks = None if arguments.exemplars is None else read_marks(arguments.exemplars, "concepts")
    kind = "turn" if arguments.turn else "arithmetic"
    return shared.carry_out(kind, arithmetic, arguments.generator, arguments, run, texts=texts, marks=marks)
