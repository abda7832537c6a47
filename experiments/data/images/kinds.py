"""What the name of a file says that it holds, or its first bytes: an image, or something that is not read."""

import os
from pathlib import Path
from typing import NamedTuple

IMAGES = (
    *(".jpg", ".jpeg", ".jpe", ".jif", ".jfif", ".jfi", ".mpo", ".png", ".apng", ".gif", ".webp", ".avif", ".avifs"),
    *(".heic", ".heif", ".hif", ".jxl", ".bmp", ".dib", ".tif", ".tiff", ".jp2", ".j2k", ".j2c", ".jpc", ".jpx"),
    *(".jpf", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".tga", ".pcx", ".ico", ".qoi", ".dds", ".sgi"),
)


class Kind(NamedTuple):
    """Files that may hold images but are not read. Names end in `suffixes`; `starts` are (offset, bytes) in them."""

    what: str
    fix: str
    suffixes: tuple[str, ...]
    starts: tuple[tuple[int, bytes], ...] = ()


UNPACK = "unpack it into a folder"
TABLES = (".npy", ".npz", ".parquet", ".h5", ".hdf5")  # beside images they rarely hold others
TO_FILES = "save its images as .png files in a folder"
KINDS = (
    Kind("a tar archive", UNPACK, (".tar",), ((257, b"ustar"),)),
    Kind(
        "a compressed archive",
        UNPACK,
        (
            *(f".tar.{end}" for end in ("gz", "bz2", "xz", "zst", "lz4", "z")),
            *(".tgz", ".tbz", ".tbz2", ".txz", ".tzst", ".7z", ".rar"),
        ),
        (
            *((0, b"\x1f\x8b"), (0, b"BZh"), (0, b"\xfd7zXZ"), (0, b"\x28\xb5\x2f\xfd")),
            *((0, b"7z\xbc\xaf\x27\x1c"), (0, b"Rar!")),
        ),
    ),
    Kind("a NumPy file", TO_FILES, (".npy", ".npz"), ((0, b"\x93NUMPY"),)),
    Kind("a Parquet table", TO_FILES, (".parquet",), ((0, b"PAR1"),)),
    Kind("an HDF5 file", TO_FILES, (".h5", ".hdf5"), ((0, b"\x89HDF"),)),
    Kind("a TFRecord file", TO_FILES, (".tfrecord", ".tfrecords")),
    Kind(
        "an LMDB",
        "move it into a folder of its own, under the name data.mdb",
        (".mdb", ".lmdb"),
        ((16, b"\xde\xc0\xef\xbe"),),
    ),
    Kind(
        "a camera's raw file",
        "convert it to JPEG or PNG, for example with darktable or RawTherapee",
        (
            *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dng", ".erf", ".iiq", ".kdc", ".mef", ".mos", ".mrw", ".nef"),
            *(".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"),
        ),
    ),
    Kind("a drawing in layers", "export it as PNG", (".psd", ".psb", ".xcf", ".kra"), ((0, b"8BPS"),)),
    Kind("a picture of high dynamic range", "convert it to PNG or TIFF", (".exr", ".hdr")),
    Kind("a medical image", "convert it to PNG", (".dcm",), ((128, b"DICM"),)),
)
FIRST_BYTES = 512  # of a file, which hold all `starts`
LMDB, LOCK = "data.mdb", "lock.mdb"  # the files of an LMDB; the second holds no data


def is_zip(path: str) -> bool:
    """Whether a file of that name is a zip."""
    return path.lower().endswith(".zip")


def is_image(path: str) -> bool:
    """Whether a file of that name is an image."""
    return os.path.splitext(path.rsplit("/", 1)[-1])[1].lower() in IMAGES


def is_table(path: str) -> bool:
    """Whether a file of that name holds numbers that belong to the images more likely than further images."""
    return path.lower().endswith(TABLES)


def not_read(path: str) -> str | None:
    """Return why a file of that name is not read and what to do, or None if the name promises no images."""
    name = path.rsplit("/", 1)[-1].lower()
    if name == LMDB:
        return "an LMDB: pack its folder on its own with `dcgan-eval data pack`"
    kind = next((kind for kind in KINDS if name.endswith(kind.suffixes) and name != LOCK), None)
    return None if kind is None else f"{kind.what}, which is not read: {kind.fix}"


def refusal(file: Path) -> str | None:
    """Return what a file is that is named as a source but is no zip, and what to do. None if it is like a zip."""
    with file.open("rb") as opened:
        start = opened.read(FIRST_BYTES)
    if start.startswith(b"PK") and not file.name.lower().endswith(".npz"):
        return None
    if file.name.lower() == LMDB:
        return "is the file of an LMDB: name the folder that holds it"
    for kind in KINDS:
        if file.name.lower().endswith(kind.suffixes) or any(start[at:].startswith(magic) for at, magic in kind.starts):
            return f"is {kind.what}, which is not read: {kind.fix}, and name the folder"
    if is_image(file.name):
        return "is one image: name the folder that holds it"
    if is_zip(file.name):
        return None
    what = "a text file" if start and start.isascii() and b"\0" not in start else "neither a folder nor a zip"
    return f"is {what}: name a folder or a zip of images"
