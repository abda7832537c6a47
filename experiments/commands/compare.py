"""`dcgan-eval compare A B`: compare two measured networks image by image, from their records, as a regression gate."""

import argparse

from experiments.commands import options as shared
from experiments.measure.protocols import PROTOCOLS, TABLES
from experiments.run import console
from experiments.run.context import Run
from experiments.run.errors import UserError

EXAMPLE = """dcgan-eval compare 20261124-e6fb37bf 20261124-3908fc8f
  dcgan-eval compare random:imagenet32 mynet.py:network --alpha 0.01

exit codes: 0 B is not significantly worse than A, 1 it is, 2 a mistake.

The gate is one-sided: it closes if p of "B is worse than A" is at most --alpha. So if both networks are equally good,
it refuses B in at most that share of comparisons. It compares two networks, not two ways to train them.

--json prints {"a", "b": {"method", "run_id", "accuracy_percent"}, "protocol", "n_test", "n_runs", "difference": B less
A in points, "interval": [low, high], "interval_kind", "test", "p_value", "alpha", "worse", "agreement_percent",
"kappa", "classes": [{"label", "n_test", "a", "b", "p_value"}]}."""


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `compare`."""
    for name in ("A", "B"):
        parser.add_argument(name, help="a run id, or a network named as for eval; its newest record is taken")
    parser.add_argument(
        "--table", type=shared.one_of(TABLES), help=f"only protocols of this table: {', '.join(TABLES)}"
    )
    known = ", ".join(PROTOCOLS)
    parser.add_argument("--protocol", help=f"{known} or another (default: the newest that both were measured by)")
    parser.add_argument("--alpha", type=float, default=0.05, help="level of the gate (default: %(default)s)")
    shared.add_output(parser)
    shared.add_roots(parser)


def execute(arguments: argparse.Namespace, run: Run) -> int:
    """Print the comparison, the classes and the verdict; return 1 if the gate closes."""
    if not 0 < arguments.alpha < 1:
        raise UserError(f"--alpha must lie between 0 and 1, got {arguments.alpha:g}")
    from experiments.measure import paired_tests
    from experiments.measure.records import pair_named

    a, b = pair_named((arguments.A, arguments.B), arguments.protocol, arguments.table, run)
    if what := paired_tests.unlike(a, b):
        raise UserError(f"{a.run_id} and {b.run_id} {what}: name runs that share them")
    gate = paired_tests.compared(b, a, alternative="less")
    worse = bool(gate.p_value <= arguments.alpha)
    verdict = f"B is {'' if worse else 'not '}significantly worse than A: one-sided p = {gate.p_value:.2g}"
    if arguments.json:
        found = paired_tests.comparison_object(a, b, gate, run) | {"alpha": arguments.alpha, "worse": worse}
        shared.answer(arguments, found, ())
    else:
        told = f"{paired_tests.summary(a, b, gate)}\n\n{paired_tests.class_table(a, b, run)}"
        console.answer(*told.split("\n"), "", f"{verdict}, alpha = {arguments.alpha:g}")
    return 1 if worse else 0
