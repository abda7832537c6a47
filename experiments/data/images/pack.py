"""Photographs in a folder, a zip or an LSUN LMDB -> a packed set, on all cores, resumable, a few chunks in memory.

Finished chunks are kept in RUNS_ROOT/packing until the set is whole (see `images.chunks`).
"""

import contextlib
import fcntl
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments.data.images import lmdb
from experiments.data.images.chunks import Outcome, work_through
from experiments.data.images.decode import DECODER, decode_squares, describe_transform
from experiments.data.images.listing import CHUNK_IMAGES, FileChunk, cut, list_images
from experiments.data.packed import PackedSet, pack
from experiments.run import kept
from experiments.run.context import Run
from experiments.run.errors import UserError
from experiments.run.files import writing
from experiments.run.workers import WorkerDied, in_processes

FORMAT = 2  # raise it when the pixels or the chunks' layout change: older chunks are then made again


@dataclass(frozen=True)
class Plan:
    """What there is to pack.

    unread: (folder, reason) of what cannot be looked into. labels: one for each image, where there are labels.
    """

    source: Path
    chunks: Sequence[FileChunk | lmdb.RecordChunk]
    unread: Sequence[tuple[str, str]] = ()
    labels: Sequence[int] | None = None

    @property
    def count(self) -> int:
        """The number of images, if all can be decoded."""
        return sum(chunk.size for chunk in self.chunks)


@dataclass(frozen=True)
class PackSpec:
    """What a packed set of photographs is to be: uint8 [N, side, side, channels].

    exact: the height and width in pixels that every image file must have. source and transform: how the sidecar names
    them (by default the last part of the source's path, and `describe_transform`). details: what else the sidecar says.
    """

    side: int
    channels: int = 3
    exact: int | None = None
    source: str | None = None
    transform: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


def plan(source: Path, *, chunk_images: int = CHUNK_IMAGES) -> Plan:
    """Look at the names or keys only, and cut them into chunks. Raises UserError for what holds no images."""
    if not lmdb.is_lmdb(source):
        files, unread = list_images(source)
        return Plan(source, list(cut(source, files, chunk_images)), unread)
    try:
        (chunks,) = in_processes(partial(lmdb.cut, size=chunk_images), [str(source)], workers=1)
    except WorkerDied as error:
        raise UserError(f"{source} is no whole LMDB ({error} while reading it): fetch it again") from error
    return Plan(source, chunks)


def pack_images(planned: Plan, folder: Path, spec: PackSpec, run: Run, *, workers: int | None = None) -> PackedSet:
    """Pack the plan's images into `folder`, in the order of their names or keys.

    workers: see `work_through`. Images that cannot be decoded are left out, and the sidecar lists them as
    `skipped_files`.

    Raises UserError where nothing can be decoded, a worker dies or the disk is too small.
    """
    side, channels, exact = spec.side, spec.channels, spec.exact
    made_by = [FORMAT, side, channels, exact, DECODER]
    finished = run.runs_root / "packing" / kept.key(str(planned.source.resolve()), made_by)
    job = partial(_decoded, side=side, channels=channels, exact=exact)
    labels: list[int] = []
    skipped = [f"{name}: {reason}" for name, reason in planned.unread]
    details = {"decoder": DECODER, "gray_files": 0, **spec.details, "skipped_files": skipped}

    def batches() -> Iterator[np.ndarray]:
        """The images; `labels` and `details` are filled while they come."""
        first = found = 0
        title, apart = f"packing {planned.source.name}", lmdb.is_lmdb(planned.source)
        for chunk, outcome in work_through(
            job, planned.chunks, finished, run, made_by=made_by, title=title, apart=apart, workers=workers
        ):
            details["gray_files"] += outcome.header["gray"]
            skipped.extend(f"{name}: {reason}" for name, reason in outcome.header["skipped"])
            if planned.labels is not None:
                labels.extend(planned.labels[first + place] for place in outcome.arrays["places"].tolist())
            first += chunk.size
            found += len(outcome.arrays["images"])
            yield outcome.arrays["images"]
        if not found:
            raise UserError(f"no image in {planned.source} can be read ({skipped[0]})")

    with _working_in(finished, planned, side * side * channels):
        return pack(
            folder,
            batches(),
            shape=(planned.count, side, side, channels),
            source=spec.source or planned.source.name,
            transform=spec.transform or describe_transform(side, channels),
            labels=None if planned.labels is None else labels,
            details=details,
        )


def _decoded(chunk: FileChunk | lmdb.RecordChunk, *, side: int, channels: int, exact: int | None) -> Outcome:
    return decode_squares(chunk.records(), side=side, channels=channels, most=chunk.size, exact=exact)


@contextlib.contextmanager
def _working_in(finished: Path, planned: Plan, image_bytes: int) -> Iterator[None]:
    """The folder of finished chunks: for one process at a time, with room for them, removed after a good end."""
    # half for the chunks, some of which are there, and half for the set, where pack() looks again
    needed = 2 * planned.count * image_bytes - sum(file.stat().st_size for file in finished.glob("*.chunk"))
    with writing(finished, needed, f"write to {finished}", ", half of them for a while"):
        lock = (finished / "lock").open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"another run is packing {planned.source}: wait for its end, then run the same command again"
            ) from error
        except OSError:  # a file system without locks: two runs at once then do the work twice
            pass
        yield
        shutil.rmtree(finished, ignore_errors=True)
