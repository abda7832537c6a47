"""Images -> LSUN's own form: an LMDB environment of encoded files under ASCII keys (40 hex digits).

JPEG and WebP files keep their bytes, others become PNG without loss. A key is the SHA-1 of the image's name inside its
source, so that equal images stay apart; records come in the order of the keys, as in LSUN's files a shuffled one.
"""

import hashlib
import io
import itertools
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import lmdb
import numpy as np
from PIL import Image, ImageOps

from dedup.files import open_image, read_file
from experiments.data.images.listing import archive_version, list_images, reader
from experiments.data.images.squares import one_line
from experiments.data.packed import PackedSet
from experiments.run.errors import UserError
from experiments.run.files import remove_abandoned, whole_folder
from experiments.run.progress import Progress, silent
from experiments.run.workers import WorkerDied, cores, in_order

__all__ = ["Written", "write_lmdb"]

CHUNK_IMAGES = 64  # a transaction: some of them wait encoded in memory
KEPT = ("JPEG", "WEBP")  # the formats whose bytes stay
OVERHEAD = 2**24  # bytes of an environment beside its values
PAGE = 4096  # values fill whole pages


class Written(NamedTuple):
    """How many records there are, and (name, reason) of each file that is no image."""

    records: int
    skipped: list[tuple[str, str]]


class _Image(NamedTuple):
    key: bytes
    name: str
    content: object  # what reads an image file's bytes; of a packed set its array, once it is its turn


def write_lmdb(
    source: Path | PackedSet, out: Path, *, workers: int | None = None, progress: Progress | None = None
) -> Written:
    """Write the images of a folder, a zip or a packed set as the environment `out`, which appears when it is whole.

    Raises UserError where `out` exists, the source has no image, or the disk is too small.
    """
    if out.exists() or out.is_symlink():
        raise UserError(f"{out} exists: name a folder that does not, or remove it")
    images, unread = _listed(source)
    skipped, records = list(unread), 0
    pixels = source.images if isinstance(source, PackedSet) else None
    tasks = (_task(images[i : i + CHUNK_IMAGES], pixels) for i in range(0, len(images), CHUNK_IMAGES))
    what = f"writing {out.name}"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(out)
        with (
            whole_folder(out) as building,
            lmdb.open(str(building), map_size=OVERHEAD, lock=False, sync=False) as opened,
        ):
            encoded = in_order(_encoded, tasks, workers=min(workers or cores(), -(-len(images) // CHUNK_IMAGES)))
            each = itertools.chain.from_iterable(map(partial(_put, opened, skipped), encoded))
            for stored in (progress or silent)(each, total=len(images), desc=what, unit="image"):
                records += stored
            if not records:
                raise UserError(f"no image in {source} can be read ({skipped[0][0]}: {skipped[0][1]})")
            opened.sync(True)
            if out.exists():  # which would be replaced
                raise UserError(f"{out} has come meanwhile: name a folder that does not exist, or remove it")
    except WorkerDied as error:
        raise UserError(f"{error}, perhaps for want of memory: free some, and run it again") from error
    except (lmdb.Error, OSError) as error:
        raise UserError(f"cannot write {out} ({' '.join(str(error).split())}): make room, or name another") from error
    return Written(records, sorted(skipped))


def _listed(source: Path | PackedSet) -> tuple[list[_Image], list[tuple[str, str]]]:
    """In the order of the keys, which is the fastest to write."""
    if isinstance(source, PackedSet):
        found = [_Image(_key(f"{source.name}/{i}"), str(i), None) for i in range(len(source.images))]
        return sorted(found, key=lambda image: image.key), []
    files, unread = list_images(source)
    archive = archive_version(source)
    images = [_Image(_key(file.path), file.name, reader(source, archive, file.path)) for file in files]
    return sorted(images, key=lambda image: image.key), unread


def _task(images: list[_Image], pixels: np.ndarray | None) -> list[_Image]:
    """A few arrays at a time: those of all images at once, empty as they are, take a gigabyte for a million."""
    return images if pixels is None else [image._replace(content=pixels[int(image.name)]) for image in images]


def _key(name: str) -> bytes:
    return hashlib.sha1(name.encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest().encode()


def _encoded(images: Sequence[_Image]) -> list[tuple[bytes, str, bytes | None, str]]:
    """(key, name, an image file's bytes, "") of each image; (key, name, None, the reason) where it is none."""
    results: list[tuple[bytes, str, bytes | None, str]] = []
    for image in images:
        try:
            results.append((image.key, image.name, _file(image.content), ""))
        except Exception as error:  # Pillow's plugins raise nearly anything for a malformed file
            results.append((image.key, image.name, None, one_line(error)))
    return results


def _file(content: object) -> bytes:
    if isinstance(content, np.ndarray):
        return _png(Image.fromarray(content[..., 0] if content.shape[2] == 1 else content))
    data = read_file(content)  # type: ignore[arg-type]
    with open_image(data) as image:
        image.load()
        if image.format in KEPT:
            return data
        upright = ImageOps.exif_transpose(image)  # a PNG is written without EXIF
        return _png(upright if upright.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16") else upright.convert("RGB"))


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _put(
    opened: lmdb.Environment, skipped: list[tuple[str, str]], encoded: list[tuple[bytes, str, bytes | None, str]]
) -> Iterator[bool]:
    """Store one chunk in one transaction; whether there is a record, for each image."""
    needed = sum(len(data) + 2 * PAGE for _, _, data, _ in encoded if data is not None)
    used = (opened.info()["last_pgno"] + 1) * opened.stat()["psize"]
    if used + needed + OVERHEAD > opened.info()["map_size"]:
        opened.set_mapsize(2 * (used + needed + OVERHEAD))
    with opened.begin(write=True) as transaction:
        for key, name, data, reason in encoded:
            if data is None:
                skipped.append((name, reason))
            else:
                transaction.put(key, data, append=True)
    return iter([data is not None for _, _, data, _ in encoded])
