"""Early warning of collapse, from the numbers of each look at a run: the losses, and how much samples differ.

There is a warning if two looks in a row show the same symptom. It is given once, and again only after the numbers have
recovered beyond a second, safer threshold. Young networks look like collapsed ones: all samples are gray, and the
discriminator is never wrong. So there is no warning before `YOUNG` minibatches, unless samples differed earlier.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

# columns of epochs.csv: epoch, step, loss_generator, loss_generator_sd, loss_discriminator, diversity
Row = Mapping[str, float]

YOUNG = 500  # minibatches; diversity of a healthy run on photographs was 0.09 after 150, 0.4 after 300
DIVERSITY = 0.25  # distance between samples over that between training images; healthy runs settle between 0.5 and 1
DIVERSITY_LOST = 0.5  # fraction of the run's own best diversity below which it has collapsed
WON = (0.1, 3.0)  # losses of a discriminator that is never wrong, and of its generator; 1.39 and 0.69 if it guesses
STUCK = 1e-3  # spread of the generator's losses between two looks, relative to their mean


@dataclass(frozen=True)
class _Symptom:
    shown: Callable[[Row, float], bool]  # (row, best diversity before it)
    recovered: Callable[[Row, float], bool]  # ends a warning; both are false between the thresholds
    message: Callable[[Row, Row], str]  # (row, previous row)


def _won(row: Row, slack: float = 1.0) -> bool:
    d, g = WON
    return abs(row["loss_discriminator"]) < d * slack and row["loss_generator"] > g / slack


_SYMPTOMS = {
    "diversity": _Symptom(
        shown=lambda row, best: row["diversity"] < max(DIVERSITY, DIVERSITY_LOST * best),
        recovered=lambda row, best: row["diversity"] > 1.4 * max(DIVERSITY, DIVERSITY_LOST * best),
        message=lambda row, last: (
            f"samples differ from one another {row['diversity']:.2f} times as much as training images do (epoch "
            f"{row['epoch']:g}; {last['diversity']:.2f} at epoch {last['epoch']:g}): the generator has collapsed or is "
            "collapsing; look at samples.png"
        ),
    ),
    "discriminator": _Symptom(
        shown=lambda row, best: _won(row),
        recovered=lambda row, best: not _won(row, slack=2.0),
        message=lambda row, last: (
            f"the discriminator is never wrong: its loss is {row['loss_discriminator']:.3f} and the generator's "
            f"{row['loss_generator']:.2f} (epoch {row['epoch']:g}; {last['loss_generator']:.2f} at epoch "
            f"{last['epoch']:g}): the generator no longer learns from it"
        ),
    ),
    "stuck": _Symptom(
        shown=lambda row, best: row["loss_generator_sd"] < STUCK * abs(row["loss_generator"]),
        recovered=lambda row, best: row["loss_generator_sd"] > 2 * STUCK * abs(row["loss_generator"]),
        message=lambda row, last: (
            f"the generator's loss stays at {row['loss_generator']:.4g}, with a spread of "
            f"{row['loss_generator_sd']:.1g} over its minibatches (epoch {row['epoch']:g}): it no longer learns"
        ),
    ),
}


class CollapseDetector:
    """Reads the looks at one run in their order; the same looks give the same warnings.

    young: number of minibatches before which a network is not judged.
    """

    def __init__(self, young: int = YOUNG) -> None:
        self._young = young
        self._best = 0.0  # diversity
        self._last: Row | None = None
        self._suspected: set[str] = set()  # symptoms of the last look
        self._warned: set[str] = set()

    def warnings(self, row: Row) -> list[str]:
        """Return the new warnings, one line each. NaN never triggers a warning."""
        found = []
        for name, symptom in _SYMPTOMS.items():
            young = row["step"] < self._young and not (name == "diversity" and self._best > DIVERSITY)
            shown = not young and symptom.shown(row, self._best)
            if shown and name in self._suspected and name not in self._warned and self._last is not None:
                found.append(symptom.message(row, self._last))
                self._warned.add(name)
            elif name in self._warned and symptom.recovered(row, self._best):
                self._warned.discard(name)
            (self._suspected.add if shown else self._suspected.discard)(name)
        if not math.isnan(row["diversity"]):
            self._best = max(self._best, row["diversity"])
        self._last = row
        return found
