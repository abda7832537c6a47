"""Run records: exact round trips, refusals that name the fix, files that survive bad lines and full disks."""

import json
import os
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from results.lines import from_dict, to_json
from results.records import Record, append_record, read_records

RECORD = Record(
    run_id="20261122-1a2b3c4d",
    table="cifar10",
    method="DCGAN imagenet32 + L2-SVM",
    protocol="cifar10/full",
    metric="accuracy_percent",
    value=79.41,
    n_runs=1,
    n_test=10000,
    features=28672,
    max_units=512,
    command=["dcgan-eval", "eval", "--backbone", "theano:imagenet32:$DATA_ROOT/models"],
    spec={"backbone": "random:imagenet32", "grid": [1e-5, 1e-4], "pool": None},
    seed=0,
    inputs={"cifar10-train-images": "47af8b02"},
    selection={"C": [1e-5, 1e-4], "accuracy_percent": [76.2, 79.7]},
    solver={"C": 1e-4, "duality_gap": 9.1e-4},
    versions={"torch": "2.13.0", "commit": None},
    hardware={"cpu": "some processor", "cores": 2},
    seconds={"extract": 280.5},
    started="2026-11-22T10:00:00Z",
)

numbers = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_characters="/"))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
tables = st.dictionaries(texts, json_values, max_size=3)
lines = st.text(min_size=1).filter(lambda text: text.isprintable() and text == text.strip() and "/" not in text)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy
@given(
    method=lines,
    value=st.floats(0, 100),
    bar=st.none() | st.tuples(st.floats(0, 1e3), st.sampled_from(["sd", "ci95", "1.96sd"])),
    features=st.none() | st.integers(1, 10**9),
    spec=tables,
    selection=tables,
    command=st.lists(texts, max_size=3),
)
def test_a_record_survives_its_line_exactly(method, value, bar, features, spec, selection, command):
    error_bar, kind = bar or (None, "")
    record = replace(
        RECORD,
        method=method,
        value=value,
        error_bar=error_bar,
        error_bar_kind=kind,
        features=features,
        spec=spec,
        selection=selection,
        command=command,
    )
    line = to_json(record)
    assert "\n" not in line and line.isascii()
    assert from_dict(Record, json.loads(line), "it") == record
    assert to_json(from_dict(Record, json.loads(line), "it")) == line


def test_tuples_and_whole_percents_are_brought_to_their_json_form():
    record = replace(RECORD, spec={"grid": (1, 2)}, value=80)
    assert record.spec == {"grid": [1, 2]} and type(record.value) is float
    assert from_dict(Record, json.loads(to_json(record)), "it") == record


def test_a_record_does_not_share_tables_with_its_maker():
    spec = {"grid": [1]}
    record = replace(RECORD, spec=spec)
    spec["grid"].append(2)
    assert record.spec == {"grid": [1]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"metric": "accuracy"},
            "metric must be one of accuracy_percent, error_percent, top5_accuracy_percent, got 'accuracy'",
        ),
        ({"value": 0.7941e4}, "value must lie in 0..100"),
        ({"value": True}, "value must lie in 0..100"),
        ({"value": float("nan")}, "value must hold plain, finite JSON values"),
        ({"solver": {"gap": float("inf")}}, "solver must hold plain, finite JSON values"),
        ({"value": np.float32(79.0)}, "value must hold plain, finite JSON values"),
        ({"error_bar": 0.3}, "error_bar_kind must be given exactly where error_bar is"),
        ({"error_bar_kind": "sd"}, "error_bar_kind must be given exactly where error_bar is"),
        ({"error_bar": -0.3, "error_bar_kind": "sd"}, "error_bar must be a number >= 0, got -0.3"),
        ({"error_bar": 0.3, "error_bar_kind": "se"}, "must be one of sd, ci95, 1.96sd, or empty, got 'se'"),
        ({"n_test": 0}, "n_test must be a whole number >= 1, got 0"),
        ({"n_runs": None}, "n_runs must be a whole number >= 1, got None"),
        ({"method": "two\nlines"}, "method must be one line of text"),
        ({"protocol": ""}, "protocol must be one line of text"),
        ({"run_id": "today"}, "run_id must look like 20261122-1a2b3c4d, got 'today'"),
        ({"started": "2026-11-22"}, "started must look like 2026-11-22T10:00:00Z"),
        ({"seed": 0.5}, "seed must be a whole number or None"),
        ({"command": "dcgan-eval eval"}, "command must be a list of words"),
        ({"inputs": None}, "inputs must be a table of names, got None"),
        ({"command": ["eval", "/home/someone/net.npy"]}, "hold no absolute paths .*/home/someone/net.npy"),
        ({"spec": {"backbone": "theano:imagenet32:/data/models"}}, "hold no absolute paths .*/data/models"),
        ({"inputs": {"/data/train.bin": "47af"}}, "hold no absolute paths"),
    ],
)
def test_impossible_records_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(RECORD, **change)


