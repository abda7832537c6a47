"""What exact search costs: ours compared with faiss and imagededup, in one run.

    python -m experiments.studies.benchmark_search --sizes 10000 100000 1000000

Each measurement runs in a process of its own, so that its peak memory holds nothing else. It is ended after --limit
seconds. The column `exact` says whether the pairs equal ours, bit for bit. faiss and imagededup are optional:
`pip install faiss-cpu imagededup`.

Codes: `random`: 5 % are within the radius of another. `hashes`: CIFAR-10's pHashes, repeated with up to three bits
changed. `dense`: 90 % are within eight bits of one code. `equal`: one code.
"""

import argparse
import hashlib
import importlib.util
import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import dedup
from experiments.data.load import load
from experiments.run.context import Run
from experiments.run.torchvision import import_torchvision
from experiments.studies.program import new_parser, parse, write_table

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


def faiss_pairs(codes: np.ndarray, radius: int, *, index: str, hashes: int = 0) -> np.ndarray:
    """Find all pairs by the range search of faiss's binary index `index`. hashes: number of its hashes of 16 bits.

    At least one hash of k differs in at most radius // k bits. Buckets up to that many bits away are visited, so the
    search is exact.
    """
    import faiss

    searched = faiss.index_binary_factory(64, index)
    if hashes:
        searched.nflip = radius // hashes
    octets = codes.view(np.uint8).reshape(-1, 8)
    searched.add(octets)
    starts, _, j = searched.range_search(octets, radius + 1)  # finds what is nearer than this
    i = np.repeat(np.arange(len(codes)), np.diff(starts.astype(np.int64)))
    found = np.stack([i[i < j], j[i < j]], axis=1)
    return found[np.lexsort((found[:, 1], found[:, 0]))]


def imagededup_pairs(codes: np.ndarray, radius: int, *, method: str) -> np.ndarray:
    """Find all pairs by imagededup's search over hexadecimal hashes, with its default number of processes."""
    import_torchvision()  # which imagededup imports
    from imagededup.handlers.search.retrieval import HashEval
    from imagededup.methods import PHash

    names = {str(i): f"{code:016x}" for i, code in enumerate(codes.tolist())}
    search = HashEval(names, names, PHash.hamming_distance, False, radius, method)
    found = [(int(i), int(j)) for i, near in search.retrieve_results().items() for j in near if int(i) < int(j)]
    return np.array(sorted(found), np.int64).reshape(-1, 2)


METHODS: dict[str, tuple[str, Callable[[np.ndarray, int], np.ndarray]]] = {  # name -> (what it imports, function)
    "radius_pairs": ("dedup", dedup.radius_pairs),
    "radius_groups": ("dedup", dedup.radius_groups),
    "faiss IndexBinaryFlat": ("faiss", partial(faiss_pairs, index="BFlat")),
    "faiss IndexBinaryHash": ("faiss", partial(faiss_pairs, index="BHash16", hashes=1)),
    "faiss IndexBinaryMultiHash": ("faiss", partial(faiss_pairs, index="BHash4x16", hashes=4)),
    "imagededup brute_force_cython": ("imagededup", partial(imagededup_pairs, method="brute_force_cython")),
    "imagededup bktree": ("imagededup", partial(imagededup_pairs, method="bktree")),
    "imagededup brute_force": ("imagededup", partial(imagededup_pairs, method="brute_force")),
}


def measure(method: str, codes: np.ndarray, radius: int) -> dict[str, Any]:
    """Run once in this process: seconds, GiB of memory before the search and at its peak, pairs or groups, a digest.

    The peak of this process's largest child is added to its own.
    """
    search = METHODS[method][1]
    search(codes[:2], radius)  # imports, which are not part of a search
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / GIB
    start = time.perf_counter()
    found = search(codes, radius)
    seconds = time.perf_counter() - start
    peak = sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / GIB
    digest = hashlib.sha256(found.astype(np.int64).tobytes()).hexdigest()
    counted = {"pairs": len(found)} if found.ndim == 2 else {"groups": len(np.unique(found))}
    return {"seconds": seconds, "peak": peak, "before": before, "digest": digest, **counted}


def in_process(method: str, n: int, given: Sequence[str], limit: float) -> dict[str, Any]:
    """Run `measure` in a process of its own with the options `given`. Raises RuntimeError that says why it fails."""
    if importlib.util.find_spec(METHODS[method][0]) is None:
        raise RuntimeError("not installed")
    command = [sys.executable, "-m", "experiments.studies.benchmark_search", *given, "--one", method, str(n)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        out, err = child.communicate(timeout=limit)
    except subprocess.TimeoutExpired as error:
        os.killpg(child.pid, signal.SIGKILL)  # with the processes that it started
        child.communicate()
        raise RuntimeError(f"more than {limit:g} s") from error
    if child.returncode:
        raise RuntimeError((err.strip().splitlines() or [f"ended with status {child.returncode}"])[-1])
    return json.loads(out.strip().splitlines()[-1])


def summary(runs: Sequence[dict[str, Any]], ours: str | None) -> dict[str, Any]:
    """Return what a line of the table says about runs that ended well. ours: the digest of our pairs."""
    first, (peak, before) = runs[0], (max(run[name] for run in runs) for name in ("peak", "before"))
    return {
        "seconds": f"{np.median([run['seconds'] for run in runs]):.2f}",
        "n_runs": len(runs),
        "peak_rss_gib": f"{peak:.2f}",
        "pairs": first.get("pairs", ""),
        "exact": all(run["digest"] == ours for run in runs) if "pairs" in first and ours else "",
        "note": f"{before:.2f} GiB before the search" + (f"; {first['groups']} groups" if "groups" in first else ""),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Print a line for each method and size, and write them as CSV."""
    parser = new_parser(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], help="numbers of codes")
    parser.add_argument("--kind", choices=KINDS, default="random", help="which codes (default: %(default)s)")
    parser.add_argument("--radius", type=int, default=4, help="bits (default: %(default)s)")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS, metavar="METHOD", help="default: all")
    parser.add_argument("--limit", type=float, default=120, help="seconds a run may take (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=1, help="runs each (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("search.csv"), help="the CSV file (default: %(default)s)")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments, run = parse(parser, argv)
    kind, radius = arguments.kind, arguments.radius
    if arguments.one:
        method, n = arguments.one
        print(json.dumps(measure(method, KINDS[kind](int(n), radius, run), radius)))
        return
    given = sys.argv[1:] if argv is None else argv
    lines: list[dict[str, Any]] = []
    ours: dict[int, str] = {}  # number of codes -> digest of our pairs
    for n, method in itertools.product(arguments.sizes, arguments.methods):
        line = {"method": method, "kind": kind, "codes": n, "radius": radius, "n_runs": 0}
        try:
            runs = [in_process(method, n, given, arguments.limit) for _ in range(arguments.repeats)]
            if method == "radius_pairs":
                ours[n] = runs[0]["digest"]
            line |= summary(runs, ours.get(n))
        except RuntimeError as error:
            line["note"] = str(error)
        lines.append(dict.fromkeys(COLUMNS, "") | line)
        print(" | ".join(f"{name} {value}" for name, value in lines[-1].items()), flush=True)
        write_table(pd.DataFrame(lines), arguments.out)


if __name__ == "__main__":
    main()
