"""Download files from their official addresses, or get them in other ways if that fails.

A file is checked, and appears whole or not at all. A closed network refuses packets or swallows them; in both cases a
download fails within seconds.
"""

import tempfile
import urllib.request
from collections.abc import Callable, Sequence
from http.client import HTTPException
from pathlib import Path
from types import ModuleType

from experiments.run.context import Run
from experiments.run.errors import UserError
from experiments.run.files import file_digest, writing
from experiments.run.torchvision import import_torchvision

TIMEOUT = 10.0  # seconds to connect, and between two pieces; a live host takes one
CHUNK = 2**20

Way = tuple[str, Callable[[Path], None]]
"""(name below RUNS_ROOT/downloads, function that makes that file or folder, or else raises FetchError or OSError)"""


class FetchError(Exception):
    """A file could not be fetched. The message says why in a few words; the caller can try other ways."""


def obtain(ways: Sequence[Way], run: Run, *, room: int, missing: str) -> Path:
    """Return the file of an earlier download; if there is none, try the ways to make it in order.

    room: bytes that the largest download takes; they must be free before the first way is tried.
    missing: message if every way fails. It says what the user can do: "no CIFAR-10: put ... in ...".

    Raises UserError if every way fails, or if RUNS_ROOT cannot be written or has no room for the download.
    """
    downloads = run.runs_root / "downloads"
    for name, _ in ways:
        if (downloads / name).is_file():
            return downloads / name
    failures = []
    with writing(downloads, room, f"download to {downloads}"):
        for name, make in ways:
            try:
                make(downloads / name)
                return downloads / name
            except (FetchError, OSError) as error:
                failures.append(str(error))
    raise UserError(f"{missing} ({'; '.join(failures)})")


def fetch(url: str, path: Path, run: Run, *, md5: str, timeout: float = TIMEOUT) -> None:
    """Download `url` to `path`, which appears only if its MD5 is right. Raises FetchError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=path.parent) as folder:
        partial = Path(folder) / path.name
        try:
            with urllib.request.urlopen(url, timeout=timeout) as response, partial.open("wb") as file:
                length = int(response.headers.get("Content-Length") or 0)
                pieces, total = iter(lambda: response.read(CHUNK), b""), -(-length // CHUNK) or None
                for piece in run.progress(pieces, total=total, desc=path.name, unit="MiB"):
                    file.write(piece)
        except (OSError, HTTPException, ValueError) as error:
            raise FetchError(f"{url}: {getattr(error, 'reason', error)}") from error
        if (found := file_digest(partial, "md5")) != md5:
            raise FetchError(f"{url}: MD5 must be {md5}, got {found}")
        partial.replace(path)


def torchvision_datasets() -> ModuleType:
    """Import `torchvision.datasets`, for its addresses and digests. Raises FetchError if that fails."""
    try:
        return import_torchvision("torchvision.datasets")
    except (ImportError, RuntimeError) as error:  # a torchvision that does not fit torch
        raise FetchError(f"torchvision cannot be imported: {error}") from error
