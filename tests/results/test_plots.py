"""Drawn curves, read back: points stand where their values say, bars are as long, and nothing needs colour."""

import math
import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from results import plots
from results.plots import Line, line_plot


def drawn(lines: list[Line], **axes) -> ElementTree.Element:
    return ElementTree.fromstring(line_plot(lines, title="T", x_label="images", y_label="percent", **axes))


def of_class(tree: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [element for element in tree.iter() if element.get("class") == name]


def places(line: ElementTree.Element) -> list[tuple[float, float]]:
    """Of its markers, from the first point on."""
    numbers = [re.findall(r"[\d.]+", marker.attrib["transform"]) for marker in of_class(line, "marker")]
    return [(float(x), float(y)) for x, y in numbers][::-1]


def axis(tree: ElementTree.Element, anchor: str, coordinate: str) -> dict[str, float]:
    """Text of each tick -> where it stands."""
    (group,) = (g for g in tree.findall("g") if g.get("text-anchor") == anchor)
    return {text.text or "": float(text.get(coordinate, "nan")) for text in group.findall("text")}


def test_points_stand_where_the_ticks_say() -> None:
    tree = drawn([Line("a", [0, 100_000, 400_000], [50, 65, 70])])
    (line,) = of_class(tree, "line")
    x, y = axis(tree, "middle", "x"), axis(tree, "end", "y")
    first, second, third = places(line)
    assert first == pytest.approx((x["0"], y["50"] - 4.5), abs=0.11)  # a tick's text stands 4.5 below its line
    assert second == pytest.approx((x["100k"], y["65"] - 4.5), abs=0.11)
    assert third == pytest.approx((x["400k"], y["70"] - 4.5), abs=0.11)
    path = line.find("path")
    assert path is not None
    assert path.attrib["d"] == "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in (first, second, third))


def test_a_logarithmic_axis() -> None:
    tree = drawn([Line("a", [1000, 10_000, 60_000], [3, 2, 1])], log_x=True)
    (line,) = of_class(tree, "line")
    x = axis(tree, "middle", "x")
    first, second, third = (place[0] for place in places(line))
    assert (first, second) == pytest.approx((x["1k"], x["10k"]), abs=0.11)
    assert (third - first) / (second - first) == pytest.approx(math.log10(60), abs=0.01)
    with pytest.raises(ValueError, match="x must be > 0 on a logarithmic axis, got 0"):
        drawn([Line("a", [0, 1], [1, 2])], log_x=True)


def test_bars_are_as_long_as_they_say_and_stand_aside_of_one_another() -> None:
    tree = drawn([Line("a", [0, 10], [50, 60], [5, 0]), Line("b", [0, 10], [50, 60], [2.5, 1])])
    y = axis(tree, "end", "y")
    unit = (y["50"] - y["60"]) / 10
    bars = [[float(n) for n in re.findall(r"[\d.]+", bar.attrib["d"])[:3]] for bar in of_class(tree, "bar")]
    assert len(bars) == 3  # none where there is no bar
    for (_, high, low), half in zip(bars, (5, 2.5, 1), strict=True):
        assert abs(low - high) == pytest.approx(2 * half * unit, abs=0.2)
    assert abs(bars[0][0] - bars[1][0]) == pytest.approx(plots.ASIDE, abs=0.11)


def test_lines_differ_without_colour() -> None:
    tree = drawn([Line(name, [0, 1], [i, i]) for i, name in enumerate("abcdefg")])
    lines = of_class(tree, "line")
    styles = {(line[0].attrib["stroke-dasharray"], line[1].attrib["d"], line[1].attrib["fill"]) for line in lines}
    assert len(styles) == 7
    colours = {value for e in tree.iter() for name, value in e.attrib.items() if name in ("stroke", "fill")}
    assert colours == {"currentColor", "none", "Canvas"}


def test_names_stand_at_the_ends_and_never_over_one_another() -> None:
    tree = drawn([Line(f"name {i}", [0, 1], [0, 50 + i / 10]) for i in range(6)] + [Line("low", [0, 1], [0, 0])])
    names = {name.text: float(name.attrib["y"]) for name in of_class(tree, "name")}
    assert len(names) == 7 and all(0 < y <= plots.HEIGHT for y in names.values())
    heights = sorted(names.values())
    assert all(b - a >= plots.LEADING - 0.1 for a, b in pairwise(heights))
    assert sorted(names, key=lambda name: names[name]) == [*(f"name {i}" for i in range(5, -1, -1)), "low"]


def test_a_point_that_is_not_finite_leaves_a_gap() -> None:
    tree = drawn([Line("a", [0, 1, 2, 3], [1, math.nan, 2, 3])])
    (line,) = of_class(tree, "line")
    path = line.find("path")
    assert path is not None and path.attrib["d"].count("M") == 2 and len(places(line)) == 3
    with pytest.raises(ValueError, match="finite point, got none in 'b'"):
        drawn([Line("a", [0], [1]), Line("b", [0], [math.nan])])
    with pytest.raises(ValueError, match="must have a line"):
        drawn([])


def test_of_many_points_some_are_marked_the_last_always() -> None:
    tree = drawn([Line("a", list(range(1000)), list(range(1000)))])
    (line,) = of_class(tree, "line")
    assert len(places(line)) == plots.MOST_MARKERS
    assert "a: 999 at 999" in {title.text for title in line.iter("title")}


def test_it_has_a_title_and_escapes_texts() -> None:
    svg = line_plot([Line("<b>&", [0, 1], [1, 2])], title="<script>", x_label="<x>", y_label='"y"')
    tree = ElementTree.fromstring(svg)
    assert tree.get("role") == "img" and tree[0].tag == "title" and tree[0].text == "<script>"
    assert "<script>" not in svg and "<b>" not in svg and "<x>" not in svg
    assert svg == line_plot([Line("<b>&", [0, 1], [1, 2])], title="<script>", x_label="<x>", y_label='"y"')


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 60_000, 7), (52.98, 59, 5), (0.1, 12.3, 4), (3, 3, 7), (-2, 2, 5), (1e-9, 3e-9, 5), (0, 1, 6)],
)
def test_ticks_are_round_few_and_hold_the_range(low: float, high: float, ticks: int) -> None:
    found = plots._ticks(low, high)
    assert found[0] <= low <= high <= found[-1] and len(found) <= 7
    assert len(found) == ticks
    step = found[1] - found[0]
    assert f"{step:.0e}"[0] in "125"
    assert len({round((b - a) / step, 6) for a, b in pairwise(found)}) == 1


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (1000, 60_000, [1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5]),
        (1000, 50_000, [1e3, 2e3, 5e3, 1e4, 2e4, 5e4]),
        (1000, 1e7, [1e3, 1e4, 1e5, 1e6, 1e7]),
        (3, 3, [2, 5]),
    ],
)
def test_ticks_of_a_logarithmic_axis(low: float, high: float, ticks: list[float]) -> None:
    assert plots._decades(low, high) == pytest.approx(ticks)


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (250_000, "250k"), (1.5e6, "1.5M"), (0.25, "0.25"), (-2000, "-2k")]
)
def test_short_numbers(value: float, text: str) -> None:
    assert plots.short(value) == text
