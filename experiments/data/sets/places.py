"""Find official files below DATA_ROOT, under the names and in the trees that archives and unpackers leave behind.

- Names are compared without regard to case and to the separators `-`, `_`, `.` and space.
- A set's folder lies in DATA_ROOT or in a folder of it. The files lie in the set's folder or up to two folders deeper.
- Hidden files and what macOS adds (`._name`, `__MACOSX`) are not seen.
- What is neither a file nor a folder is refused: reading a named pipe would wait for ever.
"""

import itertools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from experiments.run.context import Run
from experiments.run.errors import UserError, one_line

DEEPER = 2  # folders between a set's folder and its files: MNIST/raw, CelebA/Img/img_align_celeba
MOST = 10_000  # entries of a folder that is searched; a folder with more holds images
ARCHIVE = re.compile(r"(.+?)\.(tar\.gz|tgz|tar|zip)", re.IGNORECASE)


def plain(name: str) -> str:
    """Return the part of a name that is compared: lower case, without separators."""
    return re.sub(r"[-_. ]", "", name).lower()


def is_twin(path: str) -> bool:
    """Whether a path inside an archive is hidden, or was added by macOS."""
    return any(part.startswith((".", "__MACOSX")) and part != "." for part in path.split("/"))


def places(root: Path, names: Sequence[str], *, beside: bool, deeper: int = DEEPER) -> list[Path]:
    """Return the folders in which a set's files may lie, the most likely first.

    names: of the set's folder. beside: whether files may also lie in `root` itself and in its folders of any name;
    the names of the files must then tell which set they belong to. deeper: levels of folders to search in the set's.
    """
    return list(dict.fromkeys([*_homes(root, names, deeper), *([root, *folders(root)] if beside else [])]))


def folders(folder: Path) -> list[Path]:
    """Return the folders in it, sorted; links to folders count."""
    scanned = _scanned(folder)
    return [folder / name for name, kind in scanned.items() if kind or (kind is None and os.path.isdir(folder / name))]


def file_in(folder: Path, *names: str) -> Path | None:
    """Return the file that has the first of the names; it may lie in a folder of its own name. None if there is none.

    Raises UserError if the name is that of a named pipe, of a device or of a link to nothing.
    """
    for name in names:
        named = _named(folder, name)
        inside = [path for own in named if own.is_dir() for path in _named(own, name)]
        for path in (*named, *inside):
            if is_file(path):
                return path
    return None


def archives_in(folder: Path, stems: Sequence[str]) -> list[Path]:
    """Return the tars and zips with one of these names, without suffix, sorted. Raises UserError as `file_in` does."""
    wanted = {plain(stem) for stem in stems}
    matches = [(path, ARCHIVE.fullmatch(path.name)) for path in _entries(folder)]
    return [path for path, match in matches if match and plain(match[1]) in wanted and is_file(path)]


def is_file(path: Path) -> bool:
    """Whether an entry of a folder is a file (True) or a folder (False). Raises UserError for anything else."""
    try:
        path.stat()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({one_line(error)}): replace it with the official file") from error
    if not path.is_file() and not path.is_dir():
        raise UserError(f"{path} is neither a file nor a folder: replace it with the official file")
    return path.is_file()


def found_instead(searched: Sequence[Path], advice: Mapping[str, str]) -> str:
    """Return text on the first entry of the searched folders that cannot be read: "; X is there: unpack it", or "".

    advice: what to do, by the entry's name.
    """
    by_name = {plain(name): what for name, what in advice.items()}
    for path in itertools.chain.from_iterable(map(_entries, searched)):
        if what := by_name.get(plain(path.name)):
            return f"; {path} is there: {what}"
    return ""


def say_which(run: Run, taken: Path, found: Sequence[Path]) -> None:
    """Say which source is taken if several were found."""
    if others := [str(path) for path in found if path != taken]:
        run.say(f"reading {taken}, not {', '.join(others)}")


def _homes(root: Path, names: Sequence[str], deeper: int) -> Iterator[Path]:
    """Yield the folders called one of `names`, in the order of the names, each level before the next deeper one."""
    wanted = [plain(name) for name in names]
    for around in (root, *folders(root)):
        level = [folder for folder in folders(around) if plain(folder.name) in wanted]
        level.sort(key=lambda folder: wanted.index(plain(folder.name)))
        yield from level
        for _ in range(deeper):
            level = [inner for folder in level for inner in folders(folder)]
            yield from level


def _named(folder: Path, name: str) -> list[Path]:
    """Return what the folder holds under a name, as it is written first."""
    found = [path for path in _entries(folder) if plain(path.name) == plain(name)]
    return sorted(found, key=lambda path: path.name != name)


def _entries(folder: Path) -> list[Path]:
    return [folder / name for name in _scanned(folder)]


def _scanned(folder: Path) -> dict[str, bool | None]:
    """Return name -> whether it is a folder (None for a link) of what a folder holds, sorted, without twins.

    Nothing if the folder cannot be listed, or holds more than MOST entries.
    """
    try:
        with os.scandir(folder) as scanned:
            found = list(itertools.islice(scanned, MOST + 1))
        kinds = {e.name: None if e.is_symlink() else e.is_dir() for e in found if not is_twin(e.name)}
    except OSError:
        return {}
    return dict(sorted(kinds.items())) if len(found) <= MOST else {}
