"""Pictures for pages and folders: grids of images, animations, and plots of lines, losses and bars.

Images are uint8 [N, H, W, C] with C of 1 or 3. The same input gives the same bytes. No function writes a file or keeps
state between calls.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Images = NDArray[np.uint8]
_BINS = 400  # points of a line of losses, about what a plot of this width can show
_GRAYS = (("black", "-"), ("0.55", "--"), ("0.35", ":"))  # told apart in print, too
_DASHES, _MARKERS = ("-", "--", ":", "-."), "os^Dv"
_MOST_MARKERS = 20  # on a line
_ASIDE = 4 / 72  # inches between lines with error bars, so that each bar can be seen
_STYLE: dict[str, Any] = {  # for every plot
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "figure.constrained_layout.use": True,
    "figure.dpi": 110,
    "legend.frameon": False,
    "svg.fonttype": "none",  # texts stay texts
    "text.parse_math": False,  # a name may hold dollars
}
_PAGE_STYLE = {
    "axes.grid": True,
    "axes.grid.axis": "y",
    "errorbar.capsize": 3,
    "grid.alpha": 0.18,
    "grid.color": "black",
    "legend.handlelength": 3.5,
    "lines.linewidth": 1.3,
    "lines.markersize": 5,
    "savefig.transparent": True,
}


def grid(images: Images) -> bytes:
    """Make a PNG of the first n * n images, row by row; n is as large as possible."""
    n = math.isqrt(len(images))
    return _png(_tiled(images[: n * n].reshape(n, n, *images.shape[1:])))


def pairs(images: Images, others: Images, *, columns: int = 4, gap: int = 4) -> bytes:
    """Make a PNG of pairs, `columns` in a row, with white gaps between them.

    Each of `images` has its partner from `others` at its right. Raises ValueError for arrays of different shapes, and
    for empty ones.
    """
    if images.shape != others.shape or len(images) == 0:
        raise ValueError(f"images and others must have one shape, not empty, got {images.shape} and {others.shape}")
    both = np.concatenate([images, others], axis=2)
    missing = -len(both) % columns
    framed = np.pad(both, ((0, missing), (0, gap), (0, gap), (0, 0)), constant_values=255)
    return _png(_tiled(framed.reshape(-1, columns, *framed.shape[1:]))[:-gap, :-gap])


def animation(frames: Sequence[bytes], *, seconds: float = 8.0, most: int = 30) -> bytes:
    """Make an animated WebP of PNG `frames` of one size, `seconds` long, that repeats forever.

    The last frame is shown a second longer. At most `most` frames are shown: the first, the last, and evenly chosen
    ones between them. Raises ValueError for no frame.
    """
    if not frames:
        raise ValueError("an animation needs at least one frame")
    chosen = [frames[i] for i in np.linspace(0, len(frames) - 1, min(len(frames), most)).round().astype(int)]
    pictures = [Image.open(io.BytesIO(frame)).convert("RGB") for frame in chosen]
    each = min(500, round(1000 * seconds / len(pictures)))
    durations = [each] * (len(pictures) - 1) + [each + 1000]
    buffer = io.BytesIO()
    pictures[0].save(  # method 2 takes half the time of the default 4, for files a few per cent larger
        buffer, "WEBP", save_all=True, append_images=pictures[1:], duration=durations, loop=0, quality=80, method=2
    )
    return buffer.getvalue()


@dataclass(frozen=True)
class Line:
    """The points of one line, x ascending. `bars` are the half heights of the error bars; () draws none."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    bars: Sequence[float] = ()


def line_plot(lines: Sequence[Line], *, title: str, x_label: str, y_label: str, log_x: bool = False) -> Markup:
    """Draw an `<svg role="img">` to put into a page; it takes the colour and font of the text around it.

    The lines differ in dashes and markers, never in colour. A value that is not finite leaves a gap. A line of more
    than 20 points has at most 20 markers, one of them at its end. Raises ValueError for no line, for a line without a
    finite value, and for x <= 0 on a logarithmic axis.
    """
    if not lines:
        raise ValueError("a plot must have a line, got none")
    for line in lines:
        if not np.isfinite(line.y).any():
            raise ValueError(f"a line must have a finite value, got none in {line.name!r}")
    first, last = min(min(line.x) for line in lines), max(max(line.x) for line in lines)
    if log_x and first <= 0:
        raise ValueError(f"x must be > 0 on a logarithmic axis, got {first:g}")
    columns = max(1, 70 // (max(len(line.name) for line in lines) + 9))  # in the legend
    size = (5, 3 + 0.2 * math.ceil(len(lines) / columns))
    style = _PAGE_STYLE | {"svg.hashsalt": repr((lines, title))}  # two plots in a page have different ids
    with _figure(size, style, xlabel=x_label, ylabel=y_label) as (figure, axes):
        from matplotlib.ticker import EngFormatter, LogLocator
        from matplotlib.transforms import ScaledTranslation

        for i, line in enumerate(lines):
            every = math.ceil(len(line.x) / _MOST_MARKERS)
            drawn = axes.errorbar(
                line.x,
                np.where(np.isfinite(line.y), line.y, np.nan),
                yerr=line.bars or None,
                label=line.name,
                color="black",
                linestyle=_DASHES[i % len(_DASHES)],
                marker=_MARKERS[i % len(_MARKERS)],
                markerfacecolor=("black", "white")[i % 2],
                markevery=((len(line.x) - 1) % every, every),
            )
            if line.bars:
                aside = ScaledTranslation(_ASIDE * (i - (len(lines) - 1) / 2), 0, figure.dpi_scale_trans)
                for artist in drawn.get_children():
                    artist.set_transform(axes.transData + aside)
        if log_x:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1,) if last >= 100 * first else (1, 2, 5)))
            axes.xaxis.set_minor_formatter("")
        axes.xaxis.set_major_formatter(EngFormatter(sep="") if last >= 1000 else "{x:g}")
        figure.legend(loc="outside upper left", ncols=columns)
        return _part_of_page(_saved(figure, "svg").decode(), title)


