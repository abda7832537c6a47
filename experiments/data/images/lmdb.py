"""LSUN's own format: an LMDB environment (a folder with data.mdb) of encoded images under ASCII keys.

The lmdb library trusts its file: a file that is cut short, or has false page headers, can kill the process that reads
it. So the functions here that open an environment must only be called in a worker process
(`run.workers.in_processes`), whose death is reported in one line.
"""

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import lmdb

from experiments.data.images.decode import MAX_FILE_BYTES
from experiments.data.images.listing import CHUNK_IMAGES, version
from experiments.run.errors import UserError, one_line
from experiments.run.filenames import shown


class RecordChunk(NamedTuple):
    """`size` records in the order of their keys, starting with the key `first`."""

    environment: str
    version: tuple[int, int]  # size of data.mdb and time of its last change
    first: bytes
    size: int

    @property
    def key(self) -> object:
        """JSON values that change when the environment does."""
        return [self.version, self.first.hex(), self.size]

    def records(self) -> Iterator[tuple[str, Callable[[], bytes]]]:
        """Yield the name of each record, and the function that reads it. Raises UserError if data.mdb is damaged."""
        with _reading(self.environment, self.version) as opened, opened.begin(buffers=True) as transaction:
            cursor = transaction.cursor()
            if not cursor.set_key(self.first):
                raise ValueError("a key read earlier is missing")
            left = self.size
            for key, value in cursor.iternext():
                yield shown(os.fsdecode(bytes(key))), functools.partial(_bytes, value)
                left -= 1
                if not left:
                    return
            raise ValueError("keys read earlier are missing")


def is_lmdb(folder: Path) -> bool:
    """Whether the folder looks like an environment."""
    return (folder / "data.mdb").is_file()


def cut(environment: str, size: int = CHUNK_IMAGES) -> list[RecordChunk]:
    """Return all records in chunks of `size`. Only keys are read. Raises UserError for a damaged environment."""
    found = version(Path(environment) / "data.mdb")
    with _reading(environment, found) as opened:
        entries = _check(opened, found[0])
        firsts: list[bytes] = []
        with opened.begin() as transaction, transaction.cursor() as cursor:
            previous, seen = b"", 0
            for key in cursor.iternext(keys=True, values=False):
                if key <= previous or seen == entries:  # pages that refer to one another in a circle never end
                    raise ValueError("keys must ascend, and there must be as many as it announces")
                if seen % size == 0:
                    firsts.append(key)
                previous, seen = key, seen + 1
        if seen != entries:
            raise ValueError(f"it announces {entries:,} records but holds {seen:,}")
    return [RecordChunk(environment, found, key, min(size, seen - n * size)) for n, key in enumerate(firsts)]


def _bytes(value: Any) -> bytes:
    if len(value) > MAX_FILE_BYTES:  # before the bytes are touched: a false length leads beyond the file
        raise ValueError(f"must hold at most {MAX_FILE_BYTES:,} bytes, got {len(value):,}")
    return bytes(value)


@contextlib.contextmanager
def _reading(environment: str, version: tuple[int, int]) -> Iterator[lmdb.Environment]:
    """Yield the environment. Raises UserError in place of the errors that a damaged one raises in the block."""
    try:
        yield _opened(environment, version)
    except (lmdb.Error, OSError, ValueError, MemoryError) as error:
        raise UserError(f"{environment} is not a complete LMDB ({one_line(error)}): fetch it again") from error


@functools.lru_cache(1)
def _opened(environment: str, version: tuple[int, int]) -> lmdb.Environment:
    """Open an environment once in a process."""
    return lmdb.open(environment, readonly=True, lock=False, readahead=False, meminit=False, create=False)


def _check(opened: lmdb.Environment, size: int) -> int:
    """Return the number of records. Raises ValueError if there are none, or if the file is shorter than its pages.

    To touch a page beyond the end of the file is a bus error.
    """
    needed = (opened.info()["last_pgno"] + 1) * opened.stat()["psize"]
    if size < needed:
        raise ValueError(f"data.mdb must hold {needed:,} bytes, got {size:,}: it is cut short")
    if not opened.stat()["entries"]:
        raise ValueError("it holds no record")
    return opened.stat()["entries"]
