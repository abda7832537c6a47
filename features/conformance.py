"""A network through all checks: as findings to read, as one assertion, and as one pytest test for each check.

As scikit-learn's `check_estimator` and `parametrize_with_checks`: all checks are made, so that all problems are told at
once. The network is left as it was.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from features.backbone import Backbone, BackboneError
from features.checks import CHECKS, Fails
from features.examine import Examination, Waits
from features.pooling import PAPER_GRID, Pool
from features.survey import one_line

CIFAR10 = 60_000  # images, training and test

# A Backbone, or a callable without arguments that makes one: so one that cannot be is told of, too
Given = Backbone | Callable[[], Backbone]


@dataclass(frozen=True)
class Finding:
    """What a check found. ok: None where it waits for another. seen: what was seen, or is wrong. fix: what to do."""

    check: str
    ok: bool | None
    seen: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.check}: {self.seen}{'; ' if self.fix else ''}{self.fix}"


def run_checks(
    backbone: Given, *, pool: Pool = PAPER_GRID, rows: int = CIFAR10, folder: str | os.PathLike[str] = "."
) -> Iterator[Finding]:
    """Yields what every check finds, in the order of `features.checks.CHECKS`, on the device where the network lies.

    backbone: a Backbone, or a callable without arguments that makes one. pool: as for extraction.
    rows, folder: the images whose features are to be kept, and where; for the check of their size.
    """
    exam = _examination(backbone, pool=pool, rows=rows, folder=folder)
    for name in CHECKS:
        yield _find(name, exam)


def check_backbone(backbone: Given, *, pool: Pool = PAPER_GRID) -> None:
    """Raises one ValueError with a line for every check that fails, naming the fix; see run_checks."""
    if failed := [str(finding) for finding in run_checks(backbone, pool=pool) if finding.ok is False]:
        raise ValueError("\n".join(failed))


def parametrize_with_checks(backbones: Sequence[Given]) -> Any:
    """A pytest decorator of a test whose argument `check` is called: one test for each check of each backbone.

    backbones: Backbones, or callables without arguments that make one, called when the first of its tests runs.

        @features.parametrize_with_checks([mynet.backbone])
        def test_backbone(check):
            check()

    `check()` raises AssertionError with what is wrong and the fix; what waits for another check is skipped.
    """
    import pytest  # where tests run; extraction does without

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
    except Fails as failed:
        return Finding(name, False, failed.seen, failed.fix)
    except Exception as error:  # whatever the network raises on some image
        return Finding(name, False, f"a pass raises {one_line(error)}", "make it run on any images in value_range")


def _examination(
    given: Given, *, pool: Pool = PAPER_GRID, rows: int = CIFAR10, folder: str | os.PathLike[str] = "."
) -> Examination:
    """ValueError where what is called makes no Backbone at all."""
    try:
        made = given if isinstance(given, Backbone) else given()
    except BackboneError as error:
        made = error.backbone
    if not isinstance(made, Backbone):
        raise ValueError(f"a features.Backbone must be given or made, got {type(made).__name__}")
    return Examination(made, pool=pool, rows=rows, folder=Path(folder))
