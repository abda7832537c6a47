"""The images that a pass runs over: a packed set, given by name, or the photographs of a folder or zip, by path."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from dedup.files import read_picture
from experiments.data.images import hash_files
from experiments.data.images.decode import MAX_FILE_BYTES
from experiments.data.load import is_packed, load
from experiments.data.names import NAMES, is_name
from experiments.data.packed import PackedSet
from experiments.deduplication.methods import comparable
from experiments.deduplication.spec import HASHES, DedupSpec
from experiments.run.context import Run
from experiments.run.errors import UserError
from experiments.run.filenames import shown

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
    skipped: (file, reason) for each file that is named like an image but could not be used.
    packed: the packed set; None for photographs.
    """

    name: str
    digest: str
    compared: np.ndarray
    picture: Callable[[int], Image.Image | None]
    names: list[str] | None = None
    skipped: tuple[tuple[str, str], ...] = ()
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


def is_same(a: str, b: str) -> bool:
    """Whether both are the same set, or the same folder or zip."""
    return a == b or (not (is_name(a) or is_name(b)) and Path(a).resolve() == Path(b).resolve())


def open_source(name: str, spec: DedupSpec, run: Run) -> Source:
    """Open the set, or read the photographs. Raises UserError, with the fix, if that fails."""
    return (_open_set if is_set(name, run) else _open_photographs)(name, spec, run)


def _open_set(name: str, spec: DedupSpec, run: Run) -> Source:
    packed = load(name, run)

    def picture(index: int) -> Image.Image:
        image = packed.images[index]
        return Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)

    return Source(packed.name, packed.digest, comparable(packed.images, spec), picture, packed=packed)


def _open_photographs(path: str, spec: DedupSpec, run: Run) -> Source:
    hashes, side = ((spec.method,), None) if spec.method in HASHES else ((), THUMBNAIL_SIDE)
    read = hash_files.read(Path(path), run, hashes=hashes, side=side)
    compared = read.codes[spec.method] if read.images is None else comparable(read.images, spec)

    def picture(index: int) -> Image.Image | None:
        try:
            return read_picture(read.files[index], SHOWN_SIDE, max_file_bytes=MAX_FILE_BYTES)
        except Exception:  # the file could be read before, but has been removed or changed since
            return None

    return Source(shown(plain_name(path)), read.digest, compared, picture, read.names, tuple(read.skipped))


def describe(name: str, run: Run) -> str:
    """Describe in words what the source holds, without reading it."""
    if not is_set(name, run):
        files, size = hash_files.work(Path(name))
        kept = "; chunks finished before are not read again" if (run.runs_root / "photos").exists() else ""
        return f"{name}: {files:,} image files, {size / 1e6:,.1f} MB, decoded on all cores{kept}"
    for root in (run.data_root, run.runs_root):
        sidecar = root / "packed" / name / "meta.json"
        if sidecar.is_file():
            n, *shape, channels = json.loads(sidecar.read_text())["shape"]
            return f"{name}: {n:,} images of {'x'.join(map(str, shape))}, {channels} channels"
    return f"{name}: not packed yet; it is packed first, from DATA_ROOT or a download"
