"""What the looks share: options, names of networks, how a look is carried out, and pages to mark samples on."""

import argparse
import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from experiments.commands.options import LAST_SEED, add_roots, whole
from experiments.networks.kinds import SHIPPED, WEIGHTS
from experiments.run import console
from experiments.run.context import Run
from experiments.training.files import DISCRIMINATOR, GENERATOR

GENERATOR_HELP = (
    "generator.safetensors of a training run, the run's folder, or a network that comes with the project, e.g. faces-64"
)


def network_path(named: str) -> Path:
    """Return the folder of the network with that name if one comes with the project, else the name as a path."""
    return WEIGHTS / named if named in SHIPPED else Path(named)


def generator_file(named: str) -> Path:
    """Return the generator's file, named by its path, a run's folder or a network's name; see `network_path`."""
    path = network_path(named)
    return path / GENERATOR if path.is_dir() else path


def discriminator_file(named: str) -> str:
    """Return the discriminator's file likewise. A text that names another kind of backbone is returned unchanged."""
    path = network_path(named)
    return str(path / DISCRIMINATOR) if path.is_dir() else named


def look_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of every look."""
    seeds = "seed of the numbered z and of all draws, unless a JSON file has its own (default: %(default)s)"
    parser.add_argument("--seed", type=whole("--seed", 0, LAST_SEED), default=0, help=seeds)
    parser.add_argument("--out", type=Path, help="folder (default: RUNS_ROOT/look/KIND-NAME)")
    add_roots(parser, device=True)


def comparison_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of looks that compare samples with training images."""
    features = "network whose features are compared, as for eval (default: the discriminator in the generator's folder)"
    parser.add_argument("--discriminator", metavar="BACKBONE", help=features)
    parser.add_argument("--data", metavar="NAME", help="the training set (default: the one that the run recorded)")


def sheet_options(parser: argparse.ArgumentParser, page: str, samples: int) -> None:
    """Add the generator, --sheet (writes the page on which a person marks samples) and --samples."""
    parser.add_argument("generator", type=generator_file, help=GENERATOR_HELP)
    parser.add_argument("--sheet", action="store_true", help=f"write {page} and stop")
    parser.add_argument("--samples", type=int, default=samples, help="samples on the sheet (default: %(default)s)")


def carry_out(
    kind: str, look: Callable[..., Any], network: Path | str, arguments: argparse.Namespace, run: Run, **more: Any
) -> int:
    """Look at the network, and write the result into the folder of `look.result.look_folder`.

    The look gets `run`, the arguments in `more`, and for its other parameters the options of the same names.
    """
    from experiments.look import result

    given = vars(arguments) | more | {"run": run}
    bound = partial(look, **{name: given[name] for name in inspect.signature(look).parameters})
    result.carry_out(bound, result.look_folder(kind, network, run, arguments.out), run)
    return 0


def write_sheet(kind: str, marked: str, arguments: argparse.Namespace, run: Run) -> int:
    """Write the page on which a person marks `marked` ("concepts" or "boxes"), and print its path. kind: the look."""
    from experiments.look import pages, result

    generator = arguments.generator
    folder = result.look_folder(kind, generator, run, arguments.out)
    page = pages.write_page(marked, generator, arguments.seed, arguments.samples, folder, run)
    console.answer(str(page))
    return 0
