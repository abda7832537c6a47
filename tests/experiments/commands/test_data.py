"""`dcgan-eval data` and `data pack` as a person runs them: exit codes, one line for each mistake."""

import io
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments import cli
from experiments.data.images.decode import decode_squares
from experiments.data.load import load
from experiments.data.packed import pack
from experiments.run import console
from experiments.run.context import Run
from experiments.run.errors import UserError
from tests.experiments.data.lmdb_files import write_lmdb
from tests.workplace import Workplace


def _photograph(seed: int, size: tuple[int, int] = (80, 60)) -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture(autouse=True)
def run(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The run of a command in the workplace, whose folder is the present one."""
    monkeypatch.chdir(workplace.root)
    return workplace.run


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Five photographs."""
    (tmp_path / "album").mkdir()
    for i in range(5):
        (tmp_path / "album" / f"{i}.jpg").write_bytes(_photograph(i))
    return tmp_path / "album"


def _square(data: bytes, side: int) -> np.ndarray:
    return decode_squares([("", lambda: data)], side=side, channels=3, most=1).arrays["images"][0]


def _squares(side: int, n: int = 5) -> np.ndarray:
    return np.stack([_square(_photograph(i), side) for i in range(n)])


def _one_line(capsys: pytest.CaptureFixture) -> str:
    error = capsys.readouterr().err.strip()
    assert "\n" not in error and error.startswith("dcgan-eval: ")
    return error


# Packing.


def test_pack_then_load_by_name(album: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["data", "pack", "album", "--size", "64"]) == 0
    assert "album-64: uint8 [5, 64, 64, 3], digest " in capsys.readouterr().out
    np.testing.assert_array_equal(load("album-64", run).images, _squares(64))
    assert cli.main(["data", "album-64"]) == 0  # without its source
    assert cli.main(["data", "pack", "album", "--size", "32", "--gray", "--name", "mine"]) == 0
    assert load("mine", run).images.shape == (5, 32, 32, 1)
    os.truncate(tmp_path / "runs" / "packed" / "mine" / "images.u8", 7)
    with pytest.warns(UserWarning, match="must hold 5,120 bytes, got 7"), pytest.raises(UserError) as caught:
        load("mine", run)
    assert "pack it again with `dcgan-eval data pack SOURCE --name mine`" in str(caught.value)


def test_a_corrupt_file_is_named_and_exit_1(album: Path, run: Run, capsys: pytest.CaptureFixture) -> None:
    (album / "cut.jpg").write_bytes(_photograph(9)[:600])
    assert cli.main(["data", "pack", "album", "--size", "32"]) == 1
    told = capsys.readouterr()
    listed = run.runs_root / "packed" / "album-32" / "meta.json"
    assert "skipped cut.jpg: " in told.err
    assert told.out.splitlines()[-1] == f"1 file could not be read: listed in {listed}"
    assert len(load("album-32", run).images) == 5
    assert cli.main(["data", "album-32"]) == 1
    assert "skipped cut.jpg: " in capsys.readouterr().err
    assert cli.main(["data", "album-32", "--allow-skipped", "--json", "--quiet"]) == 0
    told = capsys.readouterr()
    (found,) = json.loads(told.out)["sets"]
    assert told.err == "" and found == {
        "name": "album-32",
        "shape": [5, 32, 32, 3],
        "digest": load("album-32", run).digest,
        "source": "album",
        "folder": str(listed.parent),
        "skipped": 1,
    }


def test_a_set_is_packed_again_where_both_roots_are_one_folder(album: Path) -> None:
    for _ in range(2):
        assert cli.main(["data", "pack", "album", "--size", "32", "--data-root", "same", "--runs-root", "./same"]) == 0


def test_a_dry_run_leaves_nothing(album: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["data", "pack", "album", "--size", "32", "--dry-run"]) == 0
    assert os.listdir(tmp_path) == ["album"]
    said = capsys.readouterr().out
    assert said.startswith("would pack 5 images of album into ") and ": 15.4 kB, double while packing" in said


def test_an_interruption_is_130_and_the_same_command_goes_on(
    album: Path, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def interrupted(iterable, *, total, desc, unit):
        yield next(iter(iterable))
        raise KeyboardInterrupt

    for i in range(5, 260):  # more than a chunk
        (album / f"{i}.jpg").write_bytes((album / "0.jpg").read_bytes())
    command = ["data", "pack", "album", "--size", "32"]
    with monkeypatch.context() as patched:
        patched.setattr(console, "progress", interrupted)
        assert cli.main(command) == 130
    assert "run the same command again to go on" in capsys.readouterr().err
    assert os.listdir(run.runs_root / "packed") == []
    assert list((run.runs_root / "packing").rglob("*.chunk")) != []
    assert cli.main(command) == 0
    order = sorted(f"{i}.jpg" for i in range(260))
    expected = [_squares(32)[int(name[0]) if name[1] == "." and int(name[0]) < 5 else 0] for name in order]
    np.testing.assert_array_equal(load("album-32", run).images, expected)
    assert os.listdir(run.runs_root / "packing") == []


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("pack nowhere --size 32", "no folder or zip nowhere: check the path"),
        (
            "pack album --size 32 --name ../evil",
            "--name must be one word of letters, digits, '_', '-' and '.', got '../evil'",
        ),
        ("pack album --size 32 --name ..", "--name must be one word"),
        ("pack album --size 32 --name mnist-32", "is the name of a set that has its own source: choose another"),
        ("lmdb album out", "or one packed before with `dcgan-eval data pack`, got 'lmdb'"),
        ("tiny-imagenet-23", "got 'tiny-imagenet-23'; did you mean 'tiny-imagenet-32'?"),
        ("lsun", "the data set must be one of cifar10-train"),
        ("../album", "the data set must be one of cifar10-train"),
        ("lsun-bedroom-64", "put bedroom_train_lmdb/ in"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(
    album: Path, tmp_path: Path, capsys: pytest.CaptureFixture, command: str, text: str
) -> None:
    assert cli.main(["data", *command.split()]) == 2
    assert text in _one_line(capsys)
    assert sorted(os.listdir(album)) == [f"{i}.jpg" for i in range(5)] and not list(tmp_path.glob("runs/packed/*"))


@pytest.mark.parametrize("arguments", [["pack"], ["pack", "album"], ["pack", "album", "--size", "48"]])
def test_a_wrong_command_is_one_line_and_exit_2(capsys: pytest.CaptureFixture, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["data", *arguments])
    error = capsys.readouterr().err.strip()
    assert stopped.value.code == 2 and "\n" not in error and f"see dcgan-eval data {arguments[0]} --help" in error


@pytest.mark.parametrize("command", ["data", "data pack"])
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main([*command.split(), "--help"])
    assert stop.value.code == 0 and f"dcgan-eval {command}" in capsys.readouterr().out.split("example:")[1]


# LSUN's form.


def test_lsun_by_name_and_by_path(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    content = {b"%040x" % i: _photograph(i) for i in range(5)}
    folder = write_lmdb(tmp_path / "data/lsun/bedroom_train_lmdb", content)
    assert cli.main(["data", "lsun-bedroom-64"]) == 0
    assert "lsun-bedroom-64: uint8 [5, 64, 64, 3]" in capsys.readouterr().out
    made = load("lsun-bedroom-64", run)
    np.testing.assert_array_equal(made.images, _squares(64))
    assert made.meta["source"] == "LSUN: bedroom_train_lmdb" and made.labels is None
    assert cli.main(["data", "pack", str(folder), "--size", "32", "--name", "mine"]) == 0
    np.testing.assert_array_equal(load("mine", run).images, _squares(32))


@pytest.mark.parametrize("left", [0, 100, 8192, -4096])
def test_a_cut_lmdb_is_one_line_and_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture, left: int) -> None:
    content = {b"%040x" % i: _photograph(i) for i in range(5)}
    file = write_lmdb(tmp_path / "data/lsun/tower_train_lmdb", content) / "data.mdb"
    os.truncate(file, left if left >= 0 else file.stat().st_size + left)
    for command in (["data", "lsun-tower-32"], ["data", "pack", str(file.parent), "--size", "32"]):
        assert cli.main(command) == 2
        assert "is not a complete LMDB" in (error := _one_line(capsys)) and "fetch it again" in error


# Official files that are damaged or hostile.


def test_celeba_from_any_one_zip(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data" / "faces").mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "data" / "faces" / "x.zip", "w") as archive:
        for i in (1, 0):
            archive.writestr(f"img_align_celeba/{i:06}.jpg", _photograph(i, (178, 218)))
        archive.writestr("list_attr_celeba.txt", "no image")
    assert cli.main(["data", "celeba-64"]) == 0
    made = load("celeba-64", run)
    expected = [_square(_photograph(i, (178, 218)), 64) for i in (0, 1)]
    np.testing.assert_array_equal(made.images, expected)
    assert made.meta["source"] == "CelebA: x.zip"
    (tmp_path / "data" / "faces" / "y.zip").write_bytes(b"")
    assert cli.main(["data", "celeba-32"]) == 2


class _Attack:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("executed",)


def test_a_pickle_with_code_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "data" / "imagenet32").mkdir(parents=True)
    content = {"data": np.zeros((1, 3072), np.uint8), "labels": [1], "mean": _Attack()}
    (tmp_path / "data" / "imagenet32" / "train_data_batch_1").write_bytes(pickle.dumps(content, protocol=2))
    assert cli.main(["data", "imagenet32-train"]) == 2
    assert "train_data_batch_1 cannot be used" in _one_line(capsys) and not (tmp_path / "executed").exists()


def test_an_npz_of_absurd_size(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    text = b"{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999, 3072), }".ljust(117) + b"\n"
    (tmp_path / "data" / "imagenet32").mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "data" / "imagenet32" / "val_data.npz", "w") as archive:
        for name in ("data.npy", "labels.npy"):
            archive.writestr(name, b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text)
    assert cli.main(["data", "imagenet32-val"]) == 2
    assert "must be whole, at most 300,000 images, got (99999999999, 3072)" in _one_line(capsys)


def test_an_idx_file_cut_short(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "data" / "mnist").mkdir(parents=True)
    for name, head in (("images-idx3", (0x803, 60000, 28, 28)), ("labels-idx1", (0x801, 60000))):
        file = tmp_path / "data" / "mnist" / f"train-{name}-ubyte"
        file.write_bytes(struct.pack(f">{len(head)}I", *head) + bytes(1000))
    assert cli.main(["data", "mnist-28"]) == 2
    assert "must hold 47,040,016 bytes, got 1,016" in _one_line(capsys)


# A folder of zips.


def _zip(file: Path, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)


@pytest.fixture
def zips(tmp_path: Path) -> Path:
    """Five photographs, the even ones in b.zip, the odd ones in a.zip, and x/0.jpg in both."""
    (tmp_path / "zips").mkdir()
    _zip(tmp_path / "zips" / "b.zip", {f"x/{i}.jpg": _photograph(i) for i in (4, 2, 0)})
    _zip(tmp_path / "zips" / "a.zip", {f"x/{i}.jpg": _photograph(i) for i in (1, 3)} | {"x/0.jpg": _photograph(7)})
    (tmp_path / "zips" / "._a.zip").write_bytes(b"a Mac's notes")
    (tmp_path / "zips" / "words.txt").write_bytes(b"")
    return tmp_path / "zips"


def test_a_folder_of_zips_is_one_source(zips: Path, run: Run, tmp_path: Path) -> None:
    assert cli.main(["data", "pack", "zips", "--size", "32"]) == 0
    expected = [_photograph(i) for i in (7, 0, 1, 2, 3, 4)]  # by the path inside, then by the zip
    made = load("zips-32", run).images
    np.testing.assert_array_equal(made, [_square(data, 32) for data in expected])
    assert cli.main(["dedup", "zips", "--method", "phash"]) == 0
    (out,) = (tmp_path / "runs" / "dedup").iterdir()
    kept = (out / "keep.txt").read_text().splitlines()
    assert kept == ["a.zip/x/0.jpg", *(f"{'ba'[i % 2]}.zip/x/{i}.jpg" for i in range(5))]


def test_a_broken_zip_in_a_folder_is_named(zips: Path, capsys: pytest.CaptureFixture) -> None:
    os.truncate(zips / "b.zip", 1000)
    assert cli.main(["data", "pack", "zips", "--size", "32"]) == 2
    assert "zips/b.zip is neither a folder nor a complete zip" in _one_line(capsys)


def test_a_zip_of_a_kind_that_is_not_known(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    _zip(tmp_path / "new.zip", {"a.jpg": _photograph(0)})
    data = bytearray((tmp_path / "new.zip").read_bytes())
    data[data.index(b"PK\x01\x02") + 6] = 99  # the version that it needs
    (tmp_path / "new.zip").write_bytes(data)
    assert cli.main(["data", "pack", "new.zip", "--size", "32"]) == 2
    assert "nor a complete zip (zip file version 9.9)" in _one_line(capsys)


def test_a_folder_named_like_a_zip_is_a_folder(album: Path, run: Run, tmp_path: Path) -> None:
    (tmp_path / "outer").mkdir()
    album.rename(tmp_path / "outer" / "x.zip")
    assert cli.main(["data", "pack", "outer", "--size", "32"]) == 0
    np.testing.assert_array_equal(load("outer-32", run).images, _squares(32))


# What is left out, and what is done to pixels.


def test_what_is_left_out_is_said(album: Path, run: Run, capsys: pytest.CaptureFixture) -> None:
    (album / "again.jpg").symlink_to("0.jpg")
    assert cli.main(["data", "pack", "album", "--size", "32"]) == 0
    assert "left out without the loss of an image: again.jpg (the same file as 0.jpg)" in capsys.readouterr().err
    meta = load("album-32", run).meta
    assert meta["noted_files"] == ["again.jpg: the same file as 0.jpg"] and meta["skipped_files"] == []
    (album / "shot.nef").write_bytes(b"")
    assert cli.main(["data", "pack", "album", "--size", "32", "--dry-run"]) == 0
    assert "would skip 1 file, such as shot.nef: a camera's raw file" in capsys.readouterr().out
    assert cli.main(["data", "pack", "album", "--size", "32"]) == 1
    assert "skipped shot.nef: a camera's raw file, which is not read: convert it" in capsys.readouterr().err


def test_the_current_folder_has_its_name(album: Path, run: Run, monkeypatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(album)
    assert cli.main(["data", "pack", ".", "--size", "32", "--runs-root", str(run.runs_root)]) == 0
    assert capsys.readouterr().out.endswith(", from album\n") and (run.runs_root / "packed/album-32").exists()


def test_a_set_says_what_was_done_to_its_pixels(
    album: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert cli.main(["data", "pack", "album", "--size", "32"]) == 0
    plain = load("album-32", run)
    assert "treated" not in plain.meta and "noted_files" not in plain.meta
    art = tmp_path / "art"
    art.mkdir()
    for file in album.iterdir():
        Image.open(file).convert("RGBA").save(art / f"{file.stem}.png")
    assert cli.main(["data", "pack", "art", "--size", "32"]) == 0
    assert "treated" not in load("art-32", run).meta  # all of it is opaque
    Image.new("RGBA", (40, 40), (0, 0, 0, 51)).save(art / "z.png")
    assert cli.main(["data", "pack", "art", "--size", "32"]) == 0
    assert "art-32: images that were changed: 1 composited on white" in capsys.readouterr().err
    made = load("art-32", run)
    assert made.meta["treated"] == {"white": 1} and set(made.images[5].ravel().tolist()) == {204}


def test_images_beside_an_lmdb_are_listed(tmp_path: Path, run: Run) -> None:
    write_lmdb(tmp_path / "x_lmdb", {b"a": _photograph(1)})
    (tmp_path / "x_lmdb" / "b.jpg").write_bytes(_photograph(2))
    assert cli.main(["data", "pack", "x_lmdb", "--size", "32"]) == 1
    assert load("x_lmdb-32", run).meta["skipped_files"] == ["b.jpg: lies beside an LMDB, which is packed instead"]


# Names.


def test_a_set_that_would_be_taken_first_is_told(album: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "data" / "packed" / "album-32").mkdir(parents=True)
    assert cli.main(["data", "pack", "album", "--size", "32"]) == 2
    assert "data/packed/album-32 has the same name and would be used instead of this set" in _one_line(capsys)


@pytest.mark.parametrize(
    ("own", "name"),
    [(".hidden", "hidden-32"), ("a b!c", "a-b-c-32"), ("--size", "size-32"), ("ümläut.v2", "ümläut.v2-32")],
)
def test_the_name_is_the_sources_own(album: Path, tmp_path: Path, own: str, name: str) -> None:
    album.rename(tmp_path / own)
    assert cli.main(["data", "pack", f"./{own}", "--size", "32"]) == 0
    assert os.listdir(tmp_path / "runs" / "packed") == [name]


@pytest.mark.parametrize("name", ["", ".", "..", "../packed/mine", "mine/", ".mine", "a\0b"])
def test_no_name_leads_elsewhere(run: Run, tmp_path: Path, name: str) -> None:
    images = np.zeros((1, 32, 32, 3), np.uint8)
    for folder in ("mine", ".mine"):
        pack(tmp_path / "runs" / "packed" / folder, [images], shape=images.shape, source="s", transform="t")
    with pytest.raises(UserError, match="the data set must be one of"):
        load(name, run)
