"""What packing costs: beside Pillow merely decoding the same files, on all cores with the same processes.

    python -m experiments.studies.benchmark_packing data/tiny-imagenet-200/train-0.zip --files 5000

Both start their processes anew and read the same chunks. Packing also keeps its chunks, writes the set and checks it.
"""

import argparse
import dataclasses
import io
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from experiments.data.images.pack import PackSpec, Plan, pack_images, plan
from experiments.run.context import Run
from experiments.run.workers import cores, in_processes
from experiments.studies.timing import alternate, compare


def packing(
    source: Path, *, files: int | None = None, side: int = 32, repeats: int = 5, workers: int | None = None
) -> str:
    """A line on images/s of packing the folder or zip and of decoding it. files: how many of it; by default all."""
    workers = workers or cores()
    planned = _first(plan(source), files)

    def pack() -> None:
        with tempfile.TemporaryDirectory() as made:
            pack_images(planned, Path(made) / "set", PackSpec(side), Run(Path(), Path(made)), workers=workers)

    def decode() -> None:
        if sum(in_processes(_decode, planned.chunks, workers=workers)) != planned.count:
            raise AssertionError("not every file was decoded")

    compared = compare(alternate(decode, pack, repeats), planned.count, "only decoded")
    return f"{planned.count:,} files of {source.name} packed to {side}x{side}, {workers} workers: {compared}"


def _first(planned: Plan, files: int | None) -> Plan:
    """The plan's first chunks, as many as hold so many files."""
    chunks = []
    count = 0
    for chunk in planned.chunks:
        if files is not None and count >= files:
            break
        chunks.append(chunk)
        count += chunk.size
    return dataclasses.replace(planned, chunks=chunks)


def _decode(chunk) -> int:
    """Decodes each of the chunk's files to its own pixels and no more; returns how many there are."""
    count = 0
    for _, read in chunk.records():
        Image.open(io.BytesIO(read())).load()
        count += 1
    return count


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source", type=Path, help="folder or zip of JPEG files")
    parser.add_argument("--files", type=int, help="how many of them (default: all)")
    parser.add_argument("--size", type=int, default=32, help="pixels (default: 32)")
    parser.add_argument("--repeats", type=int, default=5, help="measured pairs (default: 5)")
    parser.add_argument("--workers", type=int, help="processes (default: one a core)")
    a = parser.parse_args(argv)
    print(packing(a.source, files=a.files, side=a.size, repeats=a.repeats, workers=a.workers))
    return 0


if __name__ == "__main__":
    from experiments.studies import benchmark_packing  # workers find its functions by this name

    sys.exit(benchmark_packing.main())
