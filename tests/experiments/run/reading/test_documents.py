"""JSON that is read back: strict, checked, sealed; whatever else a file holds ends in one line with file and fix."""

import json
import os
import random
from dataclasses import dataclass

import pytest

from experiments.run.errors import UserError
from experiments.run.reading import documents
from experiments.run.reading.documents import DamagedError, read_json, write_json

HOSTILE = {
    "empty": b"",
    "null": b"null",
    "list": b"[]",
    "text": b'"x"',
    "number": b"3",
    "nan": b'{"n": NaN}',
    "infinity": b'{"n": -Infinity}',
    "overflow": b'{"n": 1e999}',
    "large": b'{"n": 1' + b"0" * 400 + b"}",
    "digits": b'{"n": 1' + b"0" * 5000 + b"}",
    "wrong": b'{"n": "1"}',
    "bool": b'{"n": true}',
    "missing": b"{}",
    "twice": b'{"n": 1, "n": 2}',
    "deep": b"[" * 100_000,
    "levels": b'{"n": 1, "m": ' + b"[" * 50 + b"]" * 50 + b"}",
    "bytes": b'{"n": 1, "m": "\xff"}',
    "cut": b'{"n": 1',
    "zeros": b"\0" * 40,
    "sealed": b'{"n": 1, "seal": "0"}',
}


@dataclass(frozen=True)
class Shape:
    n: int


@pytest.mark.parametrize("name", HOSTILE)
def test_whatever_else_is_one_line_with_the_fix(tmp_path, name):
    file = tmp_path / "x.json"
    file.write_bytes(HOSTILE[name])
    with pytest.raises(DamagedError) as caught:
        read_json(file, Shape, fix="make it again")
    said = str(caught.value)
    assert said.startswith(f"{file} is damaged (") and said.endswith("; make it again")
    assert "\n" not in said and len(said) < 400
    assert isinstance(caught.value, UserError) and isinstance(caught.value, ValueError)


def test_what_is_no_regular_file_and_what_is_too_large_is_not_read(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(DamagedError, match="not a regular file"):
        read_json(tmp_path / "fifo")
    (tmp_path / "large").write_text(json.dumps({"n": "x" * 99}))
    monkeypatch.setattr(documents, "MAX_BYTES", 50)
    with pytest.raises(DamagedError, match="at most 50 are read"):
        read_json(tmp_path / "large")
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "none")


def test_plain_files_are_read(tmp_path):
    (tmp_path / "x").write_text('{"n": 7, "other": [1.5, null]}')
    assert read_json(tmp_path / "x", Shape) == Shape(7)
    assert read_json(tmp_path / "x") == {"n": 7, "other": [1.5, None]}


def test_no_flipped_bit_of_a_sealed_file_changes_what_is_read(tmp_path):
    file, value = tmp_path / "x", {"seed": 3, "names": ["a", "é"], "rate": 1e-05, "none": None}
    write_json(file, value)
    whole = file.read_bytes()
    assert read_json(file) == value and list(read_json(file)) == list(value)
    accepted = 0
    for at in random.Random(0).sample(range(8 * len(whole)), 300):
        changed = bytearray(whole)
        changed[at // 8] ^= 1 << at % 8
        file.write_bytes(changed)
        try:
            accepted += read_json(file) != value
        except DamagedError:
            continue
    assert accepted == 0
