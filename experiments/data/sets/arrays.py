"""Shared by the sets that have a few official files: read them whole, compare published digests, pack."""

import contextlib
import gzip
import hashlib
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TypeVar, cast

import numpy as np

from experiments.data.packed import PackedSet, pack
from experiments.data.sets.places import archives_in, file_in, is_twin, plain, say_which
from experiments.run.context import Run
from experiments.run.errors import UserError, one_line

T = TypeVar("T")


@contextlib.contextmanager
def official(file: Path, what: str, fresh: str) -> Iterator[None]:
    """During the block, raise UserError in place of whatever a broken archive, picture or matrix makes it raise."""
    try:
        yield
    except Exception as error:
        raise UserError(f"{file} is not {what} ({one_line(error)}): remove it, or replace it with {fresh}") from error


def find_file(folder: Path, name: str) -> Path | None:
    """Find a file, or its gzipped form, in a folder."""
    return file_in(folder, name, f"{name}.gz")


def holders(searched: Sequence[Path], names: Sequence[str], archives: Sequence[str]) -> list[Path]:
    """Return the folders that hold at least one of the files `names`, then the archives.

    archives: names of the set's archives, without suffix. The `archive.zip` of Kaggle, which may be any set's, counts
    if it holds one of the files.
    """
    folders = [folder for folder in searched if any(find_file(folder, name) for name in names)]
    named = [archive for folder in searched for archive in archives_in(folder, archives)]
    kaggle = [archive for folder in searched for archive in archives_in(folder, ["archive"])]
    return [*folders, *named, *(archive for archive in kaggle if _is_zip_of(archive, names))]


def first_official(found: Sequence[Path], read: Callable[[Path], T], run: Run) -> T | None:
    """Return what `read` makes of the first source that it accepts; None if there are no sources.

    Raises UserError, with the reasons, if it accepts none.
    """
    refused: list[UserError] = []
    for source in found:
        try:
            result = read(source)
        except UserError as error:
            refused.append(error)
            continue
        for reason in refused:
            warnings.warn(str(reason), stacklevel=2)
        say_which(run, source, found)
        return result
    if refused:
        raise UserError("; ".join(map(str, refused))) from refused[0]
    return None


def read_files(source: Path, names: Sequence[str], *, most: int) -> dict[str, bytes]:
    """Read files, gzipped or not, of the folder, tar or zip `source`.

    In an archive they may lie in any folder. At most `most` + 1 bytes of a file are read, whatever size it would unpack
    to. Raises ValueError if a file is missing, and whatever `gzip`, `tarfile`, `zipfile` and `zlib` raise.
    """
    files: dict[str, bytes] = {}
    if source.is_dir():
        for name in names:
            if path := find_file(source, name):
                with path.open("rb") as file:
                    files[name] = _unzipped(file).read(most + 1)
    else:
        for name, stream in _members(source, names, most):
            files.setdefault(name, _unzipped(stream).read(most + 1))
    if missing := [name for name in names if name not in files]:
        raise ValueError(f"it must hold {', '.join(names)}; {', '.join(missing)} is missing")
    return files


def _is_zip_of(archive: Path, names: Sequence[str]) -> bool:
    try:
        return any(_members(archive, names, 0)) if archive.suffix.lower() == ".zip" else False
    except Exception:  # no zip, or a broken one, that may be any set's
        return False


def _members(archive: Path, names: Sequence[str], most: int) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield the name and the stream of each wanted file in a tar or zip, whatever folder it lies in; no links.

    most: bytes of the largest piece that is read at once.
    """
    wanted = {plain(name + end): name for name in names for end in ("", ".gz")}

    def named(path: str) -> str | None:
        return None if is_twin(path) else wanted.get(plain(path.rpartition("/")[2]))

    with archive.open("rb") as file:
        if archive.suffix.lower() == ".zip":
            with zipfile.ZipFile(file) as opened:
                for info in opened.infolist():
                    if (name := named(info.filename)) and not info.is_dir():
                        with opened.open(info) as stream:
                            yield name, stream
        else:
            limited = cast("IO[bytes]", _Limited(_unzipped(file), most))
            with tarfile.open(fileobj=limited, mode="r:") as tar:
                for member in tar:
                    if (name := named(member.name)) and member.isfile() and (content := tar.extractfile(member)):
                        yield name, content


class _Limited:
    """A tar's stream, from which at most `most` bytes and a block are read at once: a false header claims any size."""

    def __init__(self, stream: IO[bytes], most: int) -> None:
        self._stream, self._most = stream, most
        self.seek, self.tell, self.seekable = stream.seek, stream.tell, stream.seekable

    def read(self, size: int) -> bytes:
        """Read `size` bytes. Raises ValueError for too many."""
        if not 0 <= size <= self._most + 2**20:
            raise ValueError(f"a part of {size:,} bytes is too large")
        return self._stream.read(size)


def _unzipped(stream: IO[bytes]) -> IO[bytes]:
    """Return the stream of what a gzipped stream holds, or the stream itself; the name of a file does not matter."""
    head = stream.read(2)
    stream.seek(0)
    return cast("IO[bytes]", gzip.GzipFile(fileobj=stream)) if head == b"\x1f\x8b" else stream


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
