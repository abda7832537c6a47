"""The image files of a folder or zip, found by name: listed in order, cut into chunks, read one by one.

A folder that holds zips and no image counts as one zip of them all; a path there begins with its zip's name.
"""

import functools
import os
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import dedup
from experiments.data.images.decode import MAX_FILE_BYTES
from experiments.run.errors import UserError

__all__ = [
    "SUFFIXES",
    "File",
    "archive_version",
    "cut",
    "file_at",
    "list_images",
    "listed",
    "members",
    "printable",
    "reader",
    "zips",
]

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".webp", ".avif", ".heic", ".heif", ".bmp", ".dib"),
    *(".tif", ".tiff", ".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".pcx", ".ico"),
)
CHUNK_FILES, CHUNK_BYTES = 256, 32 * 2**20  # of image files: about a second's work


class File(NamedTuple):
    """One image file of a source, told from what it may become later."""

    path: str  # inside the source, as the system spells it; in one of a folder's zips: "a.zip/path inside"
    version: tuple[int, int]  # (size in bytes, time of the last change or CRC): another one, another content

    @property
    def name(self) -> str:
        """The path as text that can be written anywhere and on one line, whatever the system lets names hold."""
        return printable(self.path.encode("utf-8", "surrogateescape"))


def printable(name: bytes) -> str:
    """A name as text on one line; what cannot be shown is escaped."""
    text = name.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def list_images(source: Path) -> tuple[list[File], list[tuple[str, str]]]:
    """`listed`, where there must be one. Raises UserError where there is none."""
    files, unread = listed(source)
    if not files:
        why = f" ({unread[0][0]}: {unread[0][1]})" if unread else ""
        raise UserError(
            f"no images in {source}{why}: name a folder or a zip that holds .jpg, .png or other image files"
        )
    return files, unread


def listed(source: Path) -> tuple[list[File], list[tuple[str, str]]]:
    """(what is named like an image, sorted; folders that cannot be looked into, with the reason).

    What lies in a folder's zips is sorted by the path inside, then by the zip. Raises UserError for a broken zip.
    """
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
        if paths:
            return [file_at(source, path.replace(os.sep, "/")) for path in sorted(paths)], unread
        return members(source), unread
    if not source.exists():
        raise UserError(f"no folder or zip {source}: check the path")
    return _members(source), []


def file_at(folder: Path, path: str) -> File:
    """The file of that path inside the folder."""
    return File(path, _version(folder / path))


def members(folder: Path) -> list[File]:
    """The images in the folder's zips, sorted by the path inside, then the zip. Raises UserError for a broken zip."""
    zipped = [(member.path, archive.name, member.version) for archive in zips(folder) for member in _members(archive)]
    return [File(f"{archive}/{path}", version) for path, archive, version in sorted(zipped)]


def zips(folder: Path) -> list[Path]:
    """The folder's own zips, sorted."""
    return [path for path in sorted(folder.glob("*")) if _is_named_like_a_zip(path.name) and path.is_file()]


def _is_named_like_a_zip(name: str) -> bool:
    return name.lower().endswith(".zip") and not name.startswith("._")


def _members(source: Path) -> list[File]:
    """The images of a zip, sorted."""
    try:
        with zipfile.ZipFile(source) as archive:
            members = {info.filename: (info.file_size, info.CRC) for info in archive.infolist()}
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError) as error:  # names, versions that it does not know
        raise UserError(f"{source} is neither a folder nor a complete zip ({error}): fetch it again") from error
    return [File(*member) for member in sorted(members.items()) if _is_named_like_an_image(member[0])]


def _is_named_like_an_image(path: str) -> bool:
    name = path.rsplit("/", 1)[-1]
    return os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith("._")  # a Mac's notes on a file


def _version(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
        return status.st_size, status.st_mtime_ns
    except OSError:  # a dangling link, say: reading it will tell
        return 0, 0


def cut(files: list[File]) -> Iterator[list[File]]:
    """The files in their order, in chunks of up to CHUNK_FILES that end once they hold CHUNK_BYTES."""
    chunk: list[File] = []
    size = 0
    for file in files:
        chunk.append(file)
        size += file.version[0]
        if len(chunk) == CHUNK_FILES or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def archive_version(source: Path) -> tuple[str, int, int] | None:
    """What tells a zip from what it becomes later; None for a folder."""
    return None if source.is_dir() else (str(source), *_version(source))


def reader(source: Path, archive: tuple[str, int, int] | None, path: str) -> dedup.File:
    """Where the file `path` of the source is read: its path, or a function that gives a zip member's bytes."""
    if archive is not None:
        return partial(_read_member, archive, path)
    first, _, inner = path.partition("/")
    if inner and _is_named_like_a_zip(first) and (source / first).is_file():
        return partial(_read_member, (str(source / first), *_version(source / first)), inner)
    return source / path


def _read_member(archive: tuple[str, int, int], path: str) -> bytes:
    opened = _opened(archive)
    size = opened.getinfo(path).file_size
    if size > MAX_FILE_BYTES:
        raise ValueError(f"must hold at most {MAX_FILE_BYTES:,} bytes, got {size:,}")
    return opened.read(path)


@functools.lru_cache(16)
def _opened(archive: tuple[str, int, int]) -> zipfile.ZipFile:
    """Opened once in a process: the list of a large zip takes longer to read than an image."""
    return zipfile.ZipFile(archive[0])
