"""LSUN's own form: an LMDB environment (a folder with data.mdb) of encoded images under ASCII keys.

The lmdb library trusts its file: one that is cut short, or whose pages lie, can end the process that reads it. So call
what opens an environment here only in a worker process (`run.workers.in_processes`), whose end is one line.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import lmdb

from experiments.data.images.decode import MAX_FILE_BYTES
from experiments.data.images.listing import CHUNK_IMAGES, printable, version
from experiments.run.errors import UserError, one_line


class RecordChunk(NamedTuple):
    """`size` records in the order of their keys, from the one with the key `first` on."""

    environment: str
    version: tuple[int, int]  # size and time of its file
    first: bytes
    size: int

    @property
    def key(self) -> object:
        """JSON values that change when the environment does."""
        return [self.version, self.first.hex(), self.size]

    def records(self) -> Iterator[tuple[str, Callable[[], bytes]]]:
        """The name of each record, and the function that reads it. Raises UserError for a damaged environment."""
        with _reading(self.environment, self.version) as opened, opened.begin(buffers=True) as transaction:
            cursor = transaction.cursor()
            if not cursor.set_key(self.first):
                raise ValueError("a key is gone")
            left = self.size
            for key, value in cursor.iternext():
                yield printable(bytes(key)), functools.partial(_bytes, value)
                left -= 1
                if not left:
                    return
            raise ValueError("keys are gone")


def is_lmdb(folder: Path) -> bool:
    """Whether the folder looks like an environment."""
    return (folder / "data.mdb").is_file()


def cut(environment: str, size: int = CHUNK_IMAGES) -> list[RecordChunk]:
    """All records in chunks of `size`. Only keys are read. Raises UserError for a damaged environment."""
    found = version(Path(environment) / "data.mdb")
    with _reading(environment, found) as opened:
        entries = _check(opened, found[0])
        firsts: list[bytes] = []
        with opened.begin() as transaction, transaction.cursor() as cursor:
            previous, seen = b"", 0
            for key in cursor.iternext(keys=True, values=False):
                if key <= previous or seen == entries:  # pages that lead in a circle never end
                    raise ValueError("keys must ascend, as many as it announces")
                if seen % size == 0:
                    firsts.append(key)
                previous, seen = key, seen + 1
        if seen != entries:
            raise ValueError(f"it announces {entries:,} records and holds {seen:,}")
    return [RecordChunk(environment, found, key, min(size, seen - n * size)) for n, key in enumerate(firsts)]


def _bytes(value: Any) -> bytes:
    if len(value) > MAX_FILE_BYTES:  # before it is touched: a false length leads beyond the file
        raise ValueError(f"must hold at most {MAX_FILE_BYTES:,} bytes, got {len(value):,}")
    return bytes(value)


@contextlib.contextmanager
def _reading(environment: str, version: tuple[int, int]) -> Iterator[lmdb.Environment]:
    """The environment. Raises UserError in place of what a damaged one raises in the block."""
    try:
        yield _opened(environment, version)
    except (lmdb.Error, OSError, ValueError, MemoryError) as error:
        raise UserError(f"{environment} is no whole LMDB ({one_line(error)}): fetch it again") from error


@functools.lru_cache(1)
def _opened(environment: str, version: tuple[int, int]) -> lmdb.Environment:
    """Open an environment once in a process."""
    return lmdb.open(environment, readonly=True, lock=False, readahead=False, meminit=False, create=False)


def _check(opened: lmdb.Environment, size: int) -> int:
    """The number of records. Raises ValueError for a file shorter than its pages: to touch those is a bus error."""
    needed = (opened.info()["last_pgno"] + 1) * opened.stat()["psize"]
    if size < needed:
        raise ValueError(f"data.mdb must hold {needed:,} bytes, got {size:,}: it is cut short")
    if not opened.stat()["entries"]:
        raise ValueError("it holds no record")
    return opened.stat()["entries"]
