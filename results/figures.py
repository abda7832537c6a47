"""Pictures, as bytes: of a network grids of samples, blocks, pairs, an animation, losses; bars with intervals.

Images are uint8 [N, H, W, C] with C of 1 or 3. Nothing here writes files or keeps state between calls.
"""

import io
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Images = NDArray[np.uint8]
_BINS = 400  # points of a curve, about what a plot of this width can show
_STYLES = (("black", "-"), ("0.55", "--"), ("0.35", ":"))  # told apart in print, too


def grid(images: Images) -> bytes:
    """PNG of the first n * n images, the largest such square, row by row."""
    n = math.isqrt(len(images))
    return _png(_tiled(images[: n * n], n))


def pairs(images: Images, others: Images, *, columns: int = 4, gap: int = 4) -> bytes:
    """PNG of `images` each with its one of `others` at its right; `columns` such pairs a row, white gaps between them.

    Raises ValueError where the two are not of one shape or there is none.
    """
    if images.shape != others.shape or len(images) == 0:
        raise ValueError(f"need as many of each, of one shape, got {images.shape} and {others.shape}")
    both = np.concatenate([images, others], axis=2)
    framed = np.pad(both, ((0, 0), (0, gap), (0, gap), (0, 0)), constant_values=255)
    missing = -len(framed) % columns
    blank = np.full((missing, *framed.shape[1:]), 255, np.uint8)
    return _png(_tiled(np.concatenate([framed, blank]), columns)[:-gap, :-gap])


def blocks(*parts: Images, gap: int = 4) -> bytes:
    """PNG of `parts` [rows, columns, H, W, C] side by side, white gaps between them; all of as many rows.

    Raises ValueError for none, or parts that differ in rows or in the shape of an image.
    """
    if not parts or any((p.ndim, p.shape[0], p.shape[2:]) != (5, parts[0].shape[0], parts[0].shape[2:]) for p in parts):
        raise ValueError(f"need parts of as many rows and one shape of image, got {[p.shape for p in parts]}")
    tiled = [_tiled(part.reshape(-1, *part.shape[2:]), part.shape[1]) for part in parts]
    white = np.full((tiled[0].shape[0], gap, tiled[0].shape[2]), 255, np.uint8)
    return _png(np.concatenate([piece for part in tiled for piece in (white, part)][1:], axis=1))


def animation(frames: Sequence[bytes], *, seconds: float = 8.0, most: int = 30) -> bytes:
    """Animated WebP of PNG `frames` of one size, `seconds` long, repeated for ever; the last stands longer.

    Of more than `most` frames so many are shown, evenly chosen, first and last among them. Raises ValueError for none.
    """
    if not frames:
        raise ValueError("an animation needs at least one frame")
    chosen = [frames[i] for i in np.linspace(0, len(frames) - 1, min(len(frames), most)).round().astype(int)]
    pictures = [Image.open(io.BytesIO(frame)).convert("RGB") for frame in chosen]
    each = min(500, round(1000 * seconds / len(pictures)))
    durations = [each] * (len(pictures) - 1) + [each + 1000]
    buffer = io.BytesIO()
    pictures[0].save(
        buffer,
        "WEBP",
        save_all=True,
        append_images=pictures[1:],
        duration=durations,
        loop=0,
        quality=80,
        method=2,  # half the time of the default 4 for files a few per cent larger
    )
    return buffer.getvalue()


def loss_plot(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, title: str = "") -> bytes:
    """PNG of losses over images seen: a line of means in each of up to 400 stretches, shaded from least to greatest.

    curves: name -> (images seen, losses), equally long; those without points are left out. Values that are not finite
        leave a gap.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # here: the import takes half a second
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for (name, (seen, losses)), (colour, line) in zip(curves.items(), _STYLES, strict=False):
        if len(seen) == 0:
            continue
        x, mean, least, greatest = _stretches(np.asarray(seen, float), np.asarray(losses, float))
        axes.fill_between(x, least, greatest, color=colour, alpha=0.18, linewidth=0)
        axes.plot(x, mean, color=colour, linestyle=line, linewidth=1.4, label=name)
    axes.set_xlabel("images seen")
    axes.set_ylabel("loss")
    axes.set_title(title, fontsize=11)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.01)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})  # the same figure, the same bytes
    return buffer.getvalue()


def bar_plot(bars: Sequence[tuple[str, str, float, float, float]], *, title: str = "", label: str = "") -> bytes:
    """SVG of horizontal bars with their intervals, from the top, those of one group side by side.

    bars: (group, name, value, low, high), a group's in a row. title, label: above, and of the axis of values.
    """
    import matplotlib  # here: the import takes half a second
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    groups = list(dict.fromkeys(group for group, *_ in bars))
    places = [-(i + 0.7 * groups.index(group)) for i, (group, *_) in enumerate(bars)]
    values = np.array([value for *_, value, _, _ in bars])
    errors = np.abs(np.array([bar[3:] for bar in bars]).T - values)
    figure = Figure(figsize=(7, 1 + 0.24 * (len(bars) + len(groups))), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    axes.barh(places, values, xerr=errors, color="0.75", ecolor="0.2", capsize=2, height=0.75)
    axes.set_yticks(places, [name if name == group else f"{group}: {name}" for group, name, *_ in bars], fontsize=8)
    axes.set_xlabel(label)
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.01)
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "bars"}):  # the same figure, the same bytes
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _stretches(x: NDArray, y: NDArray) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """At most `_BINS` equal runs of points: where each ends, its mean, least and greatest value."""
    starts = np.unique(np.linspace(0, len(x), min(len(x), _BINS) + 1).astype(int))[:-1]
    ends = np.append(starts[1:], len(x))
    return (
        x[ends - 1],
        np.add.reduceat(y, starts) / (ends - starts),
        np.minimum.reduceat(y, starts),
        np.maximum.reduceat(y, starts),
    )


def _tiled(images: Images, columns: int) -> Images:
    n, h, w, c = images.shape
    rows = images.reshape(n // columns, columns, h, w, c).swapaxes(1, 2)
    return rows.reshape(n // columns * h, columns * w, c)


def _png(image: Images) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(buffer, "PNG")
    return buffer.getvalue()
