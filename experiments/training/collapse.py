"""Early warning of collapse, from the numbers of each look at a run: losses, and how samples differ.

A warning needs two looks in a row that show the same. It is given once, and again only after the numbers have recovered
beyond a second, safer threshold. Young networks look like collapsed ones - all samples gray, a discriminator that is
never wrong - so that none is given before `YOUNG` minibatches, except where samples had differed already.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Row = Mapping[
    str, float
]  # of epochs.csv: epoch, step, loss_generator, loss_generator_sd, loss_discriminator, diversity

YOUNG = 500  # minibatches; of a healthy run on photographs samples differed 0.09 times as much after 150, 0.4 after 300
DIVERSITY = 0.25  # samples differ so many times as much as images do; healthy runs settle between 0.5 and 1
DIVERSITY_LOST = 0.5  # share of the run's own best that may go
WON = (0.1, 3.0)  # losses of a discriminator that is never wrong, and of its generator; 1.39 and 0.69 at a draw
STUCK = 1e-3  # spread of the generator's losses over a stretch, relative to their mean


@dataclass(frozen=True)
class _Kind:
    bad: Callable[[Row, float], bool]  # (row, best diversity before it)
    well: Callable[[Row, float], bool]  # what ends a warning; both are false between the thresholds
    text: Callable[[Row, Row], str]  # (row, the row before it)


def _won(row: Row, slack: float = 1.0) -> bool:
    d, g = WON
    return abs(row["loss_discriminator"]) < d * slack and row["loss_generator"] > g / slack


_KINDS = {
    "diversity": _Kind(
        bad=lambda row, best: row["diversity"] < max(DIVERSITY, DIVERSITY_LOST * best),
        well=lambda row, best: row["diversity"] > 1.4 * max(DIVERSITY, DIVERSITY_LOST * best),
        text=lambda row, last: (
            f"samples differ from one another {row['diversity']:.2f} times as much as training images do (epoch "
            f"{row['epoch']:g}; {last['diversity']:.2f} at epoch {last['epoch']:g}): the generator has collapsed or is "
            "collapsing; look at samples.png"
        ),
    ),
    "discriminator": _Kind(
        bad=lambda row, best: _won(row),
        well=lambda row, best: not _won(row, slack=2.0),
        text=lambda row, last: (
            f"the discriminator is never wrong: its loss is {row['loss_discriminator']:.3f} and the generator's "
            f"{row['loss_generator']:.2f} (epoch {row['epoch']:g}; {last['loss_generator']:.2f} at epoch "
            f"{last['epoch']:g}): the generator no longer learns from it"
        ),
    ),
    "stuck": _Kind(
        bad=lambda row, best: row["loss_generator_sd"] < STUCK * abs(row["loss_generator"]),
        well=lambda row, best: row["loss_generator_sd"] > 2 * STUCK * abs(row["loss_generator"]),
        text=lambda row, last: (
            f"the generator's loss stands still at {row['loss_generator']:.4g}, with a spread of "
            f"{row['loss_generator_sd']:.1g} over its minibatches (epoch {row['epoch']:g}): it no longer learns"
        ),
    ),
}


class Alarm:
    """Takes the looks at one run in their order; the same looks give the same warnings."""

    def __init__(self) -> None:
        self._best = 0.0
        self._last: Row | None = None
        self._suspected: set[str] = set()  # bad at the last look
        self._given: set[str] = set()

    def look(self, row: Row) -> list[str]:
        """The new warnings, one line each, that say what was seen. Values that are missing (nan) accuse nobody."""
        found = []
        for name, kind in _KINDS.items():
            young = row["step"] < YOUNG and not (name == "diversity" and self._best > DIVERSITY)
            bad = not young and kind.bad(row, self._best)
            if bad and name in self._suspected and name not in self._given and self._last is not None:
                found.append(kind.text(row, self._last))
                self._given.add(name)
            elif name in self._given and kind.well(row, self._best):
                self._given.discard(name)
            (self._suspected.add if bad else self._suspected.discard)(name)
        if not math.isnan(row["diversity"]):
            self._best = max(self._best, row["diversity"])
        self._last = row
        return found
