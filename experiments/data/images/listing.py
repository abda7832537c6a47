"""Find the image files of a folder or zip by their names: list them in order, cut them into chunks, read each.

Every file is accounted for: it is read, or listed with the reason why not, or its name promises no image. Zips in a
folder are read as parts of it. Files of the folder itself come first, sorted; then the members of its zips, sorted by
the path inside and then by the zip.
"""

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import dedup
from dedup.files import read_file
from dedup.pictures import describe
from experiments.data.images import kinds
from experiments.data.images.decode import MAX_FILE_BYTES
from experiments.data.images.walk import IGNORED_PREFIX, walk
from experiments.data.images.zips import contents, read_member
from experiments.run.console import counted, first_few
from experiments.run.context import Run
from experiments.run.errors import UserError
from experiments.run.filenames import shown

CHUNK_IMAGES, CHUNK_BYTES = 256, 32 * 2**20  # about a second's work
Node = tuple[int, int]  # device and inode


class File(NamedTuple):
    """One image file of a source, with a version that changes when its content does."""

    path: str  # inside the source, as the system spells it; for a member of a folder's zip "a.zip/path inside"
    version: tuple[int, int]  # (size in bytes, time of the last change or CRC)
    node: Node = (0, 0)  # of the file, or of the zip that holds it
    archive: str = ""  # path inside the source folder of the zip that holds it

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
        return [(file.path, file.version) for file in self.files]

    def readers(self) -> list[dedup.File]:
        """Return, for each file, how to read it: its path, or a function that returns the bytes of a zip's member."""
        if not self.source.is_dir():
            return [partial(read_member, self.source, version(self.source), file.path) for file in self.files]
        zips = {file.archive: version(self.source / file.archive) for file in self.files if file.archive}
        return [
            partial(read_member, self.source / file.archive, zips[file.archive], _inside(file))
            if file.archive
            else self.source / file.path
            for file in self.files
        ]

    def records(self) -> Iterator[tuple[str, Callable[[], bytes]]]:
        """Yield the name of each file, and the function that reads it."""
        for file, reader in zip(self.files, self.readers(), strict=True):
            yield file.name, partial(read_file, reader, MAX_FILE_BYTES)


class Listing(NamedTuple):
    """What a source holds.

    files: the image files, in order.
    skipped: (name, reason) of each other file that may hold images, and of each folder that cannot be listed, sorted.
    noted: (name, reason) of what is left out without the loss of an image, sorted: further names (links) of files and
    folders that are read, and tables of numbers.
    """

    files: list[File]
    skipped: list[tuple[str, str]]
    noted: list[tuple[str, str]]


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


def identity(file: File) -> tuple[int, ...]:
    """Return what two files of any sources share if they are the same file, or have the same content in one zip."""
    return *file.node, *file.version


def list_images(source: Path, *, every_name: bool = False) -> Listing:
    """List the folder or zip without reading its images.

    every_name: also take further names of the same file (links), as a set needs them whose files are known by name.

    Raises UserError if `source` is neither a folder nor a complete zip, and if there is no image.
    """
    try:
        mode = source.stat().st_mode
    except FileNotFoundError as error:
        raise UserError(f"no folder or zip {source}: check the path") from error
    if stat.S_ISDIR(mode):
        listing = list_folder(source, every_name=every_name)
    elif stat.S_ISREG(mode):
        if (reason := kinds.refusal(source)) is not None:
            raise UserError(f"{source} {reason}")
        listing = _listing(*_whole(source), [])
    else:
        raise UserError(f"{source} is not a regular file: name a folder or a zip of images")
    if not listing.files:
        left_out = [*listing.skipped, *listing.noted]
        why = f" ({shown(': '.join(left_out[0]))})" if left_out else ""
        raise UserError(
            f"no images in {source}{why}: name a folder or a zip that holds .jpg, .png or other image files"
        )
    return listing


def without(listing: Listing, source: Path, other: Path) -> Listing:
    """Return the listing of `source` without the files that `other`, a folder or zip, holds too.

    Raises UserError if no image is left.
    """
    theirs = {identity(file) for file in list_images(other).files}
    files = [file for file in listing.files if identity(file) not in theirs]
    if not files:
        raise UserError(
            f"every image of {source} is a file of {other} too, and would meet itself: to search within {other}, leave "
            f"out --against; to find images of {source} elsewhere in {other}, exchange the two"
        )
    both = [(file.path, f"is also a file of {other}") for file in listing.files if identity(file) in theirs]
    return Listing(files, listing.skipped, sorted([*listing.noted, *both]))


