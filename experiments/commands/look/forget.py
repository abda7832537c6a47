"""`dcgan-eval look forget`: redraw samples without the maps that respond to an object."""

import argparse
from pathlib import Path

from experiments.commands.look import options as shared
from experiments.run.context import Run
from experiments.run.errors import UserError

EXAMPLE = """dcgan-eval look forget RUN --sheet
  dcgan-eval look forget RUN --boxes boxes.json"""


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `look forget`."""
    shared.sheet_options(parser, "boxes.html, on which boxes are drawn,", 150)
    parser.add_argument("--boxes", type=Path, metavar="FILE.json", help="the boxes, exported from boxes.html")
    parser.add_argument("--layer", help="default: the second-highest stage whose output is maps (deconv2 for dcgan64)")
    parser.add_argument("--draws", type=int, default=20, help="sets of random maps to drop (default: %(default)s)")
    shared.look_options(parser)


def execute(arguments: argparse.Namespace, run: Run) -> int:
    """Drop the maps, or write the page on which boxes are drawn."""
    if arguments.sheet:
        return shared.write_sheet("forget", "boxes", arguments, run)
    if arguments.boxes is None:
        raise UserError("name the boxes: --boxes FILE.json from boxes.html, which --sheet writes")

    from experiments.look.forget import forget
    from experiments.look.pages import read_marks

    marks = read_marks(arguments.boxes, "boxes")
    return shared.carry_out("forget", forget, arguments.generator, arguments, run, marks=marks)
