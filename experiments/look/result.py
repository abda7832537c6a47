"""The result of a look, and how it is written: pictures, tables, and a record of where the figures come from."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

import results
from experiments.look.subject import network_name
from experiments.run import console
from experiments.run.context import Run
from experiments.run.environment import circumstances
from experiments.run.files import check_writable, write_bytes
from experiments.run.reading.documents import read_json

RECORD = "record.json"


@dataclass(frozen=True)
class LookResult:
    """What a look found. The look fills the fields as it goes.

    seed: seed of the numbered z and of all draws. inputs: digests of weights and images. settings, figures: nested JSON
    values; a figure may be NaN. pictures, tables: file name -> content. seconds: stage -> wall-clock time. says: lines
    for a person. answers: lines for standard output.
    """

    seed: int
    inputs: dict[str, str]
    settings: dict[str, Any]
    figures: dict[str, Any] = field(default_factory=dict)
    pictures: dict[str, bytes] = field(default_factory=dict)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    says: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Record:
    """The part of `record.json` that every look has written."""

    settings: dict[str, Any]
    figures: dict[str, Any]


def look_folder(kind: str, network: Path | str, run: Run, out: Path | None) -> Path:
    """Return `out`, or RUNS_ROOT/look/KIND-NETWORK if it is None. The folder is not made yet.

    Raises UserError if it cannot be written to, or holds a `record.json` that is not a look's.
    """
    folder = out or run.runs_root / "look" / f"{kind}-{network_name(network)}"
    check_writable(next(path for path in (folder, *folder.parents) if path.exists()))
    if (folder / RECORD).exists():
        fix = "choose another folder with --out, or move it away"
        read_json(folder / RECORD, _Record, what="not the record of a look", fix=fix)
    return folder


def carry_out(look: Callable[[], LookResult], folder: Path, run: Run) -> None:
    """Look, write the result into the folder, say its lines and print its answers.

    The folder keeps an earlier look until the new result is there. `record.json` is written last.
    """
    result = look()
    folder.mkdir(parents=True, exist_ok=True)
    for earlier in (folder / RECORD, *folder.glob("nearest*.png")):  # these show images of an earlier training set
        earlier.unlink(missing_ok=True)
    for file, content in result.pictures.items():
        write_bytes(folder / file, content)
    for file, table in result.tables.items():
        write_bytes(folder / file, table.to_csv(index=False, float_format="%.6g", lineterminator="\n").encode())
    record = {
        "command": run.portable(run.command),
        "seed": result.seed,
        "inputs": result.inputs,
        "settings": result.settings,
        "figures": json.loads(json.dumps(result.figures), parse_constant=lambda name: None),  # JSON has no NaN
        "written": results.utc_now(),
        **circumstances(run.device, result.seconds),
    }
    write_bytes(folder / RECORD, (json.dumps(record, indent=2, allow_nan=False) + "\n").encode())
    for line in (f"written to {folder}", *result.says):
        run.say(line)
    console.answer(*result.answers)
