"""Tables: figures from records alone, text as printed, same bytes each time, refusals that name the fix."""

import csv
import io
import os
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from results import (
    COLUMNS,
    MeasuredRow,
    Record,
    render_csv,
    render_latex,
    render_markdown,
    table_from_dict,
    with_run,
    write_tables,
)

REPORTED = {
    "method": "3 layer K-means, learned RF",
    "protocol": "cifar10/400-per-class",
    "metric": "accuracy_percent",
    "value": "82.0",
    "error_bar": "0.70",
    "max_units": 3200,
    "source": "arXiv:1511.06434 Table 1 [2]",
}
MEASURED: dict[str, Any] = {"method": "DCGAN imagenet32 + L2-SVM", "protocol": "cifar10/full"}
DATA = {
    "title": "CIFAR-10",
    "caption": "Frozen features.",
    "protocols": {"cifar10/full": "50,000 labels", "cifar10/400-per-class": "400 labels per class"},
    "row": [REPORTED, MEASURED],
}
RECORD = Record(
    run_id="20261122-1a2b3c4d",
    table="cifar10",
    **MEASURED,
    metric="accuracy_percent",
    value=79.41,
    n_runs=1,
    n_test=10000,
    features=28672,
    max_units=512,
    command=["dcgan-eval"],
    spec={},
    inputs={},
    versions={},
    hardware={},
    seconds={},
    started="2026-11-22T10:00:00Z",
)
OTHER = replace(RECORD, run_id="20261123-00000000", value=80.0, error_bar=0.256, error_bar_kind="sd", n_runs=5)
GOLDEN = """\
method,protocol,metric,value,error_bar,error_bar_kind,n_runs,n_test,features,max_units,source,provenance
"3 layer K-means, learned RF",cifar10/400-per-class,accuracy_percent,82.0,0.70,,,,,3200,\
arXiv:1511.06434 Table 1 [2],
DCGAN imagenet32 + L2-SVM,cifar10/full,accuracy_percent,79.41,,,1,10000,28672,512,measured,20261122-1a2b3c4d
"""


def with_rows(*rows: dict) -> dict:
    return {**DATA, "row": list(rows)}


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_is_the_golden_text():
    assert render_csv(table_from_dict(DATA), [RECORD]) == GOLDEN


def test_columns_are_the_contract_in_order():
    contract = (
        "method, protocol, metric, value, error_bar, error_bar_kind, n_runs, n_test, features, max_units, "
        "source, provenance"
    )
    assert ", ".join(COLUMNS) == contract


def test_a_deleted_record_empties_its_row_and_nothing_else():
    row = rows_of(render_csv(table_from_dict(DATA), []))[1]
    assert {name: text for name, text in row.items() if text} == {**MEASURED, "source": "measured"}
    assert render_csv(table_from_dict(DATA), []).splitlines()[:2] == GOLDEN.splitlines()[:2]


@pytest.mark.parametrize("stranger", [{"method": "raw pixels + L2-SVM"}, {"protocol": "cifar10/full subset"}])
def test_a_record_of_another_row_answers_nothing(stranger):
    table = table_from_dict(DATA)
    assert render_csv(table, [replace(RECORD, **stranger)]) == render_csv(table, [])


def test_a_changed_record_changes_its_row():
    row = rows_of(render_csv(table_from_dict(DATA), [OTHER]))[1]
    shown = [row[name] for name in ("value", "error_bar", "error_bar_kind", "n_runs", "provenance")]
    assert shown == ["80.00", "0.26", "sd", "5", "20261123-00000000"]


def test_several_runs_need_one_named():
    with pytest.raises(ValueError, match=r'got 20261122-1a2b3c4d, 20261123-00000000; .* run = "20261123-00000000"'):
        render_csv(table_from_dict(DATA), [RECORD, OTHER])
    named = table_from_dict(with_rows(REPORTED, {**MEASURED, "run": RECORD.run_id}))
    assert render_csv(named, [RECORD, OTHER]) == GOLDEN
    assert rows_of(render_csv(named, [OTHER]))[1]["value"] == ""


def test_a_row_that_no_record_can_answer_says_why():
    table = table_from_dict(with_rows(REPORTED, {**MEASURED, "absent": "not audited"}))
    row = rows_of(render_csv(table, []))[1]
    assert {name: text for name, text in row.items() if text} == {**MEASURED, "source": "not audited"}
    with pytest.raises(ValueError, match=f"is said to be not audited, and {RECORD.run_id} has it"):
        render_csv(table, [RECORD])
    assert rows_of(render_csv(with_run(table, RECORD), [RECORD]))[1]["value"] == "79.41"
    with pytest.raises(ValueError, match="absent must be text, in a row without run, got 'not audited'"):
        MeasuredRow(**MEASURED, run=RECORD.run_id, absent="not audited")


def test_a_users_run_takes_its_row_or_gets_one():
    table = table_from_dict(DATA)
    shown = rows_of(render_csv(with_run(table, OTHER), [RECORD, OTHER]))
    assert [row["provenance"] for row in shown] == ["", OTHER.run_id]
    again = replace(RECORD, value=12.0)  # the same run measured twice in a day: the user's own stands
    assert rows_of(render_csv(with_run(table, again), [RECORD, again]))[1]["value"] == "12.00"
    subset = replace(OTHER, method="mine", protocol="cifar10/full subset 5000")
    shown = rows_of(render_csv(with_run(table, subset), [RECORD, subset]))
    assert [row["value"] for row in shown] == ["82.0", "79.41", "80.00"]
    assert "`cifar10/full subset 5000`: the protocol of a user's own run" in render_markdown(
        with_run(table, subset), [RECORD, subset]
    )
    assert table == table_from_dict(DATA)
    both = tuple(MeasuredRow(**MEASURED, run=record.run_id) for record in (RECORD, OTHER))
    shown = rows_of(render_csv(with_run(replace(table, rows=both), OTHER), [RECORD, OTHER]))
    assert [row["value"] for row in shown] == ["80.00"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({**DATA, "colour": "red"}, "a table has unknown keys colour; known are title, caption"),
        ({"title": "x"}, "a table must have the keys caption, protocols, row, got title"),
        ({**DATA, "row": REPORTED}, r"list of rows \(\[\[row\]\]\)"),
        (with_rows({**MEASURED, "value": "79.41"}), "measured row .* unknown keys value; known are method"),
        (with_rows({**REPORTED, "n_test": 1}), "reported row .* unknown keys n_test; known are method"),
        (with_rows({"method": "x"}), "measured row 'x' must have the keys protocol"),
        (with_rows({**REPORTED, "value": 82.0}), r'value must be text as in the source, e.g. "82.0", got'),
        (with_rows({**REPORTED, "error_bar": "+-0.7"}), "error_bar must be text as in the source"),
        (with_rows({**REPORTED, "max_units": "512"}), "max_units must be a whole number >= 1, got '512'"),
        (with_rows({**REPORTED, "metric": "top-1"}), "metric must be one of accuracy_percent, error_percent"),
        (with_rows({**REPORTED, "source": "arXiv:1511.06434"}), "source must be a citation and its mark"),
        (with_rows({**REPORTED, "source": "measured"}), "source must be a citation and its mark"),
        (with_rows({**MEASURED, "run": "newest"}), "run must look like 20261122-1a2b3c4d, got 'newest'"),
        (with_rows({**MEASURED, "method": 3}), "row 3, 'cifar10/full': method must be text, got 3"),
        (
            with_rows({**MEASURED, "protocol": "cifar10/ful"}),
            r"'cifar10/ful' must be described in \[protocols\]",
        ),
        (with_rows(MEASURED, MEASURED), "rows must differ, got 'DCGAN imagenet32"),
        (with_rows({**MEASURED, "protocol": "cifar10/full subset 5000"}), "must not be a subset run"),
    ],
)
def test_bad_tables_are_refused(data, message):
    with pytest.raises(ValueError, match=message):
        table_from_dict(data)


def test_markdown_has_every_cell_and_explains_only_what_is_shown():
    text = render_markdown(table_from_dict(DATA), [OTHER])
    lines = text.splitlines()
    assert "# CIFAR-10" in lines and "Frozen features." in lines
    grid = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert grid[0] == list(COLUMNS)
    assert [dict(zip(COLUMNS, row, strict=True)) for row in grid[2:]] == rows_of(
        render_csv(table_from_dict(DATA), [OTHER])
    )
    assert "[2] confirmed by two independent sources." in text and "[R]" not in text
    assert "`sd`: one standard deviation" in text and "no kind" in text and "`ci95`" not in text
    assert "- Protocol `cifar10/full`: 50,000 labels." in lines


def test_markdown_escapes_what_would_break_a_row():
    text = render_markdown(table_from_dict(with_rows({**MEASURED, "method": "a|b *c* <d>"})), [])
    assert r"| a\|b \*c\* \<d> |" in text


