"""Folders that appear in one rename, so that a stopped run leaves nothing that looks finished."""

import contextlib
import glob
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["remove_abandoned", "whole_folder"]

ABANDONED_AFTER = 3600.0  # seconds without a write after which a temporary folder belongs to a killed run


@contextlib.contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A temporary sibling that becomes `folder` when the block ends well, and goes when it does not.

    An existing folder is replaced, also one that has come in the meantime.
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
            aside = _sibling(folder)  # a folder cannot be renamed onto one with content: that one moves away first
            folder.rename(aside / "replaced")
            building.rename(folder)
            shutil.rmtree(aside, ignore_errors=True)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise


def remove_abandoned(folder: Path) -> None:
    """Remove what killed runs left beside `folder`; a younger one may belong to a run beside this one."""
    for partial in folder.parent.glob(f".{glob.escape(folder.name)}.*.partial"):
        with contextlib.suppress(OSError):
            newest = max(path.stat().st_mtime for path in [partial, *partial.rglob("*")])
            if time.time() - newest > ABANDONED_AFTER:
                shutil.rmtree(partial, ignore_errors=True)


def _sibling(folder: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".partial", dir=folder.parent))
