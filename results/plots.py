"""Curves as inline SVG, drawn for a page: in the colour of its text, so that they follow light and dark.

Lines are told apart by dashes, markers and a name at their end, never by colour. Pure: the same numbers give the same
text. `plot.svg` is the template.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from results import pages

WIDTH, HEIGHT = 480, 290  # of the view box: as wide as a phone its text is still 10 pixels high
LEFT, TOP, BOTTOM = 50, 14, 46  # margins; the right one is as wide as the names
TEXT, LEADING, LETTER = 13, 15, 7.3  # font size; distance of two lines of text; width of a letter, rather more
MOST_MARKERS = 20  # on a line
ASIDE = 5  # lines with error bars stand beside one another, so that each bar is seen
DASHES = ("none", "7 4", "2 3", "10 3 2 3")
MARKERS = (  # around (0, 0); every other is hollow
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    "M-3.5-3.5h7v7h-7z",
    "M0-4.5L4.5 3.5h-9z",
    "M0-5L5 0L0 5L-5 0z",
    "M-4.5-3.5h9L0 4.5z",
)


@dataclass(frozen=True)
class Line:
    """Points of one curve, x ascending; `bars`: half the height of each one's error bar, or none at all."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    bars: Sequence[float] = ()

    @property
    def points(self) -> list[tuple[float, float, float]]:
        """(x, y, bar), without those where y is not finite."""
        bars = self.bars or [0.0] * len(self.x)
        return [point for point in zip(self.x, self.y, bars, strict=True) if math.isfinite(point[1])]


def line_plot(lines: Sequence[Line], *, title: str, x_label: str, y_label: str, log_x: bool = False) -> Markup:
    """One `<svg role="img">` that may stand in a page as it is.

    Raises ValueError for no line, a line without a finite point, and x <= 0 on a logarithmic axis.
    """
    if not lines:
        raise ValueError("a plot must have a line, got none")
    if empty := [line.name for line in lines if not line.points]:
        raise ValueError(f"a line must have a finite point, got none in {empty[0]!r}")
    points = [point for line in lines for point in line.points]
    first, last = min(x for x, *_ in points), max(x for x, *_ in points)
    if log_x and first <= 0:
        raise ValueError(f"x must be > 0 on a logarithmic axis, got {first:g}")
    x_ticks = (_decades if log_x else _ticks)(first, last)
    y_ticks = _ticks(min(y - bar for _, y, bar in points), max(y + bar for _, y, bar in points))
    names = [_wrapped(line.name) for line in lines]
    right = WIDTH - 14 - LETTER * max(len(part) for name in names for part in name)
    across = _scale(x_ticks, LEFT, right, math.log10 if log_x else float)
    down = _scale(y_ticks, HEIGHT - BOTTOM, TOP)
    ends = [(across(x), down(y)) for x, y, _ in (line.points[-1] for line in lines)]
    heights = _apart([y for _, y in ends], [LEADING * len(name) for name in names])
    return Markup(
        pages.environment()
        .get_template("plot.svg")
        .render(
            title=title,
            x_label=x_label,
            y_label=y_label,
            x_ticks=[(across(tick), short(tick)) for tick in x_ticks],
            y_ticks=[(down(tick), short(tick)) for tick in y_ticks],
            box={"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": right, "top": TOP, "bottom": HEIGHT - BOTTOM},
            text={"size": TEXT, "leading": LEADING},
            lines=[
                _drawn(line, i, _moved(across, ASIDE * (i - (len(lines) - 1) / 2) if any(line.bars) else 0), down)
                for i, line in enumerate(lines)
            ],
            names=[(parts, end, y) for parts, end, y in zip(names, ends, heights, strict=True)],
        )
    )


def short(value: float) -> str:
    """`1500000` as `1.5M`, `2000` as `2k`, others as they are."""
    for unit, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            return f"{value / unit:g}{letter}"
    return f"{value:g}"


Scale = Callable[[float], float]


def _scale(ticks: Sequence[float], first: float, last: float, of: Scale = float) -> Scale:
    """From the first tick at `first` to the last at `last`."""
    low, high = of(ticks[0]), of(ticks[-1])
    return lambda value: first + (last - first) * (of(value) - low) / (high - low)


def _moved(scale: Scale, aside: float) -> Scale:
    return lambda value: scale(value) + aside


def _ticks(low: float, high: float) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, at most seven, the least range of such that holds both."""
    if high <= low:
        low, high = low - 0.5, high + 0.5
    power = 10.0 ** math.floor(math.log10((high - low) / 6))
    for step in (power * factor for factor in (1, 2, 5, 10, 20)):
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if last - first <= 6:
            break
    return [round(i * step, 12) for i in range(first, last + 1)]


def _decades(low: float, high: float) -> list[float]:
    """Powers of ten, the least range that holds both; within two decades also twice and five times each."""
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    if last - first > 2:
        return [10.0**i for i in range(first, last + 1)]
    ticks = [10.0**i * factor for i in range(first, last + 1) for factor in (1, 2, 5)]
    start = max(i for i, tick in enumerate(ticks) if i == 0 or tick <= low * (1 + 1e-9))
    stop = next((i for i, tick in enumerate(ticks) if tick >= high * (1 - 1e-9) and i > start), len(ticks) - 1)
    return ticks[start : stop + 1]


def _wrapped(name: str, most: int = 17) -> list[str]:
    """The words in lines of so many letters where they can be."""
    lines: list[str] = []
    for word in name.split():
        if lines and len(lines[-1]) + 1 + len(word) <= most:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines or [""]


def _apart(wanted: Sequence[float], heights: Sequence[float]) -> list[float]:
    """Centres near the wanted ones of texts that high, in the same order from the top, none over another."""
    placed, order = list(wanted), sorted(range(len(wanted)), key=lambda i: wanted[i])
    for above, i in pairwise(order):
        placed[i] = max(placed[i], placed[above] + (heights[above] + heights[i]) / 2)
    limit = float(HEIGHT)
    for i in reversed(order):  # what was pushed out below goes up again
        placed[i] = min(placed[i], limit - heights[i] / 2)
        limit = placed[i] - heights[i] / 2
    return placed


def _drawn(line: Line, place: int, across: Scale, down: Scale) -> dict[str, Any]:
    """The line in this place as the template takes it: its path, error bars and markers."""
    path, pen = [], "M"
    for x, y in zip(line.x, line.y, strict=True):
        if math.isfinite(y):
            path.append(f"{pen}{across(x):.1f} {down(y):.1f}")
        pen = "L" if math.isfinite(y) else "M"
    points = line.points
    every = math.ceil(len(points) / MOST_MARKERS)
    return {
        "dash": DASHES[place % len(DASHES)],
        "path": "".join(path),
        "bars": [(across(x), down(y + bar), down(y - bar)) for x, y, bar in points if bar],
        "marker": MARKERS[place % len(MARKERS)],
        "filled": place % 2 == 0,
        "points": [  # counted from the end, which has one always
            (across(x), down(y), f"{line.name}: {y:g}{f' ± {bar:g}' if bar else ''} at {x:,.0f}")
            for x, y, bar in points[::-1][::every]
        ],
    }
