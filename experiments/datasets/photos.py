"""Photographs of any size, mode and format, in a folder or a zip: hashes or thumbnails, on all cores, resumable.

Finished chunks are kept as RUNS_ROOT/photos/<digest>/<number>-<key>.chunk, a SHA-256 and the npz it is of. The key
covers names, sizes and times of a chunk's files and all that shapes the result, so that a stopped run goes on where it
was, a changed file is hashed again, and a damaged chunk is made anew.
"""

import functools
import hashlib
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import PIL
from PIL import features

import dedup
from experiments.atomic import write_bytes
from experiments.datasets.images import MAX_FILE_BYTES
from experiments.datasets.progress import Progress, follow
from experiments.errors import UserError
from experiments.pool import WorkerDied, cores, in_order

__all__ = ["SUFFIXES", "Photos", "Work", "read", "work"]

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".webp", ".avif", ".heic", ".heif", ".bmp", ".dib"),
    *(".tif", ".tiff", ".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".pcx", ".ico"),
)
FORMAT = 2  # raise it when hashes, thumbnails or the chunks' layout change: older chunks are then made again
CHUNK_FILES, CHUNK_BYTES = 256, 32 * 2**20  # of image files: about a second's work


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
    files, _ = _listed(source)
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
    files, skipped = _listed(source)
    if not files:
        why = f" ({skipped[0][0]}: {skipped[0][1]})" if skipped else ""
        raise UserError(
            f"no images in {source}{why}: name a folder or a zip that holds .jpg, .png or other image files"
        )
    made_by = [FORMAT, sorted(hashes), side, PIL.__version__, features.version("libjpeg_turbo")]
    folder = runs_root / "photos" / _digest(str(source.resolve()), made_by)
    folder.mkdir(parents=True, exist_ok=True)
    chunks = [
        _Chunk(folder / f"{number:05}-{_digest(files, made_by)}.chunk", files)
        for number, files in enumerate(_cut(files))
    ]

    names: list[str] = []
    readers: list[dedup.File] = []
    archive = _archive(source)
    codes: dict[str, list[np.ndarray]] = {name: [] for name in hashes}
    digest = hashlib.sha256()

    def taken(scratch: IO[bytes]) -> Iterator[str]:
        """Takes up one chunk after the other; yields the name of every file."""
        job = partial(_result, source, hashes=tuple(hashes), side=side)
        missing = sum(not chunk.file.exists() for chunk in chunks)
        results = in_order(job, chunks, workers=min(workers or cores(), missing))
        for chunk, hashed in zip(chunks, results, strict=True):
            names.extend(chunk.files[i].name for i in hashed.kept)
            readers.extend(_reader(source, archive, chunk.files[i].path) for i in hashed.kept)
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
            for _ in follow(progress, taken(scratch), total=len(files), desc=f"hashing {source.name}", unit="file"):
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
    for stale in set(folder.glob("*.chunk")) - {chunk.file for chunk in chunks}:
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


class _File(NamedTuple):
    path: str  # inside the source, as the system spells it
    version: tuple[int, int]  # (size in bytes, time of the last change or CRC): another one, another content

    @property
    def name(self) -> str:
        """The path as text that can be written anywhere and on one line, whatever the system lets names hold."""
        text = self.path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


@dataclass(frozen=True)
class _Chunk:
    file: Path  # where its result is kept
    files: list[_File]


def _listed(source: Path) -> tuple[list[_File], list[tuple[str, str]]]:
    """(what is named like an image, sorted; folders that cannot be looked into, with the reason)."""
    if source.is_dir():
        unread: list[tuple[str, str]] = []

        def refused(error: OSError) -> None:
            unread.append((os.path.relpath(error.filename, source), error.strerror or str(error)))

        paths = [
            os.path.relpath(os.path.join(folder, name), source)
            for folder, folders, files in os.walk(source, onerror=refused)
            for name in (*folders, *files)
            if _is_named_like_an_image(name)
        ]
        return [_File(path.replace(os.sep, "/"), _version(source / path)) for path in sorted(paths)], unread
    if not source.exists():
        raise UserError(f"no folder or zip {source}: check the path")
    try:
        with zipfile.ZipFile(source) as archive:
            members = {info.filename: (info.file_size, info.CRC) for info in archive.infolist()}
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(f"{source} is neither a folder nor a complete zip ({error}): fetch it again") from error
    return [_File(*member) for member in sorted(members.items()) if _is_named_like_an_image(member[0])], []


def _is_named_like_an_image(path: str) -> bool:
    name = path.rsplit("/", 1)[-1]
    return os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith("._")  # a Mac's notes on a file


def _version(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
        return status.st_size, status.st_mtime_ns
    except OSError:  # a dangling link, say: reading it will tell
        return 0, 0


def _cut(files: list[_File]) -> Iterator[list[_File]]:
    chunk: list[_File] = []
    size = 0
    for file in files:
        chunk.append(file)
        size += file.version[0]
        if len(chunk) == CHUNK_FILES or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _result(source: Path, chunk: _Chunk, *, hashes: Sequence[str], side: int | None) -> dedup.HashedFiles:
    """What was kept of the chunk, or else what its files give now."""
    kept = _load(chunk.file, hashes)
    if kept is not None:
        return kept
    archive = _archive(source)
    files = [_reader(source, archive, file.path) for file in chunk.files]
    hashed = dedup.hash_files(files, hashes=hashes, side=side, max_file_bytes=MAX_FILE_BYTES)
    if not any(file.unread for file in hashed.skipped):  # that may pass, and leave the key as it is
        _save(chunk.file, hashed)
    return hashed


def _archive(source: Path) -> tuple[str, int, int] | None:
    """What tells a zip from what it becomes later; None for a folder."""
    return None if source.is_dir() else (str(source), *_version(source))


def _reader(source: Path, archive: tuple[str, int, int] | None, path: str) -> dedup.File:
    return source / path if archive is None else partial(_read_member, archive, path)


def _read_member(archive: tuple[str, int, int], path: str) -> bytes:
    opened = _opened(archive)
    size = opened.getinfo(path).file_size
    if size > MAX_FILE_BYTES:
        raise ValueError(f"must hold at most {MAX_FILE_BYTES:,} bytes, got {size:,}")
    return opened.read(path)


@functools.lru_cache(1)
def _opened(archive: tuple[str, int, int]) -> zipfile.ZipFile:
    """Opened once in a process: the list of a large zip takes longer to read than an image."""
    return zipfile.ZipFile(archive[0])


def _save(file: Path, hashed: dedup.HashedFiles) -> None:
    buffer = io.BytesIO()
    skipped = np.frombuffer(json.dumps(hashed.skipped).encode(), np.uint8)
    images = {} if hashed.images is None else {"images": hashed.images}
    np.savez(buffer, kept=hashed.kept, skipped=skipped, **images, **hashed.codes)  # type: ignore[arg-type]
    content = buffer.getvalue()
    write_bytes(file, hashlib.sha256(content).digest() + content)


def _load(file: Path, hashes: Sequence[str]) -> dedup.HashedFiles | None:
    """The kept result; None where there is none or where it is damaged."""
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return None
    if hashlib.sha256(content[32:]).digest() != content[:32]:
        return None
    with np.load(io.BytesIO(content[32:]), allow_pickle=False) as arrays:
        skipped = [dedup.Skipped(*values) for values in json.loads(arrays["skipped"].tobytes())]
        images = arrays.get("images")
        return dedup.HashedFiles(arrays["kept"], {name: arrays[name] for name in hashes}, images, skipped)


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
