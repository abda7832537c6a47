"""The image files in zips: list them, and read one."""

import functools
import stat
import zipfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from experiments.data.images import kinds
from experiments.data.images.decode import MAX_FILE_BYTES
from experiments.data.images.walk import IGNORED_FOLDER, is_mac_note


class Contents(NamedTuple):
    """What a zip holds.

    images: (path, (size in bytes, CRC)) of each member that is named like an image, sorted.
    skipped: (path, reason) of each other member that may hold images.
    """

    images: list[tuple[str, tuple[int, int]]]
    skipped: list[tuple[str, str]]


def contents(archive: Path) -> Contents:
    """List a zip. Raises ValueError, "a complete zip (why not): the fix", if it is not one."""
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [info for info in opened.infolist() if not info.is_dir()]
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError) as error:  # also names and versions it cannot read
        raise ValueError(f"a complete zip ({error}): fetch it again") from error
    found = Contents([], [])
    later = Counter(info.filename for info in members)
    for info in members:
        path = info.filename
        later[path] -= 1
        if IGNORED_FOLDER in path.split("/") or is_mac_note(path, later):
            continue
        is_image = kinds.is_image(path)
        reason = _image_not_read(info, later[path]) if is_image else _not_read(path)
        if reason is not None:
            found.skipped.append((path, reason))
        elif is_image:
            found.images.append((path, (info.file_size, info.CRC)))
    found.images.sort()
    return found


def _image_not_read(info: zipfile.ZipInfo, later: int) -> str | None:
    if later:
        return "the zip holds another file of this name, which is read"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "a link inside a zip, which is not followed"
    return None


def _not_read(path: str) -> str | None:
    if kinds.is_zip(path):
        return "an archive inside an archive, which is not read: unpack it"
    return kinds.not_read(path)


def read_member(archive: Path, version: tuple[int, int], path: str) -> bytes:
    """Read a member of the zip, whose size and time of change are `version`.

    Raises ValueError if it would unpack to more than MAX_FILE_BYTES, and zipfile's errors if it is damaged.
    """
    opened = _opened(archive, version)
    size = opened.getinfo(path).file_size
    if size > MAX_FILE_BYTES:
        raise ValueError(f"must hold at most {MAX_FILE_BYTES:,} bytes, got {size:,}")
    return opened.read(path)


@functools.lru_cache(16)
def _opened(archive: Path, version: tuple[int, int]) -> zipfile.ZipFile:
    """Open a zip once in a process: reading the list of a large zip takes longer than reading an image."""
    return zipfile.ZipFile(archive)
