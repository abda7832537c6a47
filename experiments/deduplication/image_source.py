"""The images that a pass runs over: a packed set, given by name, or the photographs of a folder or zip, by path."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from dedup.files import read_picture
from experiments.data.images import hash_files
from experiments.data.images.decode import MAX_FILE_BYTES
from experiments.data.images.listing import list_images
from experiments.data.load import is_packed, load
from experiments.data.names import NAMES, is_name
from experiments.data.packed import PackedSet
from experiments.deduplication.methods import comparable
from experiments.deduplication.spec import HASHES, DedupSpec
from experiments.run.console import counted
from experiments.run.console import size as in_bytes
from experiments.run.context import Run
from experiments.run.errors import UserError
from experiments.run.filenames import shown
from experiments.run.reading.documents import read_json

THUMBNAIL_SIDE = 64  # pixels; photographs are compared as squares of this side
SHOWN_SIDE = 160  # largest height and width of a photograph in the gallery, in pixels


@dataclass(frozen=True)
class Source:
    """Images as a pass needs them.

    digest: SHA-256 of the content (64 hex digits).
    compared: what the pass compares, one entry for each image, see `methods.comparable`; hashes of photographs are
    taken from the full photographs.
    picture: index -> the image to show to a person; None if its file can no longer be read.
    names: the photographs' files as the system spells them (`run.filenames`), in the order of the indices; None for a
    packed set.
    skipped: (file, reason) for each file that may hold images but could not be used.
    noted: (file, reason) for each file that is left out without the loss of an image (see `images.listing`).
    treated: treatment -> the number of photographs that it changed (see `dedup.pictures`).
    packed: the packed set; None for photographs.
    """

    name: str
    digest: str
    compared: np.ndarray
    picture: Callable[[int], Image.Image | None]
    names: list[str] | None = None
    skipped: tuple[tuple[str, str], ...] = ()
    noted: tuple[tuple[str, str], ...] = ()
    treated: Mapping[str, int] = field(default_factory=dict)
    packed: PackedSet | None = None


def is_set(name: str, run: Run) -> bool:
    """Whether `name` names a set: a known one, available or not, or, if no path is called so, one packed before."""
    return is_name(name) or (not Path(name).exists() and is_packed(name, run))


def check(name: str, run: Run) -> None:
    """Raise UserError if `name` is neither the name of a set nor an existing path."""
    if not is_set(name, run) and not Path(name).exists():
        raise UserError(
            f"{name!r} is neither a data set nor an existing folder or zip; the sets are {', '.join(NAMES)}, "
            "and those packed before"
        )


def plain_name(name: str) -> str:
    """Return the set's name, or the last part of the path."""
    return name if is_name(name) else Path(name).resolve().name or "photos"


def check_apart(name: str, against: str) -> None:
    """Raise UserError if every image of `against` is one of `name`: the same set or path, or a path inside."""
    are_paths = not (is_name(name) or is_name(against)) and Path(name).exists() and Path(against).exists()
    if name == against or (are_paths and os.path.samefile(name, against)):
        raise UserError(f"{name} against itself holds every image twice; leave out --against to search within it")
    if are_paths and Path(against).resolve().is_relative_to(Path(name).resolve()):
        raise UserError(
            f"{against} lies in {name}, so its images would meet themselves; leave out --against to search within "
            f"{name}, or exchange the two to find the images of {against} elsewhere in {name}"
        )


def open_source(name: str, spec: DedupSpec, run: Run, *, apart_from: str | None = None) -> Source:
    """Open the set, or read the photographs. Raises UserError, with the fix, if that fails.

    apart_from: another source, whose files are left out if both are folders or zips: no file is compared with itself.
    """
    if is_set(name, run):
        return _open_set(name, spec, run)
    return _open_photographs(name, spec, run, None if apart_from is None or is_set(apart_from, run) else apart_from)


def _open_set(name: str, spec: DedupSpec, run: Run) -> Source:
    packed = load(name, run)

    def picture(index: int) -> Image.Image:
        image = packed.images[index]
        return Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)

    return Source(packed.name, packed.digest, comparable(packed.images, spec), picture, packed=packed)


def _open_photographs(path: str, spec: DedupSpec, run: Run, apart_from: str | None) -> Source:
    hashes, side = ((spec.method,), None) if spec.method in HASHES else ((), THUMBNAIL_SIDE)
    other = None if apart_from is None else Path(apart_from)
    read = hash_files.read(Path(path), run, hashes=hashes, turned=spec.turned, side=side, apart_from=other)
    compared = read.codes[spec.method] if read.images is None else comparable(read.images, spec)

    def picture(index: int) -> Image.Image | None:
        try:
            return read_picture(read.files[index], SHOWN_SIDE, max_file_bytes=MAX_FILE_BYTES)
        except Exception:  # the file could be read before, but has been removed or changed since
            return None

    left_out = tuple(read.skipped), tuple(read.noted)
    return Source(shown(plain_name(path)), read.digest, compared, picture, read.names, *left_out, read.treated)


@dataclass(frozen=True)
class _Sidecar:
    shape: tuple[int, int, int, int]


def describe(name: str, run: Run) -> str:
    """Describe in words what the source holds, without reading it."""
    if not is_set(name, run):
        files, skipped, _ = list_images(Path(name))
        size = sum(file.version[0] for file in files)
        kept = "; chunks finished before are not read again" if (run.runs_root / "photos").exists() else ""
        left_out = (
            f"; {counted(len(skipped), 'file')} skipped, such as {shown(': '.join(skipped[0]))}" if skipped else ""
        )
        count = counted(len(files), "image file")
        return f"{name}: {count}, {in_bytes(size)}, decoded on all cores{kept}{left_out}"
    for root in (run.data_root, run.runs_root):
        sidecar = root / "packed" / name / "meta.json"
        if sidecar.is_file():
            n, *shape, channels = read_json(sidecar, _Sidecar, fix="delete the folder and pack it again").shape
            sides = "x".join(map(str, shape))
            return f"{name}: {counted(n, 'image')} of {sides}, {counted(channels, 'channel')}"
    return f"{name}: not packed yet; it is packed first, from DATA_ROOT or a download"
