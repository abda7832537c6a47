"""Image files in a folder or inside zips, and their pixels as RGB. No data set's names here."""

import io
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from experiments.errors import UserError

__all__ = ["BROKEN", "MAX_FILE_BYTES", "decode_rgb", "open_folder", "open_zips"]

MAX_FILE_BYTES = 64 * 2**20  # of one image file, uncompressed: a zip's small member can unfold to anything
BROKEN = (OSError, ValueError, SyntaxError, zlib.error, zipfile.BadZipFile, UnidentifiedImageError)
"""What reading or decoding one bad image file raises (Pillow has SyntaxError for some broken PNG chunks)."""

Files = dict[str, Callable[[], bytes]]  # path inside the data set -> reads that file


def open_folder(folder: Path, pattern: str) -> Files:
    """The files below `folder` that match the glob, by their path relative to the folder's parent, sorted."""
    found = {path.relative_to(folder.parent).as_posix(): path for path in folder.glob(pattern)}
    return {name: _limited(name, found[name].stat().st_size, found[name].read_bytes) for name in sorted(found)}


@contextmanager
def open_zips(archives: Sequence[Path], wanted: Callable[[str], bool]) -> Iterator[Files]:
    """The members of all archives whose path is wanted, sorted by that path over all of them.

    A path that two archives hold is read from the first. Raises UserError for what is no whole zip.
    """
    with ExitStack() as stack:
        found: Files = {}
        for archive in archives:
            try:
                opened = stack.enter_context(zipfile.ZipFile(archive))
            except (zipfile.BadZipFile, OSError) as error:
                raise UserError(f"{archive} is not a complete zip ({error}): fetch it again") from error
            for info in opened.infolist():
                if wanted(info.filename):
                    read = _limited(info.filename, info.file_size, partial(opened.read, info))
                    found.setdefault(info.filename, read)
        yield {name: found[name] for name in sorted(found)}


def decode_rgb(data: bytes) -> tuple[np.ndarray, str]:
    """Decode one image file: uint8 [H, W, 3] in [0, 255], and the file's own mode ("RGB", "L", ...).

    Gray becomes three equal channels. Raises one of BROKEN for what is no image, is cut short, or has more
    pixels than `Image.MAX_IMAGE_PIXELS` (up to twice that number Pillow itself only warns).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(io.BytesIO(data)) as image:
                return np.asarray(image.convert("RGB")), image.mode
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise ValueError(f"decompression bomb: {error}") from error


def _limited(name: str, size: int, read: Callable[[], bytes]) -> Callable[[], bytes]:
    def limited() -> bytes:
        if size > MAX_FILE_BYTES:
            raise ValueError(f"{name} must hold at most {MAX_FILE_BYTES:,} bytes, got {size:,}")
        return read()

    return limited
