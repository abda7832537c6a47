"""Files of results/ as the report shows them: tables, pictures, JSON. An absent one is None, a damaged one is named."""

import base64
import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image

from experiments.run.errors import UserError, one_line

KINDS = ("png", "webp")
LARGE, QUALITY = 100_000, 92  # bytes of a PNG; of WebP


@dataclass(frozen=True)
class Sheet:
    """A table of texts: column -> text, in one row at least."""

    title: str
    rows: Sequence[Mapping[str, str]]

    @property
    def columns(self) -> list[str]:
        """Those in which any row has a text."""
        return [name for name in self.rows[0] if any(row[name] for row in self.rows)]


@dataclass(frozen=True)
class Picture:
    """A PNG or WebP file as a page can hold it, what it shows, width and height in pixels."""

    file: Path
    alt: str
    width: int
    height: int
    url: str


@dataclass(frozen=True)
class Plot:
    """A drawing, a sentence below it, and its numbers."""

    svg: Markup
    caption: str
    sheet: Sheet


@contextmanager
def reading(file: Path) -> Iterator[None]:
    """UserError, with the fix, for whatever goes wrong with the content of `file`."""
    try:
        yield
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, AttributeError) as error:
        told = f"it has no {error}" if isinstance(error, KeyError) else one_line(error)
        raise UserError(f"{file} is damaged ({told}); restore it from version control, or move it away") from error


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file."""
    with reading(file):
        found = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError(f"it holds a {type(found).__name__}, not an object")
        return found


def read_sheet(file: Path, title: str, columns: Sequence[str] = ()) -> Sheet | None:
    """A CSV file with its header, of just these columns where given; None where there is none, or no row."""
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
    return Sheet(title, rows) if rows else None


def read_picture(file: Path, alt: str) -> Picture | None:
    """A picture, a large PNG as WebP, a quarter of its size; None where there is none. All of it must be decodable."""
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
