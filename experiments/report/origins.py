"""Where every figure and picture of the report comes from: a row a run, or a file that says what made it."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import results
from experiments.data.leakage import read_audit
from experiments.measure.tables import table_names
from experiments.report.files import read_json, reading
from experiments.training.session import SUMMARY

DIGITS = 12  # shown of a digest, or a version


def origins(folder: Path) -> Iterator[dict[str, str]]:
    """A row for each run of the records, training run, audit and look below `folder`."""
    yield from _runs(folder / "runs")
    trained = [*(folder / "training").rglob(SUMMARY), *(folder / "curves").glob("*.json")]
    trained += [*(folder / "weights").glob("*.json"), *(folder / "weights").glob(f"*/{SUMMARY}")]
    for file in sorted(trained):
        made = read_json(file)
        with reading(file):
            where = file.parent if file.name == SUMMARY else file.with_suffix("")
            digests = {made["data"]["name"]: made["data"]["digest"]}
            digests |= {network: made[network] for network in ("discriminator", "generator") if made.get(network)}
            yield _row(where.relative_to(folder), digests, **_circumstances(made))
    for file in sorted((folder / "leakage").glob("*.json")):
        audit = read_audit(file)
        digests = {side["name"]: side["digest"] for side in (audit.images, audit.against)}
        digests |= {"descriptor": str(audit.found_by["descriptor"])}
        yield _row(file.relative_to(folder).with_suffix(""), digests, versions=audit.made_with)
    for file in sorted((folder / "look").glob("*/record.json")):
        made = read_json(file)
        with reading(file):
            yield _row(file.parent.relative_to(folder), made["inputs"], **_circumstances(made), date=made["written"])


def hardware_text(found: Mapping[str, Any]) -> str:
    """The accelerator, or the processor, in words."""
    return str(found.get("accelerator") or f"{found['cores']} cores, {found['cpu']}")


def _runs(folder: Path) -> Iterator[dict[str, str]]:
    """One row for the records that share a run id."""
    runs: dict[str, list[results.Record]] = {}
    for name in table_names():
        for record in results.read_records(folder / f"{name}.jsonl"):
            runs.setdefault(record.run_id, []).append(record)
    for run, records in runs.items():
        first = records[0]
        yield _row(
            f"{first.method}: {', '.join(record.protocol for record in records)}",
            first.inputs,
            **_circumstances(vars(first)),
            date=first.started,
            run=run,
        )


def _circumstances(made: Mapping[str, Any]) -> dict[str, Any]:
    return {name: made[name] for name in ("command", "versions", "hardware")}


def _row(
    what: Path | str,
    digests: Mapping[str, str],
    *,
    versions: Mapping[str, str | None],
    command: Sequence[str] = (),
    hardware: Mapping[str, Any] | None = None,
    date: str = "",
    run: str = "",
) -> dict[str, str]:
    return {
        "figure": what.as_posix() if isinstance(what, Path) else what,
        "run": run,
        "command": shlex.join(command),
        "digests": ", ".join(f"{name} {digest[:DIGITS]}" for name, digest in digests.items()),
        "versions": ", ".join(f"{name} {version[:DIGITS]}" for name, version in versions.items() if version),
        "hardware": hardware_text(hardware) if hardware else "",
        "date": date[:10],
    }
