"""The committed tables by name, and the files that are made from the records."""

from collections.abc import Sequence
from pathlib import Path

import results
from experiments.measure import paired_tests
from experiments.measure.nearest_digits import curve_csv
from experiments.measure.protocols import ABLATION, LEADERBOARD
from experiments.run.context import Run
from experiments.run.errors import UserError
from experiments.run.reading.toml import file_of, names, read_toml


def table_names() -> list[str]:
    """Return the names of the tables that a TOML file describes."""
    return names("tables")


def load_table(name: str) -> results.Table:
    """Load the table of that name. Raises UserError if the name is unknown or its TOML is not a valid table."""
    file = file_of("tables", name)
    try:
        return results.table_from_dict(read_toml(file))
    except ValueError as error:
        raise UserError(f"{file.name}: {error}") from error


def committed(table: str, run: Run) -> list[results.Record]:
    """Read the committed records of a table."""
    return results.read_records(run.records / f"{table}.jsonl")


def described_protocols() -> dict[str, str]:
    """Return protocol -> what it is, for the protocols of all tables."""
    return {name: text for table in table_names() for name, text in load_table(table).protocols.items()}


def regenerate(names: Sequence[str], run: Run) -> dict[Path, bytes]:
    """Make the contents of these tables' files in results/tables from the records; write nothing."""
    files: dict[str, bytes] = {}
    for name in names:
        if name == LEADERBOARD:
            records = [record for table in table_names() for record in committed(table, run)]
            costs = results.read_costs(run.records / "costs.jsonl")
            files |= results.leaderboard_files(records, costs, described_protocols())
        elif name == ABLATION:
            files |= results.ablation_files(name, committed(name, run))
        else:
            table, records = load_table(name), committed(name, run)
            files |= results.render_files(name, table, records)
            files[f"{name}-paired.csv"] = paired_tests.as_csv(table, records)
            if curves := [r for r in results.answering(table, records) if "curve" in r.solver]:
                files[f"{name}-curve.csv"] = curve_csv(curves)
    return {run.tables / file: content for file, content in files.items()}
