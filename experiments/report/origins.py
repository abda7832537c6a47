"""Where the report's figures and pictures come from: a row for each run, and each file that says what made it."""

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import results
from experiments.data.leakage import read_audit
from experiments.measure.tables import table_names
from experiments.report.files import read_json, reading
from experiments.training.files import SUMMARY

DIGITS = 12  # characters shown of a digest or a version


def read_origins(folder: Path) -> Iterator[dict[str, str]]:
    """Yield a row for each run of the records, training run, audit and look below `folder`."""
    yield from _measured(folder / "runs")
    trained = [file for kind in ("training", "weights") for file in (folder / kind).rglob(SUMMARY)]
    for file in sorted([*trained, *(folder / "curves").glob("*.json")]):
        made = read_json(file)
        with reading(file):
            where = file.parent if file.name == SUMMARY else file.with_suffix("")
            digests = {made["data"]["name"]: made["data"]["digest"]}
            digests |= {network: made[network] for network in ("discriminator", "generator") if made.get(network)}
            yield _row(where.relative_to(folder).as_posix(), digests, made)
    for file in sorted((folder / "leakage").glob("*.json")):
        audit = read_audit(file)
        digests = {side["name"]: side["digest"] for side in (audit.images, audit.against)}
        digests["descriptor"] = str(audit.found_by["descriptor"])
        made = {"command": [], "versions": audit.made_with, "hardware": None}
        yield _row(file.relative_to(folder).with_suffix("").as_posix(), digests, made)
    for file in sorted((folder / "look").glob("*/record.json")):
        made = read_json(file)
        with reading(file):
            yield _row(file.parent.relative_to(folder).as_posix(), made["inputs"], made, date=made["written"])


def hardware_text(found: Mapping[str, Any]) -> str:
    """Return the accelerator, or else the processor, in words."""
    return str(found.get("accelerator") or f"{found['cores']} cores, {found['cpu']}")


def _measured(folder: Path) -> Iterator[dict[str, str]]:
    """Yield a row for each run id; all records with this id share the row."""
    records = [record for name in table_names() for record in results.read_records(folder / f"{name}.jsonl")]
    for run in dict.fromkeys(record.run_id for record in records):
        same = [record for record in records if record.run_id == run]
        figure = f"{same[0].method}: {', '.join(record.protocol for record in same)}"
        yield _row(figure, same[0].inputs, vars(same[0]), date=same[0].started, run=run)


def _row(
    figure: str, digests: Mapping[str, str], made: Mapping[str, Any], *, date: str = "", run: str = ""
) -> dict[str, str]:
    """Make a row. made: holds command, versions and hardware."""
    return {
        "figure": figure,
        "run": run,
        "command": shlex.join(made["command"]),
        "digests": ", ".join(f"{name} {digest[:DIGITS]}" for name, digest in digests.items()),
        "versions": ", ".join(f"{name} {version[:DIGITS]}" for name, version in made["versions"].items() if version),
        "hardware": hardware_text(made["hardware"]) if made["hardware"] else "",
        "date": date[:10],
    }
