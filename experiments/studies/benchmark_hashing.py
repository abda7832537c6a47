"""What hashing costs: compared with imagehash on arrays, and with only decoding on image files.

    python -m experiments.studies.benchmark_hashing --folder photos

Without --folder, files of three sizes are made up. Each chunk of files is decoded and hashed in turn, in one process.
"""

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import imagehash
import numpy as np
from PIL import Image

import dedup
from experiments.run.workers import cores, in_order
from experiments.studies.program import new_parser
from experiments.studies.timing import Pairs, alternate, compare

CHUNK = 256  # files in a task


def hashing(images: int, repeats: int) -> str:
    """Return a line on images/s of `dedup.phash` and of imagehash on the same packed 32x32 set, one process each."""
    data = _smooth(images, 32, 32)

    def theirs() -> np.ndarray:
        return np.array([int(str(imagehash.phash(Image.fromarray(image))), 16) for image in data], np.uint64)

    if not np.array_equal(dedup.phash(data), theirs()):
        raise AssertionError("dedup.phash differs from imagehash")
    compared = compare(alternate(theirs, lambda: dedup.phash(data), repeats), images, "imagehash")
    return f"phash of {images:,} arrays of 32x32: {compared}"


def photos(name: str, files: Sequence[Path], repeats: int, workers: int) -> Iterator[str]:
    """Yield lines on files/s of `dedup.hash_files`, without and with thumbnails, and of Pillow decoding the same files.

    workers: number of processes.
    """
    size = min(CHUNK, max(1, len(files) // (4 * workers)))
    chunks = [files[i : i + size] for i in range(0, len(files), size)]
    for side in (None, 64):
        timed = in_order(partial(_decode_and_hash, side=side, repeats=repeats), chunks, workers=workers)
        pairs = np.sum(list(timed), axis=0) / workers
        thumbnails = f"with thumbnails of {side}x{side}" if side else "without thumbnails"
        compared = compare(pairs, len(files), "only decoded")
        yield f"{len(files):,} files {name} {thumbnails}, {workers} workers: {compared}"


def _decode_and_hash(files: Sequence[Path], *, side: int | None, repeats: int) -> Pairs:
    """Return the seconds of decoding the files and of hashing them, in this process."""

    def decode() -> None:
        for file in files:
            Image.open(file).load()

    return alternate(decode, lambda: dedup.hash_files(files, side=side), repeats)


def _smooth(count: int, width: int, height: int) -> np.ndarray:
    """uint8 [count, height, width, 3]: low frequencies and some noise, like photographs."""
    rng = np.random.default_rng(0)
    images = np.empty((count, height, width, 3), np.uint8)
    for image in images:
        coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
        image[:] = (smooth + rng.integers(-6, 7, image.shape, dtype=np.int16)).clip(0, 255)
    return images


def _make(folder: Path, count: int, width: int, height: int) -> list[Path]:
    folder.mkdir()
    files = [folder / f"{i:05}.jpg" for i in range(count)]
    distinct = itertools.cycle(_smooth(min(count, 16), width, height))  # a few are enough, under many names
    for file, image in zip(files, distinct, strict=False):
        Image.fromarray(image).save(file, quality=90)
    return files


def main(argv: Sequence[str] | None = None) -> None:
    """Print one line for each comparison."""
    parser = new_parser(__doc__)
    parser.add_argument("--folder", type=Path, help="folder of JPEG files (default: files of three sizes are made up)")
    parser.add_argument("--images", type=int, default=4096, help="arrays hashed (default: 4096)")
    parser.add_argument("--repeats", type=int, default=5, help="measured pairs (default: 5)")
    parser.add_argument("--workers", type=int, default=cores(), help="processes for files (default: one for each core)")
    arguments = parser.parse_args(argv)
    print(hashing(arguments.images, arguments.repeats), flush=True)
    with tempfile.TemporaryDirectory() as made:
        if arguments.folder:
            files = {arguments.folder.name: sorted(p for p in arguments.folder.rglob("*") if p.is_file())}
        else:
            sizes = ((2048, 64, 64), (1024, 89, 109), (32, 1600, 1200))
            files = {f"of {w}x{h}": _make(Path(made) / f"{w}x{h}", count, w, h) for count, w, h in sizes}
        for name in files:
            for line in photos(name, files[name], arguments.repeats, arguments.workers):
                print(line, flush=True)


if __name__ == "__main__":
    from experiments.studies import benchmark_hashing  # workers find its functions by this name

    benchmark_hashing.main()
