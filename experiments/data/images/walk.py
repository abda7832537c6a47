"""Walk a folder, its subfolders and the folders that links in it lead to; each folder once, and never upwards."""

import os
from collections.abc import Container, Iterator
from pathlib import Path
from typing import NamedTuple

from experiments.data.images.kinds import is_image

IGNORED_FOLDER, IGNORED_PREFIX = "__MACOSX", "._"  # what macOS notes about files, in zips and on foreign disks


class Entry(NamedTuple):
    """A file, or anything else that is no folder.

    path: inside the folder walked. is_link: whether the entry is a link, or lies in a folder that a link leads to.
    """

    path: str
    entry: os.DirEntry[str]
    is_link: bool


def walk(folder: Path, skipped: list[tuple[str, str]], links: list[tuple[str, str]]) -> Iterator[Entry]:
    """Yield what the folder holds, in no particular order. The files that macOS keeps beside others are left out.

    Appends (path, reason) of each folder that cannot be listed to `skipped`, and of each link to a folder that is
    already walked, or that holds `folder`, to `links`. Real folders are walked before linked ones.
    """
    seen = {_identity(above): "leads to a folder above the source" for above in folder.resolve().parents}
    folders, linked = [""], list[str]()  # paths inside `folder`; the second: links to folders
    is_linked = False
    while folders or linked:
        if not folders:
            is_linked = True
            linked.sort()
            folders.append(linked.pop(0))
        inner = folders.pop()
        try:
            identity = _identity(folder / inner)
            if is_linked and identity in seen:
                links.append((inner, seen[identity]))
                continue
            seen.setdefault(identity, f"the same folder as {inner or 'the source'}")
            with os.scandir(folder / inner) as opened:
                entries = {entry.name: entry for entry in opened}
        except OSError as error:
            skipped.append((inner or ".", error.strerror or str(error)))
            continue
        for name, entry in entries.items():
            path = os.path.join(inner, name)
            if name == IGNORED_FOLDER or is_mac_note(name, entries):
                continue
            if not _is_folder(entry):
                yield Entry(path, entry, is_linked or entry.is_symlink())
                continue
            if is_image(name):
                skipped.append((path, "a folder"))
            (linked if entry.is_symlink() else folders).append(path)


def is_mac_note(path: str, beside: Container[str]) -> bool:
    """Whether macOS put this file beside the one that it describes. `beside` holds the paths in the same folder."""
    folder, slash, name = path.rpartition("/")
    return name.startswith(IGNORED_PREFIX) and folder + slash + name.removeprefix(IGNORED_PREFIX) in beside


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino
