"""CelebA and LSUN by name: every tree in which their archives are unpacked gives the same set."""

import io
import os
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from experiments.data.load import load
from experiments.data.sets.photographs import lsun
from experiments.run.context import Run
from experiments.run.errors import UserError
from tests.experiments.data.lmdb_files import write_lmdb


def _picture(level: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (32, 32), (level, level, level)).save(file, "PNG")
    return file.getvalue()


LEVELS = [30, 10, 20]
FACES = {f"00000{i + 1}.png": _picture(level) for i, level in enumerate(LEVELS)}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "data").mkdir()
    return Run(tmp_path / "data", tmp_path / "runs")


def _write_faces(place: Path) -> None:
    """The images in the folder `place`, or in the zip."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.suffix.lower() == ".zip":
        with zipfile.ZipFile(place, "w") as archive:
            for name, data in FACES.items():
                archive.writestr(f"img_align_celeba/{name}", data)
        return
    place.mkdir()
    for name, data in FACES.items():
        (place / name).write_bytes(data)
        (place / f"._{name}").write_bytes(b"a twin")


def _levels(name: str, run: Run) -> list[int]:
    return load(name, run).images[:, 0, 0, 0].tolist()


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("celeba/img_align_celeba", "img_align_celeba"),  # torchvision
        ("CelebA/Img/img_align_celeba.zip", "img_align_celeba.zip"),  # the official tree
        ("CelebA/Img/img_align_celeba", "img_align_celeba"),
        ("archive/img_align_celeba/img_align_celeba", "img_align_celeba"),  # Kaggle
        ("img_align_celeba/img_align_celeba", "img_align_celeba"),
        ("img_align_celeba", "img_align_celeba"),
        ("downloads/img_align_celeba.ZIP", "img_align_celeba.ZIP"),
        ("celeba/archive.zip", "archive.zip"),
        ("faces", "faces"),
    ],
)
def test_trees_of_celeba(run: Run, place: str, source: str) -> None:
    _write_faces(run.data_root / place)
    (run.data_root / "__MACOSX" / "img_align_celeba").mkdir(parents=True)
    assert _levels("celeba-32", run) == LEVELS
    assert load("celeba-32", run).meta["source"] == f"CelebA: {source}"  # packed, and not built again


def test_of_folder_and_zip_the_folder_is_taken_unless_it_is_empty(run: Run) -> None:
    folder, archive = (run.data_root / "celeba" / f"img_align_celeba{end}" for end in ("", ".zip"))
    folder.mkdir(parents=True)
    _write_faces(archive)
    assert load("celeba-32", run).meta["source"] == "CelebA: img_align_celeba.zip"
    folder.rmdir()
    _write_faces(folder)
    said: list[str] = []
    load("celeba-64", Run(run.data_root, run.runs_root, say=said.append))
    assert said[0] == f"reading {folder}, not {archive}"


def test_celebas_that_cannot_be_read(run: Run) -> None:
    with pytest.raises(UserError, match=r"no CelebA: put img_align_celeba.zip, or .*data/celeba$"):
        load("celeba-32", run)
    (run.data_root / "img_celeba.7z").write_bytes(b"x")
    with pytest.raises(UserError, match=r"img_celeba.7z is there: img_align_celeba.zip is needed"):
        load("celeba-32", run)
    os.mkfifo(run.data_root / "img_align_celeba.zip")
    with pytest.raises(UserError, match=r"img_align_celeba.zip is neither a file nor a folder"):
        load("celeba-32", run)


@pytest.mark.parametrize(
    "place",
    [
        "bedroom_train_lmdb",
        "lsun/bedroom_train_lmdb",
        "LSUN/bedroom_lmdb",
        "lsun/bedroom_train_lmdb/bedroom_train_lmdb",
        "torch/lsun/Bedroom_Train_LMDB",
    ],
)
def test_trees_of_lsun(run: Run, place: str) -> None:
    write_lmdb(run.data_root / place, {b"a": _picture(9)})
    (run.data_root / "lsun" / "bedroom_val_lmdb").mkdir(parents=True)
    found = lsun("bedroom", "32")
    assert found.find(run.data_root) == [run.data_root / place]
    assert found.source_at(run.data_root) == f"LSUN: {Path(place).name}"


def test_an_lsun_that_is_zipped_or_no_file(run: Run) -> None:
    (run.data_root / "bedroom_train_lmdb.zip").write_bytes(b"x")
    with pytest.raises(UserError, match=r"no LSUN category 'bedroom': .*lmdb.zip is there: unpack it where it lies"):
        load("lsun-bedroom-32", run)
    (run.data_root / "bedroom_train_lmdb").mkdir()
    os.mkfifo(run.data_root / "bedroom_train_lmdb" / "data.mdb")
    with pytest.raises(UserError, match=r"data.mdb is neither a file nor a folder"):
        load("lsun-bedroom-32", run)
