"""What the pass is run over: a packed set by its name, or a folder or zip of photographs by its path."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import dedup
from dedup.files import read_picture
from experiments.data import load as datasets
from experiments.data.images import hash_files as photos
from experiments.data.images.decode import MAX_FILE_BYTES
from experiments.deduplication.spec import HASHES, DedupSpec
from experiments.run.context import Run
from experiments.run.errors import UserError
from experiments.run.progress import silent

SHOWN_SIDE = 160  # of a photograph in the gallery, at most


@dataclass(frozen=True)
class Source:
    """Images of either kind; `duplicates.Searched`.

    pictures: index -> the image for a person to look at; None where its file is gone.
    names: of the photographs' files; None of a packed set.
    skipped: (file, reason) of what is named like an image and is none that can be used.
    packed: the packed set, where it is one.
    """

    name: str
    digest: str
    size: int
    pixels: Callable[[], NDArray[np.uint8]]
    codes: Callable[[str], NDArray[np.uint64]]
    picture: Callable[[int], Image.Image | None]
    names: list[str] | None = None
    skipped: tuple[tuple[str, str], ...] = ()
    packed: datasets.PackedSet | None = None


def is_set(name: str, *, data_root: Path, runs_root: Path) -> bool:
    """Whether `name` is a set's: of a known kind, at hand or not, or else packed before and no path that exists."""
    roots = {"data_root": data_root, "runs_root": runs_root}
    return datasets.is_name(name) or (not Path(name).exists() and datasets.is_packed(name, **roots))


def check(name: str, *, data_root: Path, runs_root: Path) -> None:
    """UserError for what is neither the name of a set nor an existing path."""
    if not is_set(name, data_root=data_root, runs_root=runs_root) and not Path(name).exists():
        raise UserError(
            f"{name!r} is neither a data set nor an existing folder or zip; the sets are {', '.join(datasets.NAMES)}, "
            "and those packed before"
        )


def plain_name(name: str) -> str:
    """What the outputs of the source are filed under: the set's name, or the last part of the path."""
    return name if datasets.is_name(name) else Path(name).resolve().name or "photos"


def is_same(a: str, b: str) -> bool:
    """Whether both are the same set, or the same folder or zip."""
    return a == b or (not (datasets.is_name(a) or datasets.is_name(b)) and Path(a).resolve() == Path(b).resolve())


def open_source(
    name: str, spec: DedupSpec, *, data_root: Path, runs_root: Path, progress: datasets.Progress | None = None
) -> Source:
    """The source, with what the pass `spec` needs of it. Raises UserError, with the fix, where it cannot be had."""
    roots = {"data_root": data_root, "runs_root": runs_root}
    check(name, **roots)
    if is_set(name, **roots):
        return _packed(datasets.load(name, Run(data_root, runs_root, progress=progress or silent)))
    return _photos(name, spec, runs_root, progress)


def _packed(packed: datasets.PackedSet) -> Source:
    def picture(index: int) -> Image.Image:
        image = packed.images[index]
        return Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)

    return Source(
        name=packed.name,
        digest=packed.digest,
        size=len(packed.images),
        pixels=lambda: packed.images,
        codes=lambda hash: dedup.hash_chunks(packed.images, HASHES[hash]),
        picture=picture,
        packed=packed,
    )


def _photos(name: str, spec: DedupSpec, runs_root: Path, progress: datasets.Progress | None) -> Source:
    by_hash = spec.method in HASHES
    found = photos.read(
        Path(name),
        runs_root=runs_root,
        hashes=(spec.method,) if by_hash else (),
        side=None if by_hash else 64,
        progress=progress,
    )

    def pixels() -> NDArray[np.uint8]:
        assert found.images is not None
        return found.images

    def picture(index: int) -> Image.Image | None:
        try:
            return read_picture(found.files[index], SHOWN_SIDE, max_file_bytes=MAX_FILE_BYTES)
        except Exception:  # the file was read before: it is gone now, or another
            return None

    return Source(
        name=plain_name(name),
        digest=found.digest,
        size=len(found.names),
        pixels=pixels,
        codes=lambda hash: found.codes[hash],
        picture=picture,
        names=found.names,
        skipped=tuple(found.skipped),
    )


def describe(name: str, spec: DedupSpec, *, data_root: Path, runs_root: Path) -> str:
    """What there is to read of the source, in words, found without reading it."""
    roots = {"data_root": data_root, "runs_root": runs_root}
    check(name, **roots)
    if not is_set(name, **roots):
        work = photos.work(Path(name))
        kept = "; chunks finished before are not read again" if (runs_root / "photos").exists() else ""
        return f"{name}: {work.files:,} image files, {work.bytes / 1e6:,.1f} MB, decoded on all cores{kept}"
    for root in (data_root, runs_root):
        sidecar = root / "packed" / name / "meta.json"
        if sidecar.is_file():
            n, *shape, channels = json.loads(sidecar.read_text())["shape"]
            return f"{name}: {n:,} images of {'x'.join(map(str, shape))}, {channels} channels"
    return f"{name}: not packed yet, which is done first, from DATA_ROOT or a download"
