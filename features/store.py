"""Features on disk: one matrix, filled by chunks, resumable after any stop, verified before it is used.

Layout of <root>/<key hash>/:
    features.f32   float32 [N, D], C order, little endian, no header; sparse until written
    features.f16   the same as float16, in a store of that type
    key.json       what the features depend on (features.key), with the shape and the chunk size
    chunks.json    the CRC-32 of each finished chunk of rows, null for the others; replaced whole after each chunk
    chunks.I.json  the same, written by process I of several; once all chunks are there, chunks.json takes their place

Several processes fill one store, each its own part of the chunks (`part`). Whoever opens the store reads all journals,
so a store that N processes began can be continued by any other number.
A chunk counts as held only if its bytes match its checksum when the store is opened. So the order in which the system
wrote pages does not matter: a torn, truncated or corrupted chunk is computed again.
The checksum is CRC-32 because it must catch faults, not forgery, and because the whole matrix (5.7 GB at 50,000 x
28,672) is read at every opening. zlib's CRC-32 is about four times as fast as BLAKE2b and six times as fast as SHA-256;
it misses one damaged chunk in 2**32.
Rows are written with plain file writes, because the pages of a memory map would count as the process's memory.
"""

import errno
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from features.images import Progress

_FORMAT = 1
_FILES = {"float32": "features.f32", "float16": "features.f16"}
_PIECE_BYTES = 1 << 24  # read at a time when verifying: long enough for full disk speed, small in memory


