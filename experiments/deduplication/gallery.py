"""The page on which a person judges by eye what a pass found: self-contained, the farthest apart first."""

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import jinja2
import numpy as np
from PIL import Image

from experiments.deduplication.image_source import Source
from experiments.deduplication.methods import Found
from results import figures

SHOWN = 500  # groups
SHOWN_OF_GROUP = 8  # images of each
PICTURED = 32  # groups of the picture
LOSSLESS_SIDE = 64  # pictures of at most so many pixels a side are shown as they are


@dataclass(frozen=True)
class Group:
    """One image and those that are the same, the farthest first.

    label: index of the image that stays, or has matches in the other set. others: int64 [m]; distances: float64 [m].
    """

    label: int
    others: np.ndarray
    distances: np.ndarray


def groups_of(found: Found) -> list[Group]:
    """The groups, the farthest apart first."""
    if not len(found.pairs):
        return []
    labels, others = found.pairs.T
    runs = np.split(np.arange(len(labels)), np.flatnonzero(np.diff(labels)) + 1)
    groups = []
    for run in runs:
        farthest = run[np.argsort(-found.distances[run], kind="stable")]
        groups.append(Group(int(labels[run[0]]), others[farthest], found.distances[farthest]))
    return sorted(groups, key=lambda group: (-group.distances[0], group.label))


def entries(groups: Sequence[Group], source: Source, other: Source, unit: str) -> Iterator[dict[str, Any]]:
    """What the page shows of each of the first SHOWN groups; its pictures are read on the way. See `render`."""
    for group in groups[:SHOWN]:
        yield _entry(group, source, other, unit)


def render(
    shown: Sequence[dict[str, Any]], total: int, *, source: Source, other: Source, method: str, digest: str
) -> str:
    """The HTML of the `entries` of `total` groups; by `digest` the browser tells this run's judgments from others."""
    template = (resources.files("experiments") / "templates" / "gallery.html").read_text()
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(
        title=f"Near-duplicates in {source.name}" if source is other else f"{source.name} in {other.name}",
        method=method,
        total=total,
        groups=shown,
        run={"digest": digest, "set": source.name, "against": None if source is other else other.name}
        | {"method": method, "groups": total},
    )


def picture(groups: Sequence[Group], source: Source, other: Source) -> bytes | None:
    """PNG of PICTURED groups from the farthest apart to the nearest: the first image and that farthest from it.

    None for photographs, and for sets whose images are of two shapes.
    """
    if not groups or source.packed is None or other.packed is None:
        return None
    images, others = source.packed.images, other.packed.images
    if images.shape[1:] != others.shape[1:]:
        return None
    chosen = [groups[i] for i in np.linspace(0, len(groups) - 1, min(PICTURED, len(groups))).round().astype(int)]
    first, second = [group.label for group in chosen], [group.others[0] for group in chosen]
    return figures.pairs(images[first], others[second], columns=8)


def _entry(group: Group, source: Source, other: Source, unit: str) -> dict[str, Any]:
    pictures = [_picture(source, group.label, "stays" if source is other else f"of {source.name}", "")]
    for index, distance in list(zip(group.others, group.distances, strict=True))[: SHOWN_OF_GROUP - 1]:
        role = "goes" if source is other else f"of {other.name}"
        pictures.append(_picture(other, int(index), role, _distance(float(distance), unit)))
    return {
        "label": group.label,
        "farthest": _distance(float(group.distances[0]), unit),
        "images": len(group.others) + 1,
        "unseen": max(0, len(group.others) + 1 - SHOWN_OF_GROUP),
        "pictures": pictures,
    }


def _distance(distance: float, unit: str) -> str:
    return f"{distance:.0f} {unit}" if unit == "bits" else f"{distance:.1f} {unit}"


def _picture(source: Source, index: int, role: str, distance: str) -> dict[str, str]:
    image = source.picture(index)
    name = str(index) if source.names is None else source.names[index]
    url = "" if image is None else data_url(image)
    return {"url": url, "name": name, "role": role, "distance": distance}


def data_url(image: Image.Image) -> str:
    """The picture as text that a page can hold."""
    buffer = io.BytesIO()
    kind = "png" if max(image.size) <= LOSSLESS_SIDE else "jpeg"
    image.save(buffer, kind.upper(), quality=90)  # of JPEG alone
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
