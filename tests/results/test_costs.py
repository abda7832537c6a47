"""Records of costs: exact round trips, refusals that name the field, lines only added."""

import json
from dataclasses import asdict, replace

import pytest

from results import CostRecord, append_cost, read_costs

RECORD = CostRecord(
    name="DCGAN imagenet32-half",
    weights="47af8b02",
    layers=["conv1", "conv2"],
    parameters=1_150_272,
    multiply_adds=67_800_000,
    features=2048,
    images_per_second=42.18,
    batch=128,
    hardware={"cpu": "some processor", "cores": 2},
    versions={"torch": "2.13.0", "commit": None},
    started="2026-11-22T10:00:00Z",
)


def test_lines_are_added_and_read_back(tmp_path):
    file = tmp_path / "runs" / "costs.jsonl"
    assert read_costs(file) == []
    again = replace(RECORD, images_per_second=80, layers=("conv1",))
    append_cost(file, RECORD)
    before = file.read_bytes()
    append_cost(file, again)
    assert read_costs(file) == [RECORD, again] and again.layers == ["conv1"]
    assert file.read_bytes().startswith(before) and file.read_bytes().isascii()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": ""}, "name must be one line of text, not empty"),
        ({"layers": []}, "layers must be a list of names, at least one, got"),
        ({"layers": "conv1"}, "layers must be a list of names"),
        ({"parameters": -1}, "parameters must be a whole number >= 0, got -1"),
        ({"features": 0}, "features must be a whole number >= 1, got 0"),
        ({"batch": 1.5}, "batch must be a whole number >= 1, got 1.5"),
        ({"images_per_second": 0}, "images_per_second must be a number > 0, got 0"),
        ({"images_per_second": float("nan")}, "must hold plain, finite JSON values"),
        ({"images_per_second": True}, "images_per_second must be a number > 0, got True"),
        ({"hardware": None}, "hardware must be a table of names, got None"),
        ({"started": "today"}, "started must look like 2026-11-22T10:00:00Z, got 'today'"),
        ({"name": "/home/someone/net.py:make"}, r"hold no absolute paths .*, got \['/home/someone/net.py"),
    ],
)
def test_impossible_records_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(RECORD, **change)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "costs.jsonl:2 is not a record of costs .*; restore the line from version control, or delete it"),
        ("[]", "costs.jsonl:2 .*it must be a JSON object, got list"),
        (
            json.dumps(asdict(RECORD) | {"speed": 3}),
            "costs.jsonl:2 .*it has unknown keys speed; known are name, weights",
        ),
        (json.dumps({"name": "x"}), "costs.jsonl:2 .*it must have the keys weights, layers"),
    ],
)
def test_a_broken_line_is_named_and_nothing_added_behind_it(tmp_path, line, message):
    file = tmp_path / "costs.jsonl"
    append_cost(file, RECORD)
    file.write_text(file.read_text() + line + "\n")
    before = file.read_bytes()
    with pytest.raises(ValueError, match=message):
        read_costs(file)
    with pytest.raises(ValueError, match=r"costs\.jsonl:2"):
        append_cost(file, RECORD)
    assert file.read_bytes() == before
