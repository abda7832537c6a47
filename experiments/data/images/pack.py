"""Pack photographs from a folder, a zip or an LSUN LMDB, on all cores, with only a few chunks in memory.

A stopped run can go on: finished chunks are kept in RUNS_ROOT/packing until the set is complete (see `images.chunks`).
"""

import contextlib
import fcntl
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments.data.images import lmdb
from experiments.data.images.chunks import Outcome, work_through
from experiments.data.images.decode import DECODER, decode_squares, describe_transform
from experiments.data.images.listing import CHUNK_IMAGES, FileChunk, cut, list_folder, list_images, tell
from experiments.data.packed import PackedSet, pack
from experiments.run import kept
from experiments.run.context import Run
from experiments.run.errors import UserError
from experiments.run.filenames import shown
from experiments.run.files import writing
from experiments.run.workers import WorkerDied, in_processes

FORMAT = 3  # raise it when the pixels or the chunks' layout change: older chunks are then made again


@dataclass(frozen=True)
class Plan:
    """The images to pack.

    skipped, noted: (name, reason) of what is not read, and of what is left out without the loss of an image (see
    `listing.Listing`). labels: one for each image; None if unlabelled.
    """

    source: Path
    chunks: Sequence[FileChunk | lmdb.RecordChunk]
    skipped: Sequence[tuple[str, str]] = ()
    noted: Sequence[tuple[str, str]] = ()
    labels: Sequence[int] | None = None

    @property
    def count(self) -> int:
        """The number of images, if all can be decoded."""
        return sum(chunk.size for chunk in self.chunks)


@dataclass(frozen=True)
class PackSpec:
    """The wanted form of a packed set of photographs, uint8 [N, side, side, channels].

    exact: the height and width in pixels that every image file must have. source, transform: texts for the sidecar (by
    default the last part of the source's path, and that of `describe_transform`). details: more values for the sidecar.
    """

    side: int
    channels: int = 3
    exact: int | None = None
    source: str | None = None
    transform: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


def plan(source: Path, *, chunk_images: int = CHUNK_IMAGES) -> Plan:
    """List the images of `source` by their names or keys, unread, in chunks. Raises UserError if it holds no images."""
    if not lmdb.is_lmdb(source):
        files, skipped, noted = list_images(source)
        return Plan(source, list(cut(source, files, chunk_images)), skipped, noted)
    try:
        (chunks,) = in_processes(partial(lmdb.cut, size=chunk_images), [str(source)], workers=1)
    except WorkerDied as error:
        raise UserError(f"{source} is not a complete LMDB ({error} while reading it): fetch it again") from error
    beside = [(file.path, "lies beside an LMDB, which is packed instead") for file in list_folder(source).files]
    return Plan(source, chunks, beside)


def pack_images(planned: Plan, folder: Path, spec: PackSpec, run: Run, *, workers: int | None = None) -> PackedSet:
    """Pack the plan's images into `folder`, in the order of their names or keys.

    workers: see `work_through`. Images that cannot be decoded are left out, and the sidecar lists them as
    `skipped_files`. What is left out without the loss of an image is in `noted_files`; what was done to pixels
    (see `dedup.pictures`) is in `treated`.

    Raises UserError if nothing can be decoded, a worker dies, the disk is too small or another run packs this source.
    """
    side, channels, exact = spec.side, spec.channels, spec.exact
    made_by = [FORMAT, side, channels, exact, DECODER]
    finished = run.runs_root / "packing" / kept.key(str(planned.source.resolve()), made_by)
    job = partial(_decoded, side=side, channels=channels, exact=exact)
    labels: list[int] = []
    skipped = [shown(f"{name}: {reason}") for name, reason in planned.skipped]
    treated: Counter[str] = Counter()
    details = {"decoder": DECODER, "gray_files": 0, **spec.details, "skipped_files": skipped}
    if planned.noted:
        details["noted_files"] = [shown(f"{name}: {reason}") for name, reason in planned.noted]

    def batches() -> Iterator[np.ndarray]:
        """Yield the images; `labels` and `details` are filled meanwhile."""
        first = found = 0
        title, apart = f"packing {planned.source.name}", lmdb.is_lmdb(planned.source)
        for chunk, outcome in work_through(
            job, planned.chunks, finished, run, made_by=made_by, title=title, apart=apart, workers=workers
        ):
            details["gray_files"] += outcome.header["gray"]
            if outcome.header["treated"]:  # the sidecar of all other sets stays what it was
                treated.update(outcome.header["treated"])
                details["treated"] = dict(treated)
            skipped.extend(f"{name}: {reason}" for name, reason in outcome.header["skipped"])
            if planned.labels is not None:
                labels.extend(planned.labels[first + place] for place in outcome.arrays["places"].tolist())
            first += chunk.size
            found += len(outcome.arrays["images"])
            yield outcome.arrays["images"]
        if not found:
            raise UserError(f"no image in {planned.source} can be read ({skipped[0]})")

    with _working_in(finished, planned, side * side * channels):
        packed = pack(
            folder,
            batches(),
            shape=(planned.count, side, side, channels),
            source=spec.source or planned.source.name,
            transform=spec.transform or describe_transform(side, channels),
            labels=None if planned.labels is None else labels,
            details=details,
        )
    tell(packed.name, len(packed.images), planned.noted, treated, run)
    return packed


def _decoded(chunk: FileChunk | lmdb.RecordChunk, *, side: int, channels: int, exact: int | None) -> Outcome:
    return decode_squares(chunk.records(), side=side, channels=channels, most=chunk.size, exact=exact)


@contextlib.contextmanager
def _working_in(finished: Path, planned: Plan, image_bytes: int) -> Iterator[None]:
    """Make and lock the folder of finished chunks, which must have room for them; remove it if the block ends well."""
    # half for the chunks, some of which are there already, and half for the set, for which pack() checks again
    needed = 2 * planned.count * image_bytes - sum(file.stat().st_size for file in finished.glob("*.chunk"))
    with writing(finished, needed, f"write to {finished}", ", half of them only while packing"):
        lock = (finished / "lock").open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"another run is packing {planned.source}: wait for its end, then run the same command again"
            ) from error
        except OSError:  # a file system without locks: two runs at once do the work twice
            pass
        yield
        shutil.rmtree(finished, ignore_errors=True)