def test_latex_escapes_every_special_character():
    special = {**MEASURED, "method": r"\a_b & 5% #1 {c} ~^ $x$ <>"}
    text = render_latex(table_from_dict({**with_rows(special), "caption": "50 % of A & B"}), [])
    expected = r"\textbackslash{}a\_b \& 5\% \#1 \{c\} \textasciitilde{}\textasciicircum{} \$x\$ "
    expected += r"\textless{}\textgreater{}"
    assert f"\n{expected} & cifar10/full & " in text
    assert r"\caption{CIFAR-10. 50 \% of A \& B}" in text


def test_latex_has_booktabs_rules_and_one_separator_less_than_columns():
    text = render_latex(table_from_dict(DATA), [RECORD])
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 3 and all(line.count(" & ") == len(COLUMNS) - 1 for line in rows)
    assert rows[0].startswith(r"method & protocol & metric & value & error\_bar &")
    order = [r"\begin{table*}", r"\toprule", r"\midrule", r"\bottomrule", r"\end{tabular}", r"\end{table*}"]
    places = [text.index(word) for word in order]
    assert places == sorted(places)
    assert text.count("{") == text.count("}")


def test_written_files_are_the_same_bytes_each_time(tmp_path):
    table = table_from_dict(DATA)
    paths = write_tables(tmp_path / "tables", "cifar10", table, iter([RECORD]))
    assert [path.name for path in paths] == ["cifar10.csv", "cifar10.md", "cifar10.tex"]
    first = [path.read_bytes() for path in paths]
    assert first[0] == GOLDEN.encode() and all(b"\r" not in content for content in first)
    write_tables(tmp_path / "tables", "cifar10", table_from_dict(DATA), [RECORD])
    assert [path.read_bytes() for path in paths] == first
    assert sorted((tmp_path / "tables").iterdir()) == sorted(paths)


def test_a_failed_write_leaves_the_old_table_and_nothing_half_written(tmp_path, monkeypatch):
    table = table_from_dict(DATA)
    paths = write_tables(tmp_path, "cifar10", table, [RECORD])
    before = [path.read_bytes() for path in paths]
    with pytest.raises(ValueError, match="one run"):
        write_tables(tmp_path, "cifar10", table, [RECORD, OTHER])

    def refuse(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="No space left"):
        write_tables(tmp_path, "cifar10", table, [OTHER])
    assert [path.read_bytes() for path in paths] == before
    assert sorted(tmp_path.iterdir()) == sorted(paths)


# PAPER, Table 1: method -> accuracy with all labels, with 400 per class, feature units of the widest layer.
PAPER = {
    "1 layer K-means": ("80.6 [2]", "63.7 0.7 [R]", "4800"),
    "3 layer K-means, learned RF": ("82.0 [2]", "70.7 0.7 [1]", "3200"),
    "View-invariant K-means": ("81.9 [R]", "72.6 0.7 [1]", "6400"),
    "Exemplar CNN": ("84.3 [2]", "77.4 0.2 [R]", "1024"),
    "DCGAN + L2-SVM": ("82.8 [2]", "73.8 0.4 [1]", "512"),
}


def test_the_cifar10_table_carries_the_papers_figures_and_marks():
    toml = Path(__file__).parents[2] / "experiments" / "tables" / "cifar10.toml"
    rows = rows_of(render_csv(table_from_dict(tomllib.loads(toml.read_text())), []))
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        if "arXiv:1511.06434 Table 1 " in row["source"]:
            figure = " ".join([*f"{row['value']} {row['error_bar']}".split(), row["source"].split()[-1]])
            found.setdefault(row["method"], {"max_units": row["max_units"]})[row["protocol"]] = figure
    assert found == {
        method: {"max_units": units, "cifar10/full": full, "cifar10/400-per-class": small}
        for method, (full, small, units) in PAPER.items()
    }
    measured = [row for row in rows if row["source"] == "measured"]
    full = [row["method"] for row in measured if row["protocol"] == "cifar10/full"]
    assert sum(method.startswith(("random-init", "raw pixels")) for method in full) == 3
    for part in ("cifar10/full-without-leaked", "cifar10/full-without-train-duplicates"):
        without = [row for row in rows if row["protocol"] == part]
        assert [row["method"] for row in without] == full
        assert {row["source"] for row in without} <= {"measured", "not audited"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"title": 3}, "title, caption and protocols of a table must be text"),
        ({"protocols": {"p": []}}, "title, caption and protocols of a table must be text"),
        ({"row": [3]}, "a row must be a table, got 3"),
        ({"row": {}}, "a table must have a list of rows"),
    ],
)
def test_values_of_other_types_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        table_from_dict({**DATA, **change})
