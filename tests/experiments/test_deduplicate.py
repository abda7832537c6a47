"""The pass as a user runs it: what is kept, what is written, what the gallery shows."""

import base64
import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments import cli, deduplicate
from experiments.datasets.packed import pack
from experiments.spec import DedupSpec


def photographs(n: int, seed: int = 0) -> np.ndarray:
    """uint8 [n, 32, 32, 3], smooth, none like another."""
    coarse = np.random.default_rng(seed).integers(0, 256, (n, 6, 6, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(c).resize((32, 32), Image.Resampling.BICUBIC)) for c in coarse])


def recompressed(image: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=60)
    return np.asarray(Image.open(buffer))


@pytest.fixture
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """tiny-imagenet-32: 40 images, the last two copies of 3 and 5; tiny-imagenet-64: 10 others, then 7 recompressed."""
    images = photographs(38)
    images = np.concatenate([images, images[3:4], recompressed(images[5])[None]])
    others = np.concatenate([photographs(10, seed=1), recompressed(images[7])[None]])
    for name, content in (("tiny-imagenet-32", images), ("tiny-imagenet-64", others)):
        pack(tmp_path / "runs" / "packed" / name, [content], shape=content.shape, source="fabricated", transform="none")
    monkeypatch.setenv("DATA_ROOT", str(tmp_path / "data"))
    monkeypatch.setenv("RUNS_ROOT", str(tmp_path / "runs"))
    return tmp_path / "runs" / "dedup"


def rows(file: Path) -> list[dict[str, str]]:
    with open(file, newline="") as opened:
        return list(csv.DictReader(opened))


def test_within_a_set(sets: Path, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["dedup", "tiny-imagenet-32"]) == 0
    out = sets / "tiny-imagenet-32"
    assert sorted(p.name for p in out.iterdir()) == ["gallery.html", "groups.csv", "keep.npy", "summary.json"]
    keep = np.load(out / "keep.npy", allow_pickle=False)
    assert np.flatnonzero(~keep).tolist() == [38, 39]
    assert [(r["group"], r["index"]) for r in rows(out / "groups.csv")] == [("3", "38"), ("5", "39")]
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["images"], summary["groups"], summary["removed"]) == (40, 2, 2)
    assert summary["pass"] == {"hash": "phash", "radius": 4} and summary["against"] is None
    assert json.loads(capsys.readouterr().out) == summary


@pytest.mark.parametrize("hash", ["phash", "dhash", "ahash"])
def test_against_another_set(sets: Path, hash: str) -> None:
    command = ["dedup", "tiny-imagenet-32", "--against", "tiny-imagenet-64", "--hash", hash]
    assert cli.main([*command, "--out", str(sets / "here")]) == 0
    assert np.flatnonzero(~np.load(sets / "here" / "keep.npy", allow_pickle=False)).tolist() == [7]
    assert [(r["group"], r["index"]) for r in rows(sets / "here" / "groups.csv")] == [("7", "10")]


def test_the_gallery_holds_the_images_the_farthest_apart_first(sets: Path) -> None:
    assert cli.main(["dedup", "tiny-imagenet-32", "--radius", "12"]) == 0
    page = (sets / "tiny-imagenet-32" / "gallery.html").read_text()
    distances = [int(bits) for bits in re.findall(r'alt="\d+, (\d+) bits"', page)]
    assert len(distances) >= 2 and distances == sorted(distances, reverse=True)
    pictures = [Image.open(io.BytesIO(base64.b64decode(p))) for p in re.findall(r"base64,([^\"]+)", page)]
    kept, copy = (np.asarray(picture) for picture in pictures[-2:])  # 3 and its copy, zero bits apart
    assert np.array_equal(kept, photographs(38)[3]) and np.array_equal(kept, copy)
    assert not re.search(r"(src|href)=\"(?!data:)", page)  # opens from disk, without a network


def test_no_pass_keeps_all_and_a_pass_keeps_one_of_each() -> None:
    images = np.repeat(photographs(5), 3, axis=0)
    assert deduplicate.keep_mask(images, None).all()
    assert np.flatnonzero(deduplicate.keep_mask(images, DedupSpec())).tolist() == [0, 3, 6, 9, 12]


def test_no_duplicates_no_groups(sets: Path) -> None:
    assert cli.main(["dedup", "tiny-imagenet-64"]) == 0
    assert rows(sets / "tiny-imagenet-64" / "groups.csv") == []
    assert np.load(sets / "tiny-imagenet-64" / "keep.npy", allow_pickle=False).all()
