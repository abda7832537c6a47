"""Make perceptual hashes and thumbnails of image files. A file that is no image is skipped; the others are not lost."""

import io
import stat
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from dedup.hashes import HASHES, batches, gray_codes
from dedup.pictures import as_seen

MAX_FILE_BYTES = 64 * 2**20
POSTSCRIPT = (b"%!PS", b"\xc5\xd0\xd3\xc6")
UNREADABLE = {  # how files begin that Pillow does not read, whatever their names
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "HEIC"),
    b"crx ": "a camera's raw file",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
}

File = Path | Callable[[], bytes]


class Skipped(NamedTuple):
    """A file without a result: its place in the list, and the reason on one line.

    >>> dedup.hash_files([lambda: b""]).skipped
    [Skipped(place=0, reason='empty', unread=False)]
    """

    place: int
    reason: str
    unread: bool  # the bytes could not be read, so the file may still hold an image; a later try may succeed


@dataclass(frozen=True)
class HashedFiles:
    """What `hash_files` found, in the order of the files.

    kept: int64 [n], the places in the list of the files that are images.
    codes: hash -> uint64 [n], bit for bit imagehash's for the image as people see it (see `pictures.as_seen`); for the
    eight orientations, uint64 [n, 8] (see `hashes.turned_codes`).
    images: uint8 [n, side, side, 3], RGB, each image squashed to a square; None if none were asked for.
    skipped: the other files.
    treated: treatment -> how many images it changed (see `pictures.TREATMENTS`); the codes of all others are
    imagehash's for `Image.open(file)`.

    >>> found = dedup.hash_files([lambda: b"no image"])
    >>> len(found.kept), found.images.shape, len(found.skipped)
    (0, (0, 64, 64, 3), 1)
    """

    kept: NDArray[np.int64]
    codes: dict[str, NDArray[np.uint64]]
    images: NDArray[np.uint8] | None
    skipped: list[Skipped]
    treated: dict[str, int]


def hash_files(
    files: Sequence[File],
    *,
    hashes: Sequence[str] = ("phash",),
    turned: bool = False,
    side: int | None = 64,
    max_file_bytes: int = MAX_FILE_BYTES,
) -> HashedFiles:
    """Hash image files of any format, size and mode that Pillow reads, in this process, with a few at a time in memory.

    files: paths, or callables without arguments that return a file's bytes, or raise when they cannot.
    hashes: some of "phash", "ahash", "dhash". turned: hash each image in its eight orientations.
    side: side of the thumbnails, in pixels. None makes no thumbnails, which is faster (`images` is then None).
    max_file_bytes: a larger file at a path is skipped unread.

    Images are hashed as people see them: upright, on white where they are transparent, 16 bits brought to 8 (see
    `pictures.as_seen`). imagehash ignores orientation and transparency, and clips 16 bits to a byte. Like imagehash,
    this takes the first frame. An image of more than `PIL.Image.MAX_IMAGE_PIXELS` pixels is skipped before it is
    decoded.

    Raises ValueError for unknown hashes.

    >>> from pathlib import Path
    >>> from PIL import Image
    >>> Image.new("RGB", (40, 30), "teal").save("flat.png")
    >>> found = dedup.hash_files([Path("flat.png"), Path("gone.png")], hashes=["dhash"])
    >>> found.kept, found.codes["dhash"], found.images.shape
    (array([0]), array([0], dtype=uint64), (1, 64, 64, 3))
    >>> found.skipped
    [Skipped(place=1, reason='No such file or directory', unread=True)]
    """
    if unknown := sorted(set(hashes) - set(HASHES)):
        raise ValueError(f"hashes must be of {', '.join(HASHES)}, got {unknown[0]!r}")
    kept: list[int] = []
    thumbnails: list[NDArray[np.uint8]] = []
    skipped: list[Skipped] = []
    treated: list[str] = []

    def grays() -> Iterator[Image.Image]:
        for index, file in enumerate(files):
            unread = True
            try:
                data = read_file(file, max_file_bytes)
                unread = False
                gray, thumbnail, done = _decode(data, side)
            except MemoryError:  # a later try may succeed
                skipped.append(Skipped(index, "not enough memory", True))
                continue
            except Exception as error:  # Pillow's plugins raise nearly anything for a malformed file
                skipped.append(Skipped(index, one_line(error), unread))
                continue
            kept.append(index)
            treated.extend(done)
            if thumbnail is not None:
                thumbnails.append(thumbnail)
            yield gray

    codes: dict[str, list[NDArray[np.uint64]]] = {name: [gray_codes([], name, turned=turned)] for name in hashes}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow would warn about thousands of files
        for batch in batches(grays()):
            for name in codes:
                codes[name].append(gray_codes(batch, name, turned=turned))
    return HashedFiles(
        np.array(kept, np.int64),
        {name: np.concatenate(pieces) for name, pieces in codes.items()},
        None if side is None else np.array(thumbnails, np.uint8).reshape(-1, side, side, 3),
        skipped,
        dict(Counter(treated)),
    )


