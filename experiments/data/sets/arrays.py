"""Shared by the sets that have a few official files: read them whole, compare published digests, pack."""

import contextlib
import gzip
import hashlib
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from experiments.data.packed import PackedSet, pack
from experiments.run.errors import UserError, one_line


@contextlib.contextmanager
def official(file: Path, what: str, fresh: str) -> Iterator[None]:
    """During the block, raise UserError in place of whatever a broken archive, picture or matrix makes it raise."""
    try:
        yield
    except Exception as error:
        raise UserError(f"{file} is not {what} ({one_line(error)}): remove it, or replace it with {fresh}") from error


def find_file(folder: Path, name: str) -> Path | None:
    """Find a file, or its gzipped form, in a folder."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def read_files(source: Path, inner: str, names: Sequence[str], *, most: int) -> dict[str, bytes]:
    """Read files of the folder `source`, gzipped or not, or of the folder `inner` in the .tar.gz `source`.

    At most `most` + 1 bytes of a file are read, whatever size it would unpack to. Links and folders do not count.
    Raises ValueError if a file is missing, and whatever `gzip`, `tarfile` and `zlib` raise.
    """
    files = {}
    if source.is_dir():
        for name in names:
            if path := find_file(source, name):
                with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
                    files[name] = stream.read(most + 1)
    else:
        with tarfile.open(source, "r:gz") as tar:
            for member in tar:
                folder, _, name = member.name.rpartition("/")
                if member.isfile() and folder == inner and name in names and (opened := tar.extractfile(member)):
                    files[name] = opened.read(most + 1)
    if missing := [name for name in names if name not in files]:
        raise ValueError(f"{', '.join(missing)} is missing")
    return files


def digest(array: np.ndarray | None) -> str | None:
    """SHA-256 of the values as uint8 in C order (64 hex digits); None for no array."""
    return None if array is None else hashlib.sha256(np.ascontiguousarray(array, np.uint8).data).hexdigest()


def check_digests(published: Mapping[str, str], split: str, **found: str | None) -> None:
    """Raise ValueError if a digest in `found` (images, labels) is not the published one ("train images", ...)."""
    for what, sha256 in found.items():
        if sha256 != (expected := published[f"{split} {what}"]):
            raise ValueError(f"SHA-256 of the {split} {what} must be {expected}, got {sha256}")


def pack_arrays(
    folder: Path,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    source: str,
    classes: Sequence[str],
    transform: str = "none",
) -> PackedSet:
    """Pack images, uint8 [N, H, W, C], with their labels and the names of the classes."""
    details = {"class_names": list(classes)}
    shape = images.shape
    return pack(folder, [images], shape=shape, source=source, transform=transform, labels=labels, details=details)
