"""Photographs of any size, mode and format, in a folder or a zip: hashes or thumbnails, on all cores, resumable.

Finished chunks are kept as RUNS_ROOT/photos/<digest>/<number>-<key>.chunk, a SHA-256 and the npz it is of. The key
covers names, sizes and times of a chunk's files and all that shapes the result, so that a stopped run goes on where it
was, a changed file is hashed again, and a damaged chunk is made anew.
"""

import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import PIL
from PIL import features

import dedup
from experiments.data.images.decode import MAX_FILE_BYTES
from experiments.data.images.listing import File, archive_version, cut, list_images, listed, reader
from experiments.run import chunks
from experiments.run.errors import UserError
from experiments.run.progress import Progress, silent
from experiments.run.workers import WorkerDied, cores, in_order

__all__ = ["Photos", "Work", "read", "work"]

FORMAT = 2  # raise it when hashes, thumbnails or the chunks' layout change: older chunks are then made again


@dataclass(frozen=True)
class Photos:
    """What was read, in the order of the names.

    names: paths inside the source, sorted, of the files that are images.
    images: uint8 [N, side, side, 3], RGB thumbnails, each photograph squashed to a square, a read-only memory map; None
    where none were asked for.
    codes: uint64 [N] for each hash, of the photographs themselves, bit for bit imagehash's.
    skipped: (name, reason) of every file that is named like an image and could not be used, sorted.
    digest: SHA-256 over all of the above (64 hex digits).
    files: where each is read again.
    """

    names: list[str]
    images: np.ndarray | None
    codes: dict[str, np.ndarray]
    skipped: list[tuple[str, str]]
    digest: str
    files: list[dedup.File]


class Work(NamedTuple):
    """How much there is to read."""

    files: int
    bytes: int


def work(source: Path) -> Work:
    """What `read` would read of the folder or zip `source`, found by names alone. Raises UserError where it is none."""
    files, _ = listed(source)
    return Work(len(files), sum(file.version[0] for file in files))


def read(
    source: Path,
    *,
    runs_root: Path,
    hashes: Sequence[str] = ("phash",),
    side: int | None = 64,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Photos:
    """Hash every photograph in the folder (and the folders in it; links to folders are not followed) or zip `source`.

    hashes: of "phash", "ahash", "dhash". side: of the thumbnails, pixels; None makes none, and hashing faster by a
    quarter. workers: processes, by default one a core; their number does not change the result.

    Raises UserError where `source` is neither, holds no image, or a worker was killed; OSError where RUNS_ROOT cannot
    be written.
    """
    files, skipped = list_images(source)
    made_by = [FORMAT, sorted(hashes), side, PIL.__version__, features.version("libjpeg_turbo")]
    folder = runs_root / "photos" / chunks.digest(str(source.resolve()), made_by)
    folder.mkdir(parents=True, exist_ok=True)
    pieces = [
        _Chunk(folder / f"{number:05}-{chunks.digest(files, made_by)}.chunk", files)
        for number, files in enumerate(cut(files))
    ]

    names: list[str] = []
    readers: list[dedup.File] = []
    archive = archive_version(source)
    codes: dict[str, list[np.ndarray]] = {name: [] for name in hashes}
    digest = hashlib.sha256()

    def taken(scratch: IO[bytes]) -> Iterator[str]:
        """Takes up one chunk after the other; yields the name of every file."""
        job = partial(_result, source, hashes=tuple(hashes), side=side)
        missing = sum(not chunk.file.exists() for chunk in pieces)
        results = in_order(job, pieces, workers=min(workers or cores(), missing))
        for chunk, hashed in zip(pieces, results, strict=True):
            names.extend(chunk.files[i].name for i in hashed.kept)
            readers.extend(reader(source, archive, chunk.files[i].path) for i in hashed.kept)
            for name in hashes:
                codes[name].append(hashed.codes[name])
                digest.update(hashed.codes[name].data)
            if hashed.images is not None:
                digest.update(hashed.images.data)
                scratch.write(hashed.images.data)
            skipped.extend((chunk.files[file.place].name, file.reason) for file in hashed.skipped)
            yield from (file.name for file in chunk.files)

    with tempfile.TemporaryFile(dir=folder) as scratch:  # the map below keeps it while it is needed, and no longer
        try:
            for _ in (progress or silent)(taken(scratch), total=len(files), desc=f"hashing {source.name}", unit="file"):
                pass
        except WorkerDied as error:
            raise UserError(
                f"{error}, perhaps for want of memory: free some or use fewer workers, and run it again; "
                "what was finished is kept"
            ) from error
        if not names:
            raise UserError(f"no image in {source} can be read ({skipped[0][0]}: {skipped[0][1]}): name another source")
        scratch.flush()
        images = None if side is None else np.memmap(scratch, np.uint8, "r", shape=(len(names), side, side, 3))
    for stale in set(folder.glob("*.chunk")) - {chunk.file for chunk in pieces}:
        stale.unlink(missing_ok=True)
    skipped.sort()
    digest.update(json.dumps([names, skipped]).encode())
    return Photos(
        names,
        images,
        {name: np.concatenate(parts) for name, parts in codes.items()},
        skipped,
        digest.hexdigest(),
        readers,
    )


@dataclass(frozen=True)
class _Chunk:
    file: Path  # where its result is kept
    files: list[File]


def _result(source: Path, chunk: _Chunk, *, hashes: Sequence[str], side: int | None) -> dedup.HashedFiles:
    """What was kept of the chunk, or else what its files give now."""
    kept = _load(chunk.file, hashes)
    if kept is not None:
        return kept
    archive = archive_version(source)
    files = [reader(source, archive, file.path) for file in chunk.files]
    hashed = dedup.hash_files(files, hashes=hashes, side=side, max_file_bytes=MAX_FILE_BYTES)
    if not any(file.unread for file in hashed.skipped):  # that may pass, and leave the key as it is
        _save(chunk.file, hashed)
    return hashed


def _save(file: Path, hashed: dedup.HashedFiles) -> None:
    arrays: dict[str, np.ndarray] = {
        "kept": hashed.kept,
        "skipped": np.frombuffer(json.dumps(hashed.skipped).encode(), np.uint8),
    }
    if hashed.images is not None:
        arrays["images"] = hashed.images
    chunks.save(file, {**arrays, **hashed.codes})


def _load(file: Path, hashes: Sequence[str]) -> dedup.HashedFiles | None:
    """The kept result; None where there is none or where it is damaged."""
    arrays = chunks.load(file)
    if arrays is None:
        return None
    skipped = [dedup.Skipped(*values) for values in json.loads(arrays["skipped"].tobytes())]
    return dedup.HashedFiles(arrays["kept"], {name: arrays[name] for name in hashes}, arrays.get("images"), skipped)
