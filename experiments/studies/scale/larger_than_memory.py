"""Fit an L2-SVM on features that are larger than memory, and compare its passes with the disk's own rate.

    python -m experiments.studies.scale.larger_than_memory runs/large.f16 --gigabytes 40

Features in float16 are written to the file: ten classes, leaky rectified, of low rank, with noise, as wide as the
paper's network gives them. The fit at one C ends at a relative duality gap of 1e-2. Beside each of its passes, the file
is read from its start to its end by plain reads; that is the disk's own rate, which changes by the minute on a shared
machine. What the system holds of the file is dropped before each of the two. The table has medians over the passes, the
peak of resident memory, and the machine's memory.
"""

import os
import resource
import statistics
import time
from pathlib import Path

import numpy as np
import pandas as pd

from evaluation.newton import newton
from evaluation.posing import pose
from experiments.run import console
from experiments.studies.program import new_parser, write_table

PIECE = 2**24  # bytes of a plain read
ROWS = 4096  # written at once
RANK = 64
SHIFTS = 4096  # the noise is drawn once; each block takes its rows in another order, from another column on


def write(file: Path, rows: int, width: int) -> np.ndarray:
    """Write the features, unless the file has its length already. Return the classes of all rows."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, rows)
    if file.exists() and file.stat().st_size == rows * width * 2:
        return labels
    means = 0.3 * rng.standard_normal((10, RANK), np.float32)
    basis = rng.standard_normal((RANK, width), np.float32) / RANK**0.5
    noise = 0.5 * rng.standard_normal((ROWS, width + SHIFTS), np.float32)
    with file.open("wb") as out:
        for start in console.progress(range(0, rows, ROWS), total=-(-rows // ROWS), desc="write", unit="block"):
            codes = means[labels[start : start + ROWS]]
            codes = codes + rng.standard_normal(codes.shape, np.float32)
            shift = rng.integers(SHIFTS)
            x = codes @ basis + noise[rng.permutation(ROWS)[: len(codes)], shift : shift + width]
            out.write(np.where(x > 0, x, 0.2 * x).astype(np.float16).data)
        out.flush()
        os.fsync(out.fileno())
    return labels


def forget(file: Path) -> None:
    """Drop what the system's page cache holds of the file."""
    with file.open("rb") as opened:
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read(file: Path) -> float:
    """Return the seconds of reading the file from start to end; what is held of it is dropped before and after."""
    forget(file)
    start, buffer = time.perf_counter(), bytearray(PIECE)
    with file.open("rb", buffering=0) as opened:
        while opened.readinto(buffer):
            pass
    taken = time.perf_counter() - start
    forget(file)
    return taken


def main(argv: list[str] | None = None) -> None:
    """Print what was found, and write it as CSV."""
    parser = new_parser(__doc__)
    parser.add_argument("file", type=Path, help="where the features are written; it is kept for the next run")
    parser.add_argument("--gigabytes", type=float, default=40, help="of the file (default: %(default)s)")
    parser.add_argument("--width", type=int, default=28_672, help="features of an image (default: %(default)s)")
    parser.add_argument("--C", type=float, default=1e-5, help="(default: %(default)s)")
    parser.add_argument("--out", type=Path, help="CSV file")
    arguments = parser.parse_args(argv)
    rows = round(arguments.gigabytes * 1e9 / arguments.width / 2)
    y = write(arguments.file, rows, arguments.width)
    X = np.memmap(arguments.file, np.float16, "r", shape=(rows, arguments.width))
    forget(arguments.file)
    begun = time.perf_counter()
    problem, _ = pose(X, y, None, [arguments.C], device="cpu")
    prepared = time.perf_counter() - begun
    steps = newton(problem, arguments.C, tol=1e-2, max_iter=100)
    plain, passes = [read(arguments.file)], list[float]()
    while True:
        begun = time.perf_counter()
        try:
            next(steps)
        except StopIteration as ended:
            solution = ended.value
            break
        passes.append(time.perf_counter() - begun)
        plain.append(read(arguments.file))
        console.say(f"pass {len(passes)}: {passes[-1]:.1f} s, plain reads {plain[-2]:.1f} and {plain[-1]:.1f} s")
    shares = [(before + after) / 2 / taken for before, after, taken in zip(plain[:-1], plain[1:], passes, strict=True)]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found = {
        "file_gb": X.nbytes / 1e9,
        "rows": rows,
        "width": arguments.width,
        "memory_gb": memory / 1e9,
        "plain_read_s": statistics.median(plain),
        "plain_read_gb_s": X.nbytes / 1e9 / statistics.median(plain),
        "preparing_s": prepared,
        "preparing_passes": 2,
        "passes": solution.passes,
        "median_pass_s": statistics.median(passes),
        "slowest_pass_s": max(passes),
        "pass_gb_s": X.nbytes / 1e9 / statistics.median(passes),
        "rate_share": statistics.median(shares),
        "lowest_share": min(shares),
        "fit_s": sum(passes),
        "gap": float(solution.gap.max()),
        "iterations": int(solution.n_iter.max()),
        "peak_resident_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }
    for name, value in found.items():
        print(f"{name}: {value:.4g}" if isinstance(value, float) else f"{name}: {value:,}", flush=True)
    write_table(pd.DataFrame([found]), arguments.out, "%.4g")


if __name__ == "__main__":
    main()
