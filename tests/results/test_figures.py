"""Pictures of a run, read back: what stands where, and that the same input gives the same bytes."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from results import figures


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
    with pytest.raises(ValueError, match="of one shape"):
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
    content = figures.loss_plot(curves, title="a run")
    picture = np.asarray(opened(content).convert("RGB")).astype(int)
    assert picture.shape[0] > 300 and picture.std() > 5
    assert (picture.max(-1) - picture.min(-1)).max() == 0
    assert figures.loss_plot(curves, title="a run") == content
    assert figures.loss_plot(curves | {"generator": (seen, seen * 0)}, title="a run") != content


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
    texts = re.findall(r"<!-- (.*?) -->", content.decode())  # matplotlib writes each text beside its outlines
    assert {"protocol", "grid: 1x1", "grid: 2x2", "%"} <= set(texts)
    assert figures.bar_plot([*bars[:2], ("grid", "2x2", 40, 35, 46)], title="a <network>", label="%") != content


def test_blocks_stand_side_by_side_with_white_between():
    left, right = (
        np.random.default_rng(i).integers(0, 255, (2, n, 4, 5, 3), dtype=np.uint8) for i, n in enumerate((3, 1))
    )
    with Image.open(io.BytesIO(figures.blocks(left, right, gap=2))) as opened:
        pixels = np.asarray(opened)
    assert pixels.shape == (2 * 4, 3 * 5 + 2 + 5, 3)
    assert np.array_equal(pixels[4:8, 10:15], left[1, 2]) and np.array_equal(pixels[:4, 17:], right[0, 0])
    assert (pixels[:, 15:17] == 255).all()
    with pytest.raises(ValueError, match="as many rows"):
        figures.blocks(left, right[:1])
