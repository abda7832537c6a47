"""What a run reads back when it goes on. The checkpoint is sealed, and its notes vouch for the files beside it.

A file that is damaged is set aside, with a warning: the run goes on, without what the file held.
"""

import csv
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from experiments.run.context import Run
from experiments.run.errors import one_line
from experiments.run.reading.documents import DamagedError, read_json
from experiments.run.reading.shapes import build
from experiments.training.files import CLOCK, DATA, EPOCHS, LOSSES, REMOVED
from results.lines import Rule

VOUCHED = (LOSSES, EPOCHS, REMOVED)
_SECONDS = Annotated[float, Rule("be 0 or more", lambda value: value >= 0)]


@dataclass(frozen=True)
class Notes:
    """What a checkpoint notes of its run."""

    seconds: _SECONDS = 0.0  # trained so far
    data: dict[str, Any] | None = None  # the summary of the images, as in data.json
    files: dict[str, tuple[int, str]] = field(default_factory=dict)  # name -> bytes, and their SHA-256


@dataclass(frozen=True)
class _Clock:
    seconds: _SECONDS


def notes_of(out: Path, seconds: float, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the notes that a checkpoint of the run in `out` keeps, as JSON values."""
    contents = {name: (out / name).read_bytes() for name in VOUCHED if (out / name).exists()}
    files = {name: [len(content), _digest(content)] for name, content in contents.items()}
    return {"seconds": round(seconds, 3), "data": dict(data), "files": files}


def read_notes(noted: Mapping[str, Any], out: Path, run: Run) -> Notes:
    """Return the notes of a checkpoint, or what the files beside it say if an earlier version wrote it.

    Raises ValueError for notes of another shape, and UserError if the file says which images the run uses is damaged.
    """
    if noted:
        return build(Notes, dict(noted), "its notes")
    seconds, data = 0.0, None
    if (out / CLOCK).exists():
        try:
            seconds = read_json(out / CLOCK, _Clock).seconds
        except DamagedError as error:
            set_aside(out / CLOCK, error, run)
    if (out / DATA).exists():
        data = read_json(out / DATA, fix="restore it from a copy; if the images are the same as before, delete it")
    return Notes(seconds, data)


def read_vouched(file: Path, notes: Notes) -> bytes:
    """Return the part of a file that belongs to the checkpoint; of earlier versions' runs, the whole file.

    Raises ValueError if it differs from what the checkpoint vouches for.
    """
    content = file.read_bytes() if file.exists() else b""
    if file.name not in notes.files:
        return content
    size, digest = notes.files[file.name]
    if _digest(content[:size]) != digest:
        raise ValueError("its content is not what it was at the checkpoint")
    return content[:size]


def read_looks(content: bytes, step: int) -> list[dict[str, str]]:
    """Return the rows of epochs.csv up to a step, column -> text. Raises ValueError for anything else."""
    if not content:
        return []
    try:
        rows = list(csv.DictReader(io.StringIO(content.decode("utf-8"), newline=""), strict=True))
    except csv.Error as error:
        raise ValueError(str(error)) from error
    found: list[dict[str, str]] = []
    for row in rows:
        if None in row or None in row.values():
            raise ValueError(f"row {len(found) + 1} has not the columns of the first line")
        numbers = {name: float(value) for name, value in row.items() if name != "warning"}
        if missing := {"epoch", "step", "seconds", "diversity", "loss_generator", "loss_discriminator"} - set(numbers):
            raise ValueError(f"it has no column {min(missing)}")
        if int(row["step"]) <= (int(found[-1]["step"]) if found else 0):
            raise ValueError("its steps do not ascend")
        if int(row["step"]) > step:
            break
        found.append(row)
    return found


def set_aside(file: Path, error: Exception, run: Run) -> None:
    """Rename a damaged file and say so; the run goes on without it."""
    aside = file.with_name(f"{file.name}.damaged")
    there = file.exists()
    if there:
        file.replace(aside)
    where = f"; it lies in {aside.name} now" if there else ""
    run.warn(f"{file} is damaged ({one_line(error)}){where}: the run goes on without what it held")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
