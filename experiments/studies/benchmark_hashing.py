"""What hashing costs: against imagehash on arrays, and against merely decoding on image files.

    python -m experiments.studies.benchmark_hashing --folder photos

Every figure is a median over pairs of runs in turn, so that a machine whose speed drifts drifts for both; ratios of
processor time stand beside those of seconds, which other programs blur.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import imagehash
import numpy as np
from PIL import Image

import dedup
from experiments.run.workers import cores, in_order

CHUNK = 256  # files a task


def hashing(*, images: int = 4096, repeats: int = 5) -> Iterator[str]:
    """Images/s of `dedup.phash` on a packed 32x32 set and of imagehash on the same arrays, one process each."""
    data = _smooth(images, 32, 32)

    def theirs() -> np.ndarray:
        return np.array([int(str(imagehash.phash(Image.fromarray(image))), 16) for image in data], np.uint64)

    if not np.array_equal(dedup.phash(data), theirs()):
        raise AssertionError("dedup.phash differs from imagehash")
    pairs = [(_timed(theirs), _timed(lambda: dedup.phash(data))) for _ in range(repeats)]
    yield _line(f"phash of {images:,} arrays of 32x32", images, pairs, "imagehash")


def photos(folder: Path | None = None, *, repeats: int = 5, workers: int | None = None) -> Iterator[str]:
    """Files/s of `dedup.hash_files`, without thumbnails and with them, and of Pillow decoding the same files.

    `folder`: of JPEG files; without one, files of three sizes are made up. So many processes work, on all cores by
    default; each chunk of files is timed in the process that has it, decoded and hashed in turn.
    """
    workers = workers or cores()
    if folder is not None:
        yield from _photos(folder.name, sorted(p for p in folder.rglob("*") if p.is_file()), repeats, workers)
        return
    with tempfile.TemporaryDirectory() as made:
        for count, width, height in ((2048, 64, 64), (1024, 89, 109), (32, 1600, 1200)):
            name = f"of {width}x{height}"
            yield from _photos(name, _made(Path(made) / name, count, width, height), repeats, workers)


def _photos(name: str, files: Sequence[Path], repeats: int, workers: int) -> Iterator[str]:
    size = min(CHUNK, max(1, len(files) // (4 * workers)))
    chunks = [files[i : i + size] for i in range(0, len(files), size)]
    for side in (None, 64):
        tasks = [_Task(chunk, side, hashed_first=bool(i % 2)) for i in range(repeats + 1) for chunk in chunks]
        timed = list(in_order(_decoded_and_hashed, tasks, workers=workers))[len(chunks) :]  # the first round warms up
        # [pair, decoded or hashed, seconds or processor time], of all processes together
        total = np.array(timed).reshape(repeats, len(chunks), 2, 2).sum(axis=1) / workers
        pairs = [(_Seconds(*decoded), _Seconds(*hashed)) for decoded, hashed in total]
        thumbnails = f"with thumbnails of {side}x{side}" if side else "without thumbnails"
        yield _line(f"{len(files):,} files {name} {thumbnails}, {workers} workers", len(files), pairs, "decoding alone")


@dataclass(frozen=True)
class _Seconds:
    wall: float
    processor: float


@dataclass(frozen=True)
class _Task:
    files: Sequence[Path]
    side: int | None
    hashed_first: bool


def _decoded_and_hashed(task: _Task) -> list[tuple[float, float]]:
    """(seconds, processor time) of decoding the files and of hashing them."""

    def decode() -> None:
        for file in task.files:
            Image.open(file).load()

    runs: list[Callable[[], object]] = [decode, lambda: dedup.hash_files(task.files, side=task.side)]
    order = (1, 0) if task.hashed_first else (0, 1)
    seconds = {which: _timed(runs[which]) for which in order}
    return [(seconds[which].wall, seconds[which].processor) for which in (0, 1)]


def _timed(run: Callable[[], object]) -> _Seconds:
    wall, processor = time.perf_counter(), time.process_time()
    run()
    return _Seconds(time.perf_counter() - wall, time.process_time() - processor)


def _line(what: str, count: int, pairs: Sequence[tuple[_Seconds, _Seconds]], other: str) -> str:
    """`pairs`: of the other and of ours."""
    theirs, ours = (count / statistics.median(pair[i].wall for pair in pairs) for i in (0, 1))
    ratio = statistics.median(a.wall / b.wall for a, b in pairs)
    processor = statistics.median(a.processor / b.processor for a, b in pairs)
    return (
        f"{what}: {ours:,.0f}/s, {other} {theirs:,.0f}/s, ratio {ratio:.2f} "
        f"({processor:.2f} of processor time; median of {len(pairs)} pairs)"
    )


def _smooth(count: int, width: int, height: int) -> np.ndarray:
    """uint8 [count, height, width, 3]: low frequencies and some noise, as photographs have them."""
    rng = np.random.default_rng(0)
    images = np.empty((count, height, width, 3), np.uint8)
    for image in images:
        coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
        image[:] = (smooth + rng.integers(-6, 7, image.shape, dtype=np.int16)).clip(0, 255)
    return images


def _made(folder: Path, count: int, width: int, height: int) -> list[Path]:
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
    parser = argparse.ArgumentParser(description="Hashing beside imagehash and beside decoding alone.")
    parser.add_argument("--folder", type=Path, help="of JPEG files (default: files of three sizes are made up)")
    parser.add_argument("--images", type=int, default=4096, help="arrays hashed (default: 4096)")
    parser.add_argument("--repeats", type=int, default=5, help="measured pairs (default: 5)")
    parser.add_argument("--workers", type=int, help="processes for files (default: one a core)")
    arguments = parser.parse_args(argv)
    for line in hashing(images=arguments.images, repeats=arguments.repeats):
        print(line, flush=True)
    for line in photos(arguments.folder, repeats=arguments.repeats, workers=arguments.workers):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    from experiments.studies import benchmark_hashing as dedup_benchmarks

    sys.exit(dedup_benchmarks.main())
