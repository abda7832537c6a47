"""LSUN's own form: an LMDB environment (a folder with data.mdb) of encoded images under ASCII keys.

The library trusts its file: one cut short, or with pages that lie, can end the process that reads it. So everything
here that opens an environment is meant for a worker process (`pool.in_processes`), whose end is one line.
"""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import lmdb

from experiments.data.images.decode import MAX_FILE_BYTES
from experiments.data.images.listing import printable
from experiments.run.errors import UserError

__all__ = ["CHUNK_RECORDS", "Range", "is_lmdb", "ranges", "records"]

CHUNK_RECORDS = 256


class Range(NamedTuple):
    """So many records in the order of the keys, the first of them with this key."""

    environment: str
    version: tuple[int, int]  # size and time of its file
    first: bytes
    size: int


def is_lmdb(folder: Path) -> bool:
    """Whether it looks like an environment."""
    return (folder / "data.mdb").is_file()


def ranges(environment: str) -> list[Range]:
    """All records, cut; the keys are streamed, no value is touched. Raises UserError for a damaged environment."""
    file = Path(environment) / "data.mdb"
    version = file.stat().st_size, file.stat().st_mtime_ns
    cut: list[Range] = []
    try:
        opened = _opened(environment, version)
        entries = _check(opened, version[0])
        with opened.begin() as transaction, transaction.cursor() as cursor:
            previous, seen, first = b"", 0, b""
            for key in cursor.iternext(keys=True, values=False):
                if key <= previous or seen == entries:  # pages that lead in a circle never end
                    raise ValueError("keys must ascend, as many as it announces")
                if seen % CHUNK_RECORDS == 0:
                    first = key
                previous, seen = key, seen + 1
                if seen % CHUNK_RECORDS == 0 or seen == entries:
                    cut.append(Range(environment, version, first, (seen - 1) % CHUNK_RECORDS + 1))
        if seen != entries:
            raise ValueError(f"it announces {entries:,} records and holds {seen:,}")
    except (lmdb.Error, OSError, ValueError, MemoryError) as error:
        raise _damaged(environment, error) from error
    return cut


def records(part: Range) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """The name and the reader of each record. Raises UserError for a damaged environment."""
    try:
        with _opened(part.environment, part.version).begin(buffers=True) as transaction:
            cursor = transaction.cursor()
            if not cursor.set_key(part.first):
                raise ValueError("a key is gone")
            left = part.size
            for key, value in cursor.iternext():
                yield printable(bytes(key)), functools.partial(_bytes, value)
                left -= 1
                if not left:
                    return
            raise ValueError("keys are gone")
    except (lmdb.Error, ValueError) as error:
        raise _damaged(part.environment, error) from error


def _bytes(value: Any) -> bytes:
    if len(value) > MAX_FILE_BYTES:  # before it is touched: a false length leads beyond the file
        raise ValueError(f"must hold at most {MAX_FILE_BYTES:,} bytes, got {len(value):,}")
    return bytes(value)


@functools.lru_cache(1)
def _opened(environment: str, version: tuple[int, int]) -> lmdb.Environment:
    """Opened once in a process, when it first needs it."""
    return lmdb.open(environment, readonly=True, lock=False, readahead=False, meminit=False, create=False)


def _check(opened: lmdb.Environment, size: int) -> int:
    """The number of records. Raises ValueError for a file shorter than its pages: touching those is a bus error."""
    needed = (opened.info()["last_pgno"] + 1) * opened.stat()["psize"]
    if size < needed:
        raise ValueError(f"data.mdb must hold {needed:,} bytes, got {size:,}: it is cut short")
    if not opened.stat()["entries"]:
        raise ValueError("it holds no record")
    return opened.stat()["entries"]


def _damaged(environment: str, error: Exception) -> UserError:
    return UserError(f"{environment} is no whole LMDB ({' '.join(str(error).split())}): fetch it again")
