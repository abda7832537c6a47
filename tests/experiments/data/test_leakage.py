"""Audits are read as they were written, are found only by digests, and are never trusted if damaged."""

import dataclasses
import json
import random
from pathlib import Path

import numpy as np
import pytest

from experiments.data.leakage import audit, find_audit, read_audit, write_audit
from experiments.data.packed import PackedSet, pack

PAIRS = np.array([[2, 7], [2, 9], [5, 0]], np.int64)


def packed(folder: Path, value: int) -> PackedSet:
    images = np.full((10, 4, 4, 3), value, np.uint8)
    return pack(folder, [images], shape=images.shape, source="fabricated", transform="none")


@pytest.fixture
def sets(tmp_path: Path) -> tuple[PackedSet, PackedSet]:
    return packed(tmp_path / "test", 1), packed(tmp_path / "train", 2)


def test_what_is_written_is_found_by_its_digests(sets: tuple[PackedSet, PackedSet], tmp_path: Path) -> None:
    test, train = sets
    file = write_audit(tmp_path / "audits", audit(test, train, PAIRS, {"numpy": "2.4"}))
    assert file.name == "test-in-train.json" and json.loads(file.read_text())["leaked"] == 2
    folders = [tmp_path / "none", tmp_path / "audits"]
    found = find_audit(folders, test.digest, train.digest)
    assert found is not None and np.array_equal(found.pairs, PAIRS) and found.leaked.tolist() == [2, 5]
    assert found.against == {"name": "train", "digest": train.digest} and found.made_with == {"numpy": "2.4"}
    assert find_audit(folders, train.digest, test.digest) is None
    assert find_audit(folders[:1], test.digest, train.digest) is None


def test_what_another_pass_found_is_no_audit_of_this_one(sets: tuple[PackedSet, PackedSet], tmp_path: Path) -> None:
    made = audit(*sets, PAIRS, {})
    write_audit(tmp_path, dataclasses.replace(made, found_by={**made.found_by, "confirmed": 0.5}))
    assert find_audit([tmp_path], sets[0].digest, sets[1].digest) is None


def test_nothing_leaked_is_an_audit_too(sets: tuple[PackedSet, PackedSet], tmp_path: Path) -> None:
    file = write_audit(tmp_path, audit(*sets, np.empty((0, 2), np.int64), {}))
    assert read_audit(file).leaked.tolist() == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("dcgan-eval-leakage-1", "another"),
        lambda text: text.replace("  [5, 0]", "  [2, 0]"),
        lambda text: text.replace("[5, 0]", "[5, 0, 1]"),
        lambda text: text.replace("[5, 0]", "[-5, 0]"),
        lambda text: text.replace('"digest"', '"other"', 1),
        *(lambda text, other=other: other for other in ("[]", "null", "3", '"x"', "NaN", "[" * 100_000, "")),
        lambda text: text.replace("[5, 0]", "[5, true]"),
        lambda text: text.replace("[5, 0]", "[5, 1e999]"),
        lambda text: text.replace("[5, 0]", "[5, 1" + "0" * 400 + "]"),
        lambda text: text.replace('"leaked": 2', '"leaked": "2"'),
        lambda text: text.replace('"confirmed"', '"candidate"'),
    ],
)
def test_damaged_audits_are_refused(sets: tuple[PackedSet, PackedSet], tmp_path: Path, damage) -> None:
    file = write_audit(tmp_path, audit(*sets, PAIRS, {}))
    file.write_text(damage(file.read_text()))
    with pytest.raises(ValueError, match=r"test-in-train.json is not a leakage audit .*; delete it and make it again"):
        read_audit(file)


def test_no_flipped_bit_of_an_audit_is_accepted(sets: tuple[PackedSet, PackedSet], tmp_path: Path) -> None:
    made = audit(*sets, PAIRS, {"python": "3"})
    file = write_audit(tmp_path, made)
    whole, drawn = file.read_bytes(), random.Random(0)
    for at in (drawn.randrange(8 * len(whole)) for _ in range(300)):
        changed = bytearray(whole)
        changed[at // 8] ^= 1 << at % 8
        file.write_bytes(changed)
        try:
            found = read_audit(file)
        except ValueError as error:
            assert "is not a leakage audit" in str(error)
        else:  # a space that became another, the e of a number
            assert str(found) == str(made)