def loss_plot(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> bytes:
    """Make a PNG of losses over images seen, averaged over up to 400 stretches and shaded from least to greatest.

    curves: name -> (images seen, losses), equally long; an empty one is left out. A value that is not finite leaves a
        gap.
    """
    with _figure((8, 4.5), {"axes.xmargin": 0.01}, xlabel="images seen", ylabel="loss") as (figure, axes):
        for (name, (seen, losses)), (colour, dashes) in zip(curves.items(), _GRAYS, strict=False):
            if len(seen) == 0:
                continue
            x, mean, least, greatest = _stretches(np.asarray(seen, float), np.asarray(losses, float))
            axes.fill_between(x, least, greatest, color=colour, alpha=0.18, linewidth=0)
            axes.plot(x, mean, color=colour, linestyle=dashes, linewidth=1.4, label=name)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
        return _saved(figure, "png")


def bar_plot(bars: Sequence[tuple[str, str, float, float, float]], *, title: str = "", label: str = "") -> bytes:
    """Make an SVG file of horizontal bars with their intervals, the first one at the top.

    bars: (group, name, value, low, high), the bars of a group one after another. title: text above the bars. label:
        text below the axis of values.
    """
    groups = list(dict.fromkeys(group for group, *_ in bars))
    places = [-(i + 0.7 * groups.index(group)) for i, (group, *_) in enumerate(bars)]
    values = np.array([value for *_, value, _, _ in bars])
    errors = np.abs(np.array([bar[3:] for bar in bars]).T - values)
    size = (7, 1 + 0.24 * (len(bars) + len(groups)))
    with _figure(size, {"axes.ymargin": 0.01, "svg.hashsalt": "bars"}, title=title, xlabel=label) as (figure, axes):
        axes.barh(places, values, xerr=errors, color="0.75", ecolor="0.2", capsize=2, height=0.75)
        names = [name if name == group else f"{group}: {name}" for group, name, *_ in bars]
        axes.set_yticks(places, names, fontsize=8)
        return _saved(figure, "svg")


@contextmanager
def _figure(size: tuple[float, float], style: Mapping[str, Any], **labels: str) -> Iterator[tuple[Figure, Axes]]:
    """Yield a figure with one plot. Its style holds only within the block, so it must be saved there.

    size: width and height in inches. style: matplotlib's parameters, in addition to those of every plot; a matplotlibrc
    has no effect. labels: title, xlabel, ylabel.
    """
    from matplotlib import style as styles  # imported here because it takes half a second
    from matplotlib.figure import Figure

    with styles.context(["default", {**_STYLE, **style}]):
        figure = Figure(figsize=size)
        yield figure, figure.add_subplot(**labels)


def _saved(figure: Figure, kind: str) -> bytes:
    """Return the figure as a PNG or SVG file, without a date or the version of matplotlib."""
    buffer = io.BytesIO()
    absent = ("Software",) if kind == "png" else ("Creator", "Date", "Format", "Type")
    figure.savefig(buffer, format=kind, metadata=dict.fromkeys(absent))
    return buffer.getvalue()


def _part_of_page(svg: str, title: str) -> Markup:
    """Turn matplotlib's SVG file into an element of a page: black becomes the text colour, white the background."""

    def of_page(style: re.Match[str]) -> str:
        own = re.sub("font-family: [^;]*; ", "", style[0])
        return own.replace("#000000", "currentColor").replace("#ffffff", "Canvas")

    head, _, body = svg.partition("</defs>")  # the head ends in a style sheet that would apply to the whole page
    box = re.findall(r'viewBox="(.*?)"', head)[0]
    body = re.sub(r' style=".*?"', of_page, body, flags=re.DOTALL).replace("xlink:href", "href")
    body = re.sub(r'<g id=".*?"', "<g", body)  # nothing refers to these ids, and all plots share them
    opening = '<svg role="img" viewBox="{}" fill="currentColor" stroke-linejoin="round">\n<title>{}</title>'
    return Markup(opening).format(box, title) + Markup(body)


def _stretches(x: NDArray, y: NDArray) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Cut the points into at most 400 equal stretches: the end of each, its mean, its least and its greatest value."""
    parts = np.array_split(y, min(len(y), _BINS))
    ends = np.cumsum([len(part) for part in parts]) - 1
    mean, least, greatest = np.array([(part.mean(), part.min(), part.max()) for part in parts]).T
    return x[ends], mean, least, greatest


def _tiled(images: Images) -> Images:
    """Return uint8 [rows, columns, H, W, C] as one image, [rows * H, columns * W, C]."""
    rows, columns, h, w, c = images.shape
    return images.swapaxes(1, 2).reshape(rows * h, columns * w, c)


def _png(image: Images) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(buffer, "PNG")
    return buffer.getvalue()