@pytest.mark.parametrize(
    "tables",
    [
        {"solver": {"C": [None]}},
        {"solver": {"variants": {}}},
        {"solver": {"variants": [{"kind": "layer", "variant": "conv1"}]}},
        {"solver": {"curve": [{"references": 1, "error_percent": None}]}},
        {"selection": {"holdout": "many"}},
    ],
)
def test_what_tables_show_of_a_record_is_checked_when_it_is_read(tables):
    with pytest.raises(ValueError, match=r"must be a table of names .*if given, must") as caught:
        replace(RECORD, **tables)
    assert len(str(caught.value)) < 600


def test_unknown_and_missing_keys_are_named():
    with pytest.raises(ValueError, match="unknown keys host, user; known are run_id, table, method"):
        from_dict(Record, {**asdict(RECORD), "user": "x", "host": "y"}, "it")
    for name in ("value", "spec", "versions"):
        values = {key: value for key, value in asdict(RECORD).items() if key != name}
        with pytest.raises(ValueError, match=f"must have the keys {name}, got"):
            from_dict(Record, values, "it")


def test_a_line_holds_every_field_once_in_order():
    assert list(json.loads(to_json(RECORD))) == [item.name for item in fields(Record)]


def test_appended_records_are_read_in_order_and_earlier_lines_stay(tmp_path):
    path = tmp_path / "runs" / "cifar10.jsonl"
    assert read_records(path) == []
    others = [replace(RECORD, run_id=f"20261122-0000000{i}", value=float(i)) for i in range(3)]
    for count, record in enumerate(others, start=1):
        before = path.read_bytes() if path.exists() else b""
        append_record(path, record)
        assert path.read_bytes().startswith(before)
        assert read_records(path) == others[:count]
    assert [file.name for file in path.parent.iterdir()] == ["cifar10.jsonl"]


def test_one_run_answers_a_row_once_but_may_answer_several(tmp_path):
    path = tmp_path / "cifar10.jsonl"
    append_record(path, RECORD)
    append_record(path, replace(RECORD, protocol="cifar10/full-without-leaked"))
    before = path.read_bytes()
    with pytest.raises(
        ValueError, match=r"20261122-1a2b3c4d, .*, cifar10/full, accuracy_percent again; delete that line"
    ):
        append_record(path, replace(RECORD, value=80.0))
    assert path.read_bytes() == before
    path.write_bytes(before + before)
    with pytest.raises(ValueError, match=r"cifar10\.jsonl:3 must not repeat an earlier line"):
        read_records(path)


@pytest.mark.parametrize("bad", [b'{"run_id": "20261122', b"[]", b"{}", b"\xff\xfe", b"NaN"])
def test_a_corrupt_line_is_named_with_its_fix_and_nothing_is_added(tmp_path, bad):
    path = tmp_path / "cifar10.jsonl"
    append_record(path, RECORD)
    content = path.read_bytes() + bad + b"\n"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"cifar10\.jsonl:2 is not a run record .*version control, or delete it"):
        read_records(path)
    with pytest.raises(ValueError, match=r"cifar10\.jsonl:2"):
        append_record(path, replace(RECORD, run_id="20261123-00000000"))
    assert path.read_bytes() == content


def test_a_last_line_without_its_newline_is_kept_apart(tmp_path):
    path = tmp_path / "cifar10.jsonl"
    path.write_text(to_json(RECORD))
    other = replace(RECORD, run_id="20261123-00000000")
    append_record(path, other)
    assert read_records(path) == [RECORD, other]


def test_a_line_cut_short_by_a_full_disk_is_taken_back(tmp_path, monkeypatch):
    path = tmp_path / "cifar10.jsonl"
    append_record(path, RECORD)
    before, write = path.read_bytes(), os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, data[:10]))
    with pytest.raises(OSError, match="No space left"):
        append_record(path, replace(RECORD, run_id="20261123-00000000"))
    assert path.read_bytes() == before


def test_records_added_at_once_all_stay(tmp_path):
    path = tmp_path / "cifar10.jsonl"
    ids = [f"20261122-{index:08x}" for index in range(16)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: append_record(path, replace(RECORD, run_id=name)), ids))
    assert sorted(record.run_id for record in read_records(path)) == ids


