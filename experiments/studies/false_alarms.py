"""How often the gate of `dcgan-eval compare` closes when it should not: between two halves of one network's draws.

    python -m experiments.studies.false_alarms random:svhn32 --protocol svhn/1000-of-1083

The draws of a protocol with few labels are split at random many times, and the halves are compared as if they were two
networks. The halves are equally good, so a test at level 0.05 may alarm in 5 % of the splits.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

import evaluation
from experiments.measure.classify import Split, few_labels
from experiments.measure.protocols import PROTOCOLS
from experiments.measure.svm import EvalSpec, extract_features, prepare
from experiments.studies.program import new_parser, parse

LEVEL = 0.05
TESTS = ("over images only", "over images and draws", "the gate")


def alarms(right: NDArray[np.bool_], *, overlap: float, pairs: int = 2_000, seed: int = 0) -> dict[str, float]:
    """Return test -> share of one-sided alarms at LEVEL between random halves of the draws. right: bool [R, n]."""
    rng, half = np.random.default_rng(seed), len(right) // 2
    p = np.empty((pairs, len(TESTS)))
    for of_pair in p:
        order = rng.permutation(len(right))
        sides = right[order[:half]], right[order[half : 2 * half]]
        images, draws = ([100 * side.mean(axis) for side in sides] for axis in (0, 1))
        of_pair[0] = stats.ttest_rel(*images, alternative="less").pvalue
        for test, shared in ((1, 0.0), (2, overlap)):
            found = evaluation.paired_over_draws(*images, *draws, overlap=shared, alternative="less")
            of_pair[test] = found.p_value
    return dict(zip(TESTS, (p <= LEVEL).mean(0).tolist(), strict=True))


def main(argv: list[str] | None = None) -> None:
    """Print the share of alarms of each test."""
    parser = new_parser(__doc__)
    parser.add_argument("backbone", help="a network, as for dcgan-eval eval")
    few = [name for name, protocol in PROTOCOLS.items() if protocol.few is not None]
    parser.add_argument("--protocol", choices=few, default=few[0], help="default: %(default)s")
    parser.add_argument("--pairs", type=int, default=2_000, help="random splits (default: %(default)s)")
    arguments, run = parse(parser, argv, device=True)
    spec = EvalSpec(arguments.backbone, protocol=arguments.protocol)
    measurement = prepare(spec, run)
    X, X_test = extract_features(measurement, run)
    split = Split(X, measurement.train.labels, X_test, measurement.test.labels, measurement.holdout)
    assert spec.rules.few is not None
    answer = few_labels(split, spec.grid or (), spec.rules.few, spec.seed, run)
    for name, share in alarms(answer.right, overlap=spec.rules.overlap, pairs=arguments.pairs).items():
        print(f"{name}: {100 * share:.2f} % alarms of {arguments.pairs:,} pairs at level {LEVEL:g}")


if __name__ == "__main__":
    main()
