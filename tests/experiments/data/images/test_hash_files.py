"""Folders and zips of photographs: found, hashed, resumed; the same with any number of processes."""

import io
import os
import shutil
import zipfile
from pathlib import Path

import imagehash
import numpy as np
import pytest
from PIL import Image

import dedup
from dedup.files import read_picture
from experiments.data.images import hash_files, zips
from experiments.data.images.hash_files import Photos
from experiments.run.context import Run
from experiments.run.errors import UserError
from experiments.run.progress import Progress, silent


def _photograph(seed: int, kind: str = "JPEG", size: tuple[int, int] = (80, 60)) -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(file, kind)
    return file.getvalue()


CONTENT = {
    "a/1.jpg": _photograph(1),
    "a/2.PNG": _photograph(2, "PNG", (30, 50)),
    "a/b/3.Jpeg": _photograph(3),
    "a/b/cut.jpg": _photograph(3)[:700],
    "c.webp": _photograph(4, "WEBP"),
    "d.tif": _photograph(5, "TIFF"),
    "empty.gif": b"",
}
GOOD = ["a/1.jpg", "a/2.PNG", "a/b/3.Jpeg", "c.webp", "d.tif"]
IGNORED = {"a/notes.txt": b"no image", "a/._1.jpg": b"a Mac's notes", "jpg": b"no suffix"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in (CONTENT | IGNORED).items():
        path = tmp_path / "album" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "album"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def read(source: Path, runs: Path, *, progress: Progress = silent, workers: int = 1, **options: object) -> Photos:
    """The photographs, in chunks of three files."""
    run = Run(runs.parent / "data", runs, progress=progress)
    return hash_files.read(source, run, workers=workers, chunk_images=3, **options)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that gets, for each call in this process, the number of files hashed."""
    counts: list[int] = []
    hashes = dedup.hash_files
    monkeypatch.setattr(dedup, "hash_files", lambda files, **rest: counts.append(len(files)) or hashes(files, **rest))
    return counts


def _same(a: Photos, b: Photos) -> bool:
    return (a.names, a.skipped, a.digest) == (b.names, b.skipped, b.digest) and np.array_equal(a.images, b.images)


def test_a_folder(folder: Path, runs: Path) -> None:
    found = read(folder, runs, hashes=["phash", "dhash"])
    assert found.names == GOOD
    assert found.images.shape == (5, 64, 64, 3) and found.images.dtype == np.uint8
    for name, reference in (("phash", imagehash.phash), ("dhash", imagehash.dhash)):
        assert found.codes[name].dtype == np.uint64
        assert found.codes[name].tolist() == [int(str(reference(Image.open(folder / path))), 16) for path in GOOD]
    assert [name for name, _ in found.skipped] == ["a/b/cut.jpg", "empty.gif"]
    assert "truncated" in found.skipped[0][1] and found.skipped[1][1] == "empty"
    with pytest.raises(ValueError, match="read-only"):
        found.images[0] = 0


def test_a_zip_is_its_folder(folder: Path, runs: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "album.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in (CONTENT | IGNORED).items():
            archive.writestr(name, data)
    zipped = read(tmp_path / "album.zip", runs)
    assert _same(zipped, read(folder, runs))


def test_the_number_of_workers_changes_nothing(folder: Path, tmp_path: Path, runs: Path) -> None:
    one, two = (read(folder, tmp_path / str(n), workers=n) for n in (1, 2))
    assert _same(one, two) and np.array_equal(one.codes["phash"], two.codes["phash"])


def test_what_is_finished_is_kept(folder: Path, runs: Path, hashed: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(iterable, *, total, desc, unit):
        for number, item in enumerate(iterable):
            if number == 4:
                raise KeyboardInterrupt
            yield item

    with pytest.raises(KeyboardInterrupt):
        read(folder, runs, progress=interrupted)
    assert hashed == [3, 3]
    first = read(folder, runs)
    assert hashed == [3, 3, 1]
    assert _same(first, read(folder, runs)) and hashed == [3, 3, 1]
    read(folder, runs, side=32)  # another result has another place
    assert hashed == [3, 3, 1, 3, 3, 1]
    assert sorted(path.suffix for path in runs.rglob("*") if path.is_file()) == [".chunk"] * 6


@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda data: data[:400] + b"?" + data[401:], lambda _: b""])
def test_a_damaged_chunk_is_made_anew(folder: Path, runs: Path, hashed: list[int], damage) -> None:
    first = read(folder, runs)
    chunk = sorted(runs.rglob("*.chunk"))[1]
    whole = chunk.read_bytes()
    chunk.write_bytes(damage(whole))
    assert _same(first, read(folder, runs))
    assert hashed == [3, 3, 1, 3] and chunk.read_bytes() == whole


def test_a_changed_file_is_hashed_again(folder: Path, runs: Path, hashed: list[int]) -> None:
    before = read(folder, runs)
    (folder / "a/1.jpg").write_bytes(_photograph(9))
    os.utime(folder / "a/1.jpg", ns=(1, 1))
    after = read(folder, runs)
    assert hashed == [3, 3, 1, 3]
    assert (before.codes["phash"] != after.codes["phash"]).tolist() == [True, False, False, False, False]
    assert before.digest != after.digest
    assert len(list(runs.rglob("*.chunk"))) == 3  # what it was is not kept


def test_what_cannot_be_read_is_skipped_and_tried_again(folder: Path, runs: Path) -> None:
    (folder / "e.jpg").mkdir()
    (folder / "link.jpg").symlink_to(folder / "nowhere.jpg")
    found = read(folder, runs)
    assert found.names == GOOD
    assert dict(found.skipped)["e.jpg"] == "a folder"
    assert dict(found.skipped)["link.jpg"] == "No such file or directory"
    (folder / "nowhere.jpg").write_bytes(CONTENT["a/1.jpg"])
    os.utime(folder / "nowhere.jpg", ns=(0, 0))
    again = read(folder, runs)
    assert again.names == [*GOOD, "nowhere.jpg"] and again.noted == [("link.jpg", "the same file as nowhere.jpg")]


def test_a_folder_that_cannot_be_looked_into_is_told(folder: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refusing(path):
        if str(path).endswith("b"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = read(folder, runs)
    assert ("a/b", "Permission denied") in found.skipped and "a/b/3.Jpeg" not in found.names


def test_names_open_the_files_whatever_the_system_allows(folder: Path, runs: Path) -> None:
    odd = [os.fsdecode(b"\xff.jpg"), "e\nf\t.jpg", "no\u202fbreak.jpg", "\u2028.jpg"]
    for name in odd:
        try:
            (folder / name).write_bytes(CONTENT["a/1.jpg"])
        except OSError:
            pytest.skip("this file system takes UTF-8 alone")
    found = read(folder, runs)
    assert found.names == sorted([*GOOD, *odd]) and all((folder / name).is_file() for name in found.names)


def test_without_thumbnails(folder: Path, runs: Path, hashed: list[int]) -> None:
    bare, whole = (read(folder, runs, side=side) for side in (None, 64))
    assert bare.images is None and bare.names == whole.names and bare.skipped == whole.skipped
    assert np.array_equal(bare.codes["phash"], whole.codes["phash"]) and bare.digest != whole.digest
    assert read(folder, runs, side=None).digest == bare.digest and len(hashed) == 6


def test_photographs_are_read_again_one_by_one(folder: Path, runs: Path, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "zipped"), "zip", folder))
    for source in (folder, archive):
        found = read(source, runs, side=None)
        pictures = [read_picture(file, 40) for file in found.files]
        assert [p.size for p in pictures] == [(40, 30), (24, 40), (40, 30), (40, 30), (40, 30)]
        assert {p.mode for p in pictures} == {"RGB"}


def test_progress_counts_images(folder: Path, runs: Path) -> None:
    seen = []

    def progress(iterable, *, total, desc, unit):
        for item in iterable:
            seen.append((total, unit))
            yield item

    read(folder, runs, progress=progress)
    assert seen == [(7, "image")] * 7


def test_a_member_that_would_unfold_to_too_much(folder: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (hash_files, zips):
        monkeypatch.setattr(module, "MAX_FILE_BYTES", 3000)
    archive = Path(shutil.make_archive(str(runs) + "-album", "zip", folder))
    for source in (folder, archive):
        found = read(source, runs)
        assert dict(found.skipped)["d.tif"].startswith("must hold at most 3,000 bytes, got 14,")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, r"no images in .*album: name a folder or a zip that holds \.jpg, \.png or other image files"),
        ({"a.txt": b""}, "no images in"),
        ({"a.jpg": b"", "b.jpg": b""}, r"no image in .*album can be read \(a\.jpg: empty\): name another source"),
    ],
)
def test_nothing_usable(tmp_path: Path, content: dict[str, bytes], message: str) -> None:
    (tmp_path / "album").mkdir()
    for name, data in content.items():
        (tmp_path / "album" / name).write_bytes(data)
    with pytest.raises(UserError, match=message):
        read(tmp_path / "album", tmp_path / "runs")


def test_no_source(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no folder or zip .*nowhere: check the path"):
        read(tmp_path / "nowhere", tmp_path)
    (tmp_path / "a.zip").write_bytes(b"PK no zip")
    with pytest.raises(UserError, match=r"a\.zip is neither a folder nor a complete zip .*: fetch it again"):
        read(tmp_path / "a.zip", tmp_path)
