"""`eval --table tiny-imagenet` and `--table imagenet32`, end to end on made-up photographs: top-1 and top-5 rows."""

import csv
import dataclasses
import json
import pickle

import numpy as np
import pytest

from experiments.data.load import load
from experiments.data.sets import tiny_imagenet_split
from experiments.measure.protocols import PROTOCOLS, SEEN
from tests.workplace import Workplace

CLASSES, NETWORK = 12, "random:imagenet32,width=2"


def photographs(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [n, 32, 32, 3] of twelve classes, each with its own bright rows, and their labels."""
    rng, labels = np.random.default_rng(seed), np.arange(n) % CLASSES
    images = rng.integers(0, 160, (n, 32, 32, 3), dtype=np.uint8)
    for i, label in enumerate(labels):
        images[i, 2 * label : 2 * label + 4] += 90
    return images, labels


def small(monkeypatch: pytest.MonkeyPatch, protocol: str, images: int, tested: int) -> None:
    """Make the counts of a protocol, and of that with SEEN, those of made-up photographs."""
    few = {"images": images, "tested": tested, "classes": CLASSES, "holdout": 24, "choice": 120, "grid": (1e-4, 1e-3)}
    for name in (protocol, protocol + SEEN):
        monkeypatch.setitem(PROTOCOLS, name, dataclasses.replace(PROTOCOLS[name], **few))


@pytest.fixture
def tiny(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    monkeypatch.setattr(tiny_imagenet_split, "TESTED", 8)
    workplace.pack("tiny-imagenet-32", *photographs(30 * CLASSES, 0))
    small(monkeypatch, "tiny-imagenet/200", 22 * CLASSES, 8 * CLASSES)
    return workplace


def records(workplace: Workplace, table: str) -> list[dict]:
    lines = (workplace.run.own_records / f"{table}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_one_scoring_answers_the_top_1_and_the_top_5_row(tiny: Workplace, capsys: pytest.CaptureFixture) -> None:
    assert tiny.main("eval", NETWORK, "--table", "tiny-imagenet") == 0
    told = capsys.readouterr()
    best, five = records(tiny, "tiny-imagenet")
    assert (best["metric"], five["metric"]) == ("accuracy_percent", "top5_accuracy_percent")
    assert best["run_id"] == five["run_id"] and best["protocol"] == five["protocol"] == "tiny-imagenet/200"
    assert 100 / CLASSES < best["value"] < five["value"] <= 100 and best["n_test"] == 8 * CLASSES
    assert (best["selection"]["rows"], best["selection"]["holdout"]) == (120, 24)
    assert f"also top-5 {five['value']:.2f} % (n 96)" in told.out
    assert told.out.splitlines()[-1].endswith(f"n 96, tiny-imagenet/200, run {best['run_id']}")
    rows = csv.DictReader((tiny.run.runs_root / "tables" / "tiny-imagenet.csv").read_text().splitlines())
    own = {row["metric"]: row["value"] for row in rows if row["provenance"] == best["run_id"]}
    assert own == {r["metric"]: f"{r['value']:.2f}" for r in (best, five)}
    assert tiny.main("eval", NETWORK, "--table", "tiny-imagenet") == 0
    assert "measured before" in capsys.readouterr().err and len(records(tiny, "tiny-imagenet")) == 2


def test_removed_near_duplicates_are_counted_in_the_record(
    tiny: Workplace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    images, labels = photographs(30 * CLASSES, 0)
    tiny.pack("tiny-imagenet-32", images, labels)
    rest, test = tiny_imagenet_split.split_rows(load("tiny-imagenet-32", tiny.run))
    images[rest[7]] = images[test[0]]
    tiny.pack("tiny-imagenet-32", images, labels)
    assert tiny.main("eval", "pixels", "--table", "tiny-imagenet") == 0
    assert "1 training images are left out: near-duplicates of test images" in capsys.readouterr().err
    assert [record["selection"]["removed"] for record in records(tiny, "tiny-imagenet")] == [1, 1]


def test_networks_that_saw_the_photographs_are_compared_with_those_that_did_not(
    tiny: Workplace, capsys: pytest.CaptureFixture
) -> None:
    (tiny.root / "net.py").write_text(
        "import torch\n\n\ndef make():\n    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 8, 8), torch.nn.ReLU())\n"
    )
    own = f"{tiny.root / 'net.py'}:make"
    assert tiny.main("eval", "pixels", "--table", "tiny-imagenet") == 0
    assert tiny.main("eval", own, "--table", "tiny-imagenet") == 0
    told = capsys.readouterr()
    assert "what it was trained on is not known" in told.err and "raw pixels" in told.out
    assert records(tiny, "tiny-imagenet")[-1]["protocol"] == f"tiny-imagenet/200{SEEN}"
    assert tiny.main("compare", own, "pixels", "--table", "tiny-imagenet", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["protocol"] == f"tiny-imagenet/200{SEEN} (A), tiny-imagenet/200 (B)"
    assert found["n_test"] == 96 and len(found["classes"]) == CLASSES
    assert tiny.main("eval", own, "--table", "tiny-imagenet", "--protocol", "tiny-imagenet/200") == 0
    assert records(tiny, "tiny-imagenet")[-1]["protocol"] == "tiny-imagenet/200"
    assert tiny.main("eval", "imagenet32-half", "--table", "tiny-imagenet", "--protocol", "tiny-imagenet/200") == 2
    assert f"choose --protocol tiny-imagenet/200{SEEN}" in capsys.readouterr().err


def test_imagenet32_is_measured_from_its_official_files(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    folder = workplace.run.data_root / "imagenet32"
    folder.mkdir(parents=True)
    for seed, name in enumerate(("train_data_batch_1", "train_data_batch_2", "val_data")):
        images, labels = photographs(144, seed)
        content = {"data": images.transpose(0, 3, 1, 2).reshape(-1, 3072), "labels": (labels + 1).tolist()}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    assert workplace.main("eval", NETWORK, "--table", "imagenet32") == 2
    assert "imagenet32/1000 takes 1,281,167 training and 50,000 test images" in capsys.readouterr().err
    small(monkeypatch, "imagenet32/1000", 288, 144)
    assert workplace.main("eval", NETWORK, "--table", "imagenet32") == 0
    best, five = records(workplace, "imagenet32")
    assert best["protocol"] == five["protocol"] == "imagenet32/1000" and best["n_test"] == 144
    assert 100 / CLASSES < best["value"] < five["value"] and "removed" not in best["selection"]
    assert workplace.main("eval", NETWORK, "--table", "imagenet32", "--dry-run") == 0
    assert "on 24 held-out training images, after fits of 96 others" in capsys.readouterr().out
