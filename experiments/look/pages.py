"""The two pages on which a person marks samples, and the JSON that they export, read back and checked.

    {"seed": 0, "weights": SHA-256, "concepts": {"smiling woman": [3, 14, 15], ...}}      sheet.html, `look arithmetic`
    {"seed": 0, "weights": SHA-256, "boxes": {"12": [[x0, y0, x1, y1], ...], ...}}        boxes.html, `look forget`

`weights` is the digest of the generator's state dict. Indices number the z of the seed. A box is in pixels, x to the
right and y downwards, x0 < x1 and y0 < y1, both ends within 0..width and 0..height.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from experiments.look.subject import NUMBERED, Subject, check_different, network_name, open_subject
from experiments.run.context import Run
from experiments.run.errors import UserError
from experiments.run.files import write_bytes
from experiments.run.html import data_url, page
from experiments.run.reading.documents import read_json

PAGES = {"concepts": "sheet.html", "boxes": "boxes.html"}
INDEX = re.compile("0|[1-9][0-9]{0,17}")  # of a sample
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Marks:
    """What a page exported. `marked` holds concepts or boxes as they are in the file, not checked yet."""

    file: Path
    page: str
    seed: int
    weights: str  # digest of the network that drew the marked samples
    marked: dict[str, Any]

    def open_subject(self, generator: Path, run: Run) -> Subject:
        """Return the generator in that file, with the marked z. Raises UserError if the marks are another network's."""
        subject = open_subject(generator, self.seed, run)
        if self.weights != subject.weights:
            raise UserError(
                f"{self.file} marks samples of another network than {generator}; write {self.page} for "
                "this one with --sheet and mark samples there"
            )
        return subject

    def concepts(self, *, least: int) -> dict[str, list[int]]:
        """Return name -> indices, in the file's order. Raises UserError unless each has `least` different ones."""
        for name, found in self.marked.items():
            if not isinstance(found, list) or not all(type(i) is int for i in found):
                raise UserError(f"{self.file}: concept {name!r} must be a list of indices; export it from {self.page}")
            check_different(found, f"concept {name!r} of {self.file}", least=least)
            if not name.isprintable():  # a lone surrogate cannot be written
                raise UserError(f"{self.file}: concept {name!r} must be printable text; name it again on {self.page}")
        return self.marked

    def boxes(self, image_shape: tuple[int, int, int]) -> dict[int, list[Box]]:
        """Return index -> boxes. Raises UserError if there are none, or one is not within an image (C, H, W)."""
        _, height, width = image_shape
        for name, found in self.marked.items():
            if not INDEX.fullmatch(name) or not isinstance(found, list):
                raise UserError(
                    f"{self.file}: boxes must be lists under the index of a sample; export them from {self.page}"
                )
            for box in found:
                numbers = isinstance(box, list) and len(box) == 4 and all(type(v) in (int, float) for v in box)
                if not numbers or not (0 <= box[0] < box[2] <= width and 0 <= box[1] < box[3] <= height):
                    raise UserError(
                        f"{self.file}: box {box} of sample {name} must be [x0, y0, x1, y1] within 0..{width} and "
                        f"0..{height}, x0 < x1 and y0 < y1; draw it again on {self.page}"
                    )
        drawn = {int(index): [tuple(box) for box in found] for index, found in self.marked.items() if found}
        if not drawn:
            raise UserError(f"{self.file} holds no boxes; draw some on {self.page}")
        return drawn


def read_marks(file: Path, kind: str) -> Marks:
    """Read what a page of a `kind` in PAGES exported. Raises UserError for another file; `marked` is not checked."""
    again = f"export it again from {PAGES[kind]}"
    try:
        whole = read_json(file, Any, what="not JSON", fix=again)
    except FileNotFoundError as error:
        raise UserError(f"no file {file}; --sheet writes the page that exports it, {PAGES[kind]}") from error
    types = {"seed": int, "weights": str, kind: dict}
    if not isinstance(whole, dict) or not all(type(whole.get(key)) is of for key, of in types.items()):
        raise UserError(f"{file} must hold seed, weights and {kind}; {again}")
    if not 0 <= whole["seed"] < 2**63:
        raise UserError(f"{file}: seed must lie between 0 and 2**63 - 1, got {whole['seed']}")
    return Marks(file, PAGES[kind], whole["seed"], whole["weights"], whole[kind])


def write_page(kind: str, generator: Path, seed: int, samples: int, folder: Path, run: Run) -> Path:
    """Write the page of a `kind` in PAGES, with the first `samples` samples of the seed; return its file."""
    if not 1 <= samples <= NUMBERED:
        raise UserError(f"--samples must lie between 1 and {NUMBERED}, got {samples}")
    subject = open_subject(generator, seed, run)
    images = subject.draw(subject.z[:samples])
    _, height, width = subject.image_shape
    html = page(
        PAGES[kind],
        name=network_name(generator),
        pictures=[data_url(Image.fromarray(i[..., 0] if i.shape[2] == 1 else i)) for i in images],
        run={"seed": seed, "weights": subject.weights, "width": width, "height": height},
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / PAGES[kind], html.encode())
    return folder / PAGES[kind]
