"""Photographs of a folder, a zip or an LSUN LMDB -> a packed set, on all cores, resumable, a few chunks in memory.

Finished chunks are kept as <work>/<digest of the source>/<number>-<key>.chunk until the set is whole; the key covers
what the chunk is made of and all that shapes it, so that a stopped run goes on where it was.
"""

import contextlib
import fcntl
import itertools
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dedup.files import read_file
from experiments.data.images import lmdb as lmdb_records
from experiments.data.images.decode import MAX_FILE_BYTES
from experiments.data.images.listing import File, archive_version, cut, list_images, reader
from experiments.data.images.squares import DECODER, Squares, squares, transform
from experiments.data.packed import PackedSet, pack
from experiments.run import chunks
from experiments.run.errors import UserError
from experiments.run.progress import Progress, silent
from experiments.run.workers import WorkerDied, cores, in_processes

__all__ = ["Plan", "pack_images", "plan", "plan_of"]

FORMAT = 2  # raise it when the pixels or the chunks' layout change: older chunks are then made again


class _Files(NamedTuple):
    source: str
    files: list[File]

    def records(self) -> Iterator[tuple[str, Any]]:
        archive = archive_version(Path(self.source))
        for file in self.files:
            yield file.name, partial(read_file, reader(Path(self.source), archive, file.path), MAX_FILE_BYTES)

    @property
    def size(self) -> int:
        return len(self.files)

    @property
    def key(self) -> object:
        return self.files


class _Records(NamedTuple):
    part: lmdb_records.Range

    def records(self) -> Iterator[tuple[str, Any]]:
        return lmdb_records.records(self.part)

    @property
    def size(self) -> int:
        return self.part.size

    @property
    def key(self) -> object:
        return [self.part.version, self.part.first.hex(), self.part.size]


@dataclass(frozen=True)
class Plan:
    """What there is to pack.

    count: images at most. parts: the chunks. unread: (folder, reason) of what cannot be looked into.
    """

    source: Path
    count: int
    parts: Sequence[_Files | _Records]
    unread: list[tuple[str, str]]


def plan(source: Path) -> Plan:
    """Look at names or keys alone. Raises UserError for what holds no images."""
    if lmdb_records.is_lmdb(source):
        try:
            (ranges,) = in_processes(lmdb_records.ranges, [str(source)], workers=1)
        except WorkerDied as error:
            raise UserError(f"{source} is no whole LMDB ({error} while reading it): fetch it again") from error
        return Plan(source, sum(part.size for part in ranges), [_Records(part) for part in ranges], [])
    files, unread = list_images(source)
    return plan_of(source, files, unread)


def plan_of(source: Path, files: list[File], unread: list[tuple[str, str]]) -> Plan:
    """These files of the folder or zip, in this order."""
    return Plan(source, len(files), [_Files(str(source), part) for part in cut(files)], unread)