class FeatureStore:
    """A matrix [rows, width] on disk under a key. Opening a store that exists verifies and continues it.

    root: the folder of all stores. key: a JSON-able mapping (see features.key.feature_key); each key has its own store.
    chunk_rows: rows per checksum, the most that a stop can lose.
    dtype: "float32", or "float16" for half the disk; each has its own store.
    part: (i, n) for process i of n that fill the store together, each a share of whole chunks. `rejected`, `complete`,
    `array` and `extract` are then about the rows of this part; after `merge`, about all rows. Process 0 makes the
    files, so the others must not write before its store is open.
    progress: shows the verification of an existing store.
    Raises ValueError for an impossible shape, type or key, and OSError (one line) when the disk is too full or the root
    cannot be written.

    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, 2, 1), torch.nn.ReLU())
    >>> backbone = features.Backbone.from_model(net)
    >>> images = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    >>> store = features.FeatureStore("stores", {"images": "noise"}, rows=20, width=128)
    >>> X = features.extract(backbone, images, out=store)
    >>> again = features.FeatureStore("stores", {"images": "noise"}, rows=20, width=128)
    >>> again.complete, np.array_equal(again.array(), X)
    (True, True)
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        key: Mapping[str, Any],
        *,
        rows: int,
        width: int,
        chunk_rows: int = 1024,
        dtype: str = "float32",
        part: tuple[int, int] = (0, 1),
        progress: Progress | None = None,
    ) -> None:
        if not 0 <= part[0] < part[1]:
            raise ValueError(f"part must be (i, n) with 0 <= i < n, got {part}")
        if min(rows, width, chunk_rows) < 1:
            raise ValueError(f"rows, width and chunk_rows must be at least 1, got {rows}, {width}, {chunk_rows}")
        if dtype not in _FILES:
            raise ValueError(f"dtype must be one of {', '.join(_FILES)}, got {dtype!r}")
        self.shape = (rows, width)
        self.dtype = np.dtype(dtype).newbyteorder("<")
        self.chunk_rows = chunk_rows
        layout: dict[str, Any] = {"format": _FORMAT, "rows": rows, "width": width, "chunk_rows": chunk_rows}
        if dtype != "float32":  # stores that were made before there was another type do not name theirs
            layout["dtype"] = dtype
        whole = {**key, "store": layout}
        try:
            text = json.dumps(whole, sort_keys=True, allow_nan=False, indent=1)
        except (TypeError, ValueError) as error:
            raise ValueError(f"key must be made of JSON values, got {error}") from error
        self.key_hash = hashlib.sha256(text.encode()).hexdigest()[:16]
        self.folder = Path(root) / self.key_hash
        self._data = self.folder / _FILES[dtype]
        self._whole_journal = self.folder / "chunks.json"
        self._journal = self._whole_journal if part[1] == 1 else self.folder / f"chunks.{part[0]}.json"
        self._row_bytes = width * self.dtype.itemsize
        self._bytes = rows * self._row_bytes
        self._checksums: list[int | None] = [None] * -(-rows // chunk_rows)
        self._first = part[0] == 0
        self._part = _share(len(self._checksums), *part)  # its chunks
        # what this process's journal said of other parts: kept, since no other journal may say it
        self._others: list[Any] = []
        self._running = 0  # checksum of the rows of the chunk being written
        self._next = -1  # the row that continues it
        self.rejected = self._verify(progress)
        if self._first and not self.complete:
            self._prepare(text)

    @property
    def complete(self) -> bool:
        """Whether every row of the part is held."""
        return None not in self.checksums

    @property
    def checksums(self) -> list[int | None]:
        """The CRC-32 of each chunk of the part, None for those that are not held."""
        return self._checksums[self._part]

    @property
    def part_rows(self) -> slice:
        """The rows of the part."""
        start, stop, _ = self._part.indices(len(self._checksums))
        return slice(*(min(chunk * self.chunk_rows, self.shape[0]) for chunk in (start, stop)))

    def merge(self, checksums: Sequence[int | None]) -> None:
        """Make the parts one: from now on this store is about all rows.

        checksums: those of all parts, in their order, as the processes have just verified or written them; they are
        not verified again. Process 0 writes the common journal and removes those of the parts.
        Raises ValueError unless there is a checksum for each chunk, and this part's are its own.
        """
        if len(checksums) != len(self._checksums) or None in checksums or list(checksums[self._part]) != self.checksums:
            held = sum(checksum is not None for checksum in checksums)
            raise ValueError(f"checksums must be those of all {len(self._checksums)} chunks, got {held}")
        self._checksums, self._part, self._journal = list(checksums), slice(None), self._whole_journal
        if self._first and self._part_journals():
            self._consolidate()

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over the key hash and the chunks' checksums: it names the content. ValueError if incomplete."""
        self._require(self._checksums)
        return hashlib.sha256(json.dumps([self.key_hash, self._checksums]).encode()).hexdigest()

    def has(self, row: int) -> bool:
        """Tell whether the chunk of this row is held."""
        return self._checksums[row // self.chunk_rows] is not None

    def needs(self, row: int) -> bool:
        """Tell whether the chunk of this row belongs to the part and is not held."""
        return self.part_rows.start <= row < self.part_rows.stop and not self.has(row)

    def write(self, start: int, block: np.ndarray) -> None:
        """Store [n, width] of the store's type as rows start .. start + n - 1.

        A block must lie within one chunk. Chunks may come in any order; the rows of a chunk must come in sequence, from
        its first row on. A chunk is held once its last row is written. Raises ValueError for other blocks.
        """
        rows, width = self.shape
        stop, chunk = start + len(block), start // self.chunk_rows
        end = min((chunk + 1) * self.chunk_rows, rows)
        if block.dtype != self.dtype or block.shape[1:] != (width,) or not 0 <= start < stop <= end:
            raise ValueError(
                f"block must be {self.dtype.name} [n, {width}] within rows {chunk * self.chunk_rows}..{end - 1}, "
                f"got {block.dtype} {list(block.shape)} at row {start}"
            )
        if start % self.chunk_rows == 0:
            self._running, self._checksums[chunk] = 0, None
        elif start != self._next:
            raise ValueError(f"rows of a chunk must be written in sequence, expected row {self._next}, got {start}")
        content = np.ascontiguousarray(block).data.cast("B")
        try:
            with self._data.open("r+b") as file:
                file.seek(start * self._row_bytes)
                file.write(content)
        except OSError as error:  # that of a write names no file
            raise OSError(error.errno, error.strerror, str(self._data)) from error
        self._running, self._next = zlib.crc32(content, self._running), stop
        if stop == end:
            self._checksums[chunk] = self._running
            known: list[Any] = list(self._others or self._checksums)
            known[self._part] = self.checksums
            _replace(self._journal, json.dumps({"crc32": known}))

    def array(self) -> np.ndarray:
        """Return the part's features as a read-only memory map [rows, width]. Raises ValueError while incomplete."""
        self._require(self.checksums)
        return np.memmap(self._data, dtype=self.dtype, mode="r", shape=self.shape)[self.part_rows]

    def _require(self, checksums: Sequence[int | None]) -> None:
        """Raise ValueError, with how much is missing, unless all of these chunks are held."""
        if None in checksums:
            held = sum(checksum is not None for checksum in checksums)
            raise ValueError(
                f"features must be complete to be read, got {held} of {len(checksums)} chunks in "
                f"{self.folder}; run the extraction again to continue it"
            )

    def _verify(self, progress: Progress | None) -> int:
        """Take over the checksums of the part in all journals that the data match; return how many did not."""
        journals = self._recorded()
        self._others = journals.get(self._journal, [])
        start, stop, _ = self._part.indices(len(self._checksums))
        claimed = {n: [j[n] for j in journals.values() if j[n] is not None] for n in range(start, stop)}
        if not any(claimed.values()):
            return 0
        chunks: Iterable[int] = claimed
        if progress is not None:
            chunks = progress(chunks, total=len(claimed), desc="verify features", unit="chunk")
        rejected = 0
        with self._data.open("rb", buffering=0) as file:
            for chunk in chunks:
                if claimed[chunk] and (checksum := self._checksum(file.fileno(), chunk)) in claimed[chunk]:
                    self._checksums[chunk] = checksum
                else:
                    rejected += bool(claimed[chunk])
        if self._journal == self._whole_journal and self._part_journals():
            self._consolidate()
        return rejected

    def _recorded(self) -> dict[Path, list[Any]]:
        """Read the checksums of all journals; none of those that are unreadable or of the wrong length.

        There are none if the data is missing or of the wrong length.
        """
        found: dict[Path, list[Any]] = {}
        try:
            if self._data.stat().st_size != self._bytes:
                return found
        except OSError:
            return found
        for file in (self._whole_journal, *self._part_journals()):
            try:
                recorded = json.loads(file.read_text())["crc32"]
            except (OSError, ValueError, KeyError, TypeError, RecursionError):
                continue
            if isinstance(recorded, list) and len(recorded) == len(self._checksums):
                found[file] = recorded
        return found

    def _part_journals(self) -> list[Path]:
        """Return the journals that parts have written, sorted."""
        return sorted(self.folder.glob("chunks.*.json"))

    def _consolidate(self) -> None:
        """Write the common journal, then remove those of the parts."""
        _replace(self._whole_journal, json.dumps({"crc32": self._checksums}))
        for file in self._part_journals():
            file.unlink(missing_ok=True)

    def _checksum(self, descriptor: int, chunk: int) -> int:
        """Return the CRC-32 of the chunk's bytes on disk (fewer than its length if the file ends early)."""
        chunk_bytes = self.chunk_rows * self._row_bytes
        offset = chunk * chunk_bytes
        end = min(offset + chunk_bytes, self._bytes)
        checksum = 0
        while offset < end and (piece := os.pread(descriptor, min(_PIECE_BYTES, end - offset), offset)):
            checksum = zlib.crc32(piece, checksum)
            offset += len(piece)
        return checksum

    def _prepare(self, key_text: str) -> None:
        """Make the folder, the key and the data file at full length, if there is room for what is not written yet."""
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            written = self._data.stat().st_blocks * 512 if self._data.exists() else 0
            needed, free = max(0, self._bytes - written), shutil.disk_usage(self.folder.parent).free
            if needed > free:
                raise OSError(errno.ENOSPC, f"needs {needed:,} bytes, {free:,} are free")
            self.folder.mkdir(exist_ok=True)
            _replace(self.folder / "key.json", key_text)
            with self._data.open("ab") as file:
                file.truncate(self._bytes)
                if hasattr(os, "posix_fallocate"):  # reserves the space, so that other programs cannot take it
                    os.posix_fallocate(file.fileno(), 0, self._bytes)
        except OSError as error:
            reason = error.strerror or str(error)
            raise OSError(
                error.errno,
                f"cannot store features ({reason}); free space or choose another folder",
                str(self.folder),
            ) from error


def _share(chunks: int, i: int, n: int) -> slice:
    """Return the chunks of part i of n: contiguous, the first parts one longer where they do not divide evenly."""
    return slice(*(chunks // n * k + min(k, chunks % n) for k in (i, i + 1)))


def _replace(file: Path, text: str) -> None:
    """Write the file whole or not at all."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        temporary.write_text(text)
        os.replace(temporary, file)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(file)) from error
