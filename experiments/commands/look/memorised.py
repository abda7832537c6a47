"""`dcgan-eval look memorised`: whether samples are copies of training images, or all alike."""

import argparse

from experiments.commands.look.options import GENERATOR_HELP, comparison_options, look_options, make_spec
from experiments.run.context import Run

EXAMPLE = "dcgan-eval look memorised RUN"


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    early = "; with a folder its generators of epochs 1 and 5 are looked at, too; several are compared"
    parser.add_argument("generator", nargs="+", help=GENERATOR_HELP + early)
    parser.add_argument("--samples", type=int, default=1_000, help="default: %(default)s")
    comparison_options(parser)
    look_options(parser)


def execute(arguments: argparse.Namespace, run: Run) -> int:
    """Compare samples with training images, and print a verdict for each network."""
    from experiments.look.memorised import MemorisedSpec, memorised
    from experiments.look.result import carry_out, look_folder
    from experiments.look.subject import generator_file, network_path

    named = arguments.generator
    spec = make_spec(MemorisedSpec, arguments, generators=tuple(network_path(text) for text in named))
    carry_out(memorised, spec, look_folder("memorised", generator_file(named[0]), run, arguments.out), run)
    return 0
