"""Features on disk: one matrix, filled by chunks, resumable after any stop, verified before it is used.

Layout of <root>/<key hash>/:
    features.f32   float32 [N, D], C order, little endian, no header; sparse until written
    features.f16   the same as float16, in a store of that type
    key.json       what the features depend on (features.key), with the shape and the chunk size
    chunks.json    the CRC-32 of each finished chunk of rows, null for the others; replaced whole after each chunk

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
from collections.abc import Iterable, Mapping
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
        progress: Progress | None = None,
    ) -> None:
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
        self._journal = self.folder / "chunks.json"
        self._row_bytes = width * self.dtype.itemsize
        self._bytes = rows * self._row_bytes
        self._checksums: list[int | None] = [None] * -(-rows // chunk_rows)
        self._running = 0  # checksum of the rows of the chunk being written
        self._next = -1  # the row that continues it
        self.rejected = self._verify(progress)
        if not self.complete:
            self._prepare(text)

    @property
    def complete(self) -> bool:
        """Whether every row is held."""
        return None not in self._checksums

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over the key hash and the chunks' checksums: it names the content. ValueError if incomplete."""
        self._require_complete()
        return hashlib.sha256(json.dumps([self.key_hash, self._checksums]).encode()).hexdigest()

    def has(self, row: int) -> bool:
        """Tell whether the chunk of this row is held."""
        return self._checksums[row // self.chunk_rows] is not None

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
            _replace(self._journal, json.dumps({"crc32": self._checksums}))

    def array(self) -> np.ndarray:
        """Return the features as a read-only memory map [rows, width]. Raises ValueError while incomplete."""
        self._require_complete()
        return np.memmap(self._data, dtype=self.dtype, mode="r", shape=self.shape)

    def _require_complete(self) -> None:
        """Raise ValueError, with how much is missing, unless every row is held."""
        if not self.complete:
            held = sum(checksum is not None for checksum in self._checksums)
            raise ValueError(
                f"features must be complete to be read, got {held} of {len(self._checksums)} chunks in "
                f"{self.folder}; run the extraction again to continue it"
            )

    def _verify(self, progress: Progress | None) -> int:
        """Take over the journal's checksums that the data match; return how many did not."""
        recorded = self._recorded()
        if all(checksum is None for checksum in recorded):
            return 0
        rejected = 0
        chunks: Iterable[tuple[int, int | None]] = enumerate(recorded)
        if progress is not None:
            chunks = progress(chunks, total=len(recorded), desc="verify features", unit="chunk")
        with self._data.open("rb", buffering=0) as file:
            for chunk, checksum in chunks:
                if checksum is None:
                    continue
                if self._checksum(file.fileno(), chunk) == checksum:
                    self._checksums[chunk] = checksum
                else:
                    rejected += 1
        return rejected

    def _recorded(self) -> list[int | None]:
        """Read the journal's checksums; all None if it or the data is missing, unreadable or of the wrong length."""
        nothing: list[int | None] = [None] * len(self._checksums)
        try:
            recorded = json.loads(self._journal.read_text())["crc32"]
            size = self._data.stat().st_size
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return nothing
        fits = isinstance(recorded, list) and len(recorded) == len(nothing) and size == self._bytes
        return recorded if fits else nothing

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


def _replace(file: Path, text: str) -> None:
    """Write the file whole or not at all."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        temporary.write_text(text)
        os.replace(temporary, file)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(file)) from error
