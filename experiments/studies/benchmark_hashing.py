"""What hashing costs: beside imagehash on arrays, and beside merely decoding on image files.

python -m experiments.studies.benchmark_hashing --folder photos
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import imagehash
import numpy as np
from PIL import Image

import dedup
from experiments.run.workers import cores, in_order
from experiments.studies.timing import alternate, compare, seconds

CHUNK = 256  # files a task


def hashing(*, images: int = 4096, repeats: int = 5) -> str:
    """A line on images/s of `dedup.phash` on a packed 32x32 set and of imagehash on the same, one process each."""
    data = _smooth(images, 32, 32)

    def theirs() -> np.ndarray:
        return np.array([int(str(imagehash.phash(Image.fromarray(image))), 16) for image in data], np.uint64)

    if not np.array_equal(dedup.phash(data), theirs()):
        raise AssertionError("dedup.phash differs from imagehash")
    compared = compare(alternate(theirs, lambda: dedup.phash(data), repeats), images, "imagehash")
    return f"phash of {images:,} arrays of 32x32: {compared}"


def photos(folder: Path | None = None, *, repeats: int = 5, workers: int | None = None) -> Iterator[str]:
    """Lines on files/s of `dedup.hash_files`, without thumbnails and with them, and of Pillow decoding the same files.

    folder: of JPEG files; by default files of three sizes are made up. workers: processes, by default one a core. Each
    chunk of files is decoded and hashed in turn in one process, which times both.
    """
    workers = workers or cores()
    if folder is not None:
        yield from _photos(folder.name, sorted(p for p in folder.rglob("*") if p.is_file()), repeats, workers)
        return
    with tempfile.TemporaryDirectory() as made:
        for count, width, height in ((2048, 64, 64), (1024, 89, 109), (32, 1600, 1200)):
            name = f"of {width}x{height}"
            yield from _photos(name, _make(Path(made) / name, count, width, height), repeats, workers)


def _photos(name: str, files: Sequence[Path], repeats: int, workers: int) -> Iterator[str]:
    size = min(CHUNK, max(1, len(files) // (4 * workers)))
    chunks = [files[i : i + size] for i in range(0, len(files), size)]
    for side in (None, 64):
        tasks = [_Task(chunk, side, hashed_first=bool(i % 2)) for i in range(repeats + 1) for chunk in chunks]
        timed = list(in_order(_decode_and_hash, tasks, workers=workers))[len(chunks) :]  # the first round warms up
        pairs = np.array(timed).reshape(repeats, len(chunks), 2, 2).sum(axis=1) / workers
        thumbnails = f"with thumbnails of {side}x{side}" if side else "without thumbnails"
        compared = compare(pairs, len(files), "only decoded")
        yield f"{len(files):,} files {name} {thumbnails}, {workers} workers: {compared}"


@dataclass(frozen=True)
class _Task:
    files: Sequence[Path]
    side: int | None
    hashed_first: bool


def _decode_and_hash(task: _Task) -> list[tuple[float, float]]:
    """(wall time, processor time) of decoding the files and of hashing them."""

    def decode() -> None:
        for file in task.files:
            Image.open(file).load()

    work: list[Callable[[], object]] = [decode, lambda: dedup.hash_files(task.files, side=task.side)]
    timed = {which: seconds(work[which]) for which in ((1, 0) if task.hashed_first else (0, 1))}
    return [timed[0], timed[1]]


def _smooth(count: int, width: int, height: int) -> np.ndarray:
    """uint8 [count, height, width, 3]: low frequencies and some noise, as photographs have them."""
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
    distinct = _smooth(min(count, 16), width, height)  # a few are enough, under many names
    for i, file in enumerate(files):
        if i < len(distinct):
            Image.fromarray(distinct[i]).save(file, quality=90)
        else:
            file.write_bytes(files[i % len(distinct)].read_bytes())
    return files


def main(argv: Sequence[str] | None = None) -> int:
    """Prints one line a comparison."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, help="folder of JPEG files (default: files of three sizes are made up)")
    parser.add_argument("--images", type=int, default=4096, help="arrays hashed (default: 4096)")
    parser.add_argument("--repeats", type=int, default=5, help="measured pairs (default: 5)")
    parser.add_argument("--workers", type=int, help="processes for files (default: one a core)")
    arguments = parser.parse_args(argv)
    print(hashing(images=arguments.images, repeats=arguments.repeats), flush=True)
    for line in photos(arguments.folder, repeats=arguments.repeats, workers=arguments.workers):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    from experiments.studies import benchmark_hashing  # workers find its functions by this name

    sys.exit(benchmark_hashing.main())
