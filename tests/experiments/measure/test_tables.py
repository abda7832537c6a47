"""Every committed table against its records, counted anew from the files alone; what `dcgan-eval table` writes."""

import csv
import dataclasses
import io
import json
from pathlib import Path

import pytest

import results
from experiments import cli
from experiments.measure.tables import committed as committed_records
from experiments.measure.tables import load_table, regenerate, table_names
from experiments.run.context import Run
from experiments.run.reading import toml

ROOT = Path(__file__).parents[3]
RUN = Run(Path("data"), Path("runs"))
NAMES = [file.stem for file in sorted((ROOT / "experiments" / "tables").glob("*.toml"))]
SUFFIXES = (".csv", ".md", ".tex")
WRITTEN = (*SUFFIXES, "-paired.csv")
LEADERBOARD, ABLATION = "leaderboard", "ablation"
BOARD = [LEADERBOARD + suffix for suffix in (*SUFFIXES, ".html")]
TOML = 'title = "T"\ncaption = "C."\n[protocols]\np = "any"\n[[row]]\nmethod = "m"\nprotocol = "p"\n'


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def committed(name: str) -> list[dict[str, str]]:
    return rows_of((ROOT / "results" / "tables" / f"{name}.csv").read_text())


def test_tables_are_the_toml_files() -> None:
    assert NAMES and table_names() == NAMES
    files = {
        file.stem.removesuffix("-paired").removesuffix("-curve") for file in (ROOT / "results" / "tables").iterdir()
    }
    unrecorded = set() if committed_records(ABLATION, RUN) else {ABLATION}
    assert files == {*NAMES, LEADERBOARD, ABLATION} - unrecorded  # no table is left of a TOML that went


@pytest.mark.parametrize("name", NAMES)
def test_committed_files_are_what_records_and_toml_make(name: str) -> None:
    made = regenerate([name], RUN)
    written = [*WRITTEN, "-curve.csv"] if name == "mnist" else WRITTEN
    assert sorted(file.name for file in made) == sorted(name + suffix for suffix in written)
    assert [file.name for file, content in made.items() if file.read_bytes() != content] == []


def test_the_committed_leaderboard_and_ablations_are_what_the_records_make() -> None:
    made = regenerate([LEADERBOARD, ABLATION], RUN)
    ablations = ["ablation.csv", "ablation.md"] if committed_records(ABLATION, RUN) else []
    assert [file.name for file in made] == [*BOARD, *ablations]
    assert [file.name for file, content in made.items() if file.read_bytes() != content] == []


def recorded(name: str) -> list[dict]:
    """The JSON lines of a table's records; none if nothing was measured."""
    file = ROOT / "results" / "runs" / f"{name}.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.mark.parametrize("name", NAMES)
def test_every_records_value_is_that_of_its_outcomes(name: str) -> None:
    """Counted from the JSON lines, without the code that wrote them."""
    for record in recorded(name):
        outcomes, n = record.get("outcomes", {}), record["n_test"]
        if "right" in outcomes:
            right = int(outcomes["right"], 16).bit_count() / n
        elif "right_draws" in outcomes:
            right = sum(bytes.fromhex(outcomes["right_draws"])) / (n * record["n_runs"])
        else:
            continue
        percent = 100 - 100 * right if record["metric"] == "error_percent" else 100 * right
        assert abs(record["value"] - percent) < 1e-9, (record["run_id"], record["method"])


@pytest.mark.parametrize("name", NAMES)
def test_every_measured_cell_is_its_records(name: str) -> None:
    """Counted from the JSON lines and the CSV, without the code that made the one from the other."""
    found = {(r["run_id"], r["method"], r["protocol"], r["metric"]): r for r in recorded(name)}
    for row in committed(name):
        reported = "[" in row["source"]
        assert not (reported and row["provenance"]) and bool(row["provenance"]) == bool(row["value"] and not reported)
        if not row["provenance"]:
            continue
        record = found[row["provenance"], row["method"], row["protocol"], row["metric"]]
        assert record["table"] == name
        for column in ("value", "error_bar"):
            if record[column] is None:
                assert row[column] == ""
            else:
                assert abs(float(row[column]) - record[column]) <= 0.005 + 1e-9  # two decimals
                assert len(row[column].split(".")[1]) == 2
        for column in ("error_bar_kind", "n_runs", "n_test", "features", "max_units"):
            assert row[column] == ("" if record[column] is None else str(record[column]))


