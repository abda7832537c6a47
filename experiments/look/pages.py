"""The two pages on which a person marks samples, and the JSON that they export, read back and checked.

    {"seed": 0, "weights": SHA-256, "concepts": {"smiling woman": [3, 14, 15], ...}}      sheet.html, `look arithmetic`
    {"seed": 0, "weights": SHA-256, "boxes": {"12": [[x0, y0, x1, y1], ...], ...}}        boxes.html, `look forget`

`weights` is of the generator's state dict; indices number the z of the seed; a box is in pixels of the image, x to the
right and y downwards, x0 < x1 and y0 < y1, both ends within 0..width and 0..height.
"""

import json
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image

from experiments.look.subject import SHEET, Subject, checked
from experiments.run.errors import UserError
from experiments.run.files import write_bytes
from experiments.run.html import data_url

PAGES = {"concepts": "sheet.html", "boxes": "boxes.html"}
Box = tuple[float, float, float, float]


def write_page(out: Path, subject: Subject, kind: str, samples: int) -> Path:
    """The self-contained page of that kind, "concepts" or "boxes", with the first `samples` z of the seed."""
    if not 1 <= samples <= SHEET:
        raise UserError(f"--samples must lie between 1 and {SHEET}, got {samples}")
    images = subject.draw(subject.z[:samples])
    pictures = [data_url(Image.fromarray(i[..., 0] if i.shape[2] == 1 else i)) for i in images]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("experiments", "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    _, height, width = subject.trained.arch.image_shape
    page = environment.get_template(PAGES[kind]).render(
        name=subject.name,
        pictures=pictures,
        run={"seed": subject.seed, "weights": subject.weights, "width": width, "height": height},
    )
    file = out / PAGES[kind]
    write_bytes(file, page.encode())
    return file


def concepts_of(file: Path, whole: dict[str, Any], *, least: int) -> dict[str, list[int]]:
    """Name -> indices, in the file's order. UserError for what is no list of `least` different ones."""
    for name, found in whole["concepts"].items():
        if not isinstance(found, list) or not all(type(i) is int for i in found):
            raise UserError(f"{file}: concept {name!r} must be a list of indices; export it again from sheet.html")
        checked(found, f"concept {name!r} of {file}", least=least)
        if not name.isprintable():  # a lone surrogate cannot be written
            raise UserError(f"{file}: concept {name!r} must be printable text; name it again on sheet.html")
    return whole["concepts"]


def boxes_of(file: Path, whole: dict[str, Any], image_shape: tuple[int, int, int]) -> dict[int, list[Box]]:
    """Index -> boxes. UserError for others than boxes within the image, and for none."""
    _, height, width = image_shape
    for name, found in whole["boxes"].items():
        if not name.isdecimal() or name != str(int(name)) or not isinstance(found, list):
            raise UserError(f"{file}: boxes must be lists under the index of a sample; export them from boxes.html")
        for box in found:
            numbers = isinstance(box, list) and len(box) == 4 and all(type(v) in (int, float) for v in box)
            if not numbers or not (0 <= box[0] < box[2] <= width and 0 <= box[1] < box[3] <= height):
                raise UserError(
                    f"{file}: box {box} of sample {name} must be [x0, y0, x1, y1] within 0..{width} and 0..{height}, "
                    "x0 < x1 and y0 < y1; draw it again on boxes.html"
                )
    drawn = {int(index): [tuple(box) for box in found] for index, found in whole["boxes"].items() if found}
    if not drawn:
        raise UserError(f"{file} holds no boxes; draw some on boxes.html")
    return drawn


def check_weights(file: Path, whole: dict[str, Any], subject: Subject) -> None:
    """UserError where the samples were another network's."""
    if whole["weights"] != subject.weights:
        page = PAGES["concepts" if "concepts" in whole else "boxes"]
        raise UserError(
            f"{file} was made of the samples of another network than {subject.file}; write {page} of this one "
            "with --sheet and mark them there"
        )


def read_whole(file: Path, kind: str) -> dict[str, Any]:
    """The JSON that a page exports. UserError for any other file; what `kind` holds is not looked at."""
    try:
        whole = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"no file {file}; --sheet writes the page that exports it, {PAGES[kind]}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is not JSON; export it again from {PAGES[kind]}") from error
    kinds = {"seed": int, "weights": str, kind: dict}
    if not isinstance(whole, dict) or not all(type(whole.get(key)) is of for key, of in kinds.items()):
        raise UserError(f"{file} must hold seed, weights and {kind}; export it again from {PAGES[kind]}")
    if not 0 <= whole["seed"] < 2**63:
        raise UserError(f"{file}: seed must lie between 0 and 2**63 - 1, got {whole['seed']}")
    return whole
