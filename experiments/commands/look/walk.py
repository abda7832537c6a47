"""`dcgan-eval look walk`: images between random z."""

import argparse

from experiments.commands.look import options as shared
from experiments.run.context import Run

EXAMPLE = "dcgan-eval look walk faces-64"


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `look walk`."""
    parser.add_argument("generator", type=shared.generator_file, help=shared.GENERATOR_HELP)
    parser.add_argument("--steps", type=int, default=9, help="images in each row (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=10, help="each begins where the last ended (default: %(default)s)")
    parser.add_argument("--path", default="straight", help="straight (the default, as in the paper) or spherical")
    parser.add_argument("--z", metavar="I,J,...", help="indices on the sheet to pass through (default: 0 to --rows)")
    shared.comparison_options(parser)
    shared.look_options(parser)


def execute(arguments: argparse.Namespace, run: Run) -> int:
    """Walk from each z to the next."""
    from experiments.look.subject import NUMBERED, parse_indices
    from experiments.look.walk import walk

    ends = (
        range(min(arguments.rows, NUMBERED) + 1) if arguments.z is None else parse_indices(arguments.z, "--z", least=2)
    )
    return shared.carry_out("walk", walk, arguments.generator, arguments, run, ends=tuple(ends))
