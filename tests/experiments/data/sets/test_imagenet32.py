"""ImageNet-32's released batches, as pickles and as npz; hostile ones are refused and run nothing."""

import io
import os
import pickle
import shutil
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from experiments.data.load import load
from experiments.run.context import Run
from experiments.run.errors import UserError

RNG = np.random.default_rng(0)
PLANES = {n: RNG.integers(0, 256, (3, 3072), dtype=np.uint8) for n in (1, 2, 10)}
LABELS = {1: [1, 1000, 7], 2: [2, 3, 4], 10: [500, 5, 6]}


def _write(folder: Path, kind: str, *, val: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for n, planes in PLANES.items():
        name = "val_data" if val else f"train_data_batch_{n}"
        content = {"data": planes, "labels": LABELS[n], "mean": planes.mean(axis=0)}
        if kind == "npz":
            np.savez(folder / f"{name}.npz", **content)
        else:
            (folder / name).write_bytes(pickle.dumps(content, protocol=2))
        if val:
            break
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "data", tmp_path / "runs")


@pytest.mark.parametrize("kind", ["pickle", "npz"])
@pytest.mark.parametrize(
    "place",
    [
        "imagenet32",
        "imagenet32/Imagenet32_train",
        "Imagenet32_train_npz",
        "Imagenet32_train/Imagenet32_train",
        "ImageNet-32/train",
        "downloads/imagenet32_train",
        "",
    ],
)
def test_train(run: Run, kind: str, place: str) -> None:
    _write(run.data_root / place, kind)
    made = load("imagenet32-train", run)
    expected = np.concatenate(list(PLANES.values())).reshape(9, 3, 32, 32).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(made.images, expected)
    assert made.labels.tolist() == [0, 999, 6, 1, 2, 3, 499, 4, 5]  # batch 10 after 2
    suffix = ".npz" if kind == "npz" else ""
    files = ", ".join(f"train_data_batch_{n}{suffix}" for n in (1, 2, 10))
    assert made.meta["source"] == f"ImageNet-32: {files}"


def test_val(run: Run) -> None:
    _write(run.data_root / "imagenet32", "pickle", val=True)
    assert load("imagenet32-val", run).labels.tolist() == [0, 999, 6]
    with pytest.raises(UserError, match=r"no ImageNet-32: put train_data_batch_1"):
        load("imagenet32-train", run)


@pytest.mark.parametrize("kind", ["pickle", "npz"])
def test_batches_that_were_saved_again(run: Run, kind: str) -> None:
    folder = _write(run.data_root / "imagenet32", kind)
    planes, labels = np.asfortranarray(PLANES[2]), np.array(LABELS[2], np.uint16)
    if kind == "npz":
        np.savez_compressed(folder / "train_data_batch_2.npz", data=planes, labels=labels)
    else:
        (folder / "train_data_batch_2").write_bytes(pickle.dumps({b"data": planes, b"labels": labels}, protocol=5))
    made = load("imagenet32-train", run)
    np.testing.assert_array_equal(made.images[3:6], PLANES[2].reshape(3, 3, 32, 32).transpose(0, 2, 3, 1))
    assert made.labels.tolist() == [0, 999, 6, 1, 2, 3, 499, 4, 5]


def test_the_folder_with_the_most_batches_is_taken_and_said(run: Run) -> None:
    first, second = run.data_root / "imagenet32", run.data_root / "Imagenet32_train_npz"
    _write(first, "pickle")
    _write(second, "npz")
    said: list[str] = []
    saying = Run(run.data_root, run.runs_root, say=said.append)
    assert load("imagenet32-train", saying).meta["source"].endswith("train_data_batch_10")
    missing = ", ".join(f"train_data_batch_{n}" for n in range(3, 10))
    assert said == [f"reading {first}, not {second}", f"without {missing}, which {first} does not hold"]
    (first / "train_data_batch_10").unlink()
    with pytest.warns(UserWarning, match="building imagenet32-train again"):
        assert load("imagenet32-train", saying).meta["source"].endswith("train_data_batch_10.npz")
    assert said[2] == f"reading {second}, not {first}"


def test_either_case(run: Run) -> None:
    file = _write(run.data_root / "imagenet32", "npz", val=True) / "val_data.npz"
    file.rename(file.with_name("Val_Data.NPZ"))
    assert load("imagenet32-val", run).meta["source"] == "ImageNet-32: Val_Data.NPZ"


def test_other_sizes_zips_and_pipes(run: Run) -> None:
    _write(run.data_root / "Imagenet64_train", "pickle")  # batches of the same names
    (run.data_root / "Imagenet32_train.zip").write_bytes(b"x")
    with pytest.raises(UserError, match=r"no ImageNet-32: .*Imagenet32_train.zip is there: unpack it where it lies"):
        load("imagenet32-train", run)
    os.mkfifo(run.data_root / "val_data")
    with pytest.raises(UserError, match="val_data is neither a file nor a folder"):
        load("imagenet32-val", run)


