"""Files of results/ as the report shows them: tables, pictures, JSON. Absent files are None, damaged ones an error."""

import base64
import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from experiments.run.errors import UserError, one_line
from experiments.run.reading import documents
from results.views import View, view

KINDS = ("png", "webp")
FIX = "restore it from version control, or move it away"
DAMAGE: tuple[type[Exception], ...] = (  # what reading a file of another content raises
    *(OSError, SyntaxError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError),
    *(csv.Error, Image.DecompressionBombError),
)
SCREEN = 1088  # pixels, about the width of the page's text
LARGE, QUALITY = 100_000, 92  # bytes of a PNG; quality of a WebP
TITLES = {  # stem of a CSV file -> title; other files are titled by their stem
    "ablation": "Ablation: one choice of the protocol changed at a time",
    "campaign": "Cases by reader, and how they ended",
    "cifair": "CIFAR-10 test images that people judged to be among the training images, and how many a method finds",
    "digits": "What a classifier of digits sees in the samples",
    "figures": "Figures",
    "filters": "Gradients of the strongest responses",
    "frames": "Every frame",
    "gpu": "Speed and equality on a GPU",
    "kills": "Trainings that were killed or stopped, and the last minibatch that was saved",
    "maps": "Weight of each map, and whether it is dropped",
    "memorised": "Copies of training images, and variety",
    "planted": "Altered copies planted among photographs, and how many a method finds",
    "search": "Time and memory of exact search, compared with other programs",
    "walk": "Every row",
}


@dataclass(frozen=True)
class Sheet:
    """A table with a title and at least one row; every row holds the same columns, column -> text."""

    title: str
    rows: Sequence[Mapping[str, str]]

    @property
    def view(self) -> View:
        """The table as the page shows it."""
        return view(self.rows)


@dataclass(frozen=True)
class Picture:
    """A PNG or WebP file with a text for those who do not see it, its size in pixels, and its content as a URL.

    scale: 2 for a picture that fits on a screen at twice its size, else 1.
    """

    file: Path
    alt: str
    width: int
    height: int
    url: str

    @property
    def scale(self) -> int:
        return 2 if 2 * self.width <= SCREEN and 2 * self.height <= SCREEN else 1


@contextmanager
def reading(file: Path) -> Iterator[None]:
    """Turn whatever goes wrong with the content of `file` into a UserError that names the file and the fix."""
    try:
        yield
    except DAMAGE as error:
        told = f"it has no {error}" if isinstance(error, KeyError) else one_line(error)
        raise UserError(f"{file} is damaged ({told}); {FIX}") from error


def read_json(file: Path) -> dict[str, Any]:
    """Return the object that a JSON file holds."""
    return documents.read_json(file, fix=FIX)


def read_sheet(file: Path, title: str = "", columns: Sequence[str] = ()) -> Sheet | None:
    """Return the table of a CSV file with a header, or None if there is no file or no row.

    title: if it is empty, the title is taken from TITLES. columns: if they are given, the header must be exactly these.
    """
    if not file.exists():
        return None
    with reading(file):
        text = file.read_text(encoding="utf-8")
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
        if text and not text.endswith("\n"):
            raise ValueError("its last line has no end")
        if not lines or (columns and tuple(lines[0]) != tuple(columns)):
            raise ValueError(f"its first line must be {','.join(columns) or 'the names of its columns'}")
        rows = [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]
    return Sheet(title or TITLES.get(file.stem, file.stem), rows) if rows else None


def read_sheets(folder: Path, *without: str) -> list[Sheet]:
    """Return the tables of all CSV files in a folder, except those with the stems `without`."""
    files = [file for file in sorted(folder.glob("*.csv")) if file.stem not in without]
    return [sheet for file in files if (sheet := read_sheet(file))]


def read_picture(file: Path, alt: str) -> Picture | None:
    """Return the picture, or None if there is no file. The whole file must be decodable.

    A PNG of more than 100 kB becomes a WebP, which takes about a quarter of the space.
    """
    if not file.exists():
        return None
    with reading(file), Image.open(file, formats=KINDS) as image:
        content, kind = file.read_bytes(), str(image.format).lower()
        image.load()
        if kind == "png" and len(content) > LARGE:
            buffer = io.BytesIO()
            image.save(buffer, "WEBP", quality=QUALITY)
            content, kind = buffer.getvalue(), "webp"
        url = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
        return Picture(file, alt, *image.size, url)
