"""Where a set's files come from when they are not at hand: one way after the other, with what failed."""

import io
import shutil
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType

from experiments.data.downloads import FetchError
from experiments.run.errors import UserError
from experiments.run.torchvision import import_torchvision

__all__ = ["Way", "obtain", "tar_files", "torchvision_datasets"]

Way = tuple[str, Callable[[Path], None]]
"""(name below `downloads`, what makes that file or folder, or raises FetchError or OSError)"""


def obtain(ways: Sequence[Way], downloads: Path, *, room: int, missing: str) -> Path:
    """Go through the ways until one succeeds; return what it made.

    room: bytes that the largest download takes, looked at first.
    missing: what the user can do where every way fails: "no CIFAR-10: put ... in ...".

    Raises UserError where `downloads` cannot take them, or no way is left.
    """
    try:
        downloads.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(downloads).free
        if free < room:
            raise OSError(f"{room:,} bytes needed, {free:,} free")
    except OSError as error:
        raise UserError(f"cannot download to {downloads} ({error}): make room, or set RUNS_ROOT elsewhere") from error
    failures = []
    for name, get in ways:
        try:
            get(downloads / name)
            return downloads / name
        except (FetchError, OSError) as error:
            failures.append(str(error))
    raise UserError(f"{missing} ({'; '.join(failures)})")


def torchvision_datasets() -> ModuleType:
    """`torchvision.datasets`, for its addresses and digests. Raises FetchError where it cannot be imported."""
    try:
        return import_torchvision("torchvision.datasets")
    except (ImportError, RuntimeError) as error:  # a torchvision that does not fit torch
        raise FetchError(f"torchvision cannot be imported: {error}") from error


def tar_files(archive: Path, wanted: Mapping[str, str], *, max_bytes: int) -> dict[str, bytes]:
    """The wanted files of a .tar.gz (path inside -> name), in one pass; links and folders do not count.

    Raises ValueError for one of more than `max_bytes` (before it is read), and what `tarfile` and `zlib` raise.
    """
    files = {}
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            if member.name in wanted and member.isfile():
                if member.size > max_bytes:
                    raise ValueError(f"{member.name} must hold at most {max_bytes:,} bytes, got {member.size:,}")
                with tar.extractfile(member) or io.BytesIO() as file:
                    files[wanted[member.name]] = file.read()
    return files
