"""`dcgan-eval look memorised`: whether samples are copies of training images, or all alike."""

import argparse

from experiments.commands.look import options as shared
from experiments.run.context import Run

EXAMPLE = "dcgan-eval look memorised RUN"


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `look memorised`."""
    early = "; for a folder, its generators of epochs 1 and 5 are looked at too; several generators are compared"
    parser.add_argument(
        "generators", metavar="generator", nargs="+", type=shared.network_path, help=shared.GENERATOR_HELP + early
    )
    parser.add_argument("--samples", type=int, default=1_000, help="samples of each generator (default: %(default)s)")
    shared.comparison_options(parser)
    shared.look_options(parser)


def execute(arguments: argparse.Namespace, run: Run) -> int:
    """Compare samples with training images, and print a verdict for each network."""
    from experiments.look.memorised import memorised

    first = shared.generator_file(str(arguments.generators[0]))
    return shared.carry_out("memorised", memorised, first, arguments, run)