def pack_images(
    planned: Plan,
    folder: Path,
    *,
    side: int,
    channels: int = 3,
    exact: int | None = None,
    labels: Sequence[int] | None = None,
    work: Path,
    source: str | None = None,
    made: str | None = None,
    details: Mapping[str, Any] | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> PackedSet:
    """Pack the plan's images into `folder`, uint8 [N, side, side, channels], in the order of their names or keys.

    exact: pixels of both sides that every image must have. labels: one for each image of the plan, in its order.
    work: where chunks are kept meanwhile. source, made, details: for the sidecar, what the images are (by default the
    source's last name), the transform (by default in full), and more.
    What cannot be decoded is left out and listed in the sidecar as `skipped_files`.

    Raises UserError where nothing can be decoded, a worker dies or the disk is too small.
    """
    made_by = [FORMAT, side, channels, exact, DECODER]
    kept = work / chunks.digest(str(planned.source.resolve()), made_by)
    told = {"decoder": DECODER, "gray_files": 0, **(details or {})}  # filled while the images come
    told["skipped_files"] = [f"{name}: {reason}" for name, reason in planned.unread]
    kept_labels: list[int] | None = None if labels is None else []
    tasks = [
        (kept / f"{number:06}-{chunks.digest(part.key, made_by)}.chunk", part)
        for number, part in enumerate(planned.parts)
    ]

    def squared() -> Iterator[np.ndarray | None]:
        """One item an image: a chunk's pixels, then nothing so often that progress counts images."""
        job = partial(_result, side=side, channels=channels, exact=exact)
        missing = sum(not file.exists() for file, _ in tasks)
        results = in_processes(job, tasks, workers=max(1, min(workers or cores(), missing)))
        first = 0
        for (_, part), result in zip(tasks, results, strict=True):
            told["skipped_files"].extend(f"{name}: {reason}" for name, reason in result.skipped)
            told["gray_files"] += result.gray
            if labels is not None and kept_labels is not None:
                kept_labels.extend(labels[first + place] for place in result.places.tolist())
            first += part.size
            yield result.images
            yield from itertools.repeat(None, part.size - 1)

    def batches() -> Iterator[np.ndarray]:
        found = 0
        what = f"packing {planned.source.name}"
        for images in (progress or silent)(squared(), total=planned.count, desc=what, unit="image"):
            if images is not None:
                found += len(images)
                yield images
        if not found:
            raise UserError(f"no image in {planned.source} can be read ({told['skipped_files'][0]})")

    try:
        with _working_in(kept, planned, side * side * channels):
            return pack(
                folder,
                batches(),
                shape=(planned.count, side, side, channels),
                source=source or planned.source.name,
                transform=made or transform(side, channels),
                labels=kept_labels,
                details=told,
            )
    except WorkerDied as error:
        raise UserError(
            f"{error}, for want of memory or because {planned.source} is damaged: free some, or fetch it again; "
            "what was finished is kept"
        ) from error


@contextlib.contextmanager
def _working_in(kept: Path, planned: Plan, image_bytes: int) -> Iterator[None]:
    """The folder of finished chunks: one process's at a time, with room for them, gone after a good end."""
    try:
        kept.mkdir(parents=True, exist_ok=True)
        opened = os.open(kept, os.O_RDONLY)
    except OSError as error:
        raise _unwritable(kept, error) from error
    try:
        _lock(opened, planned.source)
        _check_room(kept, 2 * planned.count * image_bytes)
        yield
        shutil.rmtree(kept, ignore_errors=True)
    finally:
        os.close(opened)


def _lock(opened: int, source: Path) -> None:
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UserError(
            f"another run is packing {source}: wait for its end, then run the same command again"
        ) from error
    except OSError:  # a file system without locks: two runs at once then do the work twice
        pass


def _check_room(kept: Path, needed: int) -> None:
    """Half of it for the chunks, some of which are there; the other half for the set, where pack() looks again."""
    try:
        free = shutil.disk_usage(kept).free
        there = sum(file.stat().st_size for file in kept.glob("*.chunk"))
        if free + there < needed:
            raise OSError(f"{needed:,} bytes needed, half of them for a while, {free:,} free")
    except OSError as error:
        raise _unwritable(kept, error) from error


def _unwritable(kept: Path, error: OSError) -> UserError:
    return UserError(f"cannot write to {kept} ({error}): make room, or set RUNS_ROOT elsewhere")


def _result(task: tuple[Path, _Files | _Records], *, side: int, channels: int, exact: int | None) -> Squares:
    """What was kept of the chunk, or else what its images give now."""
    file, part = task
    kept = chunks.load(file)
    if kept is not None:
        skipped = [tuple(pair) for pair in json.loads(kept["skipped"].tobytes())]
        return Squares(kept["images"], kept["places"], int(kept["gray"]), skipped, False)
    result = squares(part.records(), side=side, channels=channels, most=part.size, exact=exact)
    if not result.may_pass:  # what may be read the next time leaves the key as it is
        arrays = {"images": result.images, "places": result.places, "gray": np.array(result.gray)}
        chunks.save(file, {**arrays, "skipped": np.frombuffer(json.dumps(result.skipped).encode(), np.uint8)})
    return result
