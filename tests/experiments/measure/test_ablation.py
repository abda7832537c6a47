"""`dcgan-eval ablate` on a fabricated CIFAR-10: figures, one pass over the images, going on after a stop, mistakes."""

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import features
from evaluation import selection
from experiments import cli
from experiments.measure import ablation
from experiments.measure import variants as variants_of
from experiments.measure.ablation import Ablation, AblationSpec, prepare, read_found
from experiments.measure.classify import Split, all_labels
from experiments.measure.measurement import recorded
from experiments.measure.variants import Variant, variants
from experiments.networks.resolve import resolve
from experiments.run.context import Run
from tests.workplace import learnable

TARGET = "random:imagenet32,width=2"
USERS = """import torch
import features

def make():
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(3, 2, 3, stride=3)
    model = torch.nn.Sequential(conv, torch.nn.BatchNorm2d(2), torch.nn.ReLU(), torch.nn.MaxPool2d(2))
    model[1].running_mean.fill_(0.1)
    return features.Backbone(model, ["2", "3"], (3, 32, 32), (-1, 1))
"""


@pytest.fixture
def roots(workplace, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workplace whose RUNS_ROOT holds 700 training images that a linear classifier can learn, and no test images."""
    workplace.pack("cifar10-train", *learnable(700, np.random.default_rng(0)))
    monkeypatch.setattr(selection, "MAX_BEYOND", 0)  # quick
    (workplace.root / "mine.py").write_text(USERS)
    return workplace.root


def main(root: Path, *arguments: str) -> int:
    return cli.main(list(arguments), results=root / "results")


def prepared_for(roots: Path, **changes) -> Ablation:
    spec = AblationSpec(**{"backbone": f"{roots / 'mine.py'}:make", "calibration_batches": 2, **changes})
    return prepare(spec, Run(roots / "data", roots / "runs"))


def run(prepared: Ablation, roots: Path):
    said = []
    (record,) = recorded(prepared, Run(roots / "data", roots / "runs", say=said.append), fresh=True)
    return record, said


def directly(prepared: Ablation, variant: Variant) -> dict:
    """The variant's figures by the library alone: its layers and its pool, the images given anew."""
    backbone = resolve(prepared.spec.backbone, layers=variant.layers).backbone
    if variant.batchnorm == "calibrated":
        features.calibrate_batchnorm(backbone, prepared.train.images[prepared.shown])
    if variant.pooling == "mean":
        pool = lambda maps: torch.nn.functional.adaptive_avg_pool2d(maps, 4).flatten(1)  # noqa: E731
    else:
        pool = features.max_grid(variant.grid)
    X, y, n = features.extract(backbone, prepared.train.images, pool=pool), prepared.train.labels, prepared.fitted
    split = Split(X[:n], y[:n], X[n:], y[n:], prepared.holdout)
    answer = all_labels(split, prepared.spec.Cs, Run(Path("data"), Path("runs")))
    right = answer.right.sum()
    return {"features": X.shape[1], "C": answer.solver["C"], "right": right, "accuracy_percent": 100 * right / 140}


def test_every_row_is_what_its_own_extraction_and_fit_give(roots: Path) -> None:
    prepared = prepared_for(roots)
    record, _ = run(prepared, roots)
    rows = record.solver["variants"]
    kinds = [(row["kind"], row["variant"]) for row in rows]
    assert kinds == [
        ("protocol", "protocol"),
        *(("layer", "2"), ("layer", "3"), ("first layers", "2"), ("first layers", "2 to 3")),
        *(("grid", "1x1"), ("grid", "2x2"), ("grid", "4x4"), ("grid", "8x8 (4x4 of 3)")),
        *(("pooling", "max"), ("pooling", "mean"), ("batch norm", "calibrated"), ("batch norm", "running")),
    ]
    for row, variant in zip(rows, prepared.variants, strict=True):
        if variant.grid == 8:  # two pools, which no one call of extract takes
            assert row["features"] == 2 * (64 + 16)
            continue
        expected = directly(prepared, variant)
        assert {name: row[name] for name in expected} == expected, variant
        assert row["ci95_low"] < row["accuracy_percent"] < row["ci95_high"]
    assert len({row["right"] for row in rows}) > 5 and record.value == rows[0]["accuracy_percent"] > 40
    assert (record.n_test, record.protocol, record.features) == (140, "cifar10/ablation", 64)


def test_the_parts_are_apart_and_stratified(roots: Path) -> None:
    prepared = prepared_for(roots, subset=650)
    assert len(prepared.train.labels) == 650 and (prepared.fitted, prepared.scored, len(prepared.holdout)) == (
        520,
        130,
        130,
    )
    assert set(prepared.holdout) | set(prepared.shown) <= set(range(prepared.fitted))
    assert not set(prepared.holdout) & set(prepared.shown) and len(prepared.shown) == 256
    for part in (prepared.train.labels[prepared.fitted :], prepared.train.labels[prepared.holdout]):
        assert np.bincount(part).tolist() == [13] * 10
    other = prepared_for(roots, subset=650, seed=1)
    assert other.train.digest != prepared.train.digest and prepared.spec.column == "cifar10/ablation-subset-650"


def test_images_are_seen_once_a_way_of_batch_norm_and_rows_alike_fitted_once(
    roots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, fits = [], []
    extract, classify = features.extract, ablation.all_labels
    monkeypatch.setattr(features, "extract", lambda *a, **k: seen.append(len(a[1])) or extract(*a, **k))
    monkeypatch.setattr(ablation, "all_labels", lambda *a, **k: fits.append(a) or classify(*a, **k))
    record, _ = run(prepared_for(roots), roots)
    assert seen == [700, 700] and len(fits) == 8 < len(record.solver["variants"]) == 13
    again, said = run(prepared_for(roots), roots)
    assert len(seen) == 2 and len(fits) == 8 and "8 of 8 variants were measured before" in said[0]
    assert again.solver == record.solver and again.run_id == record.run_id
    assert list(prepared_for(roots, backbone=TARGET).keys) == ["calibrated"]  # no statistics of training to compare


def test_a_stopped_run_goes_on(roots: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    classify, calls = ablation.all_labels, []

    def interrupted(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return classify(*arguments, **options)

    monkeypatch.setattr(ablation, "all_labels", interrupted)
    assert main(roots, "ablate", f"{roots / 'mine.py'}:make") == 130
    (kept,) = (roots / "runs" / "ablations").iterdir()
    assert len(read_found(kept)) == 3 and not (roots / "runs" / "tables" / "ablation-mine.py-make.csv").exists()
    assert not [file for file in (roots / "runs" / "features").iterdir() if not file.is_dir()]
    assert main(roots, "ablate", f"{roots / 'mine.py'}:make") == 0
    assert len(calls) == 4 + 5 and "3 of 8 variants were measured before" in capsys.readouterr().err
    whole = read_found(kept)
    kept.write_text("{torn")
    with pytest.warns(UserWarning, match="measuring from the beginning: .* is damaged"):
        assert read_found(kept) == {}
    kept.unlink()
    assert main(roots, "ablate", f"{roots / 'mine.py'}:make") == 0
    timeless = [{s: r | {"seconds": 0} for s, r in d.items()} for d in (whole, read_found(kept))]
    assert timeless[0] == timeless[1]


def test_table_picture_and_record(roots: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(roots, "ablate", TARGET, "--layers", "conv1,conv6", "--record") == 0
    printed = capsys.readouterr().out
    assert "the test images take no part" in printed and "| first layers " in printed
    name = "ablation-random-init-imagenet32-width-2-conv1-conv6"
    folder = roots / "runs" / "tables"
    with (folder / f"{name}.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["variant"] for row in rows if row["kind"] == "grid"] == ["1x1", "2x2", "4x4", "8x8 (4x4 of conv6)"]
    assert {row["n"] for row in rows} == {"140"} and "batch norm" not in {row["kind"] for row in rows}
    assert (folder / f"{name}.md").read_text() == printed.removesuffix("\n")
    assert (folder / f"{name}.svg").read_bytes().startswith(b"<?xml")
    (line,) = (roots / "results" / "runs" / "ablation.jsonl").read_text().splitlines()
    assert str(roots) not in line and json.loads(line)["command"][:3] == ["dcgan-eval", "ablate", TARGET]
    committed = roots / "results" / "tables"
    assert (committed / "ablation.csv").read_bytes() == (folder / f"{name}.csv").read_bytes()
    (committed / "ablation.md").unlink()
    assert main(roots, "table", "ablation", "--check") == 1
    assert main(roots, "table", "ablation") == 0 and main(roots, "table", "ablation", "--check") == 0
    assert (committed / "ablation.md").read_text() in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["ablate", "pixels"], "pixels has no layers or grid to vary"),
        (["ablate", "kmeans:50"], "has no layers or grid to vary"),
        (["ablate", "missing.safetensors"], "no checkpoint at missing.safetensors"),
        (["ablate", TARGET, "--layers", "conv9"], "no layer 'conv9'; the layers are conv1"),
        (["ablate", TARGET, "--subset", "100"], "subset must be at least 640 images, got 100"),
        (["ablate", TARGET, "--subset", "700"], "a subset must be smaller than the set of 700, got 700"),
        (["ablate", TARGET, "--subset", "650", "--record"], "leave --subset or --record out"),
        (["ablate", TARGET, "--device", "nogpu"], "set DEVICE=cpu"),
        (["table", "ablation"], "dcgan-eval ablate TARGET --record adds one"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(
    roots: Path, capsys: pytest.CaptureFixture, arguments: list[str], text: str
) -> None:
    assert main(roots, *arguments) == 2
    error = capsys.readouterr().err.strip()
    assert text in error and "\n" not in error


def test_dry_run_says_what_would_be_done(roots: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(roots, "ablate", TARGET, "--dry-run") == 0
    printed = capsys.readouterr().out
    assert "layer: conv6\n" in printed and "15 classifiers, 10,000 images scored" in printed
    assert not (roots / "runs" / "ablations").exists()


def test_the_finest_grid_is_left_out_where_its_features_are_too_many(
    roots: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Its row is missing, every other row is as with it, and a line says so, also in a plan."""
    whole, said = run(prepared_for(roots), roots)
    assert not any("left out" in text for text in said)
    width = 2 * (64 + 16) + 2 * (16 + 16)  # of layer 2 maxima at 8x8, of layer 3 at 4x4; of both means at 4x4
    monkeypatch.setattr(variants_of, "LIMIT", 700 * width * 4)
    assert prepared_for(roots).finest == 8
    monkeypatch.setattr(variants_of, "LIMIT", 700 * width * 4 - 1)
    less, _ = run(prepared_for(roots), roots)
    rows, fewer = ([r | {"seconds": 0} for r in record.solver["variants"]] for record in (whole, less))
    assert fewer == [row for row in rows if row["grid"] != 8] and len(fewer) == len(rows) - 1
    stored = sorted(file.stat().st_size for file in (roots / "runs" / "features").rglob("features.f32"))
    assert stored == [700 * 4 * d for d in (64, 2 * (16 + 16) * 2, width)]  # running statistics, without 8x8, with it
    assert main(roots, "ablate", f"{roots / 'mine.py'}:make", "--subset", "699", "--dry-run") == 0
    assert "grid: 8x8" in capsys.readouterr().out  # fewer images fit
    for plan in (["--dry-run"], []):
        assert main(roots, "ablate", f"{roots / 'mine.py'}:make", *plan) == 0
        told = capsys.readouterr()
        assert "the 8x8 grid is left out" in told.out + told.err and "(--subset 699 includes it)" in told.out + told.err


def test_one_layer_has_no_layers_to_vary() -> None:
    rows = variants(resolve(TARGET, layers=["conv6"]).backbone)
    assert [row.kind for row in rows] == ["protocol", "grid", "grid", "grid", "pooling", "pooling"]
    assert dataclasses.replace(rows[0], kind="x", name="y").setting == rows[0].setting
