"""The de-duplication pass as a person runs it, and what it leaves: mask, groups, gallery, what was skipped."""

import csv
import dataclasses
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import dedup
import results
from experiments.data import load as datasets
from experiments.data.leakage import audit, write_audit
from experiments.deduplication import gallery
from experiments.deduplication import image_source as sources
from experiments.deduplication import methods as duplicates
from experiments.deduplication.image_source import Source
from experiments.deduplication.spec import HASHES, DedupSpec
from experiments.run.errors import UserError
from experiments.run.files import write_bytes
from experiments.run.progress import silent

NAMED = 3  # skipped files told one by one; the rest are in skipped.csv


@dataclasses.dataclass(frozen=True)
class _Array:
    """An array as `duplicates.Searched`."""

    images: np.ndarray

    def pixels(self) -> np.ndarray:
        return self.images

    def codes(self, name: str) -> np.ndarray:
        return dedup.hash_chunks(self.images, HASHES[name])


def removed(images: np.ndarray, spec: DedupSpec | None, progress: datasets.Progress | None = None) -> np.ndarray:
    """int64 [M, 2], sorted: (image that stays, image that the pass removes instead). Without a pass, none.

    `images`: uint8 [N, H, W, 1 or 3].
    """
    if spec is None:
        return np.empty((0, 2), np.int64)
    return duplicates.find(spec, _Array(images), progress=progress).pairs


def check(name: str, spec: DedupSpec, *, against: str | None, record: bool, data_root: Path, runs_root: Path) -> None:
    """UserError for what `deduplicate` could not do, before any work."""
    roots = {"data_root": data_root, "runs_root": runs_root}
    sources.check(name, **roots)
    if against is not None:
        sources.check(against, **roots)
        if sources.is_same(name, against):
            raise UserError(f"{name} against itself holds every image twice; leave out --against to search within it")
    known = all(n is not None and datasets.is_name(n) for n in (name, against))  # whoever reads it can have them
    if record and not (known and is_audit(name, spec, against, **roots)):
        raise UserError("--record keeps an audit: it needs --against, two named sets, and the method near-duplicates")


def deduplicate(
    name: str,
    out: Path,
    spec: DedupSpec,
    *,
    against: str | None = None,
    audits: Sequence[Path] = (),
    data_root: Path,
    runs_root: Path,
    say: Callable[[str], None],
    progress: datasets.Progress | None = None,
) -> dict[str, Any]:
    """Runs the pass over the set, folder or zip `name`, or finds its images that occur in `against`.

    Writes into `out`, each whole or not at all: keep.npy (bool [N]), groups.csv, gallery.html, summary.json; of sets
    of one shape also groups.png, of photographs keep.txt and skipped.csv, of the semantic hash semantic.safetensors. A
    pass of near-duplicates between two sets is also written as a leakage audit into each folder of `audits`. Returns
    the summary.

    Raises UserError for sources that cannot be had, OSError for a folder that cannot be written.
    """
    roots = {"data_root": data_root, "runs_root": runs_root}
    check(name, spec, against=against, record=False, **roots)
    source = sources.open_source(name, spec, **roots, progress=progress)
    other = source if against is None else sources.open_source(against, spec, **roots, progress=progress)
    found = duplicates.find(spec, source, None if against is None else other, progress)
    keep = np.ones(source.size, bool)
    keep[found.pairs[:, 1 if against is None else 0]] = False
    summary = _summary(source, other, spec, found, keep)

    out.mkdir(parents=True, exist_ok=True)
    files = {"keep.npy": _npy(keep), "groups.csv": _groups(found, source, other)}
    if source.names is not None:
        files["keep.txt"] = "".join(f"{source.names[i]}\n" for i in np.flatnonzero(keep)).encode()
    if source.names is not None or other.names is not None:
        rows = [(*row, s.name) for s in _both(source, other) for row in s.skipped]
        files["skipped.csv"] = _csv(("file", "reason", "source"), rows)
    groups = gallery.groups_of(found)
    entries = gallery.entries(groups, source, other, found.unit)
    total = min(len(groups), gallery.SHOWN)
    shown = list((progress or silent)(entries, total=total, desc="drawing the gallery", unit="group"))
    html = gallery.render(shown, len(groups), source=source, other=other, method=str(spec), digest=summary["digest"])
    files["gallery.html"] = html.encode()
    if (picture := gallery.picture(groups, source, other)) is not None:
        files["groups.png"] = picture
    files["summary.json"] = (json.dumps(summary, indent=2) + "\n").encode()
    (out / "summary.json").unlink(missing_ok=True)  # written last: without it the folder is not finished
    for stale in {"keep.txt", "skipped.csv", "groups.png", "semantic.safetensors"} - set(files):  # of an earlier pass
        (out / stale).unlink(missing_ok=True)
    if found.semantic is not None:
        found.semantic.save(out / "semantic.safetensors")
    for file, content in files.items():
        write_bytes(out / file, content)
    if is_audit(name, spec, against, **roots) and source.packed is not None and other.packed is not None:
        for folder in audits:
            made = audit(source.packed, other.packed, found.pairs, dict(results.versions()))
            say(f"audit written to {write_audit(folder, made)}")
    _tell_skipped(_both(source, other), out / "skipped.csv", say)
    gone = "are not kept" if against is None else f"occur in {other.name}"
    say(f"{source.name}: {source.size:,} images, {summary['removed']:,} of them in {len(groups):,} groups {gone}")
    return summary


