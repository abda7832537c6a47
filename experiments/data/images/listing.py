"""Find the image files of a folder or zip by their names: list them in order, cut them into chunks, read each.

A folder that holds zips but no image counts as one zip with the members of all of them. Each path then begins with the
name of its zip.
"""

import functools
import os
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import dedup
from dedup.files import read_file
from experiments.data.images.decode import MAX_FILE_BYTES
from experiments.run.errors import UserError
from experiments.run.filenames import shown

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".webp", ".avif", ".heic", ".heif", ".bmp", ".dib"),
    *(".tif", ".tiff", ".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".pcx", ".ico"),
)
CHUNK_IMAGES, CHUNK_BYTES = 256, 32 * 2**20  # about a second's work


class File(NamedTuple):
    """One image file of a source, with a version that changes when its content does."""

    path: str  # inside the source, as the system spells it; for a member of a folder's zip "a.zip/path inside"
    version: tuple[int, int]  # (size in bytes, time of the last change or CRC)

    @property
    def name(self) -> str:
        """The path as text on one line, for people; `path` is what opens the file."""
        return shown(self.path)


class FileChunk(NamedTuple):
    """Some image files of the folder or zip `source`."""

    source: Path
    files: list[File]

    @property
    def size(self) -> int:
        """The number of files."""
        return len(self.files)

    @property
    def key(self) -> object:
        """JSON values that change when one of the files does."""
        return self.files

    def readers(self) -> list[dedup.File]:
        """Return, for each file, how to read it: its path, or a function that returns the bytes of a zip's member."""
        return [_reader(self.source, file.path) for file in self.files]

    def records(self) -> Iterator[tuple[str, Callable[[], bytes]]]:
        """Yield the name of each file, and the function that reads it."""
        for file, reader in zip(self.files, self.readers(), strict=True):
            yield file.name, partial(read_file, reader, MAX_FILE_BYTES)


def cut(source: Path, files: list[File], most: int = CHUNK_IMAGES) -> Iterator[FileChunk]:
    """Yield the files in their order, in chunks of up to `most` files. A chunk also ends once it holds CHUNK_BYTES."""
    chunk: list[File] = []
    size = 0
    for file in files:
        chunk.append(file)
        size += file.version[0]
        if len(chunk) == most or size >= CHUNK_BYTES:
            yield FileChunk(source, chunk)
            chunk, size = [], 0
    if chunk:
        yield FileChunk(source, chunk)


def list_images(source: Path) -> tuple[list[File], list[tuple[str, str]]]:
    """Return the files that are named like images, sorted, and (folder, reason) of each folder that cannot be listed.

    The members of a folder's zips are sorted by the path inside, then by the zip. Raises UserError for a broken zip,
    and if there is no image.
    """
    if not source.exists():
        raise UserError(f"no folder or zip {source}: check the path")
    unread: list[tuple[str, str]] = []
    files = (_files(source, unread) or members(source)) if source.is_dir() else _members(source)
    if not files:
        why = f" ({unread[0][0]}: {unread[0][1]})" if unread else ""
        raise UserError(
            f"no images in {source}{why}: name a folder or a zip that holds .jpg, .png or other image files"
        )
    return files, unread


def _files(folder: Path, unread: list[tuple[str, str]]) -> list[File]:
    """Return the image files of a folder (not of its zips), sorted; add folders that cannot be listed to `unread`."""

    def note(error: OSError) -> None:
        unread.append((os.path.relpath(error.filename, folder), error.strerror or str(error)))

    paths = [
        os.path.relpath(os.path.join(inner, name), folder)
        for inner, folders, files in os.walk(folder, onerror=note)
        for name in (*folders, *files)
        if _is_named_like_an_image(name)
    ]
    return [File(path, version(folder / path)) for path in sorted(paths)]


def members(folder: Path) -> list[File]:
    """The images in the folder's zips, sorted by the path inside, then the zip. Raises UserError for a broken zip."""
    zipped = [(member.path, archive.name, member.version) for archive in zips(folder) for member in _members(archive)]
    return [File(f"{archive}/{path}", version) for path, archive, version in sorted(zipped)]


def zips(folder: Path) -> list[Path]:
    """The zips in the folder itself, sorted."""
    return [path for path in sorted(folder.glob("*")) if _is_named_like_a_zip(path.name) and path.is_file()]


def _members(source: Path) -> list[File]:
    """The images of a zip, sorted."""
    try:
        with zipfile.ZipFile(source) as archive:
            members = {info.filename: (info.file_size, info.CRC) for info in archive.infolist()}
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError) as error:  # also names and versions it cannot read
        raise UserError(f"{source} is neither a folder nor a complete zip ({error}): fetch it again") from error
    return [File(*member) for member in sorted(members.items()) if _is_named_like_an_image(member[0])]


def _is_named_like_a_zip(name: str) -> bool:
    return name.lower().endswith(".zip") and not name.startswith("._")


def _is_named_like_an_image(path: str) -> bool:
    name = path.rsplit("/", 1)[-1]
    return os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith("._")  # macOS metadata about a file


def version(path: Path) -> tuple[int, int]:
    """Return (size in bytes, time of the last change), which changes when the file's content does."""
    try:
        status = path.stat()
        return status.st_size, status.st_mtime_ns
    except OSError:  # a dangling link, for example: reading it gives the reason
        return 0, 0


def _reader(source: Path, path: str) -> dedup.File:
    archive, inside = source, path
    if source.is_dir():
        first, _, inside = path.partition("/")
        archive = source / first
        if not (inside and _is_named_like_a_zip(first) and archive.is_file()):
            return source / path
    return partial(_read_member, archive, version(archive), inside)


def _read_member(archive: Path, version: tuple[int, int], path: str) -> bytes:
    opened = _opened(archive, version)
    size = opened.getinfo(path).file_size
    if size > MAX_FILE_BYTES:
        raise ValueError(f"must hold at most {MAX_FILE_BYTES:,} bytes, got {size:,}")
    return opened.read(path)


@functools.lru_cache(16)
def _opened(archive: Path, version: tuple[int, int]) -> zipfile.ZipFile:
    """Open a zip once in a process: reading the list of a large zip takes longer than reading an image."""
    return zipfile.ZipFile(archive)
