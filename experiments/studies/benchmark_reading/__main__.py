"""Minibatches read ahead, beside minibatches gathered when their steps come: rates, and how long a device waits.

    python -m experiments.studies.benchmark_reading

A stand-in for a GPU takes minibatches of 128 images of 32x32 at 50,000 images/s; while it works on one, the host loads
the next. Its idle share is the part of the time in which it has no minibatch. Three sets are read at random places: an
array in memory, a packed file that is in memory, and the same file on the disk, with nothing of it in memory when a run
begins, as for a set much larger than memory. Gathering when the step comes is what training did before it read ahead:
rows of a memory map, one after the other. The two take turns. The table gives medians with the least and the greatest.
Processor time includes that of the threads. The file (4 GB) is made in --folder, which must lie on a disk, and removed.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import numpy as np
import torch

import gan
from experiments.studies.program import new_parser
from experiments.training.images import as_tensor
from gan.minibatches import Minibatches, minibatch_indices

SIDE, BATCH = 32, 128
RATE = 50_000  # images/s of the stand-in
CHUNK = 4096  # images that are written at once
HEAD = (
    "| set | read ahead, images/s | as before | processor, µs an image | as before "
    "| idle at 50,000 images/s | as before |\n"
    "|---|---|---|---|---|---|---|"
)
FORMS = ("{:,.0f}", "{:,.0f}", "{:.1f}", "{:.1f}", "{:.1f} %", "{:.1f} %")

Load = Callable[[int], object]
"""Loads the minibatch of a step."""
Way = Callable[[np.ndarray, gan.TrainingConfig], AbstractContextManager[Load]]


@contextmanager
def ahead(images: np.ndarray, config: gan.TrainingConfig) -> Iterator[Load]:
    """Read ahead, as training does."""
    with closing(Minibatches(images, None, torch.arange(len(images)), config, torch.device("cpu"))) as minibatches:
        yield minibatches.load


@contextmanager
def before(images: np.ndarray, config: gan.TrainingConfig) -> Iterator[Load]:
    """Gather a minibatch when its step comes."""
    tensor, batch = as_tensor(images), torch.zeros(BATCH, *images.shape[1:], dtype=torch.uint8)
    yield lambda step: batch.copy_(tensor[minibatch_indices(len(tensor), config, step)])


def rate(load: Load, steps: int) -> tuple[float, float]:
    """Return the images per second of loading alone, and the microseconds of processor time for each."""
    began, worked = time.perf_counter(), time.process_time()
    for step in range(steps):
        load(step)
    images = steps * BATCH
    return images / (time.perf_counter() - began), (time.process_time() - worked) / images * 1e6


def idle(load: Load, steps: int) -> float:
    """Return the share of the time in which the stand-in has no minibatch, from the first call on."""
    began = free = time.perf_counter()
    waited = 0.0
    for step in range(steps):
        load(step)
        loaded = time.perf_counter()
        waited += max(0.0, loaded - free)
        taken = max(loaded, free)
        free = taken + BATCH / RATE
        time.sleep(taken - loaded)  # the host goes on when the device takes this minibatch
    return waited / (free - began)


def write(path: Path, images: int) -> None:
    """Write random images end to end."""
    random = np.random.default_rng(0)
    with path.open("wb") as file:
        for _ in range(images // CHUNK):
            file.write(random.bytes(CHUNK * SIDE * SIDE * 3))
        os.fsync(file.fileno())  # only then can the kernel forget it


def mapped(path: Path, *, cached: bool) -> np.memmap:
    """Map the file, with all of it in memory or nothing."""
    with path.open("rb") as file:
        if cached:
            while file.read(2**24):
                pass
        else:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return np.memmap(path, np.uint8, "r", shape=(path.stat().st_size // (SIDE * SIDE * 3), SIDE, SIDE, 3))


def measured(open_set: Callable[[], np.ndarray], steps: int, repeats: int) -> np.ndarray:
    """Return [repeats, 6], the columns of the table: reading ahead and as before, in turn; idle shares in per cent."""
    found = np.zeros((repeats, 3, 2))
    for repeat in range(repeats):
        for i, way in enumerate((ahead, before)):
            with _opened(way, open_set, steps, 4 * repeat + i) as load:
                found[repeat, :2, i] = rate(load, steps)
            with _opened(way, open_set, steps, 4 * repeat + 2 + i) as load:
                found[repeat, 2, i] = 100 * idle(load, steps)
    return found.reshape(repeats, 6)


@contextmanager
def _opened(way: Way, open_set: Callable[[], np.ndarray], steps: int, seed: int) -> Iterator[Load]:
    """Open the set anew, so that nothing is mapped when the kernel is to forget the file."""
    images, length = open_set(), steps * BATCH
    config = gan.TrainingConfig(length, length, BATCH, seed=seed, adversarial=0, rotation=1)  # each step takes images
    minibatch_indices(len(images), config, 0)  # a run draws the order once, and keeps it
    with way(images, config) as load:
        yield load


def line(name: str, found: np.ndarray) -> str:
    """Return a row of the printed table."""
    cells = []
    for column, form in zip(found.T, FORMS, strict=True):
        middle, least, most = (form.format(value) for value in (np.median(column), column.min(), column.max()))
        cells.append(f"{middle} ({least} to {most})")
    return f"| {name} | {' | '.join(cells)} |"


def main(argv: list[str] | None = None) -> int:
    """Print the table."""
    parser = new_parser(__doc__)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="default: %(default)s")
    parser.add_argument("--images", type=int, default=1_302_528, help="in the file (default: 4 GB)")
    parser.add_argument("--minibatches", type=int, default=400, help="of a run (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args(argv)
    if not hasattr(os, "posix_fadvise"):
        parser.error("this study needs Linux, which can forget what it holds of a file")
    print(HEAD)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = Path(folder) / "images.u8"
        write(path, arguments.images)
        part = np.array(mapped(path, cached=True)[: arguments.images // 4])
        sets: dict[str, Callable[[], np.ndarray]] = {
            "array in memory": lambda: part,
            "file in memory": lambda: mapped(path, cached=True),
            "file on the disk": lambda: mapped(path, cached=False),
        }
        for name, open_set in sets.items():
            print(line(name, measured(open_set, arguments.minibatches, arguments.repeats)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