class _Attack:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("executed",)


def _pickled(**changes: object) -> bytes:
    return pickle.dumps({"data": PLANES[1], "labels": LABELS[1], **changes}, protocol=2)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (_pickled(extra=_Attack()), "it asks for"),
        (_pickled()[:-1], "not an official ImageNet-32 batch"),
        (_pickled()[:4000], "not an official ImageNet-32 batch"),
        (b"", "not an official ImageNet-32 batch"),
        (_pickled(labels=[0, 1, 2]), "labels must be 1 to 1000, got 0 to 2"),
        (_pickled(labels=[1, 2, 1001]), "labels must be 1 to 1000"),
        (_pickled(labels=[1, 2, 10**30]), "not an official ImageNet-32 batch: .*too large"),
        (_pickled(labels=[1, 2]), r"must be uint8 \[2, 3072\], a row for each label"),
        (_pickled(data=PLANES[1].astype(float)), "`data` must be uint8"),
        (_pickled(data=np.array([_Attack()], object)), "it asks for"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 2**50) + b"x.", "not an official ImageNet-32 batch"),  # a petabyte
        (b"\x80\x02Nr" + struct.pack("<I", 2**31) + b".", "at place 2147483648 of its memo"),  # a memo of 32 GB
    ],
)
def test_hostile_pickles(run: Run, tmp_path: Path, monkeypatch, data: bytes, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    file = _write(run.data_root / "imagenet32", "pickle") / "train_data_batch_2"
    file.write_bytes(data)
    with pytest.raises(UserError, match=message) as caught:
        load("imagenet32-train", run)
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "executed").exists() and not (tmp_path / "runs" / "packed" / "imagenet32-train").exists()


def _npy(header: str) -> bytes:
    text = header.encode().ljust(117) + b"\n"  # or longer
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def _npz(others: dict[str, bytes] | None = None, **members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
        for name, data in (others or {}).items():
            archive.writestr(name, data)
    return buffer.getvalue()


def _array(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _encrypted(npz: bytes) -> bytes:
    data = bytearray(npz)
    for at in (data.index(b"PK\x03\x04") + 6, data.index(b"PK\x01\x02") + 8):
        data[at] |= 1
    return bytes(data)


def _of_version_9(npz: bytes) -> bytes:
    data = bytearray(npz)
    data[data.index(b"PK\x01\x02") + 6] = 99
    return bytes(data)


HUGE = _npy("{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999, 3072), }")
OBJECTS = io.BytesIO()
np.save(OBJECTS, np.array([_Attack()], object), allow_pickle=True)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (_npz(data=HUGE, labels=HUGE), "must be whole, at most 300,000 images"),
        (_npz(data=OBJECTS.getvalue(), labels=HUGE), "must be uint8"),
        (_npz(labels=HUGE), "must hold `data`"),
        (_encrypted(_npz(data=HUGE, labels=HUGE)), "not a whole npz: .*encrypted"),
        (_of_version_9(_npz(data=HUGE, labels=HUGE)), "not a whole npz: zip file version 9.9"),
        (_npz(data=_npy("-" * 9000 + "1"), labels=HUGE), "cannot be used"),
        (b"PK\x03\x04", "not a whole npz"),
        (b"", "not a whole npz"),
    ],
)
def test_hostile_npz(run: Run, tmp_path: Path, monkeypatch, data: bytes, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    file = _write(run.data_root / "imagenet32", "npz") / "train_data_batch_1.npz"
    file.write_bytes(data)
    with pytest.raises(UserError, match=message) as caught:
        load("imagenet32-train", run)
    assert "\n" not in str(caught.value) and not (tmp_path / "executed").exists()


def test_a_cut_npz(run: Run) -> None:
    file = _write(run.data_root / "imagenet32", "npz") / "train_data_batch_1.npz"
    os.truncate(file, file.stat().st_size // 2)
    with pytest.raises(UserError, match="not a whole npz"):
        load("imagenet32-train", run)


def test_the_arrays_read_are_those_looked_at(run: Run) -> None:
    (run.data_root / "imagenet32").mkdir(parents=True)
    good = {"data": _array(PLANES[1]), "labels": _array(np.array(LABELS[1]))}
    for others in ({"labels": b"no array"}, {"data": _array(PLANES[2]), "labels": _array(np.array([1, 1, 1]))}):
        (run.data_root / "imagenet32" / "val_data.npz").write_bytes(_npz(others, **good))
        made = load("imagenet32-val", run)
        assert made.labels.tolist() == [0, 999, 6] and made.images[0, 0, 0, 0] == PLANES[1][0, 0]
        shutil.rmtree(run.runs_root)
