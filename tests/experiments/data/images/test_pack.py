"""Folders, zips and LMDBs of photographs -> packed sets: resuming, broken files and environments."""

import io
import os
import shutil
import signal
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from dedup.files import hash_files
from experiments.data.images import lmdb, pack
from experiments.data.images.decode import decode_squares
from experiments.data.images.pack import PackSpec, pack_images, plan
from experiments.data.load import load
from experiments.data.packed import PackedSet
from experiments.run.context import Run
from experiments.run.errors import UserError
from experiments.run.progress import Progress, silent
from tests.experiments.data.lmdb_files import write_lmdb


def _photograph(seed: int, kind: str = "JPEG", size: tuple[int, int] = (80, 60), **options: object) -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(file, kind, **options)
    return file.getvalue()


CONTENT = {
    "a/1.jpg": _photograph(1),
    "a/2.png": _photograph(2, "PNG", (30, 50)),
    "b/3.webp": _photograph(3, "WEBP"),
    "b/cut.jpg": _photograph(3)[:700],
    "c.jpeg": _photograph(4, size=(300, 200)),
    "empty.gif": b"",
    "z.jpg": _photograph(5),
}
GOOD = ["a/1.jpg", "a/2.png", "b/3.webp", "c.jpeg", "z.jpg"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in CONTENT.items():
        path = tmp_path / "album" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "album"


def square(data: bytes, side: int, channels: int) -> np.ndarray:
    return decode_squares([("", lambda: data)], side=side, channels=channels, most=1).arrays["images"][0]


def pack_in_twos(
    source: Path, root: Path, *, workers: int = 1, progress: Progress = silent, **options: int
) -> PackedSet:
    """The source packed as `root`/packed/set, in chunks of two images."""
    spec = PackSpec(**{"side": 32, **options})
    planned = plan(source, chunk_images=2)
    return pack_images(planned, root / "packed" / "set", spec, Run(root, root, progress=progress), workers=workers)


# Folders and zips.


def test_a_folder(folder: Path, tmp_path: Path) -> None:
    made = pack_in_twos(folder, tmp_path)
    np.testing.assert_array_equal(made.images, [square(CONTENT[name], 32, 3) for name in GOOD])
    assert [text.split(":")[0] for text in made.meta["skipped_files"]] == ["b/cut.jpg", "empty.gif"]
    assert made.labels is None and made.meta["source"] == "album" and "centre crop" in made.meta["transform"]
    assert os.listdir(tmp_path / "packing") == []
    assert pack_in_twos(folder, tmp_path, channels=1).images.shape == (5, 32, 32, 1)


def test_a_zip_is_its_folder(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "album.zip", "w") as archive:
        for name, data in CONTENT.items():
            archive.writestr(name, data)
    assert pack_in_twos(tmp_path / "album.zip", tmp_path).digest == pack_in_twos(folder, tmp_path / "other").digest


def test_worker_processes_change_nothing(folder: Path, tmp_path: Path) -> None:
    one, two = (pack_in_twos(folder, tmp_path / str(n), workers=n) for n in (1, 2))
    assert one.digest == two.digest


def test_what_is_finished_is_kept(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(iterable, *, total, desc, unit):
        assert (total, unit) == (7, "image")
        for number, item in enumerate(iterable):
            if number == 4:
                raise KeyboardInterrupt
            yield item

    with pytest.raises(KeyboardInterrupt):
        pack_in_twos(folder, tmp_path, progress=interrupted)
    assert list((tmp_path / "packed").iterdir()) == []
    done = list((tmp_path / "packing").rglob("*.chunk"))
    assert len(done) == 3
    done[0].write_bytes(done[0].read_bytes()[:-5])  # a damaged chunk is made again, and so is a changed file
    (folder / "c.jpeg").write_bytes(_photograph(9, size=(301, 200)))
    counts: list[int] = []
    decode = pack.decode_squares
    monkeypatch.setattr(pack, "decode_squares", lambda r, **o: counts.append(len(r := list(r))) or decode(r, **o))
    made = pack_in_twos(folder, tmp_path)
    assert sum(counts) < 7 and len(made.images) == 5
    np.testing.assert_array_equal(made.images[3], square((folder / "c.jpeg").read_bytes(), 32, 3))


def test_nothing_topack_in_twos(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folder or zip"):
        plan(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no images in"):
        plan(tmp_path / "empty")
    (tmp_path / "empty" / "x.jpg").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"no image in .*empty can be read \(x.jpg: no image format"):
        pack_in_twos(tmp_path / "empty", tmp_path)
    (tmp_path / "cut.zip").write_bytes(b"PK\x03\x04cut")
    with pytest.raises(UserError, match="neither a folder nor a complete zip"):
        plan(tmp_path / "cut.zip")


def test_too_small_a_disk(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("usage", (), {"free": 1000}))
    with pytest.raises(UserError, match="43,008 bytes needed, half of them only while packing, 1,000 free"):
        pack_in_twos(folder, tmp_path)


# LSUN's form.


def test_records_come_in_the_order_of_their_keys(tmp_path: Path) -> None:
    out = write_lmdb(tmp_path / "x_lmdb", {b"%d" % (i * 7 % 5): _photograph(i) for i in range(5)})
    made = pack_in_twos(out, tmp_path)
    np.testing.assert_array_equal(made.images, [square(_photograph(i), 32, 3) for i in (0, 3, 1, 4, 2)])
    assert made.meta["skipped_files"] == [] and made.meta["source"] == "x_lmdb"


def test_lsun_by_name_with_corrupt_records(tmp_path: Path) -> None:
    content = {b"%040x" % i: _photograph(i) for i in range(5)}
    content |= {b"bad": b"no image", b"cut": _photograph(1)[:500], b"none": b""}
    run = Run(tmp_path / "data", tmp_path / "runs")
    write_lmdb(tmp_path / "data" / "lsun" / "church_outdoor_train_lmdb", content)
    made = load("lsun-church_outdoor-32", run)
    np.testing.assert_array_equal(made.images, [square(content[b"%040x" % i], 32, 3) for i in range(5)])
    assert [text.split(":")[0] for text in made.meta["skipped_files"]] == ["bad", "cut", "none"]
    assert made.meta["source"] == "LSUN: church_outdoor_train_lmdb"
    with pytest.raises(UserError, match=r"no LSUN category 'tower': put tower_train_lmdb/ in"):
        load("lsun-tower-32", run)


PAGE = 4096


def _grow(file: Path, at: int, kind: str, value: int) -> None:
    """Put a number into both meta pages."""
    with file.open("r+b") as stream:
        for page in (0, PAGE):
            stream.seek(page + at)
            stream.write(struct.pack(kind, value))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: os.truncate(file, file.stat().st_size - PAGE), "it is cut short"),
        (lambda file: os.truncate(file, 2 * PAGE), "it is cut short"),
        (lambda file: os.truncate(file, 100), "is not a complete LMDB"),
        (lambda file: os.truncate(file, 0), "is not a complete LMDB"),
        (lambda file: file.write_bytes(b"not an environment" * 1000), "is not a complete LMDB"),
        (lambda file: _grow(file, 16 + 24 + 96, "<Q", 2**40), "is not a complete LMDB"),  # the last page
        (lambda file: _grow(file, 16 + 24 + 48 + 32, "<Q", 10**12), "records but holds"),  # the number of records
    ],
)
def test_damaged_environments(tmp_path: Path, damage, message: str) -> None:
    out = write_lmdb(tmp_path / "x_lmdb", {b"%040x" % i: _photograph(i) for i in range(20)})
    damage(out / "data.mdb")
    with pytest.raises(UserError, match=message) as caught:
        plan(out)
    assert "\n" not in str(caught.value) and "fetch it again" in str(caught.value)


