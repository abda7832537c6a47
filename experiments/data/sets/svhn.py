"""SVHN (Netzer et al. 2011), format 2: photographed house numbers, 32x32 RGB, ten digits.

The files are `{train,test}_32x32.mat` (73,257 and 26,032 images) in DATA_ROOT, in `svhn/` or in another folder there
or, if they are absent, torchvision's download. A whole file must have torchvision's MD5, or else the official first
digits and numbers of each digit: it was then saved again. A file with fewer images is accepted too, and the packed
set's source says how many there are. The files' label 10 means the digit 0.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.io

from experiments.data.dataset import Dataset
from experiments.data.downloads import fetch, obtain, torchvision_datasets
from experiments.data.packed import PackedSet
from experiments.data.sets.arrays import digest, official, pack_arrays
from experiments.data.sets.places import file_in, found_instead, places, say_which
from experiments.run.context import Run
from experiments.run.files import file_digest

COUNTS = {"train": 73_257, "test": 26_032}
MD5 = {"train": "e26dedcc434d2e4c54c9b2d4a06d8373", "test": "eb5a983be6a315427106f1b164d9cef3"}  # of the whole files
DIGITS = {  # how often each digit, 0 to 9, occurs in the whole files
    "train": [4948, 13861, 10585, 8497, 7458, 6882, 5727, 5595, 5045, 4659],
    "test": [1744, 5099, 4149, 2882, 2523, 2384, 1977, 2019, 1660, 1595],
}
FIRST = 1000  # images; SHA-256 of their pixels, uint8 [1000, 32, 32, 3] in C order
SHA256 = {
    "train": "ce0535679ec79dbc51bde240a2bb0c9e7f09d6e1da71ad551531ec7af4e2f728",
    "test": "7abb1fb2bf692f02068b63572afd17402cac73c01b07942dc55230d56d8bfcca",
}
HDF5 = (b"\x89HDF\r\n\x1a\n", b"MATLAB 7.3 MAT-file")  # how such files begin
DOWNLOAD_BYTES = 250_000_000
NAMES = ("svhn", "housenumbers")
FOREIGN = dict.fromkeys(
    ("train.tar.gz", "test.tar.gz"), "these are the whole house numbers, format 1; the digits, format 2, are needed"
)


@dataclass(frozen=True)
class Svhn(Dataset):
    """The training or the test digits."""

    split: str
    side = 32

    def build(self, folder: Path, run: Run) -> PackedSet:
        found = self._at_hand(run.data_root)
        file = found[0] if found else self._fetched(run)
        say_which(run, file, found)
        with self._official(file):
            count = self._count(file)
            images, labels = _read(file, count)
            if count == COUNTS[self.split]:
                self._check_whole(file, images, labels, run)
        return pack_arrays(folder, images, labels, source=self._source(count), classes="0123456789")

    def source_at(self, data_root: Path) -> str | None:
        found = self._at_hand(data_root)
        if not found:
            return None
        with self._official(found[0]):
            count = self._count(found[0])
        return self._source(count)

    @property
    def _name(self) -> str:
        return f"{self.split}_32x32.mat"

    def _official(self, file: Path) -> AbstractContextManager[None]:
        return official(file, f"SVHN's {self._name}", "a fresh one")

    def _source(self, count: int) -> str:
        whole = COUNTS[self.split]
        return f"SVHN: {self._name}" + ("" if count == whole else f", {count:,} of {whole:,} images")

    def _at_hand(self, root: Path) -> list[Path]:
        return [file for place in places(root, NAMES, beside=True) if (file := file_in(place, self._name))]

    def _check_whole(self, file: Path, images: np.ndarray, labels: np.ndarray, run: Run) -> None:
        """Raise ValueError if the whole file is neither the official one nor the same digits saved again."""
        if (found := file_digest(file, "md5")) == MD5[self.split]:
            return
        counts = np.bincount(labels, minlength=10).tolist()
        if counts != DIGITS[self.split] or digest(images[:FIRST]) != SHA256[self.split]:
            raise ValueError(f"MD5 of the whole file must be {MD5[self.split]}, got {found}, and its digits differ too")
        run.say(f"{file} was saved again: its MD5 is another, its first {FIRST:,} digits and its counts are official")

    def _fetched(self, run: Run) -> Path:
        def from_torchvision(path: Path) -> None:
            url, _, md5 = torchvision_datasets().SVHN.split_list[self.split]
            fetch(url, path, run, md5=md5)

        missing = f"no SVHN: put {self._name} in {run.data_root / 'svhn'}"
        missing += found_instead(places(run.data_root, NAMES, beside=False), FOREIGN)
        return obtain([(self._name, from_torchvision)], run, room=DOWNLOAD_BYTES, missing=missing)

    def _count(self, file: Path) -> int:
        """Return the number of images that the file announces. Raises ValueError for other arrays, without reading."""
        with file.open("rb") as stream:
            if stream.read(128).startswith(HDF5):
                raise ValueError("it is HDF5, as MATLAB 7.3 saves it; in MATLAB, save X and y with -v7")
        arrays = {name: (shape, kind) for name, shape, kind in scipy.io.whosmat(file)}
        shape, kind = arrays.get("X", ((), "none"))
        most = COUNTS[self.split]
        if kind != "uint8" or len(shape) != 4 or tuple(shape[:3]) != (32, 32, 3) or not 0 < shape[3] <= most:
            raise ValueError(f"X must be uint8 [32, 32, 3, 1 to {most}], got {kind} {list(shape)}")
        labels, kind = arrays.get("y", ((), "none"))
        if tuple(labels) not in ((shape[3], 1), (1, shape[3])) or not kind.startswith(("uint", "int", "double")):
            raise ValueError(f"y must be {shape[3]} numbers, got {kind} {list(labels)}")
        return shape[3]


def _read(file: Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images, uint8 [count, 32, 32, 3] in C order, and labels, int64 [count], digits 0 to 9."""
    arrays = scipy.io.loadmat(file, variable_names=["X", "y"])
    X, y = arrays["X"], arrays["y"].ravel()
    if X.dtype != np.uint8 or X.shape != (32, 32, 3, count) or y.shape != (count,):
        raise ValueError(f"X and y differ from what the file announces: {X.dtype} {list(X.shape)}, {list(y.shape)}")
    if not np.isin(y, np.arange(1, 11)).all():
        raise ValueError("labels must be 1 to 10")
    return np.ascontiguousarray(X.transpose(3, 0, 1, 2)), y.astype(np.int64) % 10