def read_picture(file: File, side: int, *, max_file_bytes: int = MAX_FILE_BYTES) -> Image.Image:
    """Read the image of a file for people to look at: RGB, in its own proportions, no edge longer than `side`.

    Raises OSError, ValueError or any other error of Pillow's plugins when the file holds no image.
    """
    with warnings.catch_warnings(), open_image(read_file(file, max_file_bytes)) as image:
        warnings.simplefilter("ignore")
        image.draft(None, (side, side))  # a large JPEG is decoded at a fraction of its size
        small = as_seen(image).image.convert("RGB")
        small.thumbnail((side, side), Image.Resampling.BOX, reducing_gap=1.0)
        return small


def read_file(file: File, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """Read a regular file. Raises ValueError if it is larger, or not a regular file; OSError if reading fails."""
    if not isinstance(file, Path):
        return file()
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait forever
        raise ValueError("a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file")
    if status.st_size > max_bytes:
        raise ValueError(f"must hold at most {max_bytes:,} bytes, got {status.st_size:,}")
    return file.read_bytes()


def _decode(data: bytes, side: int | None) -> tuple[Image.Image, NDArray[np.uint8] | None, tuple[str, ...]]:
    """Return (the image in mode L, its thumbnail if one is asked for, what was done to its pixels)."""
    image, done = as_seen(open_image(data))
    gray = image.convert("L")
    return gray, None if side is None else _thumbnail(image, gray, side), done


def open_image(data: bytes) -> ImageFile.ImageFile:
    """Open the image in a file's bytes, without decoding it.

    Raises ValueError for an empty file, for an image of more than `PIL.Image.MAX_IMAGE_PIXELS` pixels, and for
    PostScript under any name, since it is a program that Pillow would let Ghostscript run. Raises Pillow's errors for
    other files that hold no image.
    """
    if not data:
        raise ValueError("empty")
    if data.startswith(POSTSCRIPT):
        raise ValueError("PostScript, not an image")
    try:
        image = Image.open(io.BytesIO(data))
    except Image.UnidentifiedImageError:
        for start, what in UNREADABLE.items():
            if data.startswith(start) or data[4:12] == b"ftyp" + start:
                raise ValueError(f"{what}, which Pillow does not read: convert it to JPEG or PNG") from None
        raise
    pixels = image.width * image.height
    if Image.MAX_IMAGE_PIXELS is not None and pixels > Image.MAX_IMAGE_PIXELS:  # Pillow itself raises from twice that
        raise ValueError(f"must have at most {Image.MAX_IMAGE_PIXELS:,} pixels, got {pixels:,}")
    return image


def _thumbnail(image: Image.Image, gray: Image.Image, side: int) -> NDArray[np.uint8]:
    """Squash the image to a thumbnail: uint8 [side, side, 3]. `gray` is the image in mode L."""
    if image.mode != "RGB":
        image = gray if Image.getmodebase(image.mode) == "L" else image.convert("RGB")
    small = image.resize((side, side), Image.Resampling.BOX, reducing_gap=1.0)
    return np.asarray(small if small.mode == "RGB" else small.convert("RGB"))


def one_line(error: Exception) -> str:
    """Return why a file gave no result, in words that users understand."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror  # without the path: the caller knows it
    if isinstance(error, Image.UnidentifiedImageError):  # its text names a buffer in memory
        return "no image format that Pillow knows"
    return " ".join(str(error).split()) or type(error).__name__