def _dies(environment: str, size: int) -> None:
    os.kill(os.getpid(), signal.SIGBUS)


def test_a_bus_error_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = write_lmdb(tmp_path / "x_lmdb", {b"a": _photograph(1)})
    monkeypatch.setattr(lmdb, "cut", _dies)
    with pytest.raises(UserError, match=r"ended by signal 7 \(SIGBUS\) while reading it\): fetch it again"):
        plan(out)


def test_pages_that_lie_do_not_end_this_one(tmp_path: Path) -> None:
    out = write_lmdb(tmp_path / "x_lmdb", {b"%040x" % i: _photograph(i) for i in range(20)})
    planned = plan(out)
    data = bytearray((out / "data.mdb").read_bytes())
    rng = np.random.default_rng(0)
    for at in range(2 * PAGE, len(data)):
        if at % PAGE < 200:  # the pages' headers and their lists of nodes
            data[at] = rng.integers(256)
    status = os.stat(out / "data.mdb")
    (out / "data.mdb").write_bytes(data)
    os.utime(out / "data.mdb", ns=(status.st_atime_ns, status.st_mtime_ns))  # unnoticed between the plan and the work
    with pytest.raises(UserError) as caught:
        pack_images(planned, tmp_path / "packed", PackSpec(32), Run(tmp_path, tmp_path), workers=1)
    assert "\n" not in str(caught.value)


