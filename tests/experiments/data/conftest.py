"""Fabricated official files: their layouts are the real ones byte for byte, with a few random images."""

import io
import json
import struct
import tarfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from experiments.data.sets import cifar10

N = 4  # images a fabricated CIFAR-10 file


def _python2_pickle(planes: np.ndarray, labels: list[int]) -> bytes:
    """A batch as Python 2's cPickle wrote the official ones: protocol 2, byte strings, old numpy names."""

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    def integer(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    raw = planes.tobytes()
    dtype = b"cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R(K\x03" + text(b"|")
    dtype += b"NNN" + integer(-1) + integer(-1) + b"K\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R(K\x01"
    array += integer(len(planes)) + integer(3072) + b"\x86" + dtype + b"\x89"
    array += b"T" + struct.pack("<i", len(raw)) + raw + b"tb"
    items = text(b"batch_label") + text(b"training batch") + text(b"labels")
    items += b"](" + b"".join(integer(label) for label in labels) + b"e" + text(b"data") + array
    return b"\x80\x02}(" + items + b"u."


@pytest.fixture
def python2_pickle() -> Callable[[np.ndarray, list[int]], bytes]:
    """The writer of official batches."""
    return _python2_pickle


@pytest.fixture
def cifar(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A tiny CIFAR-10 whose digests are the expected ones; `planes`, `images`, `labels` by split.

    `write_folder(root)`, `write_archive(file)` and `write_package(file)` fabricate the three forms; `official` has the
    batches by name.
    No network: the official address refuses at once, and npm is absent.
    """
    rng = np.random.default_rng(0)
    planes: dict[str, np.ndarray] = {}
    images: dict[str, np.ndarray] = {}
    labels: dict[str, np.ndarray] = {}
    for split, names in cifar10.BATCHES.items():
        count = N * len(names)
        planes[split] = rng.integers(0, 256, (count, 3072), dtype=np.uint8)
        images[split] = np.ascontiguousarray(planes[split].reshape(count, 3, 32, 32).transpose(0, 2, 3, 1))
        labels[split] = rng.integers(0, 10, count)
        for what, array in (("images", images[split]), ("labels", labels[split].astype(np.uint8))):
            monkeypatch.setitem(cifar10.SHA256, f"{split} {what}", sha256(array.tobytes()).hexdigest())

    official = {}
    package = {}
    for split, names in cifar10.BATCHES.items():
        for i, name in enumerate(names):
            part = slice(i * N, (i + 1) * N)
            official[name] = _python2_pickle(planes[split][part], labels[split][part].tolist())
            png = io.BytesIO()
            Image.fromarray(images[split][part].reshape(N, 1024, 3)).save(png, "PNG")
            package[f"{name}.png"] = png.getvalue()
        package[f"{split}_lables.json"] = json.dumps(labels[split].tolist()).encode()

    def write_folder(root: Path) -> Path:
        (root / cifar10.FOLDER).mkdir(parents=True)
        for name, data in official.items():
            (root / cifar10.FOLDER / name).write_bytes(data)
        return root / cifar10.FOLDER

    def write_tar(file: Path, prefix: str, files: dict[str, bytes]) -> Path:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(file, "w:gz") as tar:
            for name, data in files.items():
                member = tarfile.TarInfo(f"{prefix}/{name}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        return file

    nowhere = SimpleNamespace(url="http://127.0.0.1:9/cifar-10-python.tar.gz", tgz_md5="0" * 32)
    monkeypatch.setattr(cifar10, "torchvision_datasets", lambda: SimpleNamespace(CIFAR10=nowhere))
    monkeypatch.setenv("PATH", "")
    return SimpleNamespace(
        planes=planes,
        images=images,
        labels=labels,
        official_source=nowhere,
        official=official,
        package=package,
        write_folder=write_folder,
        write_archive=lambda file: write_tar(file, cifar10.FOLDER, official),
        write_package=lambda file: write_tar(file, "package", package),
    )


@pytest.fixture
def fake_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that installs a shell script as npm, the only program on the PATH; $1 is the subcommand."""

    def install(script: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir()
        (folder / "npm").write_text("#!/bin/sh\n" + script + "\n")
        (folder / "npm").chmod(0o755)
        monkeypatch.setenv("PATH", str(folder))

    return install