@pytest.mark.parametrize("name", NAMES)
def test_every_row_that_names_a_run_has_it(name: str) -> None:
    rows = zip(load_table(name).rows, committed(name), strict=True)
    named = {(row.run, cells["provenance"]) for row, cells in rows if isinstance(row, results.MeasuredRow) and row.run}
    assert all(run == shown for run, shown in named)
    assert [row["method"] for row in committed("cifar10") if not row["value"] and row["source"] == "measured"] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_record_shapes_its_own_row_and_no_other(name: str) -> None:
    table, records = load_table(name), results.read_records(ROOT / "results" / "runs" / f"{name}.jsonl")
    before = committed(name)
    for index, row in enumerate(before):
        if not row["provenance"]:
            continue
        key = (row["provenance"], row["method"], row["protocol"], row["metric"])
        (at,) = [i for i, r in enumerate(records) if (r.run_id, r.method, r.protocol, r.metric) == key]
        other = (records[at].value + 50) % 100
        changed = [*records[:at], dataclasses.replace(records[at], value=other), *records[at + 1 :]]
        expected = [*before[:index], row | {"value": f"{other:.2f}"}, *before[index + 1 :]]
        assert rows_of(results.render_csv(table, changed)) == expected
        # of several runs the table's TOML names one; without it the row is empty, whatever the others found
        alone = [r for i, r in enumerate(records) if i != at]
        empty = dict.fromkeys(row, "") | {column: row[column] for column in ("method", "protocol", "source")}
        empty["metric"] = getattr(table.rows[index], "metric", "")
        expected = [*before[:index], empty, *before[index + 1 :]]
        assert rows_of(results.render_csv(table, alone)) == expected


@pytest.fixture
def two_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workplace with two tables, and a record for the second."""
    (tmp_path / "tables").mkdir()
    for name in ("second", "first"):
        (tmp_path / "tables" / f"{name}.toml").write_text(TOML)
    record = results.read_records(ROOT / "results" / "runs" / "cifar10.jsonl")[0]
    record = dataclasses.replace(record, table="second", method="m", protocol="p", value=12.25)
    results.append_record(tmp_path / "results" / "runs" / "second.jsonl", record)
    monkeypatch.setattr(toml.resources, "files", lambda _: tmp_path)
    return tmp_path


def main(root: Path, arguments: list[str]) -> int:
    return cli.main(arguments, results=root / "results")


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())} if folder.exists() else {}


def test_all_tables_are_written_in_name_order_and_alike_twice(
    two_tables: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(two_tables, ["table"]) == 0
    told = [line.rsplit("/", 1)[1] for line in capsys.readouterr().err.splitlines()]
    assert told == [name + suffix for name in ("first", "second") for suffix in WRITTEN] + BOARD
    first = contents(two_tables / "results" / "tables")
    assert sorted(first) == sorted(told) and b",12.25," in first["second.csv"]
    assert main(two_tables, ["table"]) == 0 and contents(two_tables / "results" / "tables") == first


def test_a_name_writes_that_table_alone(two_tables: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(two_tables, ["table", "second"]) == 0
    assert sorted(contents(two_tables / "results" / "tables")) == sorted(f"second{suffix}" for suffix in WRITTEN)
    assert capsys.readouterr().out.count("# T") == 1
    with pytest.raises(SystemExit) as stopped:
        main(two_tables, ["table", "third"])
    assert stopped.value.code == 2 and "choose from" in capsys.readouterr().err


def test_nothing_is_written_where_one_table_cannot_be_made(
    two_tables: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (two_tables / "tables" / "second.toml").write_text("title = 3")
    assert main(two_tables, ["table"]) == 2 and "second.toml" in capsys.readouterr().err
    assert contents(two_tables / "results" / "tables") == {}


def test_check_names_what_differs_and_writes_nothing(two_tables: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(two_tables, ["table", "--check"]) == 1 and not (two_tables / "results" / "tables").exists()
    assert main(two_tables, ["table"]) == 0 and main(two_tables, ["table", "--check"]) == 0
    out = two_tables / "results" / "tables"
    (out / "second.csv").write_bytes((out / "second.csv").read_bytes().replace(b"12.25", b"99.25"))
    (out / "first.tex").unlink()
    before = contents(out)
    capsys.readouterr()
    assert main(two_tables, ["table", "--check"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(": first.tex, second.csv; dcgan-eval table writes them")
    assert contents(out) == before
    (out / "leaderboard.html").write_text("another")
    assert main(two_tables, ["table", "leaderboard", "--check"]) == 1
    assert capsys.readouterr().err.endswith(": leaderboard.html; dcgan-eval table writes them\n")
    assert main(two_tables, ["table", "second", "--check"]) == 1
    assert "first.tex" not in capsys.readouterr().err
