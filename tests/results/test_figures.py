"""Pictures, read back: what stands where, and that the same input gives the same bytes."""

import io
import math
import re
from itertools import pairwise
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from PIL import Image

from results import figures
from results.figures import Line, line_plot


def opened(content):
    return Image.open(io.BytesIO(content))


def numbered(n, size=4, channels=3):
    """n plain images, the i-th of gray 10 i."""
    return np.repeat(np.arange(n, dtype=np.uint8) * 10, size * size * channels).reshape(n, size, size, channels)


@pytest.mark.parametrize(("channels", "mode"), [(3, "RGB"), (1, "L")])
def test_a_grid_is_read_row_by_row(channels, mode):
    picture = opened(figures.grid(numbered(10, channels=channels)))  # the tenth has no place
    assert (picture.size, picture.mode, picture.format) == ((12, 12), mode, "PNG")
    pixels = np.asarray(picture.convert("L"))[::4, ::4]
    assert pixels.tolist() == [[0, 10, 20], [30, 40, 50], [60, 70, 80]]


def test_pairs_stand_side_by_side_with_gaps_between():
    picture = np.asarray(opened(figures.pairs(numbered(5), numbered(5) + 100, columns=2, gap=3)).convert("L"))
    assert picture.shape == (3 * 7 - 3, 2 * 11 - 3)
    assert picture[1::7, [1, 5, 12, 16]].tolist() == [[0, 100, 10, 110], [20, 120, 30, 130], [40, 140, 255, 255]]
    assert (picture[:, 8:11] == 255).all() and (picture[4:7] == 255).all()
    with pytest.raises(ValueError, match="must have one shape"):
        figures.pairs(numbered(2), numbered(3))


def frames(n):
    return [figures.grid(np.full((1, 32, 32, 3), i, np.uint8)) for i in range(n)]


def test_an_animation_shows_its_frames_in_order_for_ever():
    movie = opened(figures.animation(frames(200)[::40], seconds=1))
    assert (movie.format, movie.n_frames, movie.info["loop"]) == ("WEBP", 5, 0)
    shown, durations = [], []
    for i in range(5):
        movie.seek(i)
        movie.load()
        shown.append(int(np.asarray(movie.convert("L")).mean()))
        durations.append(movie.info["duration"])
    assert shown == pytest.approx([0, 40, 80, 120, 160], abs=3)  # lossy
    assert durations == [200] * 4 + [1200]


def test_a_long_animation_is_thinned_evenly():
    movie = opened(figures.animation(frames(250), most=10))
    assert movie.n_frames == 10
    movie.seek(9)
    assert np.asarray(movie.convert("L")).mean() == pytest.approx(249, abs=3)
    with pytest.raises(ValueError, match="at least one frame"):
        figures.animation([])


def test_losses_are_drawn_the_same_every_time_and_without_colour():
    seen = np.arange(5000) * 128
    curves = {"generator": (seen, np.sin(seen / 1e4) + 2), "discriminator": (seen, np.cos(seen / 1e4) + 2)}
    content = figures.loss_plot(curves)
    picture = np.asarray(opened(content).convert("RGB")).astype(int)
    assert picture.shape[0] > 300 and picture.std() > 5
    assert (picture.max(-1) - picture.min(-1)).max() == 0
    assert figures.loss_plot(curves) == content
    assert figures.loss_plot(curves | {"generator": (seen, seen * 0)}) != content


@pytest.mark.parametrize("losses", [[], [1.0], [1.0, np.nan, 2.0]])
def test_short_and_broken_curves_can_be_drawn(losses):
    assert opened(figures.loss_plot({"generator": (range(len(losses)), losses), "discriminator": ([], [])})).size


def test_stretches_keep_means_and_extremes():
    x, mean, least, greatest = figures._stretches(np.arange(1000.0), np.arange(1000.0) % 10)
    assert len(x) == 400 and x[-1] == 999 and np.average(mean, weights=np.diff(x, prepend=-1)) == pytest.approx(4.5)
    assert least.min() == 0 and greatest.max() == 9
    short = figures._stretches(np.arange(3.0), np.array([4.0, 5, 6]))
    assert [s.tolist() for s in short] == [[0, 1, 2], [4, 5, 6], [4, 5, 6], [4, 5, 6]]


