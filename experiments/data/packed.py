"""The packed form that every data set ends in: one flat uint8 file, labels, and a JSON sidecar.

    <folder>/images.u8    uint8, C order, [N, H, W, C]
    <folder>/labels.npy   int64 [N], if the set is labelled
    <folder>/meta.json    name, shape, SHA-256 of both, source, transform, further details from the reader; sealed

A finished folder appears in one rename, so a stopped run leaves nothing that looks finished. Both digests are verified
every time the set is opened, so an altered set is never used.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from experiments.run.errors import one_line
from experiments.run.files import file_digest, remove_abandoned, whole_folder, writing
from experiments.run.reading.arrays import read_npy
from experiments.run.reading.documents import parse, read_text, unsealed, write_json
from experiments.run.reading.shapes import build
from results.lines import Rule

FORMAT = 1  # raise it when the layout above changes: older folders are then refused, and built again
DISK_MARGIN = 16 * 2**20  # bytes beyond the images: sidecar, labels, and room for the rest of the machine


@dataclass(frozen=True)
class _Digests:
    images: str
    labels: str | None


@dataclass(frozen=True)
class _Sidecar:
    """What a set is opened by; meta.json holds more, see `pack`."""

    format: int
    shape: Annotated[list[int], Rule("be four positive numbers [N, H, W, C]", lambda n: len(n) == 4 and min(n) > 0)]
    sha256: _Digests
    source: str


@dataclass(frozen=True)
class PackedSet:
    """An opened, verified set, named after its folder.

    images: uint8 [N, H, W, C] in [0, 255], a read-only memory map.
    labels: int64 [N], or None for an unlabelled set.
    meta: the sidecar, as read.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray | None
    meta: dict[str, Any]

    @property
    def digest(self) -> str:
        """SHA-256 over the digests of images and labels (64 hex digits): the set's part of a cache key."""
        sha256 = self.meta["sha256"]
        return set_digest(self.meta["shape"], sha256["images"], sha256["labels"])

    def digest_with(self, images: np.ndarray) -> str:
        """Return the digest that this set would have if it held `images` instead: uint8 [N, H, W, C], contiguous."""
        return set_digest(list(images.shape), hashlib.sha256(images.data).hexdigest(), self.meta["sha256"]["labels"])


def set_digest(shape: list[int], images: str, labels: str | None) -> str:
    """Return the digest of a set: SHA-256 over its shape and the SHA-256 of its images and of its labels."""
    return hashlib.sha256(f"{shape} {images} {labels}".encode()).hexdigest()


def open_packed(folder: Path) -> PackedSet:
    """Open a packed folder and verify its size and both digests (about a second for 1 GB).

    Raises FileNotFoundError if there is no sidecar, and ValueError if anything differs from the sidecar.
    """
    sidecar = folder / "meta.json"
    if not sidecar.is_file():
        raise FileNotFoundError(f"no packed set at {folder}: meta.json is missing")

    def refuse(what: str) -> ValueError:
        return ValueError(f"packed set {folder} is damaged ({what}): delete the folder and pack it again")

    try:
        meta = unsealed(parse(read_text(sidecar)))
        told: _Sidecar = build(_Sidecar, meta, "it", closed=False)
    except ValueError as error:
        raise refuse(f"meta.json cannot be read: {one_line(error)}") from error
    if told.format != FORMAT:
        raise refuse(f"format must be {FORMAT}, got {told.format!r}")
    shape, expected_images, expected_labels = tuple(told.shape), told.sha256.images, told.sha256.labels

    path, size = folder / "images.u8", math.prod(shape)
    found_size = path.stat().st_size if path.is_file() else 0
    if found_size != size:
        raise refuse(f"images.u8 must hold {size:,} bytes, got {found_size:,}")
    if file_digest(path, "sha256") != expected_images:
        raise refuse("SHA-256 of images.u8 differs from meta.json")
    images = np.memmap(path, dtype=np.uint8, mode="r", shape=shape)

    labels = None
    if expected_labels is not None:
        try:
            labels = read_npy(folder / "labels.npy")
        except (OSError, ValueError) as error:
            raise refuse(f"labels.npy cannot be read: {error}") from error
        if (
            labels.dtype != np.int64
            or labels.shape != shape[:1]
            or hashlib.sha256(labels.data).hexdigest() != expected_labels
        ):
            raise refuse("labels.npy differs from meta.json")
        labels.setflags(write=False)
    return PackedSet(folder.absolute().name, images, labels, meta)


def pack(
    folder: Path,
    batches: Iterable[np.ndarray],
    *,
    shape: tuple[int, int, int, int],
    source: str,
    transform: str,
    labels: Sequence[int] | np.ndarray | None = None,
    details: Mapping[str, Any] | None = None,
) -> PackedSet:
    """Write batches of images as the packed set `folder`; return it opened. The set is named after the folder.

    batches: arrays of images, uint8 [n, H, W, C] each, with N images in all.
    shape: (N, H, W, C). Here N is the largest possible number; there may be fewer images, if broken files are skipped.
    labels: integers [N], or None for an unlabelled set. details: JSON values for the sidecar. Both are read after the
        last batch, so a reader that skips broken files may fill them while it yields.

    An existing folder is replaced once the new one is complete. Raises ValueError for arrays that do not fit the above,
    and UserError if the folder cannot be written or the disk is too small. Disk space is checked before the first batch
    is requested. After an error nothing is left behind.
    """
    remove_abandoned(folder)
    needed = math.prod(shape) + DISK_MARGIN
    with writing(folder.parent, needed, f"write the packed set {folder}"), whole_folder(folder) as building:
        count, images_digest = _write_images(building / "images.u8", batches, shape)
        labels_digest = None
        if labels is not None:
            label_array = np.ascontiguousarray(labels, dtype=np.int64)
            if label_array.shape != (count,):
                raise ValueError(f"labels must have shape ({count},), one for each image, got {label_array.shape}")
            np.save(building / "labels.npy", label_array, allow_pickle=False)
            labels_digest = hashlib.sha256(label_array.data).hexdigest()
        meta = {
            "format": FORMAT,
            "name": folder.name,
            "shape": [count, *shape[1:]],
            "sha256": {"images": images_digest, "labels": labels_digest},
            "source": source,
            "transform": transform,
            **(details or {}),
        }
        write_json(building / "meta.json", meta)
    return open_packed(folder)


def _write_images(path: Path, batches: Iterable[np.ndarray], shape: tuple[int, int, int, int]) -> tuple[int, str]:
    """Write the batches end to end; return how many images there were and their SHA-256."""
    count, digest = 0, hashlib.sha256()
    with path.open("wb") as file:
        for batch in batches:
            if batch.dtype != np.uint8 or batch.shape[1:] != tuple(shape[1:]):
                raise ValueError(
                    f"a batch must be uint8 [n, *{list(shape[1:])}], got {batch.dtype} {list(batch.shape)}"
                )
            count += len(batch)
            if count > shape[0]:
                raise ValueError(f"at most {shape[0]} images were announced, got {count}")
            data = np.ascontiguousarray(batch).data
            digest.update(data)
            file.write(data)
    if count == 0:
        raise ValueError("a packed set must hold at least one image, got none")
    return count, digest.hexdigest()
