"""`dcgan-eval look filters`: what the maps of a convolution respond to, by guided backpropagation."""

import argparse

from experiments.commands.look import options as shared
from experiments.run.context import Run

EXAMPLE = """dcgan-eval look filters faces-64 --data samples
  dcgan-eval look filters mynet.py:backbone --data tiny-imagenet-32"""


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `look filters`."""
    network = "a run's folder, its discriminator.safetensors, or any network as for eval"
    parser.add_argument("backbone", type=shared.discriminator_file, help=network)
    parser.add_argument("--layer", default="last", help="default: the backbone's last layer")
    parser.add_argument("--maps", type=int, default=32, help="maps to measure; 6 are shown (default: %(default)s)")
    parser.add_argument("--top", type=int, default=4, help="images to find for each map (default: %(default)s)")
    parser.add_argument("--images", type=int, default=2_000, help="images to search (default: %(default)s)")
    data = "name of the set to search (default: the run's training images), or `samples` of the run's generator"
    parser.add_argument("--data", metavar="NAME", help=data)
    shared.look_options(parser)


def execute(arguments: argparse.Namespace, run: Run) -> int:
    """Find the images that maps respond to, and the pixels that cause the responses."""
    from experiments.look.filters import filters

    return shared.carry_out("filters", filters, arguments.backbone, arguments, run)