def test_bars_name_every_group_and_value_the_same_every_time():
    bars = [
        ("protocol", "protocol", 50.0, 45.0, 55.0),
        ("grid", "1x1", 30.0, 25.0, 36.0),
        ("grid", "2x2", 40.0, 35, 45),
    ]
    content = figures.bar_plot(bars, title="a <network>", label="%")
    assert content.startswith(b"<?xml") and figures.bar_plot(bars, title="a <network>", label="%") == content
    texts = re.findall(r">([^<>]+)</text>", content.decode())
    assert {"a &lt;network&gt;", "protocol", "grid: 1x1", "grid: 2x2", "%"} <= set(texts)
    assert figures.bar_plot([*bars[:2], ("grid", "2x2", 40, 35, 46)], title="a <network>", label="%") != content


def drawn(lines, **axes):
    return ElementTree.fromstring(line_plot(lines, title="T", x_label="images", y_label="percent", **axes))


def texts_of(tree):
    return [element.text for element in tree.iter("text")]


def numbers(text):
    return [float(number) for number in re.findall(r"-?[\d.]+", text)]


def paths_and_markers(tree):
    """The path of each line, its marker's style, and the places of its markers."""
    found = []
    for group in tree.iter("g"):
        path, uses = group.find("path[@clip-path]"), group.findall("g/use")
        if path is not None and uses:
            found.append((path, uses[0], [(float(use.get("x")), float(use.get("y"))) for use in uses]))
    return found


def bars_of(tree):
    """(x, low, high) of each error bar."""
    paths = [numbers(path.get("d", "")) for path in tree.iter("path") if path.get("clip-path")]
    return [(p[0], p[1], p[3]) for p in paths if len(p) == 4 and p[0] == p[2] and p[1] != p[3]]


def test_names_labels_and_numbers_are_texts():
    tree = drawn([Line("a <b> & $c$", [0, 100_000, 400_000], [50, 65, 70]), Line("$d$", [0, 1], [60, 60])])
    assert {"a <b> & $c$", "$d$", "images", "percent", "0", "100k", "400k", "50", "70"} <= set(texts_of(tree))
    assert tree.get("role") == "img" and tree[0].tag == "title" and tree[0].text == "T"
    text = line_plot([Line("a", [0], [1])], title="<script>", x_label="<i>", y_label='"y"')
    assert "<script>" not in text and "<i>" not in text and ElementTree.fromstring(text)[0].text == "<script>"


def test_every_point_stands_where_its_values_say():
    ((path, _, places),) = paths_and_markers(drawn([Line("a", [0, 100_000, 400_000], [50, 65, 70])]))
    assert numbers(path.get("d")) == pytest.approx([number for place in places for number in place])
    (x0, y0), (x1, y1), (x2, y2) = places
    assert (x1 - x0) / (x2 - x0) == pytest.approx(1 / 4) and (y0 - y1) / (y0 - y2) == pytest.approx(3 / 4)
    assert x0 < x2 and y0 > y2


def test_a_logarithmic_axis():
    tree = drawn([Line("a", [1000, 10_000, 60_000], [3, 2, 1])], log_x=True)
    ((_, _, places),) = paths_and_markers(tree)
    (x0, _), (x1, _), (x2, _) = places
    assert (x2 - x0) / (x1 - x0) == pytest.approx(math.log10(60), abs=1e-4)
    assert {"1k", "2k", "5k", "10k", "50k"} <= set(texts_of(tree))
    long = texts_of(drawn([Line("a", [1000, 10_000, 1_000_000], [3, 2, 1])], log_x=True))
    assert "1M" in long and "2k" not in long
    with pytest.raises(ValueError, match="x must be > 0 on a logarithmic axis, got 0"):
        drawn([Line("a", [0, 1], [1, 2])], log_x=True)