def tell(name: str, images: int, noted: Sequence[tuple[str, str]], treated: Mapping[str, int], run: Run) -> None:
    """Say what of a source was left out without the loss of an image, and what was done to how many of its images."""
    if noted:
        named = first_few([shown(f"{path} {reason}") for path, reason in noted])
        run.say(f"left out {len(noted):,}, without the loss of an image: {named}")
    if treated:
        run.say(f"{name}: of {counted(images, 'image')} {describe(treated)}")


def members(folder: Path) -> list[File]:
    """The images in the folder's zips, sorted by the path inside, then the zip. Raises UserError for a broken zip."""
    return _in_order(_whole(path, path.name)[0] for path in zips(folder))


def zips(folder: Path) -> list[Path]:
    """The zips in the folder itself, sorted."""
    found = (path for path in folder.glob("*") if kinds.is_zip(path.name) and path.is_file())
    return sorted(path for path in found if not path.name.startswith(IGNORED_PREFIX))


def version(path: Path) -> tuple[int, int]:
    """Return (size in bytes, time of the last change), which changes when the file's content does."""
    try:
        status = path.stat()
        return status.st_size, status.st_mtime_ns
    except OSError:  # a dangling link, for example: reading it gives the reason
        return 0, 0


class _Found(NamedTuple):
    path: str
    status: os.stat_result
    is_link: bool


def list_folder(folder: Path, *, every_name: bool = False) -> Listing:
    """List a folder as `list_images` does; it may hold no image."""
    skipped: list[tuple[str, str]] = []
    same: list[tuple[str, str]] = []
    found: list[_Found] = []
    for path, entry, is_link in walk(folder, skipped, same):
        try:
            if not entry.is_file():
                entry.stat()  # says why a link leads nowhere
                skipped.append((path, "is not a regular file"))
            elif kinds.is_image(path) or kinds.is_zip(path):
                found.append(_Found(path, entry.stat(), is_link))
            elif (reason := kinds.not_read(path)) is not None:
                skipped.append((path, reason))
        except OSError as error:
            skipped.append((path, error.strerror or str(error)))
    files: list[File] = []
    archives: list[list[File]] = []
    broken: UserError | None = None
    for path, status, _ in found if every_name else _distinct(found, same):
        if kinds.is_image(path):
            files.append(File(path, (status.st_size, status.st_mtime_ns), _node(status)))
            continue
        try:
            inside, others = _members(folder / path, path)
            archives.append(inside)
            skipped.extend(others)
        except ValueError as error:
            skipped.append((path, f"is not {error}"))
            broken = broken or UserError(f"{folder / path} is neither a folder nor {error}")
    if broken and not files:  # images that are only in zips are one set, which would lack a part
        raise broken
    return _listing([*sorted(files), *_in_order(archives)], skipped, same)


def _listing(files: list[File], left_out: list[tuple[str, str]], same: list[tuple[str, str]]) -> Listing:
    tables = [file for file in left_out if kinds.is_table(file[0])]
    skipped = [file for file in left_out if not kinds.is_table(file[0])]
    return Listing(files, sorted(skipped), sorted([*same, *tables]))


def _distinct(found: list[_Found], same: list[tuple[str, str]]) -> Iterator[_Found]:
    """Yield one name of each file, a real one if there is any; append the others to `same`."""
    first: dict[object, str] = {}
    for file in sorted(found, key=lambda file: (file.is_link, file.path)):
        status = file.status
        kept = first.setdefault((*_node(status), status.st_size, status.st_mtime_ns), file.path)
        # some file systems give two files one inode; these have one name each
        if kept == file.path or not (file.is_link or status.st_nlink > 1):
            yield file
        else:
            same.append((file.path, f"is the same file as {kept}"))


def _members(archive: Path, path: str = "") -> tuple[list[File], list[tuple[str, str]]]:
    """Return the images of a zip, and (name, reason) of what is not read; `path`: of the zip inside a folder.

    Raises ValueError if it is not a complete zip.
    """
    images, skipped = contents(archive)
    before, node = f"{path}/" if path else "", _node(archive.stat())
    files = [File(before + inside, version, node, path) for inside, version in images]
    return files, [(before + inside, reason) for inside, reason in skipped]


def _whole(archive: Path, path: str = "") -> tuple[list[File], list[tuple[str, str]]]:
    """Like `_members`, but raises UserError."""
    try:
        return _members(archive, path)
    except ValueError as error:
        raise UserError(f"{archive} is neither a folder nor {error}") from error


def _in_order(archives: Iterable[list[File]]) -> list[File]:
    """Return the members of several zips, sorted by the path inside, then by the zip."""
    return sorted((file for files in archives for file in files), key=lambda file: (_inside(file), file.archive))


def _inside(file: File) -> str:
    """Return the path inside the zip."""
    return file.path.removeprefix(f"{file.archive}/") if file.archive else file.path


def _node(status: os.stat_result) -> Node:
    return status.st_dev, status.st_ino
