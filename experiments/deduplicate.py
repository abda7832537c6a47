"""The de-duplication pass over a packed set, and what a person looks at to judge it: mask, groups, gallery."""

import base64
import csv
import dataclasses
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from PIL import Image

import dedup
import results
from experiments import datasets
from experiments.atomic import write_bytes
from experiments.errors import UserError
from experiments.spec import HASHES, DedupSpec

SHOWN = 300  # groups in the gallery
SHOWN_OF_GROUP = 8  # images of each


def keep_mask(images: np.ndarray, spec: DedupSpec | None) -> np.ndarray:
    """bool [N]: the images that stay. Without a pass, all."""
    if spec is None:
        return np.ones(len(images), bool)
    return dedup.keep_mask(dedup.radius_groups(HASHES[spec.hash](images), spec.radius))


@dataclass(frozen=True)
class Match:
    """Images found to be the same: one group within a set, or one image and what it matches in another."""

    label: int  # index of the image kept, or matched
    others: list[int]
    distances: list[int]  # of each of the others from it, bits


def within(images: np.ndarray, spec: DedupSpec) -> tuple[np.ndarray, list[Match]]:
    """(keep mask bool [N], groups of more than one image, in order)."""
    codes = HASHES[spec.hash](images)
    groups = dedup.radius_groups(codes, spec.radius)
    keep = dedup.keep_mask(groups)
    others = np.flatnonzero(~keep)
    return keep, _matches(groups[others], others, codes, codes)


def between(images: np.ndarray, against: np.ndarray, spec: DedupSpec) -> tuple[np.ndarray, list[Match]]:
    """(keep mask bool [N]: images without a partner in `against`, [M, H, W, C]; each of the others with its own)."""
    codes, theirs = HASHES[spec.hash](images), HASHES[spec.hash](against)
    pairs = dedup.radius_pairs_between(codes, theirs, spec.radius)
    keep = np.ones(len(images), bool)
    keep[pairs[:, 0]] = False
    return keep, _matches(pairs[:, 0], pairs[:, 1], codes, theirs)


def _matches(labels: np.ndarray, others: np.ndarray, codes: np.ndarray, theirs: np.ndarray) -> list[Match]:
    distances = np.bitwise_count(codes[labels] ^ theirs[others])
    order = np.argsort(labels, kind="stable")
    runs = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1) if len(order) else []
    return [Match(int(labels[run[0]]), others[run].tolist(), distances[run].tolist()) for run in runs]


def deduplicate(
    name: str,
    out: Path,
    spec: DedupSpec,
    *,
    against: str | None = None,
    data_root: Path,
    runs_root: Path,
    say: Callable[[str], None],
    progress: datasets.Progress | None = None,
) -> dict[str, Any]:
    """Runs the pass over the set `name`, or finds its images that occur in the set `against`.

    Writes keep.npy (bool [N]), groups.csv, gallery.html and summary.json into `out`, each whole or not at all, and
    returns the summary. Raises UserError for sets that cannot be had, OSError for a folder that cannot be written.
    """
    if name == against:
        raise UserError(f"{name} against itself holds every image twice; leave out --against to search within it")
    packed = datasets.load(name, data_root=data_root, runs_root=runs_root, progress=progress)
    other = packed if against is None else datasets.load(against, data_root=data_root, runs_root=runs_root)
    out.mkdir(parents=True, exist_ok=True)
    keep, matches = within(packed.images, spec) if against is None else between(packed.images, other.images, spec)
    summary = {
        "set": {"name": packed.name, "digest": packed.digest},
        "against": None if against is None else {"name": other.name, "digest": other.digest},
        "pass": dataclasses.asdict(spec),
        "images": len(keep),
        "groups": len(matches),
        "removed": int((~keep).sum()),
        "versions": results.versions(),
    }
    buffer = io.BytesIO()
    np.save(buffer, keep, allow_pickle=False)
    write_bytes(out / "keep.npy", buffer.getvalue())
    write_bytes(out / "groups.csv", _csv(matches).encode())
    write_bytes(out / "gallery.html", gallery(matches, packed, other, spec).encode())
    write_bytes(out / "summary.json", (json.dumps(summary, indent=2) + "\n").encode())
    say(f"{name}: {len(keep):,} images, {summary['removed']:,} of them in {len(matches):,} groups are not kept")
    return summary


def _csv(matches: Sequence[Match]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["group", "index", "distance"])
    for match in matches:
        writer.writerows((match.label, i, d) for i, d in zip(match.others, match.distances, strict=True))
    return text.getvalue()


def gallery(matches: Sequence[Match], packed: datasets.PackedSet, other: datasets.PackedSet, spec: DedupSpec) -> str:
    """One self-contained HTML page with the groups that are farthest apart first, to be judged by eye."""
    same_set = packed is other
    shown = sorted(matches, key=lambda match: (-max(match.distances), match.label))[:SHOWN]
    groups = []
    for match in shown:
        farthest = np.argsort(match.distances, kind="stable")[::-1][: SHOWN_OF_GROUP - 1]
        pictures = [_picture(packed.images[match.label], f"{'kept' if same_set else packed.name} {match.label}")]
        pictures += [
            _picture(other.images[match.others[i]], f"{match.others[i]}, {match.distances[i]} bits") for i in farthest
        ]
        note = f"{len(match.others) + 1} images" if same_set else f"{len(match.others)} in {other.name}"
        groups.append({"label": match.label, "heading": f"group {match.label}", "note": note, "pictures": pictures})
    template = (resources.files("experiments") / "gallery.html").read_text()
    return (
        jinja2.Environment(autoescape=True)
        .from_string(template)
        .render(
            title=f"Near-duplicates of {packed.name}" + ("" if same_set else f" in {other.name}"),
            subtitle=f"{spec.hash}, Hamming radius {spec.radius}.",
            total=len(matches),
            groups=groups,
        )
    )


def _picture(image: np.ndarray, caption: str) -> dict[str, str]:
    buffer = io.BytesIO()
    Image.fromarray(image.squeeze(-1) if image.shape[2] == 1 else image).save(buffer, "PNG")
    return {"png": base64.b64encode(buffer.getvalue()).decode(), "caption": caption}