def _tell_skipped(read: Sequence[Source], file: Path, say: Callable[[str], None]) -> None:
    skipped = [f"{name} ({reason})" for source in read for name, reason in source.skipped]
    if skipped:
        more = f" and {len(skipped) - NAMED:,} more" if len(skipped) > NAMED else ""
        say(f"skipped {len(skipped):,} files, listed in {file}: {', '.join(skipped[:NAMED])}{more}")


def is_audit(name: str, spec: DedupSpec, against: str | None, *, data_root: Path, runs_root: Path) -> bool:
    """Whether that pass is a leakage audit: the calibrated one, between two sets."""
    both = (name, against)
    return spec.method == "near-duplicates" and all(
        n is not None and sources.is_set(n, data_root=data_root, runs_root=runs_root) for n in both
    )


def _both(source: Source, other: Source) -> list[Source]:
    return [source] if source is other else [source, other]


def _summary(source: Source, other: Source, spec: DedupSpec, found: duplicates.Found, keep: np.ndarray) -> dict:
    pairs = hashlib.sha256(found.pairs.astype("<i8").tobytes()).hexdigest()
    inputs = [source.digest, other.digest, dataclasses.asdict(spec), pairs]
    return {
        "set": {"name": source.name, "digest": source.digest},
        "against": None if source is other else {"name": other.name, "digest": other.digest},
        "pass": dataclasses.asdict(spec),
        "images": source.size,
        "groups": len(np.unique(found.pairs[:, 0])),
        "removed": int((~keep).sum()),
        "skipped": sum(len(s.skipped) for s in _both(source, other)),
        "digest": hashlib.sha256(json.dumps(inputs).encode()).hexdigest(),
        "versions": results.versions(),
    }


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _groups(found: duplicates.Found, source: Source, other: Source) -> bytes:
    """A row for each pair; beside an index of a photograph, its file."""
    digits = 0 if found.unit == "bits" else 2
    columns = {"group": found.pairs[:, 0].tolist(), "index": found.pairs[:, 1].tolist()}
    columns["distance"] = [f"{distance:.{digits}f}" for distance in found.distances]
    for column, which in (("group", source), ("index", other)):
        if which.names is not None:
            columns[f"{column}_file"] = [which.names[i] for i in columns[column]]
    return _csv(tuple(columns), zip(*columns.values(), strict=True))


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()
