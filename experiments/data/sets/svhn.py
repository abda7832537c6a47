"""SVHN (Netzer et al. 2011), format 2: photographed house numbers, 32x32 RGB, ten digits.

The files are `DATA_ROOT/svhn/{train,test}_32x32.mat` (73,257 and 26,032 images) or, if they are absent, torchvision's
download. A whole file must have torchvision's MD5. A file with fewer images is accepted too, and the packed set's
source says how many there are. The files' label 10 means the digit 0.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.io

from experiments.data.dataset import Dataset
from experiments.data.downloads import fetch, obtain, torchvision_datasets
from experiments.data.packed import PackedSet
from experiments.data.sets.arrays import official, pack_arrays
from experiments.run.context import Run
from experiments.run.files import file_digest

COUNTS = {"train": 73_257, "test": 26_032}
MD5 = {"train": "e26dedcc434d2e4c54c9b2d4a06d8373", "test": "eb5a983be6a315427106f1b164d9cef3"}  # of the whole files
DOWNLOAD_BYTES = 250_000_000


@dataclass(frozen=True)
class Svhn(Dataset):
    """The training or the test digits."""

    split: str
    side = 32

    def build(self, folder: Path, run: Run) -> PackedSet:
        file = self._at_hand(run.data_root) or self._fetched(run)
        with self._official(file):
            count = self._count(file)
            if count == COUNTS[self.split] and (found := file_digest(file, "md5")) != MD5[self.split]:
                raise ValueError(f"MD5 of the whole file must be {MD5[self.split]}, got {found}")
            images, labels = _read(file, count)
        return pack_arrays(folder, images, labels, source=self._source(count), classes="0123456789")

    def source_at(self, data_root: Path) -> str | None:
        file = self._at_hand(data_root)
        if file is None:
            return None
        with self._official(file):
            count = self._count(file)
        return self._source(count)

    @property
    def _name(self) -> str:
        return f"{self.split}_32x32.mat"

    def _official(self, file: Path) -> AbstractContextManager[None]:
        return official(file, f"SVHN's {self._name}", "a fresh one")

    def _source(self, count: int) -> str:
        whole = COUNTS[self.split]
        return f"SVHN: {self._name}" + ("" if count == whole else f", {count:,} of {whole:,} images")

    def _at_hand(self, root: Path) -> Path | None:
        return next((path for path in (root / "svhn" / self._name, root / self._name) if path.is_file()), None)

    def _fetched(self, run: Run) -> Path:
        def from_torchvision(path: Path) -> None:
            url, _, md5 = torchvision_datasets().SVHN.split_list[self.split]
            fetch(url, path, run, md5=md5)

        missing = f"no SVHN: put {self._name} in {run.data_root / 'svhn'}"
        return obtain([(self._name, from_torchvision)], run, room=DOWNLOAD_BYTES, missing=missing)

    def _count(self, file: Path) -> int:
        """Return the number of images that the file announces. Raises ValueError for other arrays, without reading."""
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
