"""Work on images in chunks, in worker processes. The outcome of each chunk is kept, so that a stopped run can go on.

The file of a chunk is `<number>-<key>.chunk` (see `run.kept`). The key covers the versions of the chunk's images and
everything that affects the outcome, so a changed image is worked on again. A damaged file is made again.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from experiments.run import kept
from experiments.run.context import Run
from experiments.run.errors import UserError
from experiments.run.workers import WorkerDied, cores, in_order, in_processes


class Chunk(Protocol):
    """Some images of a source."""

    @property
    def size(self) -> int:
        """The number of images."""

    @property
    def key(self) -> object:
        """JSON values that change when one of the images does."""


C = TypeVar("C", bound=Chunk)


class Outcome(NamedTuple):
    """The result of the work on a chunk.

    header: JSON values. final: False if an image could not be read. That may be temporary, so the outcome is not kept.
    """

    arrays: dict[str, np.ndarray]
    header: dict[str, Any]
    final: bool = True


def work_through(
    work: Callable[[C], Outcome],
    chunks: Sequence[C],
    folder: Path,
    run: Run,
    *,
    made_by: object,
    title: str,
    apart: bool = False,
    workers: int | None = None,
) -> Iterator[tuple[C, Outcome]]:
    """Yield every chunk with its outcome, which is read from `folder` if it is kept there, else computed and kept.

    made_by: JSON values that affect the outcome, such as sizes and versions. title: title of the progress, which counts
    images. workers: number of processes, by default one for each core; it does not change the outcomes. One worker
    means this process. apart: never work in this process, because the work may kill its process.

    At the end, the files of other chunks in `folder` are removed. Raises UserError if a worker dies, and OSError if
    `folder` cannot be written.
    """
    tasks = [(folder / f"{n:06}-{kept.key(chunk.key, made_by)}.chunk", chunk) for n, chunk in enumerate(chunks)]
    missing = sum(not file.exists() for file, _ in tasks)
    run_tasks = in_processes if apart else in_order
    outcomes = run_tasks(partial(_outcome, work), tasks, workers=max(1, min(workers or cores(), missing)))

    def counted() -> Iterator[tuple[C, Outcome] | None]:
        """Each chunk with its outcome, followed by size - 1 `None`s, so that progress counts images."""
        for chunk, outcome in zip(chunks, outcomes, strict=True):
            yield chunk, outcome
            yield from itertools.repeat(None, chunk.size - 1)

    total = sum(chunk.size for chunk in chunks)
    try:
        for item in run.progress(counted(), total=total, desc=title, unit="image"):
            if item is not None:
                yield item
    except WorkerDied as error:
        raise UserError(
            f"{error}, because memory ran out or an image is damaged: free memory, or fetch the images again; "
            "finished chunks are kept"
        ) from error
    for stale in set(folder.glob("*.chunk")) - {file for file, _ in tasks}:
        stale.unlink(missing_ok=True)


def _outcome(work: Callable[[C], Outcome], task: tuple[Path, C]) -> Outcome:
    file, chunk = task
    with contextlib.suppress(FileNotFoundError, ValueError):
        return Outcome(*kept.read(file))
    outcome = work(chunk)
    if outcome.final:
        kept.write(file, outcome.arrays, outcome.header)
    return outcome
