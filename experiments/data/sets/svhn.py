"""SVHN (Netzer et al. 2011), format 2: photographed house numbers, 32x32 RGB, ten digits.

`DATA_ROOT/svhn/{train,test}_32x32.mat` (73,257 and 26,032 images) or, where that is absent, torchvision's download.
A file with fewer images is taken for what it is, and the packed set's source says how many; the whole ones must have
torchvision's MD5. The files' label 10 means the digit 0.
"""

import hashlib
from pathlib import Path

import numpy as np
import scipy.io

from experiments.data.downloads import fetch
from experiments.data.obtain import obtain, torchvision_datasets
from experiments.data.packed import PackedSet, pack
from experiments.run.errors import UserError
from experiments.run.progress import Progress

__all__ = ["build", "source_at"]

COUNTS = {"train": 73_257, "test": 26_032}
MD5 = {"train": "e26dedcc434d2e4c54c9b2d4a06d8373", "test": "eb5a983be6a315427106f1b164d9cef3"}  # of the whole files
DOWNLOAD_BYTES = 250_000_000


def build(split: str, folder: Path, *, data_root: Path, downloads: Path, progress: Progress | None = None) -> PackedSet:
    """Pack "train" or "test" into `folder`, uint8 [N, 32, 32, 3]. Raises UserError where no source is right."""
    file = _at_hand(split, data_root) or _at_hand(split, downloads) or _fetched(split, data_root, downloads, progress)
    try:
        count = _count(split, file)
        if count == COUNTS[split] and (found := _md5(file)) != MD5[split]:
            raise ValueError(f"MD5 of the whole file must be {MD5[split]}, got {found}")
        images, labels = _read(file, count)
    except Exception as error:  # a broken .mat raises nearly anything
        raise UserError(f"{file} is not SVHN's {_name(split)} ({_text(error)}): replace it with a fresh one") from error
    return pack(
        folder,
        [images],
        shape=images.shape,
        labels=labels,
        source=_source(split, count),
        transform="none",
        details={"class_names": list("0123456789")},
    )


def source_at(split: str, data_root: Path) -> str | None:
    """What a set packed from `data_root` now would name as its source; None where nothing is there."""
    file = _at_hand(split, data_root)
    try:
        return None if file is None else _source(split, _count(split, file))
    except Exception as error:
        raise UserError(f"{file} is not SVHN's {_name(split)} ({_text(error)}): replace it with a fresh one") from error


def _name(split: str) -> str:
    return f"{split}_32x32.mat"


def _source(split: str, count: int) -> str:
    part = "" if count == COUNTS[split] else f", {count:,} of {COUNTS[split]:,} images"
    return f"SVHN: {_name(split)}{part}"


def _at_hand(split: str, root: Path) -> Path | None:
    found = [path for path in (root / "svhn" / _name(split), root / _name(split)) if path.is_file()]
    return found[0] if found else None


def _fetched(split: str, data_root: Path, downloads: Path, progress: Progress | None) -> Path:
    def from_torchvision(path: Path) -> None:
        url, _, md5 = torchvision_datasets().SVHN.split_list[split]
        fetch(url, path, md5=md5, progress=progress)

    missing = f"no SVHN: put {_name(split)} in {data_root / 'svhn'}"
    return obtain([(_name(split), from_torchvision)], downloads, room=DOWNLOAD_BYTES, missing=missing)


def _count(split: str, file: Path) -> int:
    """How many images the file announces. Raises ValueError for arrays of other kinds, before they are read."""
    arrays = {name: (shape, kind) for name, shape, kind in scipy.io.whosmat(file)}
    shape, kind = arrays.get("X", ((), "none"))
    if kind != "uint8" or len(shape) != 4 or tuple(shape[:3]) != (32, 32, 3) or not 0 < shape[3] <= COUNTS[split]:
        raise ValueError(f"X must be uint8 [32, 32, 3, 1 to {COUNTS[split]}], got {kind} {list(shape)}")
    labels, kind = arrays.get("y", ((), "none"))
    if tuple(labels) not in ((shape[3], 1), (1, shape[3])) or not kind.startswith(("uint", "int", "double")):
        raise ValueError(f"y must be {shape[3]} numbers, got {kind} {list(labels)}")
    return shape[3]


def _read(file: Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [count, 32, 32, 3] in C order and int64 [count], digits 0 to 9."""
    arrays = scipy.io.loadmat(file, variable_names=["X", "y"])
    X, y = arrays["X"], arrays["y"].ravel()
    if X.dtype != np.uint8 or X.shape != (32, 32, 3, count) or y.shape != (count,):
        raise ValueError(f"X and y differ from what the file announces: {X.dtype} {list(X.shape)}, {list(y.shape)}")
    if not np.isin(y, np.arange(1, 11)).all():
        raise ValueError("labels must be 1 to 10")
    return np.ascontiguousarray(X.transpose(3, 0, 1, 2)), y.astype(np.int64) % 10


def _md5(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "md5").hexdigest()


def _text(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
