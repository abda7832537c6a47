"""Files and folders written whole or not at all, files that grow, and whether a folder can be written to."""

import contextlib
import glob
import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from experiments.run.errors import UserError

ABANDONED_AFTER = 3600.0  # seconds without a write after which a temporary folder belongs to a killed run


def write_bytes(file: Path, content: bytes) -> None:
    """Write `content` under a temporary name, then rename it to `file`: a stop or a full disk leaves the old file.

    If two processes write the file at once, the content of the last one stays.
    """
    temporary = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        with _named(file):
            temporary.write_bytes(content)
            os.replace(temporary, file)
    except BaseException:  # Ctrl-C, too
        temporary.unlink(missing_ok=True)
        raise


def append_bytes(file: Path, content: bytes) -> None:
    """Append to `file`; the content is on disk when this returns.

    A stop can leave only part of the content in the file; readers must drop that part.
    """
    with _named(file), open(file, "ab") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())


@contextlib.contextmanager
def _named(file: Path) -> Iterator[None]:
    """Let an OSError of the block name `file`: that of a write names none, and a temporary name helps nobody."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(file)) from error


def file_digest(file: Path, algorithm: str) -> str:
    """Return the digest of the file's content as hex digits. `algorithm` is "md5", "sha256", ..."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def refuse_irregular(path: Path) -> None:
    """Raise UserError if the path is there and neither a file nor a folder: to open it could wait for ever."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # absent, or no path at all
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise UserError(f"{path} is no regular file; copy its content to one")


def check_place(*folders: Path) -> None:
    """Raise UserError unless the folders are there or can be made, and can be written to. Nothing is made."""
    for folder in folders:
        there = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))
        what = "Not a directory" if not there.is_dir() else "Permission denied" if not os.access(there, os.W_OK) else ""
        if what:
            raise UserError(f"cannot write to {folder}: {what}; make it writable, or choose another RUNS_ROOT or --out")


def check_own(folder: Path, files: Iterable[str], mark: str) -> None:
    """Raise UserError if the folder holds one of `files` but no file `mark`: then somebody else's would be replaced.

    mark: the file that a command writes first, and never removes.
    """
    if (folder / mark).is_file():
        return
    if (foreign := next((name for name in files if os.path.lexists(folder / name)), None)) is not None:
        raise UserError(
            f"{folder / foreign} would be replaced, but {folder} is not the folder of an earlier run (it holds no "
            f"{mark}); choose another folder with --out, or move the file away"
        )


def check_writable(*folders: Path) -> None:
    """Make the folders. Raises UserError if one cannot be written to."""
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise UserError(
                f"cannot write to {folder}: {error.strerror}; make it writable, or choose another RUNS_ROOT or --out"
            ) from error


@contextlib.contextmanager
def writing(folder: Path, needed: int, purpose: str, note: str = "") -> Iterator[None]:
    """Make `folder` for what the block writes, and check that `needed` bytes are free in its file system.

    purpose, note: parts of the message "cannot `purpose` (9 bytes needed`note`, 7 free)".

    Raises UserError if that fails, and in place of an OSError of the block.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if free < needed:
            raise OSError(f"{needed:,} bytes needed{note}, {free:,} free")
        yield
    except OSError as error:
        raise UserError(f"cannot {purpose} ({error}): make room, or set RUNS_ROOT elsewhere") from error


@contextlib.contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder next to `folder`. It becomes `folder` if the block ends well, else it is removed.

    An existing folder is replaced, even if it has appeared in the meantime.
    """
    building = _sibling(folder)
    try:
        yield building
        building.chmod(0o755)  # mkdtemp makes folders that only their owner can read
        try:
            building.rename(folder)
        except OSError:
            if not folder.exists():
                raise
            aside = _sibling(folder)  # a folder cannot be renamed onto one with content, so that one moves first
            folder.rename(aside / "replaced")
            building.rename(folder)
            shutil.rmtree(aside, ignore_errors=True)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary folders that killed runs left next to `folder`.

    Recently written ones stay: they may belong to a run that is still going.
    """
    for partial in folder.parent.glob(f".{glob.escape(folder.name)}.*.partial"):
        with contextlib.suppress(OSError):
            newest = max(path.stat().st_mtime for path in [partial, *partial.rglob("*")])
            if time.time() - newest > ABANDONED_AFTER:
                shutil.rmtree(partial, ignore_errors=True)


def _sibling(folder: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".partial", dir=folder.parent))
