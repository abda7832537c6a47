"""What exact search costs: ours beside faiss and imagededup, in one run.

    python -m experiments.studies.benchmark_search --sizes 10000 100000 1000000

Each measurement runs in a process of its own, which is the only one in its peak memory, and ends after --limit seconds.
The column `exact` says whether the pairs are ours, bit for bit. faiss and imagededup are optional: `pip install
faiss-cpu imagededup`.

Codes: `random`, where 5 % lie within the radius of another; `hashes`, CIFAR-10's pHashes repeated with up to three bits
changed; `dense`, 90 % within eight bits of one code; `equal`, one code.
"""

import argparse
import hashlib
import importlib.metadata
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

import dedup
from experiments.commands.options import add_roots, make_run
from experiments.data.load import load
from experiments.run.context import Run
from experiments.run.files import write_bytes
from experiments.run.torchvision import import_torchvision

COLUMNS = ("method", "kind", "codes", "radius", "seconds", "n_runs", "peak_rss_gib", "pairs", "exact", "note")
GIB = 2**20  # of the kilobytes that ru_maxrss counts


def random_codes(n: int, radius: int, run: Run) -> np.ndarray:
    """uint64 [n]: random, the last 5 % at most `radius` bits from one of the others."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2**64, n, np.uint64)
    planted = n // 20
    codes[n - planted :] = _flipped(codes[rng.integers(0, n - planted, planted)], radius, rng)
    return codes


def hash_codes(n: int, radius: int, run: Run) -> np.ndarray:
    """uint64 [n]: hashes of photographs, each repeated with up to three bits changed."""
    base = dedup.phash(load("cifar10-train", run).images)
    rng = np.random.default_rng(0)
    return _flipped(base[rng.integers(0, len(base), n)], 3, rng)


def dense_codes(n: int, radius: int, run: Run) -> np.ndarray:
    """uint64 [n]: random, 90 % at most eight bits from one code."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2**64, n, np.uint64)
    codes[: n * 9 // 10] = _flipped(codes[:1].repeat(n * 9 // 10), 8, rng)
    return codes


def _flipped(codes: np.ndarray, bits: int, rng: np.random.Generator) -> np.ndarray:
    for _ in range(bits):
        codes = codes ^ rng.integers(0, 2, len(codes), np.uint64) << rng.integers(0, 64, len(codes), np.uint64)
    return codes


KINDS: dict[str, Callable[[int, int, Run], np.ndarray]] = {
    "random": random_codes,
    "hashes": hash_codes,
    "dense": dense_codes,
    "equal": lambda n, radius, run: np.zeros(n, np.uint64),
}


def faiss_index(build: Callable) -> Callable[[np.ndarray, int], np.ndarray]:
    """All pairs by the range search of the index that `build(faiss, radius)` makes."""

    def pairs(codes: np.ndarray, radius: int) -> np.ndarray:
        import faiss

        index = build(faiss, radius)
        octets = codes.view(np.uint8).reshape(-1, 8)
        index.add(octets)
        starts, _, j = index.range_search(octets, radius + 1)  # finds what is nearer than this
        i = np.repeat(np.arange(len(codes)), np.diff(starts.astype(np.int64)))
        found = np.stack([i[i < j], j[i < j]], axis=1)
        return found[np.lexsort((found[:, 1], found[:, 0]))]

    return pairs


def one_hash(faiss, radius: int):
    """16 bits hashed, buckets up to `radius` bits away visited: exact by construction."""
    index = faiss.IndexBinaryHash(64, 16)
    index.nflip = radius
    return index


def four_hashes(faiss, radius: int):
    """Four times 16 bits: one of them differs in at most radius // 4, so exact by the pigeonhole."""
    index = faiss.IndexBinaryMultiHash(64, 4, 16)
    index.nflip = radius // 4
    return index


def imagededup_search(method: str) -> Callable[[np.ndarray, int], np.ndarray]:
    """All pairs by imagededup's search over hexadecimal hashes, on as many processes as it takes by itself."""

    def pairs(codes: np.ndarray, radius: int) -> np.ndarray:
        import_torchvision()  # which imagededup imports
        from imagededup.handlers.search.retrieval import HashEval
        from imagededup.methods import PHash

        names = {str(i): f"{code:016x}" for i, code in enumerate(codes.tolist())}
        search = HashEval(names, names, PHash.hamming_distance, False, radius, method)
        found = [(int(i), int(j)) for i, near in search.retrieve_results().items() for j in near if int(i) < int(j)]
        return np.array(sorted(found), np.int64).reshape(-1, 2)

    return pairs


METHODS: dict[str, tuple[str, Callable[[np.ndarray, int], np.ndarray]]] = {  # name -> (package, function)
    "radius_pairs": ("dcgan-eval", dedup.radius_pairs),
    "radius_groups": ("dcgan-eval", dedup.radius_groups),
    "faiss IndexBinaryFlat": ("faiss-cpu", faiss_index(lambda faiss, radius: faiss.IndexBinaryFlat(64))),
    "faiss IndexBinaryHash": ("faiss-cpu", faiss_index(one_hash)),
    "faiss IndexBinaryMultiHash": ("faiss-cpu", faiss_index(four_hashes)),
    "imagededup brute_force_cython": ("imagededup", imagededup_search("brute_force_cython")),
    "imagededup bktree": ("imagededup", imagededup_search("bktree")),
    "imagededup brute_force": ("imagededup", imagededup_search("brute_force")),
}


def measure(method: str, codes: np.ndarray, radius: int) -> dict:
    """One run in this process: seconds, peak memory in GiB (its children's largest added), pairs and their digest."""
    search = METHODS[method][1]
    search(codes[:2], radius)  # imports, which are no part of a search
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / GIB
    start = time.perf_counter()
    found = search(codes, radius)
    seconds = time.perf_counter() - start
    peak = sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / GIB
    return {
        "seconds": seconds,
        "peak": peak,
        "before": before,
        "pairs": len(found) if found.ndim == 2 else None,
        "groups": None if found.ndim == 2 else len(np.unique(found)),
        "digest": hashlib.sha256(found.astype(np.int64).tobytes()).hexdigest(),
    }


def in_process(method: str, n: int, given: Sequence[str], limit: float) -> dict | str:
    """`measure` in a process of its own with the options `given`; or in words why there is nothing to tell."""
    package = METHODS[method][0]
    if package != "dcgan-eval":
        try:
            importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return "not installed"
    command = [sys.executable, "-m", "experiments.studies.benchmark_search", *given, "--one", method, str(n)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        out, err = child.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)  # with the processes that it started
        child.communicate()
        return f"more than {limit:g} s"
    if child.returncode:
        return (err.strip().splitlines() or [f"ended with status {child.returncode}"])[-1]
    return json.loads(out.strip().splitlines()[-1])


def row(base: dict, results: list[dict | str], ours: str | None) -> dict:
    """A line of the table, `base` filled in: the median of the runs, or why there is none."""
    runs = [result for result in results if not isinstance(result, str)]
    if len(runs) < len(results):
        return base | {"n_runs": 0, "note": next(result for result in results if isinstance(result, str))}
    pairs, groups = runs[0]["pairs"], runs[0]["groups"]
    return base | {
        "seconds": f"{statistics.median(run['seconds'] for run in runs):.2f}",
        "n_runs": len(runs),
        "peak_rss_gib": f"{max(run['peak'] for run in runs):.2f}",
        "pairs": "" if pairs is None else pairs,
        "exact": "" if pairs is None or ours is None else all(run["digest"] == ours for run in runs),
        "note": f"{max(run['before'] for run in runs):.2f} GiB before the search"
        + ("" if groups is None else f"; {groups} groups"),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a line for each method and size, and writes them as CSV."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], help="numbers of codes")
    parser.add_argument("--kind", choices=KINDS, default="random", help="which codes (default: %(default)s)")
    parser.add_argument("--radius", type=int, default=4, help="bits (default: %(default)s)")
    parser.add_argument(
        "--methods", nargs="+", choices=METHODS, default=list(METHODS), metavar="METHOD", help="default: all"
    )
    parser.add_argument("--limit", type=float, default=120, help="seconds a run may take (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=1, help="runs each (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("search.csv"), help="the CSV file (default: %(default)s)")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    add_roots(parser)
    arguments = parser.parse_args(argv)
    kind, radius = arguments.kind, arguments.radius
    if arguments.one:
        method, n = arguments.one
        print(json.dumps(measure(method, KINDS[kind](int(n), radius, make_run(arguments)), radius)))
        return 0
    given = sys.argv[1:] if argv is None else argv
    lines: list[dict] = []
    for n in arguments.sizes:
        ours = None
        for method in arguments.methods:
            results: list[dict | str] = []
            while len(results) < arguments.repeats and not any(isinstance(result, str) for result in results):
                results.append(in_process(method, n, given, arguments.limit))
            if method == "radius_pairs" and not isinstance(results[0], str):
                ours = results[0]["digest"]
            line = dict.fromkeys(COLUMNS, "") | {"method": method, "kind": kind, "codes": n, "radius": radius}
            lines.append(row(line, results, ours))
            print(" | ".join(f"{name} {value}" for name, value in lines[-1].items()), flush=True)
            write_bytes(arguments.out, pd.DataFrame(lines).to_csv(index=False).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
