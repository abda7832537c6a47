"""`dcgan-eval extract`: extract the features of CIFAR-10, and store them in RUNS_ROOT/features."""

import argparse

from experiments.commands import options as shared
from experiments.run import console
from experiments.run.context import Run

EXAMPLE = """dcgan-eval extract random:imagenet32,width=64
  torchrun --nproc-per-node 2 -m experiments extract random:imagenet32,width=64   # each process takes its share"""


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `extract`."""
    shared.add_features(parser)


def execute(arguments: argparse.Namespace, run: Run) -> int:
    """Print the shape and the file of each part's features."""
    from experiments.measure import svm
    from experiments.run.torchrun import after_first

    with shared.joined_for_features(run) as run:
        spec = svm.EvalSpec(shared.network_of(arguments), **shared.feature_settings(arguments))
        shared.check_before(run, run.runs_root / "features")
        if arguments.dry_run:
            console.answer(*svm.describe(spec, run))
            return 0
        measurement = after_first(lambda: svm.prepare(spec, run))
        for X in svm.extract_features(measurement, run):
            console.answer(f"{X.dtype} {list(X.shape)} {getattr(X, 'filename', '')}")
    return 0
