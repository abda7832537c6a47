"""Hash photographs of any size, mode and format in a folder or a zip, and make thumbnails, on all cores.

A stopped run can go on: finished chunks are kept in RUNS_ROOT/photos (see `images.chunks`). They stay there after the
end, so that a later run hashes only changed files.
"""

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import PIL
from PIL import features

import dedup
from experiments.data.images.chunks import Outcome, work_through
from experiments.data.images.decode import MAX_FILE_BYTES
from experiments.data.images.listing import CHUNK_IMAGES, FileChunk, called, cut, list_images, tell, without
from experiments.run import kept
from experiments.run.context import Run
from experiments.run.errors import UserError

FORMAT = 3  # raise it when hashes, thumbnails or the chunks' layout change: older chunks are then made again


@dataclass(frozen=True)
class Photos:
    """The photographs that were read, in the order of their listing (see `listing`).

    names: paths inside the source of the files that could be read as images, as the system spells them.
    images: uint8 [N, side, side, 3], RGB thumbnails, each photograph squashed to a square, a read-only memory map; None
    if no thumbnails were wanted.
    codes: uint64 [N] for each hash, or [N, 8] for the eight orientations, taken from the full photographs; equal to
    those of imagehash bit for bit, except for treated images.
    skipped: (name, reason) of every file that may hold images but could not be used, sorted.
    digest: SHA-256 over all of the above (64 hex digits).
    noted: (name, reason) of what is left out without the loss of an image (see `listing`), sorted.
    treated: treatment -> how many images it changed (see `dedup.pictures`).
    files: for each photograph, where it can be read again (see `listing.FileChunk.readers`).
    """

    names: list[str]
    images: np.ndarray | None
    codes: dict[str, np.ndarray]
    skipped: list[tuple[str, str]]
    digest: str
    noted: list[tuple[str, str]]
    treated: dict[str, int]
    files: list[dedup.File]


def read(
    source: Path,
    run: Run,
    *,
    hashes: Sequence[str] = ("phash",),
    turned: bool = False,
    side: int | None = 64,
    apart_from: Path | None = None,
    workers: int | None = None,
    chunk_images: int = CHUNK_IMAGES,
) -> Photos:
    """Hash every photograph in the folder or zip `source` (see `list_images`).

    apart_from: a folder or zip whose files are left out of `source`, so that none of them is compared with itself.
    hashes: names of the hashes, among "phash", "ahash" and "dhash". turned: hash each image in its eight orientations.
    side: side of the thumbnails in pixels; None makes no thumbnails, which is faster by a quarter. workers: see
    `work_through`.

    Raises UserError if `source` is neither a folder nor a zip or holds no image, or if a worker dies; OSError if
    RUNS_ROOT cannot be written.
    """
    listing = list_images(source)
    if apart_from is not None:
        listing = without(listing, source, apart_from)
    files, skipped = listing.files, list(listing.skipped)
    made_by = [
        FORMAT,
        sorted(hashes),
        side,
        PIL.__version__,
        features.version("libjpeg_turbo"),
        *(["turned"] if turned else []),
    ]
    folder = run.runs_root / "photos" / kept.key(str(source.resolve()), made_by)
    folder.mkdir(parents=True, exist_ok=True)
    hash_chunk = partial(_hashed, hashes=tuple(hashes), turned=turned, side=side)
    names: list[str] = []
    readers: list[dedup.File] = []
    codes: dict[str, list[np.ndarray]] = {name: [] for name in hashes}
    treated: Counter[str] = Counter()
    digest = hashlib.sha256()
    with tempfile.TemporaryFile(dir=folder) as scratch:  # the memory map below keeps the file while it is needed
        chunks, title = list(cut(source, files, chunk_images)), f"hashing {called(source)}"
        for chunk, outcome in work_through(
            hash_chunk, chunks, folder, run, made_by=made_by, title=title, workers=workers
        ):
            places, chunk_readers = outcome.arrays["kept"].tolist(), chunk.readers()
            names.extend(chunk.files[place].path for place in places)
            readers.extend(chunk_readers[place] for place in places)
            skipped.extend((chunk.files[place].path, reason) for place, reason in outcome.header["skipped"])
            treated.update(outcome.header["treated"])
            for name in hashes:
                codes[name].append(outcome.arrays[name])
                digest.update(outcome.arrays[name].data)
            if side is not None:
                digest.update(outcome.arrays["images"].data)
                scratch.write(outcome.arrays["images"].data)
        if not names:
            raise UserError(f"no image in {source} can be read ({skipped[0][0]}: {skipped[0][1]}): name another source")
        scratch.flush()
        images = None if side is None else np.memmap(scratch, np.uint8, "r", shape=(len(names), side, side, 3))
    skipped.sort()
    digest.update(json.dumps([names, skipped]).encode())
    whole = {name: np.concatenate(parts) for name, parts in codes.items()}
    tell(called(source), listing.noted, treated, run)
    return Photos(names, images, whole, skipped, digest.hexdigest(), listing.noted, dict(treated), readers)


def _hashed(chunk: FileChunk, *, hashes: Sequence[str], turned: bool, side: int | None) -> Outcome:
    readers = chunk.readers()
    hashed = dedup.hash_files(readers, hashes=hashes, turned=turned, side=side, max_file_bytes=MAX_FILE_BYTES)
    arrays: dict[str, np.ndarray] = {"kept": hashed.kept, **hashed.codes}
    if hashed.images is not None:
        arrays["images"] = hashed.images
    skipped = [(file.place, file.reason) for file in hashed.skipped]
    header = {"skipped": skipped, "treated": hashed.treated}
    return Outcome(arrays, header, final=not any(file.unread for file in hashed.skipped))
