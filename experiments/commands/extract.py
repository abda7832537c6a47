"""`dcgan-eval extract`: extract the features of CIFAR-10, and store them in RUNS_ROOT/features."""

import argparse

from experiments.commands import options as shared
from experiments.run import console
from experiments.run.context import Run

EXAMPLE = "dcgan-eval extract random:imagenet32,width=64"


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `extract`."""
    shared.add_features(parser)


def execute(arguments: argparse.Namespace, run: Run) -> int:
    """Print the shape and the file of each part's features."""
    from experiments.measure import svm

    spec = svm.EvalSpec(shared.network_of(arguments), **shared.feature_settings(arguments))
    shared.check_before(run, run.runs_root / "features")
    if arguments.dry_run:
        console.answer(*svm.describe(spec, run))
        return 0
    for X in svm.extract_features(svm.prepare(spec, run), run):
        console.answer(f"{X.dtype} {list(X.shape)} {getattr(X, 'filename', '')}")
    return 0
