"""Pictures with words: grids of images whose blocks, rows and columns are labelled.

Every image is enlarged by one whole number and stays exact, so that a pixel is a square of one colour. The words stand
beside the images, never on them.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

SIDE = 96  # least height of an enlarged image, in pixels
WIDEST = 8_192  # of all images of a row together; wider ones are enlarged less
GAP, APART = 4, 28  # pixels between images, and between blocks
FONTS = (15, 30)  # least and greatest height of the words, in pixels
SHARE = 52  # width of a picture in heights of the words: they are read when the picture is 800 pixels wide
MOST = 160  # characters of a text
ROW_LABEL = 8  # greatest width of a row's label, in heights of the words


@dataclass(frozen=True)
class Block:
    """Images beside one another, uint8 [rows, columns, H, W, C] with C of 1 or 3, and their words; "" leaves one out.

    title: above the block. rows: a label for each row, left of it. columns: one for each column. marked: row and column
    of an image with a frame around it.
    """

    images: NDArray[np.uint8]
    title: str = ""
    rows: Sequence[str] = ()
    columns: Sequence[str] = ()
    marked: tuple[int, int] | None = None


@dataclass(frozen=True)
class Label:
    """A text of one line or more, and the corners of its place: x0, y0, x1, y1 in pixels."""

    text: str
    box: tuple[int, int, int, int]
    size: int  # height of the font in pixels
    align: str  # left, center or right


@dataclass(frozen=True)
class Layout:
    """Where everything is drawn. corners: for each block, int [rows, columns, 2], x and y of an image's upper left."""

    size: tuple[int, int]
    scale: int
    corners: Sequence[NDArray[np.int64]]
    labels: Sequence[Label]


def sheet(*blocks: Block, title: str = "") -> bytes:
    """Make a PNG of the blocks, side by side, on white; `title` is above all.

    Raises ValueError for no block, for blocks that differ in the shape of an image, and for labels that are not as many
    as rows or columns.
    """
    drawn = layout(*blocks, title=title)
    channels = blocks[0].images.shape[4]
    picture = Image.new("L" if channels == 1 else "RGB", drawn.size, "white")
    pen = ImageDraw.Draw(picture)
    for block, corners in zip(blocks, drawn.corners, strict=True):
        height, width = (drawn.scale * side for side in block.images.shape[2:4])
        if block.marked is not None:
            x, y = corners[block.marked].tolist()
            pen.rectangle((x - GAP, y - GAP, x + width + GAP - 1, y + height + GAP - 1), fill="black")
        for at in np.ndindex(corners.shape[:2]):
            enlarged = block.images[at].repeat(drawn.scale, axis=0).repeat(drawn.scale, axis=1)
            picture.paste(Image.fromarray(enlarged[..., 0] if channels == 1 else enlarged), tuple(corners[at].tolist()))
    for label in drawn.labels:
        x0, y0, x1, _ = label.box
        for i, line in enumerate(label.text.splitlines()):
            spare = {"left": 0.0, "center": 0.5, "right": 1.0}[label.align] * (x1 - x0 - _width(line, label.size))
            pen.text((x0 + round(spare), y0 + i * _line(label.size)), line, "black", font=_font(label.size))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def pairs(images: NDArray[np.uint8], others: NDArray[np.uint8], *, names: Sequence[str], title: str) -> bytes:
    """Make a PNG of pairs, four in a row: each of `images`, uint8 [N, H, W, C], with its partner from `others`.

    names: the words above the two.
    """
    both = np.stack([images, others], axis=1)
    missing = np.full((-len(both) % 4, *both.shape[1:]), 255, np.uint8)
    rows = np.concatenate([both, missing]).reshape(-1, 4, *both.shape[1:])
    return sheet(*(Block(rows[:, i], columns=names) for i in range(min(4, len(both)))), title=title)