# What is hostile, or runs beside it.


def test_two_runs_do_not_disturb_each_other(folder: Path, tmp_path: Path) -> None:
    def another(iterable, *, total, desc, unit):
        for number, item in enumerate(iterable):
            if number == 3:
                with pytest.raises(UserError, match=r"another run is packing .*album: wait for its end"):
                    pack_in_twos(folder, tmp_path)
            yield item

    assert len(pack_in_twos(folder, tmp_path, progress=another).images) == 5
    assert len(pack_in_twos(folder, tmp_path).images) == 5 and os.listdir(tmp_path / "packing") == []


def test_postscript_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "gs").write_text(f"#!/bin/sh\n/bin/touch {tmp_path / 'executed'}\n")
    (tmp_path / "bin" / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    data = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n"
    with pytest.raises(OSError, match=r"."), Image.open(io.BytesIO(data)) as image:
        image.load()
    assert (tmp_path / "executed").exists()  # Pillow would
    (tmp_path / "executed").unlink()
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "program.jpg").write_bytes(data)
    (tmp_path / "a" / "program.png").write_bytes(b"\xc5\xd0\xd3\xc6" + bytes(26) + data)
    (tmp_path / "a" / "good.jpg").write_bytes(_photograph(1))
    skipped = ["program.jpg: PostScript, not an image", "program.png: PostScript, not an image"]
    assert pack_in_twos(tmp_path / "a", tmp_path).meta["skipped_files"] == skipped
    hashed = hash_files([tmp_path / "a" / "program.jpg", tmp_path / "a" / "good.jpg"])
    assert hashed.kept.tolist() == [1] and not (tmp_path / "executed").exists()


def test_an_encrypted_zip_is_skipped_file_by_file(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("1.jpg", _photograph(1))
        archive.writestr("2.jpg", _photograph(2))
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1  # of the first, in the list
    (tmp_path / "a.zip").write_bytes(data)
    made = pack_in_twos(tmp_path / "a.zip", tmp_path)
    assert (
        len(made.images) == 1
        and "1.jpg" in made.meta["skipped_files"][0]
        and "encrypted" in made.meta["skipped_files"][0]
    )


def test_hostile_keys_stay_on_one_line(tmp_path: Path) -> None:
    out = write_lmdb(tmp_path / "x_lmdb", {b"a\n\x1b[2J\xff": b"no image", b"b": _photograph(1)})
    (line,) = pack_in_twos(out, tmp_path).meta["skipped_files"]
    assert line.startswith(r"a\n\x1b[2J\xff: no image") and line.isprintable()


def test_an_empty_folder_of_celebas_is_none(tmp_path: Path) -> None:
    run = Run(tmp_path / "data", tmp_path / "runs")
    for name in ("celeba", "faces"):
        (tmp_path / "data" / name).mkdir(parents=True)
    (tmp_path / "data" / "faces" / "1.jpg").write_bytes(_photograph(1))
    assert len(load("celeba-32", run).images) == 1
    (tmp_path / "data" / "faces" / "1.jpg").unlink()
    assert len(load("celeba-32", run).images) == 1  # where nothing is there, what was packed serves
