"""`dcgan-eval train`: train a recipe."""

import argparse
import json
from pathlib import Path

from experiments.commands.options import add_dry_run, add_record, add_roots, check_before, whole
from experiments.run import console
from experiments.run.context import Run
from experiments.training.files import STATE
from experiments.training.recipe import MOST_IMAGES, load_recipe, recipe_names

EXAMPLE = "dcgan-eval train imagenet32-half --out runs/train/mine"


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `train`."""
    parser.add_argument("recipe", help=f"{', '.join(recipe_names())}, or a .toml file")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a key of the recipe, e.g. width=16 or training.images=1000 (repeatable; give each variant its "
        "own --out); if the length changes, training.decay_from is scaled to stay at the same fraction of the run, "
        "unless it is set too",
    )
    parser.add_argument("--out", type=Path, help="folder of the run (default: RUNS_ROOT/train/RECIPE)")
    parser.add_argument(
        "--checkpoint-images",
        type=whole("--checkpoint-images", 1, MOST_IMAGES),
        metavar="N",
        help="save a checkpoint every N images, and every 5 minutes (default: 25,600, but at most once a minute)",
    )
    parser.add_argument(
        "--tracker",
        metavar="FILE.py:FUNCTION",
        help="also log to a tracker of your own: FUNCTION(folder, recipe) returns track(step, row, grid), which is "
        "called after every look (docs/training.md)",
    )
    add_record(parser, "copy its pictures to results/training")
    add_dry_run(parser)
    add_roots(parser, device=True)


def execute(arguments: argparse.Namespace, run: Run) -> int:
    """Train, and print the path of the discriminator."""
    recipe = load_recipe(arguments.recipe, arguments.set)
    out = arguments.out or run.runs_root / "train" / recipe.name
    check_before(run, out)
    tracker = None
    if arguments.tracker:
        from experiments.training.trackers import load_tracker

        tracker = load_tracker(arguments.tracker)
    if arguments.dry_run:
        from experiments.training.session import check

        check(recipe, out, run)
        console.answer(*json.dumps(recipe.values, indent=2).splitlines())
        begun = "continuing from the checkpoint there" if (out / STATE).exists() else "from the start"
        steps = console.counted(recipe.training.steps, "minibatch")
        console.answer(f"would train {steps} on {run.device} into {out}, {begun}")
        return 0
    from experiments.run.torchrun import joined
    from experiments.training.session import record, train
    from gan import parallel

    with joined(run, stays=f"the last checkpoint stays in {out}", first_decides=True) as joint:
        file = train(recipe, out, joint, checkpoint_images=arguments.checkpoint_images, tracker=tracker)
        if parallel.rank() == 0:
            console.answer(str(file))
            if arguments.record:
                record(out, run.results / "training" / recipe.name)
    return 0
