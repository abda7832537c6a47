"""The pass as a user runs it: what is kept, what is written, what the gallery shows, how it ends."""

import base64
import csv
import io
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dedup
from experiments import cli
from experiments.data import leakage
from experiments.data.images import hash_files as photos
from experiments.data.packed import pack
from experiments.deduplication import gallery
from experiments.deduplication import methods as duplicates
from experiments.deduplication.spec import METHODS


def photographs(n: int, seed: int = 0) -> np.ndarray:
    """uint8 [n, 32, 32, 3], smooth, none like another."""
    coarse = np.random.default_rng(seed).integers(0, 256, (n, 6, 6, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(c).resize((32, 32), Image.Resampling.BICUBIC)) for c in coarse])


def recompressed(image: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=60)
    return np.asarray(Image.open(buffer))


@pytest.fixture(autouse=True)
def short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "SEMANTIC", dedup.SemanticConfig(steps=40))


@pytest.fixture
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """tiny-imagenet-32: 40 images, the last two copies of 3 and 5; lsun-others-32: 10 others, 7 recompressed, 3."""
    images = photographs(38)
    images = np.concatenate([images, images[3:4], recompressed(images[5])[None]])
    others = np.concatenate([photographs(10, seed=1), recompressed(images[7])[None], images[3:4]])
    for name, content in (("tiny-imagenet-32", images), ("lsun-others-32", others)):
        pack(tmp_path / "runs" / "packed" / name, [content], shape=content.shape, source="fabricated", transform="none")
    monkeypatch.setenv("DATA_ROOT", str(tmp_path / "data"))
    monkeypatch.setenv("RUNS_ROOT", str(tmp_path / "runs"))
    return tmp_path / "runs" / "dedup"


def rows(file: Path) -> list[dict[str, str]]:
    with open(file, newline="") as opened:
        return list(csv.DictReader(opened))


def gone(out: Path) -> list[int]:
    """Indices of what is not kept."""
    return np.flatnonzero(~np.load(out / "keep.npy", allow_pickle=False)).tolist()


def test_within_a_set(sets: Path, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["dedup", "tiny-imagenet-32", "--method", "phash"]) == 0
    out = sets / "tiny-imagenet-32"
    written = ["gallery.html", "groups.csv", "groups.png", "keep.npy", "summary.json"]
    assert sorted(p.name for p in out.iterdir()) == written
    assert gone(out) == [38, 39]
    assert [(r["group"], r["index"]) for r in rows(out / "groups.csv")] == [("3", "38"), ("5", "39")]
    shown, images = np.asarray(Image.open(out / "groups.png")), photographs(38)
    assert shown.shape == (32, 8 * 68 - 4, 3)
    assert {shown[:, x : x + 32].tobytes() for x in (0, 68)} == {images[i].tobytes() for i in (3, 5)}
    assert images[3].tobytes() in {shown[:, x : x + 32].tobytes() for x in (32, 100)}  # the copy
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["images"], summary["groups"], summary["removed"], summary["skipped"]) == (40, 2, 2, 0)
    assert summary["pass"] == {"method": "phash", "radius": 4} and summary["against"] is None
    assert json.loads(capsys.readouterr().out) == summary


@pytest.mark.parametrize("method", METHODS)
def test_against_another_set(sets: Path, method: str) -> None:
    command = ["dedup", "tiny-imagenet-32", "--against", "lsun-others-32", "--method", method]
    assert cli.main([*command, "--out", str(sets / "here")]) == 0
    found = [(r["group"], r["index"]) for r in rows(sets / "here" / "groups.csv")]
    assert set(found) >= {("3", "11")} and gone(sets / "here") == sorted({int(group) for group, _ in found})
    assert ("7", "10") in found or method == "semantic"
    assert (sets / "here" / "semantic.safetensors").exists() == (method == "semantic")


