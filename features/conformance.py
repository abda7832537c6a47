"""Run all checks on a network: as findings to read, as one assertion, or as one pytest test for each check.

Like scikit-learn's `check_estimator` and `parametrize_with_checks`. All checks are run, so that all problems are
reported at once. The network is left as it was.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from features.backbone import Backbone, BackboneError
from features.checks import CHECKS, Fails, Warns
from features.errors import one_line
from features.examine import Examination, Waits
from features.pooling import PAPER_GRID, Pool

CIFAR10 = 60_000  # images, training and test

# A Backbone, or a callable without arguments that makes one, so that a Backbone that cannot be made is reported too
Given = Backbone | Callable[[], Backbone]


@dataclass(frozen=True)
class Finding:
    """What a check found.

    ok: None if it waits for another check. seen: what was seen or is wrong. fix: what to do. A finding that is ok and
    has a fix is a warning.

    >>> finding = features.Finding("range", True, "features are up to 9e+03", "scale the features")
    >>> print(finding)
    range: features are up to 9e+03; scale the features
    """

    check: str
    ok: bool | None
    seen: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.check}: {self.seen}{'; ' if self.fix else ''}{self.fix}"


def run_checks(
    backbone: Given, *, pool: Pool = PAPER_GRID, rows: int = CIFAR10, folder: str | os.PathLike[str] = "."
) -> Iterator[Finding]:
    """Yield what every check finds, in the order of `features.checks.CHECKS`, on the network's device.

    backbone: a Backbone, or a callable without arguments that makes one. pool: as for extraction.
    rows, folder: how many images' features would be stored, and where; they are used to check the size.

    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, 2, 1), torch.nn.ReLU())
    >>> backbone = features.Backbone.from_model(net)
    >>> [finding.check for finding in features.run_checks(backbone) if finding.ok][:3]
    ['module', 'layers', 'input']
    """
    exam = _examination(backbone, pool=pool, rows=rows, folder=folder)
    for name in CHECKS:
        yield _find(name, exam)


def check_backbone(backbone: Given, *, pool: Pool = PAPER_GRID) -> None:
    """Raise one ValueError with a line for every check that fails; each line names the fix. See run_checks.

    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, 2, 1), torch.nn.ReLU())
    >>> backbone = features.Backbone.from_model(net)
    >>> features.check_backbone(backbone)  # raises nothing: the features can be compared
    >>> features.check_backbone(features.Backbone(net, ["1"], (1, 32, 32), (-1, 1)))
    Traceback (most recent call last):
        ...
    ValueError: runs: ...; its first convolution takes 3 channels: image_shape=(3, 32, 32)
    """
    if failed := [str(finding) for finding in run_checks(backbone, pool=pool) if finding.ok is False]:
        raise ValueError("\n".join(failed))


def parametrize_with_checks(backbones: Sequence[Given]) -> Any:
    """Return a pytest decorator that turns one test into a test for each check of each backbone.

    backbones: Backbones, or callables without arguments that make one. A callable is called when the first of its tests
    runs.

        @features.parametrize_with_checks([mynet.backbone])
        def test_backbone(check):
            check()

    `check()` raises AssertionError with what is wrong and the fix. A check that waits for another one is skipped.

    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, 2, 1), torch.nn.ReLU())
    >>> backbone = features.Backbone.from_model(net)
    >>> mark = features.parametrize_with_checks([backbone])  # made when pytest collects the test
    >>> mark.name, mark.args[0]
    ('parametrize', 'check')
    """
    import pytest  # here, because extraction runs without it

    cases = []
    for i, given in enumerate(backbones):
        name = getattr(given, "__name__", f"backbone{i}")
        exam = cache(partial(_examination, given))
        cases += [pytest.param(partial(_assert, check, exam), id=f"{name}-{check}") for check in CHECKS]
    return pytest.mark.parametrize("check", cases)


def _assert(check: str, exam: Callable[[], Examination]) -> None:
    import pytest

    found = _find(check, exam())
    if found.ok is None:
        pytest.skip(str(found))
    if not found.ok:
        raise AssertionError(str(found))


def _find(name: str, exam: Examination) -> Finding:
    try:
        return Finding(name, True, CHECKS[name](exam))
    except Waits:
        return Finding(name, None, "waits for what failed before it")
    except Warns as warned:
        return Finding(name, True, warned.seen, warned.fix)
    except Fails as failed:
        return Finding(name, False, failed.seen, failed.fix)
    except Exception as error:  # the network may raise anything
        return Finding(name, False, f"a pass raises {one_line(error)}", "make it run on any images in value_range")


def _examination(
    given: Given, *, pool: Pool = PAPER_GRID, rows: int = CIFAR10, folder: str | os.PathLike[str] = "."
) -> Examination:
    """Make the Examination. Raises ValueError when the callable makes no Backbone at all."""
    try:
        made = given if isinstance(given, Backbone) else given()
    except BackboneError as error:
        made = error.backbone
    if not isinstance(made, Backbone):
        raise ValueError(f"backbone must be a features.Backbone or make one, got {type(made).__name__}")
    return Examination(made, pool=pool, rows=rows, folder=Path(folder))
