"""Write the folder of a pass: mask, groups, gallery, summary. No other module writes these files."""

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.deduplication import gallery
from experiments.deduplication.outcome import Outcome
from experiments.run.filenames import raw, shown, written
from experiments.run.files import check_own, write_bytes
from experiments.run.progress import Progress, silent

MASK, GROUPS, SUMMARY, SKIPPED, GALLERY = "keep.npy", "groups.csv", "summary.json", "skipped.csv", "gallery.html"
OPTIONAL = ("keep.txt", "keep.txt0", SKIPPED, "groups.png", "semantic.safetensors")  # written by some passes only


def check_folder(out: Path) -> None:
    """Raise UserError if `out` holds a file that `write_folder` would replace, and that no pass has written."""
    check_own(out, (GROUPS, SUMMARY, GALLERY, *OPTIONAL), MASK)


def write_folder(out: Path, outcome: Outcome, progress: Progress = silent) -> None:
    """Write into `out`, each file whole or not at all:

    keep.npy              bool [N], which images are kept; it is written first
    groups.csv            the pairs: group (the first index), index, distance; `turned` if turned copies were looked
                          for; for photographs also their files
    keep.txt              for photographs: the files that are kept, one on each line, as `run.filenames.written` says
    keep.txt0             for photographs: the same files, each name followed by a NUL, nothing escaped
    skipped.csv           for photographs: file, reason and source of each file that is listed but not read
    gallery.html          the page on which a person judges the groups
    groups.png            for packed sets of one shape: pairs from the farthest apart to the nearest
    semantic.safetensors  for the method "semantic": the hash that was learnt
    summary.json          what was done and found; it is written last, so a folder without it is not finished

    Files of an earlier pass are removed. Raises OSError if the folder cannot be written, and UserError for a folder
    that `check_folder` refuses.
    """
    names = outcome.source.names
    files = {GROUPS: _groups(outcome)}
    if names is not None:
        kept = [names[i] for i in np.flatnonzero(outcome.keep)]
        files["keep.txt"] = b"".join(written(name) + b"\n" for name in kept)
        files["keep.txt0"] = b"".join(raw(name) + b"\0" for name in kept)
    if any(source.names is not None for source in outcome.sources):
        rows = [
            (_text(name), shown(reason), _text(source.name))
            for source in outcome.sources
            for name, reason in (*source.skipped, *source.noted)
        ]
        files[SKIPPED] = _csv(pd.DataFrame(rows, columns=["file", "reason", "source"]))
    files[GALLERY] = gallery.page(outcome, progress).encode()
    if (picture := gallery.picture(outcome)) is not None:
        files["groups.png"] = picture
    files[SUMMARY] = (json.dumps(outcome.summary, indent=2) + "\n").encode()

    out.mkdir(parents=True, exist_ok=True)
    check_folder(out)
    (out / SUMMARY).unlink(missing_ok=True)
    write_bytes(out / MASK, _npy(outcome.keep))
    for earlier in OPTIONAL:
        (out / earlier).unlink(missing_ok=True)
    if outcome.found.semantic is not None:
        outcome.found.semantic.save(out / "semantic.safetensors")
    for file, content in files.items():
        write_bytes(out / file, content)


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _groups(outcome: Outcome) -> bytes:
    """Return groups.csv: one row for each pair, with columns for the files of photographs."""
    found, digits = outcome.found, 0 if outcome.found.unit == "bits" else 2
    columns = {"group": found.pairs[:, 0].tolist(), "index": found.pairs[:, 1].tolist()}
    columns["distance"] = [f"{distance:.{digits}f}" for distance in found.distances]
    if found.turns is not None:
        columns["turned"] = found.turns
    for column, source in (("group", outcome.source), ("index", outcome.other)):
        if source.names is not None:
            columns[f"{column}_file"] = [_text(source.names[i]) for i in columns[column]]
    return _csv(pd.DataFrame(columns))


def _text(name: str) -> str:
    """Return the name as it is written, for a table that `_csv` makes bytes of."""
    return written(name).decode("utf-8", "surrogateescape")


def _csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False, lineterminator="\n").encode("utf-8", "surrogateescape")
