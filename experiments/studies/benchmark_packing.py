"""What packing costs, compared with Pillow only decoding the same files with as many processes, on all cores.

    python -m experiments.studies.benchmark_packing data/tiny-imagenet-200/train-0.zip --files 5000

Both start new processes and read the same chunks. Packing also keeps its chunks, writes the set and checks it.
"""

import dataclasses
import io
import itertools
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from experiments.data.images.pack import PackSpec, pack_images, plan
from experiments.run.context import Run
from experiments.run.workers import cores, in_processes
from experiments.studies.program import new_parser
from experiments.studies.timing import alternate, compare


def packing(source: Path, files: float, side: int, repeats: int, workers: int) -> str:
    """Return a line on images/s of packing, and of decoding, the first chunks of a folder or zip with `files` files."""
    planned = plan(source)
    before = itertools.accumulate((chunk.size for chunk in planned.chunks), initial=0)
    chunks = [chunk for chunk, count in zip(planned.chunks, before, strict=False) if count < files]
    planned = dataclasses.replace(planned, chunks=chunks)

    def pack() -> None:
        with tempfile.TemporaryDirectory() as made:
            pack_images(planned, Path(made) / "set", PackSpec(side), Run(Path(), Path(made)), workers=workers)

    def decode() -> None:
        for _ in in_processes(_decode, planned.chunks, workers=workers):
            pass

    compared = compare(alternate(decode, pack, repeats), planned.count, "only decoded")
    return f"{planned.count:,} files of {source.name} packed to {side}x{side}, {workers} workers: {compared}"


def _decode(chunk) -> None:
    """Decode each of the chunk's files to its own pixels, and no more."""
    for _, read in chunk.records():
        Image.open(io.BytesIO(read())).load()


def main(argv: Sequence[str] | None = None) -> None:
    """Print the line."""
    parser = new_parser(__doc__)
    parser.add_argument("source", type=Path, help="folder or zip of JPEG files")
    parser.add_argument("--files", type=int, default=math.inf, help="how many of them (default: all)")
    parser.add_argument("--size", type=int, default=32, help="pixels (default: 32)")
    parser.add_argument("--repeats", type=int, default=5, help="measured pairs (default: 5)")
    parser.add_argument("--workers", type=int, default=cores(), help="processes (default: one for each core)")
    a = parser.parse_args(argv)
    print(packing(a.source, a.files, a.size, a.repeats, a.workers))


if __name__ == "__main__":
    from experiments.studies import benchmark_packing  # workers find its functions by this name

    benchmark_packing.main()
