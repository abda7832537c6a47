"""`dcgan-eval look filters`: what the maps of a convolution respond to, by guided backpropagation."""

import argparse

from experiments.commands.look.options import look_options, make_spec
from experiments.run.context import Run

EXAMPLE = """dcgan-eval look filters faces-64 --data samples
  dcgan-eval look filters mynet.py:backbone --data tiny-imagenet-32"""


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("backbone", help="a run's folder, its discriminator.safetensors, or as --backbone of eval")
    parser.add_argument("--layer", default="last", help="default: the last of the backbone's")
    parser.add_argument("--maps", type=int, default=32, help="measured; 6 are shown (default: %(default)s)")
    parser.add_argument("--top", type=int, default=4, help="images a map (default: %(default)s)")
    parser.add_argument("--images", type=int, default=2_000, help="searched (default: %(default)s)")
    data = "whose images (default: what the run was trained on), or samples: of the generator beside the network"
    parser.add_argument("--data", metavar="NAME", help=data)
    look_options(parser)


def execute(arguments: argparse.Namespace, run: Run) -> int:
    """Find the images that maps respond to, and what in them counts."""
    from experiments.look.filters import FiltersSpec, filters
    from experiments.look.result import carry_out, look_folder
    from experiments.look.subject import discriminator_file

    backbone = discriminator_file(arguments.backbone)
    spec = make_spec(FiltersSpec, arguments, backbone=backbone)
    carry_out(filters, spec, look_folder("filters", backbone, run, arguments.out), run)
    return 0