def layout(*blocks: Block, title: str = "") -> Layout:
    """Place the blocks and their words, see `sheet`."""
    _check(blocks)
    height, width = blocks[0].images.shape[2:4]
    columns = sum(block.images.shape[1] for block in blocks)
    scale = max(1, min(math.ceil(SIDE / height), WIDEST // (columns * width)))
    step_x, step_y = scale * width + GAP, scale * height + GAP
    font = int(np.clip((columns * step_x + APART * len(blocks)) / SHARE, *FONTS))
    font = min(font, max(1, int(scale * height / 1.3)))  # a line is no higher than an image
    fit = (step_y - GAP) // _line(font)  # lines beside an image
    row_labels = [[_wrapped(text, ROW_LABEL * font, font, fit) for text in block.rows] for block in blocks]
    column_labels = [[_wrapped(text, step_x - GAP, font) for text in block.columns] for block in blocks]
    indents = [max([_width(text, font) + 3 * GAP for text in texts if text], default=0) for texts in row_labels]
    lefts, x = [], GAP
    for block, indent in zip(blocks, indents, strict=True):
        lefts.append(x + indent)
        x = lefts[-1] + block.images.shape[1] * step_x + APART
    right = x - APART
    head = _wrapped(title, right - 2 * GAP, font)
    titles = [_wrapped(block.title, block.images.shape[1] * step_x - GAP, font) for block in blocks]
    below_head = GAP + _room([head], font)
    below_titles = below_head + _room(titles, font)
    top = below_titles + _room([text for texts in column_labels for text in texts], font)

    corners = [
        np.stack(
            np.meshgrid(left + step_x * np.arange(block.images.shape[1]), top + step_y * np.arange(len(block.images))),
            -1,
        )
        for left, block in zip(lefts, blocks, strict=True)
    ]
    labels = [Label(head, (GAP, GAP, right - GAP, GAP + _height(head, font)), font, "left")]
    for block, left, text, rows, columns, indent in zip(
        blocks, lefts, titles, row_labels, column_labels, indents, strict=True
    ):
        end, above = left + block.images.shape[1] * step_x - GAP, below_titles - GAP
        labels.append(Label(text, (left, above - _height(text, font), end, above), font, "center"))
        for i, column in enumerate(columns):
            x, above = left + i * step_x, top - GAP
            labels.append(Label(column, (x, above - _height(column, font), x + step_x - GAP, above), font, "center"))
        for i, row in enumerate(rows):
            y = top + i * step_y + (step_y - GAP - _height(row, font)) // 2
            labels.append(Label(row, (left - indent, y, left - 3 * GAP, y + _height(row, font)), font, "right"))
    bottom = top + max(len(block.images) for block in blocks) * step_y
    return Layout((right, bottom), scale, corners, [label for label in labels if label.text])


def _check(blocks: Sequence[Block]) -> None:
    shapes = [block.images.shape for block in blocks]
    if not blocks or any(len(shape) != 5 or shape[2:] != shapes[0][2:] or 0 in shape for shape in shapes):
        raise ValueError(f"blocks must hold images of one shape, [rows, columns, H, W, C], got {shapes}")
    for block in blocks:
        for labels, n, name in (
            (block.rows, len(block.images), "row"),
            (block.columns, block.images.shape[1], "column"),
        ):
            if len(labels) not in (0, n):
                raise ValueError(f"{n} {name}s need as many labels, or none, got {list(labels)}")


@cache
def _font(size: int) -> FreeTypeFont:
    """Return the font that comes with matplotlib, so that a picture has the same words everywhere."""
    import matplotlib as mpl
    from PIL import ImageFont

    file = Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(file, size, layout_engine=ImageFont.Layout.BASIC)


def _width(text: str, size: int) -> int:
    lengths = [_font(size).getlength(line) for line in text.splitlines()]
    return math.ceil(max(lengths, default=0)) + 1  # a letter may stand out by a pixel


def _line(size: int) -> int:
    return math.ceil(1.2 * size)


def _height(text: str, size: int) -> int:
    return len(text.splitlines()) * _line(size)


def _room(texts: Sequence[str], size: int) -> int:
    """Return the height that these texts need beside one another, with a gap below them; 0 without words."""
    return max((_height(text, size) + GAP for text in texts if text), default=0)


def _wrapped(text: str, width: int, size: int, lines: int = MOST) -> str:
    """Break a text into at most `lines` lines of at most `width`; what is left out is shown by "…".

    A line ends between words; only a longer word is broken. Only the first MOST characters are kept.
    """
    text = text if len(text) <= MOST else f"{text[: MOST - 1]}…"

    def broken() -> Iterator[str]:
        line = ""
        for word in text.split():
            if line and _width(f"{line} {word}", size) <= width:
                line = f"{line} {word}"
                continue
            if line:
                yield line
            line = word
            while _width(line, size) > width and len(line) > 1:
                fits = next(n for n in range(len(line) - 1, 0, -1) if n == 1 or _width(line[:n], size) <= width)
                yield line[:fits]
                line = line[fits:]
        if line:
            yield line

    whole = list(broken())
    if len(whole) > max(1, lines):
        whole = [*whole[: max(1, lines) - 1], f"{whole[max(1, lines) - 1][:-1]}…"]
    return "\n".join(whole)