DRAWS = {"right_draws": "0203", "accuracy_percent": [50.0, 100.0, 100.0], "labels": "ab"}
FIGURES = {"value": 250 / 3, "error_bar": 28.8675, "error_bar_kind": "sd", "n_runs": 3, "n_test": 2, "outcomes": DRAWS}
BITS = {"value": 75.0, "n_test": 12, "n_runs": 1, "outcomes": {"right": "fff0"[:3] + "0", "labels": "ab"}}


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        (FIGURES, None),
        (FIGURES | {"metric": "error_percent", "value": 50 / 3}, None),
        (FIGURES | {"error_bar": 1.96 * 28.8675, "error_bar_kind": "1.96sd"}, None),
        (FIGURES | {"value": 83.0}, "value must be 83.333333, which follows from the outcomes, got 83.0"),
        (FIGURES | {"value": 50 / 3}, "value must be 83.3"),
        (FIGURES | {"error_bar": 27.0}, r"error_bar must be 28.867\d+, which follows"),
        (FIGURES | {"n_test": 3}, "right_draws must be 6 hexadecimal digits"),
        (FIGURES | {"n_runs": 2}, "right_draws must be at most n_runs = 2, got 3"),
        (FIGURES | {"outcomes": DRAWS | {"right_draws": "02zz"}}, "non-hexadecimal"),
        (FIGURES | {"outcomes": DRAWS | {"accuracy_percent": [50.0, 100.0]}}, "must be a list of 3 percentages"),
        (FIGURES | {"outcomes": DRAWS | {"accuracy_percent": [50.0, 100.0, "x"]}}, "must be a list of 3 percentages"),
        (FIGURES | {"outcomes": DRAWS | {"accuracy_percent": [50.0, 100.0, 99.0]}}, "value must be 83.0"),
        (BITS | {"value": 100.0}, None),
        (BITS | {"value": 75.0}, "value must be 100.0"),
        (BITS | {"value": 100.0, "n_test": 11}, "right must have a bit for each of 11 images, and zeros after them"),
        (BITS | {"value": 100.0, "n_test": 17}, "right must be 6 hexadecimal digits"),
        (BITS | {"value": 100.0, "n_runs": 2}, "must have right_draws, not right"),
        (BITS | {"value": 100.0, "outcomes": {"right": 3}}, "right must be 4 hexadecimal digits"),
    ],
)
def test_a_figure_that_its_outcomes_contradict_is_refused(tmp_path, figures, message):
    record = replace(RECORD, **({"error_bar": None, "error_bar_kind": ""} | figures))
    (tmp_path / "x.jsonl").write_text(to_json(record))
    if message is None:
        assert read_records(tmp_path / "x.jsonl") == [record]
    else:
        with pytest.raises(ValueError, match=rf"x.jsonl:1 is not a run record \(.*{message}.*restore the line"):
            read_records(tmp_path / "x.jsonl")


@pytest.mark.parametrize(
    "line", [b"null", b"[]", b"NaN", b'"x"', b"3", b"[" * 100_000, b'{"value": 1e999}', b"\xff", b"1" + b"0" * 5000]
)
def test_lines_of_other_shapes_are_refused(tmp_path, line):
    (tmp_path / "x.jsonl").write_bytes(line)
    with pytest.raises(ValueError, match=r"x.jsonl:1 is not a run record") as caught:
        read_records(tmp_path / "x.jsonl")
    assert "\n" not in str(caught.value)


def test_no_flipped_bit_of_a_line_is_accepted(tmp_path):
    path = tmp_path / "x.jsonl"
    append_record(path, RECORD)
    whole, drawn = path.read_bytes(), random.Random(0)
    assert read_records(path) == [RECORD]
    for at in (drawn.randrange(8 * len(whole)) for _ in range(300)):
        changed = bytearray(whole)
        changed[at // 8] ^= 1 << at % 8
        path.write_bytes(changed)
        try:
            assert read_records(path) == [RECORD]  # an end of the line that became a space
        except ValueError as error:
            assert "is not a run record" in str(error)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_emptied_line_is_refused_since_its_record_would_be_lost(tmp_path, place):
    file = tmp_path / "runs.jsonl"
    for day in (1, 2, 3):
        append_record(file, replace(RECORD, run_id=f"2026112{day}-00000000"))
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:place], "", *lines[place + 1 :]]) + "\n")
    with pytest.raises(ValueError, match=rf"runs.jsonl:{place + 1} is not a run record \(it is empty\); restore"):
        read_records(file)
    file.write_text("")
    assert read_records(file) == []
