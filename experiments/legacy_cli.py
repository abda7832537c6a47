"""The command line: `dcgan-eval data|dedup|train|check|extract|eval|table|compare|ablate|look|report`.

Exit codes: 0 done, 1 done but the answer is no or an unexpected failure, 2 the user's mistake (one line that names
the fix), 130 interrupted (run the same command again to go on).
"""

import argparse
import dataclasses
import json
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from experiments.commands import data as data_commands
from experiments.commands import look as look_command
from experiments.commands.options import add_roots, commands_of
from experiments.run import console
from experiments.run.context import ROOT, device_of, named_roots
from experiments.run.errors import UserError, one_line
from experiments.run.memory import keep_freed_memory
from experiments.run.torchrun import joined
from experiments.training.recipe import load_recipe, recipe_names
from experiments.training.session import STATE, pretrain, record
from gan import parallel

TRAINING = ROOT / "results" / "training"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    arguments = _parser().parse_args(data_commands.one_word(list(sys.argv[1:] if argv is None else argv)))
    arguments.command = ["dcgan-eval", *(sys.argv[1:] if argv is None else argv)]
    keep_freed_memory()
    signal.signal(signal.SIGTERM, lambda *_: _interrupt())
    # libraries' warnings (a rebuilt cache, say) are for the user too, but as plain lines
    warnings.showwarning = lambda message, *_, **__: console.say(f"warning: {message}")
    try:
        return arguments.run(arguments)
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    except (UserError, ValueError, OSError) as error:
        print(f"dcgan-eval: {one_line(error)}", file=sys.stderr)
        return 2
    except FloatingPointError as error:
        print(f"dcgan-eval: {one_line(error)}", file=sys.stderr)
        return 1


def _interrupt() -> None:
    raise KeyboardInterrupt


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line instead of the usage."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="dcgan-eval", description="DCGAN discriminators as feature extractors.")
    command = commands_of(parser, "data|dedup|train|check|extract|eval|table|compare|ablate|look")

    data_commands.add(command)

    train = command("train", _train, "Train a recipe.", "dcgan-eval train imagenet32-half --out runs/train/mine")
    train.add_argument("recipe", help=f"{', '.join(recipe_names())}, or a .toml file")
    train.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a key of the recipe, e.g. width=16 or training.images=1000 (repeatable; another --out for each)",
    )
    train.add_argument("--out", type=Path, help="folder of the run (default: RUNS_ROOT/train/RECIPE)")
    train.add_argument(
        "--checkpoint-images",
        type=int,
        default=25_600,
        metavar="N",
        help="save every N images, and every 5 minutes (default: %(default)s)",
    )
    train.add_argument("--record", action="store_true", help="keep its pictures in results/training (maintainers)")
    train.add_argument("--dry-run", action="store_true", help="say what would be done and stop")
    add_roots(train, device=True)

    look_command.add(command)
    return parser


def _train(arguments: argparse.Namespace) -> int:
    recipe = load_recipe(arguments.recipe, arguments.set)
    out = arguments.out or arguments.runs_root / "train" / recipe.name
    if arguments.dry_run:
        print(json.dumps(dataclasses.asdict(recipe), indent=2))
        begun = "goes on from the checkpoint there" if (out / STATE).exists() else "from the start"
        print(f"would train {recipe.training.steps:,} minibatches on {arguments.device} into {out}, {begun}")
        return 0
    with joined(device_of(arguments.device)) as device:
        file = pretrain(
            recipe,
            out,
            data_root=arguments.data_root,
            runs_root=arguments.runs_root,
            device=device,
            say=console.say,
            progress=console.progress,
            checkpoint_images=arguments.checkpoint_images,
            command=arguments.command,
            roots=named_roots(arguments),
        )
        if parallel.rank() == 0:
            print(file)
            if arguments.record:
                record(out, TRAINING / recipe.name)
    return 0