def test_an_audit_is_written_of_two_sets(sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    committed = sets / "committed"
    monkeypatch.setattr(cli, "LEAKAGE", committed)
    command = ["dedup", "tiny-imagenet-32", "--against", "lsun-others-32"]
    assert cli.main(command) == 0
    own = sets.parent / "leakage" / "tiny-imagenet-32-in-lsun-others-32.json"
    assert set(leakage.read_audit(own).leaked.tolist()) >= {3, 7} and not committed.exists()
    assert cli.main([*command, "--record"]) == 0
    assert (committed / own.name).read_bytes() == own.read_bytes()
    own.unlink()
    assert cli.main([*command, "--method", "phash"]) == 0 and not own.exists()


def test_a_set_that_was_packed_before(sets: Path, capsys: pytest.CaptureFixture) -> None:
    (sets.parent / "packed" / "lsun-others-32").rename(sets.parent / "packed" / "mine")
    command = ["dedup", "tiny-imagenet-32", "--against", "mine"]
    assert cli.main([*command, "--dry-run"]) == 0 and "mine: 12 images of 32x32" in capsys.readouterr().out
    assert cli.main(command) == 0
    own = leakage.read_audit(sets.parent / "leakage" / "tiny-imagenet-32-in-mine.json")  # `eval` looks for it
    assert own.against["name"] == "mine" and set(own.leaked.tolist()) >= {3, 7}
    capsys.readouterr()
    assert cli.main([*command, "--record"]) == 2  # the committed ones are of sets that others can have
    assert "two named sets" in capsys.readouterr().err
    assert cli.main(["dedup", "mine", "--against", "mine"]) == 2
    assert cli.main(["dedup", "mine", "--method", "phash"]) == 0 and gone(sets / "mine") == []
    assert cli.main(["dedup", "../packed/mine"]) == 2


def test_a_path_that_exists_comes_before_a_packed_set(sets: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    (sets.parent / "packed" / "lsun-others-32").rename(sets.parent / "packed" / "mine")
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    assert cli.main(["dedup", "mine"]) == 2 and "no images in mine" in capsys.readouterr().err


def test_the_gallery_holds_the_images_the_farthest_apart_first(sets: Path) -> None:
    assert cli.main(["dedup", "tiny-imagenet-32", "--method", "phash", "--radius", "12"]) == 0
    page = (sets / "tiny-imagenet-32" / "gallery.html").read_text()
    distances = [int(bits) for bits in re.findall(r"<h2>(\d+) bits</h2>", page)]
    assert len(distances) >= 2 and distances == sorted(distances, reverse=True)
    pictures = [Image.open(io.BytesIO(base64.b64decode(p))) for p in re.findall(r"base64,([^\"]+)", page)]
    first, copy = (np.asarray(picture) for picture in pictures[-2:])  # 3 and its copy, zero bits apart
    assert np.array_equal(first, photographs(38)[3]) and np.array_equal(first, copy)
    assert not re.search(r"(src|href)=\"(?!data:)", page)  # opens from disk, without a network
    summary = json.loads((sets / "tiny-imagenet-32" / "summary.json").read_text())
    assert f'"digest": "{summary["digest"]}"' in page


def test_no_duplicates_no_groups(sets: Path) -> None:
    assert cli.main(["dedup", "lsun-others-32", "--method", "phash"]) == 0
    assert rows(sets / "lsun-others-32" / "groups.csv") == [] and gone(sets / "lsun-others-32") == []
    assert "nothing to judge" in (sets / "lsun-others-32" / "gallery.html").read_text()


HOSTILE = '"><script>alert(1)ü.jpg'


@pytest.fixture
def album(sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """0.png .. 39.png; b.jpg, 5 recompressed; a copy of 3 under a hostile name; two files that are no images."""
    monkeypatch.setattr(photos, "cores", lambda: 1)
    album = tmp_path / "album"
    album.mkdir()
    for i, image in enumerate(photographs(40)):
        Image.fromarray(image).resize((90, 60), Image.Resampling.BICUBIC).save(album / f"{i:02}.png")
    Image.open(album / "05.png").save(album / "b.jpg", quality=80)
    (album / HOSTILE).write_bytes((album / "03.png").read_bytes())
    (album / "empty.jpg").write_bytes(b"")
    (album / "folder.jpg").mkdir()
    return album


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("zipped", [False, True])
def test_photographs(album: Path, sets: Path, capsys: pytest.CaptureFixture, method: str, zipped: bool) -> None:
    source = Path(shutil.make_archive(str(album), "zip", album)) if zipped else album
    assert cli.main(["dedup", str(source), "--method", method]) == 1
    out, hostile = sets / source.name, HOSTILE
    found = {(r["group_file"], r["index_file"]) for r in rows(out / "groups.csv")}
    copy = tuple(sorted(["03.png", hostile]))
    assert copy in found and (method == "semantic" or ("05.png", "b.jpg") in found)
    assert (out / "keep.txt").read_text().splitlines() == sorted(
        {*_names(40), "b.jpg", hostile} - {b for _, b in found}
    )
    skipped = {r["file"]: r["reason"] for r in rows(out / "skipped.csv")}
    assert skipped["empty.jpg"] == "is empty" and len(skipped) == 2 - zipped
    error = capsys.readouterr().err
    assert f"skipped {len(skipped)} files" in error and "empty.jpg (is empty)" in error
    page = (out / "gallery.html").read_text()
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page
    assert (out / "semantic.safetensors").exists() == (method == "semantic")
    if method == "semantic":
        assert dedup.SemanticHash.load(out / "semantic.safetensors").digest


def _names(n: int) -> list[str]:
    return [f"{i:02}.png" for i in range(n)]


def test_photographs_in_a_set_and_a_set_in_photographs(album: Path, sets: Path) -> None:
    assert cli.main(["dedup", str(album), "--against", "tiny-imagenet-32"]) == 1
    columns = list(rows(sets / "album-against-tiny-imagenet-32" / "groups.csv")[0])
    assert columns == ["group", "index", "distance", "group_file"]
    assert cli.main(["dedup", "tiny-imagenet-32", "--against", str(album)]) == 1
    out = sets / "tiny-imagenet-32-against-album"
    assert ("3", "03.png") in {(r["group"], r["index_file"]) for r in rows(out / "groups.csv")}
    assert not (out / "keep.txt").exists() and len(rows(out / "skipped.csv")) == 2
    assert not (sets.parent / "leakage").exists()


def test_a_photograph_that_is_gone_leaves_a_gap(album: Path, sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = gallery.entries
    monkeypatch.setattr(gallery, "entries", lambda *a: [os.remove(album / "b.jpg"), *entries(*a)][1:])
    assert cli.main(["dedup", str(album), "--method", "phash"]) == 1
    page = (sets / "album" / "gallery.html").read_text()
    assert page.count("cannot be<br>read again") == 1


def test_an_earlier_passs_files_do_not_stay(sets: Path) -> None:
    out = sets / "tiny-imagenet-32"
    for method, there in (("semantic", True), ("phash", False)):
        assert cli.main(["dedup", "tiny-imagenet-32", "--method", method]) == 0
        assert (out / "semantic.safetensors").exists() == there


def test_a_dry_run_says_what_would_be_done(album: Path, sets: Path, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["dedup", str(album), "--against", "tiny-imagenet-32", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "44 image files" in said and " MB, decoded on all cores" in said and "40 images of 32x32, 3 channels" in said
    assert "would search by near-duplicates" in said and not sets.exists()


def test_an_unwritable_place_is_found_before_the_work(sets: Path, capsys: pytest.CaptureFixture) -> None:
    sets.write_text("a file where the folder should be")
    assert cli.main(["dedup", "tiny-imagenet-32"]) == 2
    error = capsys.readouterr().err.strip()
    assert "cannot write to" in error and "\n" not in error
