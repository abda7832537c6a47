"""`dcgan-eval look walk|arithmetic|filters|forget|memorised`: looking inside trained networks (paper section 6)."""

from pathlib import Path

from experiments.commands.options import Command, add_roots, commands_of
from experiments.look.arithmetic import arithmetic
from experiments.look.filters import filters
from experiments.look.forget import forget
from experiments.look.memorised import memorised
from experiments.look.walk import PATHS, walk

__all__ = ["add"]


def add(command: Command) -> None:
    """Add the command and its kinds."""
    look = command(
        "look",
        lambda arguments: 2,
        "Look inside a trained network: pictures, figures and where they come from, into a folder.",
        "dcgan-eval look walk runs/train/faces-64/generator.safetensors",
    )
    kind = commands_of(look, "walk|arithmetic|filters|forget|memorised")

    generator = "generator.safetensors of a training run, or the run's folder"
    data = "the data set it was trained on (default: what the run recorded)"
    features = "network of the feature space, as --backbone of eval (default: the discriminator beside the generator)"

    walking = kind("walk", walk, "Images between random z: do they change smoothly?", "dcgan-eval look walk RUN")
    walking.add_argument("generator", help=generator)
    walking.add_argument("--steps", type=int, default=9, help="images a row (default: %(default)s)")
    walking.add_argument("--rows", type=int, default=10, help="each begins where the last ended (default: %(default)s)")
    walking.add_argument("--path", choices=PATHS, default="straight", help="default: %(default)s, as in the paper")
    walking.add_argument("--z", metavar="I,J,...", help="indices on the sheet to pass through (default: 0 to --rows)")
    walking.add_argument("--discriminator", metavar="BACKBONE", help=features)
    walking.add_argument("--data", metavar="NAME", help=data)

    adding = kind(
        "arithmetic",
        arithmetic,
        "Mean z of exemplars: A - B + C, or a turn vector.",
        "dcgan-eval look arithmetic RUN --sheet\n  dcgan-eval look arithmetic RUN --exemplars concepts.json\n"
        "  dcgan-eval look arithmetic RUN --turn --a 3,14,15 --b 9,26,53",
    )
    adding.add_argument("generator", help=generator)
    adding.add_argument(
        "--sheet", action="store_true", help="write sheet.html, on which exemplars are chosen, and stop"
    )
    adding.add_argument("--samples", type=int, default=200, help="of the sheet (default: %(default)s)")
    adding.add_argument("--exemplars", type=Path, metavar="FILE.json", help="concepts exported from sheet.html")
    for letter in "abc":
        adding.add_argument(f"--{letter}", metavar="I,J,K", help="indices on the sheet, or with --exemplars a concept")
    adding.add_argument("--turn", action="store_true", help="turn new samples along the vector from --a to --b")

    filtering = kind(
        "filters",
        filters,
        "What the maps of a convolution respond to, by guided backpropagation, beside random weights.",
        "dcgan-eval look filters RUN\n  dcgan-eval look filters mynet.py:backbone --data tiny-imagenet-32",
    )
    filtering.add_argument("backbone", help="a run's folder, its discriminator.safetensors, or as --backbone of eval")
    filtering.add_argument("--layer", default="last", help="default: the last of the backbone's")
    filtering.add_argument("--maps", type=int, default=32, help="measured; 6 are shown (default: %(default)s)")
    filtering.add_argument("--top", type=int, default=4, help="images a map (default: %(default)s)")
    filtering.add_argument("--images", type=int, default=2_000, help="searched (default: %(default)s)")
    filtering.add_argument(
        "--data",
        metavar="NAME",
        help="whose images (default: what the run was trained on), or samples: of the generator beside the network",
    )

    forgetting = kind(
        "forget",
        forget,
        "Drop the maps that tell of an object, from boxes drawn around it.",
        "dcgan-eval look forget RUN --sheet\n  dcgan-eval look forget RUN --boxes boxes.json",
    )
    forgetting.add_argument("generator", help=generator)
    forgetting.add_argument("--sheet", action="store_true", help="write boxes.html, on which boxes are drawn, and stop")
    forgetting.add_argument("--samples", type=int, default=150, help="of the sheet (default: %(default)s, the paper's)")
    forgetting.add_argument("--boxes", type=Path, metavar="FILE.json", help="exported from boxes.html")
    forgetting.add_argument("--layer", help="default: the second-highest stage that gives maps, deconv2 of dcgan64")
    forgetting.add_argument("--draws", type=int, default=20, help="sets of random maps (default: %(default)s)")

    remembering = kind(
        "memorised",
        memorised,
        "Are samples copies of training images, or all alike?",
        "dcgan-eval look memorised RUN",
    )
    remembering.add_argument(
        "generator", nargs="+", help=f"{generator}, with those it kept of epochs 1 and 5; several are compared"
    )
    remembering.add_argument("--samples", type=int, default=1_000, help="default: %(default)s")
    remembering.add_argument("--discriminator", metavar="BACKBONE", help=features)
    remembering.add_argument("--data", metavar="NAME", help=data)

    for added in (walking, adding, filtering, forgetting, remembering):
        added.add_argument(
            "--seed",
            type=int,
            default=0,
            help="of the numbered z and all draws, unless a JSON has its own (default: %(default)s)",
        )
        added.add_argument("--out", type=Path, help="folder (default: RUNS_ROOT/look/KIND-NAME)")
        add_roots(added, device=True)
