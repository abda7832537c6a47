"""The pass as a person runs it: what is kept, what is written and reported, what the gallery shows."""

import base64
import dataclasses
import io
import json
import os
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import dedup
from experiments.data.leakage import read_audit
from experiments.deduplication import output
from experiments.deduplication.run_pass import deduplicate
from experiments.deduplication.spec import METHODS, DedupSpec
from experiments.run.console import counted
from experiments.run.context import Run
from experiments.run.errors import UserError
from tests.experiments.deduplication.conftest import HOSTILE
from tests.experiments.deduplication.made_up import photographs, removed, rows


def ran(run: Run, name: object, out: Path, method: str, radius: int | None = None, **options: Any) -> dict[str, Any]:
    """The summary of the pass, the semantic hash learnt in 40 steps."""
    short = dedup.SemanticConfig(steps=40)
    return deduplicate(str(name), out, DedupSpec(method, radius), run, semantic=short, **options)


def test_within_a_set(sets: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = ran(sets, "tiny-imagenet-32", out, "phash")
    written = ["gallery.html", "groups.csv", "groups.png", "keep.npy", "summary.json"]
    assert sorted(p.name for p in out.iterdir()) == written
    assert removed(out) == [38, 39]
    assert [(r["group"], r["index"]) for r in rows(out / "groups.csv")] == [("3", "38"), ("5", "39")]
    shown, images = np.asarray(Image.open(out / "groups.png")), photographs(38)
    assert shown.shape == (32, 8 * 68 - 4, 3)
    assert {shown[:, x : x + 32].tobytes() for x in (0, 68)} == {images[i].tobytes() for i in (3, 5)}
    assert images[3].tobytes() in {shown[:, x : x + 32].tobytes() for x in (32, 100)}  # the copy
    assert (summary["images"], summary["groups"], summary["removed"], summary["skipped"]) == (40, 2, 2, 0)
    assert summary["pass"] == {"method": "phash", "radius": 4} and summary["against"] is None
    assert json.loads((out / "summary.json").read_text()) == summary


@pytest.mark.parametrize("method", METHODS)
def test_against_another_set(sets: Run, tmp_path: Path, method: str) -> None:
    out = tmp_path / "out"
    summary = ran(sets, "tiny-imagenet-32", out, method, against="lsun-others-32")
    found = [(r["group"], r["index"]) for r in rows(out / "groups.csv")]
    assert set(found) >= {("3", "11")} and removed(out) == sorted({int(group) for group, _ in found})
    assert ("7", "10") in found or method == "semantic"
    assert (out / "semantic.safetensors").exists() == (method == "semantic")
    assert summary["removed"] == len(removed(out)) and summary["against"]["name"] == "lsun-others-32"


def test_an_audit_is_written_of_two_sets(sets: Run, tmp_path: Path) -> None:
    committed, own = (folder / "tiny-imagenet-32-in-lsun-others-32.json" for folder in sets.audits)
    ran(sets, "tiny-imagenet-32", tmp_path / "out", "near-duplicates", against="lsun-others-32")
    assert set(read_audit(own).leaked.tolist()) >= {3, 7} and not committed.parent.exists()
    ran(sets, "tiny-imagenet-32", tmp_path / "out", "near-duplicates", against="lsun-others-32", record=True)
    assert committed.read_bytes() == own.read_bytes()
    own.unlink()
    ran(sets, "tiny-imagenet-32", tmp_path / "out", "phash", against="lsun-others-32")
    assert not own.exists()


def test_a_set_that_was_packed_before(sets: Run, tmp_path: Path) -> None:
    (sets.runs_root / "packed" / "lsun-others-32").rename(sets.runs_root / "packed" / "mine")
    ran(sets, "tiny-imagenet-32", tmp_path / "out", "near-duplicates", against="mine")
    own = read_audit(sets.runs_root / "leakage" / "tiny-imagenet-32-in-mine.json")  # `eval` looks for it
    assert own.against["name"] == "mine" and set(own.leaked.tolist()) >= {3, 7}
    with pytest.raises(UserError, match="two named sets"):  # the committed ones are of sets that others can have
        ran(sets, "tiny-imagenet-32", tmp_path / "out", "near-duplicates", against="mine", record=True)
    with pytest.raises(UserError, match="against itself holds every image twice"):
        ran(sets, "mine", tmp_path / "out", "near-duplicates", against="mine")
    ran(sets, "mine", tmp_path / "out", "phash")
    assert removed(tmp_path / "out") == []
    with pytest.raises(UserError, match=r"'\.\./packed/mine' is neither a data set nor an existing folder"):
        ran(sets, "../packed/mine", tmp_path / "out", "phash")


def test_a_path_that_exists_comes_before_a_packed_set(sets: Run, tmp_path: Path, monkeypatch) -> None:
    (sets.runs_root / "packed" / "lsun-others-32").rename(sets.runs_root / "packed" / "mine")
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no images in mine"):
        ran(sets, "mine", tmp_path / "out", "near-duplicates")


def test_the_gallery_holds_the_images_the_farthest_apart_first(sets: Run, tmp_path: Path) -> None:
    summary = ran(sets, "tiny-imagenet-32", tmp_path, "phash", radius=12)
    page = (tmp_path / "gallery.html").read_text()
    distances = [int(bits) for bits in re.findall(r"<h2>(\d+) bits</h2>", page)]
    assert len(distances) >= 2 and distances == sorted(distances, reverse=True)
    pictures = [Image.open(io.BytesIO(base64.b64decode(p))) for p in re.findall(r"base64,([^\"]+)", page)]
    first, copy = (np.asarray(picture) for picture in pictures[-2:])  # 3 and its copy, zero bits apart
    assert np.array_equal(first, photographs(38)[3]) and np.array_equal(first, copy)
    assert not re.search(r"(src|href)=\"(?!data:)", page)  # opens from disk, without a network
    assert f'"digest": "{summary["digest"]}"' in page


def test_a_large_group_is_shown_in_part(workplace, tmp_path: Path) -> None:
    workplace.pack("mine", np.repeat(photographs(1), 12, axis=0))
    ran(workplace.run, "mine", tmp_path / "out", "phash")
    page = (tmp_path / "out" / "gallery.html").read_text()
    assert re.search(r"12 images,\s+4 not shown", page) and page.count("<figure>") == 8


def test_no_duplicates_no_groups(sets: Run, tmp_path: Path) -> None:
    ran(sets, "lsun-others-32", tmp_path, "phash")
    assert rows(tmp_path / "groups.csv") == [] and removed(tmp_path) == []
    assert "nothing to judge" in (tmp_path / "gallery.html").read_text()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("zipped", [False, True])
def test_photographs(album: Path, workplace, tmp_path: Path, method: str, zipped: bool) -> None:
    said: list[str] = []
    source = Path(shutil.make_archive(str(album), "zip", album)) if zipped else album
    out, run = tmp_path / "out", dataclasses.replace(workplace.run, say=said.append)
    summary = ran(run, source, out, method)
    found = {(r["group_file"], r["index_file"]) for r in rows(out / "groups.csv")}
    copy = tuple(sorted(["03.png", HOSTILE]))
    assert copy in found and (method == "semantic" or ("05.png", "b.jpg") in found)
    everything = {*(f"{i:02}.png" for i in range(40)), "b.jpg", HOSTILE}
    assert (out / "keep.txt").read_text().splitlines() == sorted(everything - {b for _, b in found})
    skipped = {r["file"]: r["reason"] for r in rows(out / "skipped.csv")}
    assert skipped["empty.jpg"] == "empty" and len(skipped) == 2 - zipped == summary["skipped"]
    assert f"skipped {counted(len(skipped), 'file')}, listed" in said[0] and "empty.jpg (empty)" in said[0]
    page = (out / "gallery.html").read_text()
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page
    assert (out / "semantic.safetensors").exists() == (method == "semantic")
    if method == "semantic":
        assert dedup.SemanticHash.load(out / "semantic.safetensors").digest


ODD = [  # what a file may be called, and what programs take for something else
    *("a\nb.png", "c\rd.png", "back\\n.png", "no\u202fbreak.png", "\U0001f469\u200d\U0001f3a8.png", "e\u0301.png"),
    *("=1+1.png", "+x.png", "-rf.png", "@SUM(1).png", ' "quoted", .png', "\u2028.png", os.fsdecode(b"\xe9.png")),
]


def opened_names(content: bytes) -> list[str]:
    """Undo the escapes of names."""
    names = []
    for line in content.split(b"\n"):
        parts = [part.replace(rb"\n", b"\n").replace(rb"\r", b"\r") for part in line.split(rb"\\")]
        names.append(os.fsdecode(b"\\".join(parts)))
    return names


def test_every_name_in_a_file_of_names_opens(workplace, tmp_path: Path) -> None:
    album, out = tmp_path / "album", tmp_path / "out"
    album.mkdir()
    pictures = photographs(len(ODD))
    for name, image in zip(ODD, pictures, strict=True):
        try:
            Image.fromarray(image).save(album / name)
            (album / f"{name}.jpg").touch()
        except OSError:
            pytest.skip("this file system takes UTF-8 alone")
        Image.fromarray(image).save(album / f"{name}z.png")  # a copy; sorted after the original
    ran(workplace.run, album, out, "phash")

    *kept, last = opened_names((out / "keep.txt").read_bytes())
    assert last == "" and len(kept) == len(ODD) and {os.path.normpath(name) for name in kept} == set(ODD)
    assert all((album / name).is_file() for name in kept)
    assert os.fsdecode((out / "keep.txt0").read_bytes()).split("\0")[:-1] == kept
    found = rows(out / "groups.csv")
    pairs = [opened_names(os.fsencode(row[column]))[0] for row in found for column in ("group_file", "index_file")]
    skipped = [opened_names(os.fsencode(row["file"]))[0] for row in rows(out / "skipped.csv")]
    assert len(found) == len(skipped) == len(ODD) and all((album / name).is_file() for name in pairs + skipped)
    assert not [name for name in kept + pairs + skipped if name.startswith(("=", "+", "-", "@"))]
    page = (out / "gallery.html").read_text()
    assert "no\\u202fbreak.png" in page and "\\xe9.png" in page and "a\\nb.png" in page


def test_names_inside_zips_are_what_a_zip_reader_asks_for(workplace, tmp_path: Path) -> None:
    album, out = tmp_path / "album", tmp_path / "out"
    album.mkdir()
    for k, archive in enumerate(("=a.zip", "b.zip")):
        with zipfile.ZipFile(album / archive, "w") as opened:
            for i, image in enumerate(photographs(2, seed=k)):
                encoded = io.BytesIO()
                Image.fromarray(image).save(encoded, "PNG")
                opened.writestr(f"in\u202fside/{i}.png", encoded.getvalue())
    ran(workplace.run, album, out, "phash")
    for name in (out / "keep.txt0").read_text().split("\0")[:-1]:
        archive, _, inside = name.removeprefix("./").partition("/")
        assert zipfile.ZipFile(album / archive).read(inside)
    assert (out / "keep.txt").read_text().splitlines()[0] == "./=a.zip/in\u202fside/0.png"


@pytest.mark.parametrize("method", ["phash", "near-duplicates"])
def test_a_removed_photograph_is_near_the_one_that_stays(workplace, tmp_path: Path, method: str) -> None:
    """A cross-fade, with a copy of its last frame: neighbours are near, the ends are not."""
    first, last = photographs(2).astype(float)
    frames = np.stack([first + (last - first) * k / 40 for k in range(41)]).round().astype(np.uint8)
    frames = np.concatenate([frames, frames[-1:]])
    workplace.pack("fade", frames)
    summary = ran(workplace.run, "fade", tmp_path / "out", method, 8 if method == "phash" else None)
    keep, found = np.load(tmp_path / "out" / "keep.npy"), rows(tmp_path / "out" / "groups.csv")
    assert summary["groups"] > 1 and 1 < keep.sum() < 40 and not keep[41]
    assert sorted(int(row["index"]) for row in found) == np.flatnonzero(~keep).tolist()
    for row in found:
        i, j = int(row["group"]), int(row["index"])
        assert keep[i] and i < j and (method != "phash" or int(row["distance"]) <= 8)
        assert method == "phash" or len(dedup.near_duplicates(frames[i : i + 1], frames[j : j + 1]))
    if method == "near-duplicates":
        assert dedup.near_duplicates(frames[keep]).tolist() == []


def test_photographs_in_a_set_and_a_set_in_photographs(album: Path, sets: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ran(sets, album, out, "near-duplicates", against="tiny-imagenet-32")
    assert list(rows(out / "groups.csv")[0]) == ["group", "index", "distance", "group_file"]
    ran(sets, "tiny-imagenet-32", out, "near-duplicates", against=str(album))
    assert ("3", "03.png") in {(r["group"], r["index_file"]) for r in rows(out / "groups.csv")}
    assert not (out / "keep.txt").exists() and len(rows(out / "skipped.csv")) == 2
    assert not (sets.runs_root / "leakage").exists()


def test_a_photograph_that_is_gone_leaves_a_gap(album: Path, workplace, tmp_path: Path) -> None:
    def progress(iterable, *, desc: str, **_):
        if desc == "drawing the gallery":
            (album / "b.jpg").unlink()
        return iterable

    ran(dataclasses.replace(workplace.run, progress=progress), album, tmp_path / "out", "phash")
    page = (tmp_path / "out" / "gallery.html").read_text()
    assert page.count("cannot be<br>read again") == 1


def test_an_earlier_passs_files_do_not_stay(sets: Run, tmp_path: Path) -> None:
    for method, there in (("semantic", True), ("phash", False)):
        ran(sets, "tiny-imagenet-32", tmp_path, method)
        assert (tmp_path / "semantic.safetensors").exists() == there


def test_an_unwritable_place_is_found_before_the_work(sets: Run, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file where the folder should be")

    def progress(*_, **__):
        raise AssertionError("it has begun")

    with pytest.raises(UserError, match="cannot write to"):
        ran(dataclasses.replace(sets, progress=progress), "tiny-imagenet-32", tmp_path / "out", "near-duplicates")


@pytest.mark.parametrize("name", ["groups.png", "summary.json", "keep.txt", "gallery.html"])
def test_a_file_of_somebody_else_in_the_folder_is_not_replaced(album: Path, workplace, name: str) -> None:
    (album / name).write_bytes((album / "00.png").read_bytes())
    before = {file: file.stat().st_mtime_ns for file in album.iterdir()}
    with pytest.raises(UserError, match=rf"{name} would be replaced, .* choose another folder with --out"):
        ran(workplace.run, album, album, "phash")
    assert {file: file.stat().st_mtime_ns for file in album.iterdir()} == before


def test_a_pass_that_was_killed_is_written_again(album: Path, workplace, tmp_path: Path, monkeypatch) -> None:
    out, write = tmp_path / "out", output.write_bytes
    ran(workplace.run, album, out, "phash")

    def full(file: Path, content: bytes) -> None:
        if file.name == "gallery.html":
            raise OSError
        write(file, content)

    for folder in (out, tmp_path / "new"):
        with monkeypatch.context() as patched, pytest.raises(OSError):
            patched.setattr(output, "write_bytes", full)
            ran(workplace.run, album, folder, "phash")
        assert not (folder / "summary.json").exists()
        ran(workplace.run, album, folder, "phash")
        assert (folder / "summary.json").exists()
