"""What packing costs: beside Pillow merely decoding the same files, on all cores with the same processes.

    python -m experiments.studies.benchmark_packing data/tiny-imagenet-200/train-0.zip --files 5000

Every figure is a median over pairs of runs in turn, so that a machine whose speed drifts drifts for both. Both runs
start their processes anew and read the same chunks; packing also keeps its chunks, writes the set and checks it.
"""

import argparse
import dataclasses
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from PIL import Image

from experiments.data.images.pack import Plan, pack_images, plan
from experiments.run.workers import cores, in_processes


def packing(
    source: Path, *, files: int | None = None, side: int = 32, repeats: int = 5, workers: int | None = None
) -> Iterator[str]:
    """Images/s of packing the folder or zip and of decoding it. files: so many of it; by default all."""
    workers = workers or cores()
    planned = _first(plan(source), files)

    def pack() -> None:
        with tempfile.TemporaryDirectory() as made:
            pack_images(planned, Path(made) / "set", side=side, work=Path(made) / "work", workers=workers)

    def decode() -> None:
        if sum(in_processes(_decoded, planned.parts, workers=workers)) != planned.count:
            raise AssertionError("not every file was decoded")

    decode()  # the files are in the system's cache from here on
    pairs = [(_seconds(decode), _seconds(pack)) for _ in range(repeats)]
    theirs, ours = (planned.count / statistics.median(pair[i] for pair in pairs) for i in (0, 1))
    ratio = statistics.median(a / b for a, b in pairs)
    yield (
        f"{planned.count:,} files of {source.name} packed to {side}x{side}, {workers} workers: {ours:,.0f}/s, "
        f"decoding alone {theirs:,.0f}/s, ratio {ratio:.2f} (median of {repeats} pairs)"
    )


def _first(planned: Plan, files: int | None) -> Plan:
    """The plan's first chunks, as many as hold so many files."""
    parts = []
    count = 0
    for part in planned.parts:
        if files is not None and count >= files:
            break
        parts.append(part)
        count += part.size
    return dataclasses.replace(planned, parts=parts, count=count)


def _decoded(part) -> int:
    """How many of the chunk's files there are, each decoded to its own pixels and no more."""
    count = 0
    for _, read in part.records():
        Image.open(io.BytesIO(read())).load()
        count += 1
    return count


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main(argv: Sequence[str] | None = None) -> int:
    """Prints one line."""
    parser = argparse.ArgumentParser(description="Packing beside decoding alone.")
    parser.add_argument("source", type=Path, help="folder or zip of JPEG files")
    parser.add_argument("--files", type=int, help="so many of them (default: all)")
    parser.add_argument("--size", type=int, default=32, help="pixels (default: 32)")
    parser.add_argument("--repeats", type=int, default=5, help="measured pairs (default: 5)")
    parser.add_argument("--workers", type=int, help="processes (default: one a core)")
    a = parser.parse_args(argv)
    for line in packing(a.source, files=a.files, side=a.size, repeats=a.repeats, workers=a.workers):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    from experiments.studies import benchmark_packing as data_benchmarks

    sys.exit(data_benchmarks.main())