def test_error_bars_are_as_long_as_they_say_and_stand_beside_one_another():
    bars = bars_of(drawn([Line("a", [0, 10], [50, 60], [5, 4]), Line("b", [0, 10], [50, 60], [2.5, 1])]))
    assert len(bars) == 4
    lengths = [low - high for _, low, high in bars]
    assert [length / lengths[0] for length in lengths] == pytest.approx([1, 0.8, 0.5, 0.2], abs=1e-4)
    assert bars[2][0] - bars[0][0] == bars[3][0] - bars[1][0] == pytest.approx(4, abs=1e-4)
    assert bars_of(drawn([Line("a", [0, 10], [50, 60])])) == []


def test_lines_differ_without_colour():
    text = line_plot([Line(name, [0, 1], [i, i]) for i, name in enumerate("abcdefg")], title="", x_label="", y_label="")
    found = paths_and_markers(ElementTree.fromstring(text))
    dashes = [re.search("stroke-dasharray: [^;]*", path.get("style")) for path, _, _ in found]
    styles = {
        (dash and dash[0], use.get("href"), "Canvas" in use.get("style"))
        for dash, (_, use, _) in zip(dashes, found, strict=True)
    }
    assert len(styles) == 7
    assert set(re.findall(r"(?:fill|stroke)(?:: |=\")([^;\"]+)", text)) == {"currentColor", "none", "Canvas"}
    assert not re.search("#[0-9a-f]{6}[^0-9a-f]|black|white|font-family", text)


def test_a_value_that_is_not_finite_leaves_a_gap():
    for bad in (math.nan, math.inf):
        ((path, _, places),) = paths_and_markers(drawn([Line("a", [0, 1, 2, 3], [1, bad, 2, 3])]))
        assert path.get("d").count("M") == 2 and len(places) == 3
    assert len(bars_of(drawn([Line("a", [0, 1, 2], [1, math.nan, 2], [1, 1, 1])]))) == 2


def test_what_cannot_be_drawn_is_an_error():
    with pytest.raises(ValueError, match="finite value, got none in 'b'"):
        drawn([Line("a", [0], [1]), Line("b", [0], [math.nan])])
    with pytest.raises(ValueError, match="finite value, got none in 'c'"):
        drawn([Line("c", [], [])])
    with pytest.raises(ValueError, match="must have a line, got none"):
        drawn([])


@pytest.mark.parametrize("n", [1, 20, 21, 1000])
def test_a_long_line_has_few_markers_and_one_at_its_end(n):
    ((path, _, places),) = paths_and_markers(drawn([Line("a", list(range(n)), [i * (i % 2) for i in range(n)])]))
    assert len(places) == n if n <= 20 else 10 < len(places) <= 20
    assert numbers(path.get("d"))[-2:] == pytest.approx(places[-1], abs=1e-4)
    gaps = {round(b[0] - a[0], 3) for a, b in pairwise(places)}
    assert max(gaps, default=0) - min(gaps, default=0) < 0.01


def test_the_same_lines_give_the_same_bytes_whatever_matplotlibrc_says():
    lines = [Line("a", [0, 1], [1, 2], [0.5, 0.5]), Line("b", [0, 1], [2, 3])]
    labels = {"title": "T", "x_label": "x", "y_label": "y"}
    text = line_plot(lines, **labels)
    with matplotlib.rc_context({"axes.facecolor": "red", "text.color": "blue", "font.size": 20}):
        assert line_plot(lines, **labels) == text
    assert matplotlib.rcParams["svg.hashsalt"] is None  # the style holds for the plot only


def test_ids_of_plots_in_one_page_differ_and_every_reference_finds_its_own():
    plots = [line_plot([Line(name, [0, 1], [1, 2])], title="T", x_label="", y_label="") for name in ("a", "b")]
    ids = [re.findall(r' id="(.*?)"', plot) for plot in plots]
    assert all(ids) and len({*ids[0], *ids[1]}) == len(ids[0]) + len(ids[1])
    for own, plot in zip(ids, plots, strict=True):
        assert set(re.findall(r'href="#(.*?)"|url\(#(.*?)\)', plot)) == {
            (name, "") if name[0] == "m" else ("", name) for name in own
        }
