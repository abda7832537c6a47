"""`dcgan-eval look walk`: images between random z."""

import argparse

from experiments.commands.look.options import GENERATOR_HELP, comparison_options, look_options, make_spec
from experiments.run.context import Run

EXAMPLE = "dcgan-eval look walk faces-64"


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("generator", help=GENERATOR_HELP)
    parser.add_argument("--steps", type=int, default=9, help="images a row (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=10, help="each begins where the last ended (default: %(default)s)")
    parser.add_argument("--path", default="straight", help="straight, as in the paper and by default, or spherical")
    parser.add_argument("--z", metavar="I,J,...", help="indices on the sheet to pass through (default: 0 to --rows)")
    comparison_options(parser)
    look_options(parser)


def execute(arguments: argparse.Namespace, run: Run) -> int:
    """Walk."""
    from experiments.look.result import carry_out, look_folder
    from experiments.look.subject import generator_file, parse_indices
    from experiments.look.walk import WalkSpec, walk

    file = generator_file(arguments.generator)
    ends = range(arguments.rows + 1) if arguments.z is None else parse_indices(arguments.z, "--z", least=2)
    spec = make_spec(WalkSpec, arguments, generator=file, ends=tuple(ends))
    carry_out(walk, spec, look_folder("walk", file, run, arguments.out), run)
    return 0
