"""What a GPU does: equality with the CPU and with steps one by one, and rates beside what they are compared with.

    python -m experiments.studies.gpu --out gpu.csv

It takes under three minutes on one GPU. Each rate is a median of alternating runs, so that a drift of the machine's
speed affects both. The rows of CIFAR-10 need its packed sets in RUNS_ROOT: dcgan-eval data cifar10-train cifar10-test.
"""

import dataclasses
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import torch

import results
from experiments.run.context import Run
from experiments.studies.gpu import parity, rates
from experiments.studies.gpu.table import Row
from experiments.studies.program import new_parser, parse, write_table

SECTIONS: tuple[Callable[[Run], Iterator[Row]], ...] = (
    parity.training,
    parity.synchronisations,
    parity.extraction,
    parity.solver,
    rates.training,
    rates.extraction,
    rates.solver,
    rates.cifar10,
)
HEAD = "| what | figure | beside it | ratio | bar |\n|---|---|---|---|---|"


def line(row: Row) -> str:
    """Return a row of the printed table."""
    beside = "" if row.beside_value is None else f"{row.beside} {row.beside_value:.4g}"
    ratio = "" if row.ratio is None else f"{row.ratio:.3g}"
    return f"| {row.what} | {row.value:.5g} {row.unit} | {beside} | {ratio} | {row.bar} |"


def main(argv: list[str] | None = None) -> int:
    """Print the table, line by line. A section that fails says why, and the others follow; the exit code is then 1."""
    parser = new_parser(__doc__)
    parser.add_argument("--out", type=Path, help="also write the table as CSV")
    arguments, run = parse(parser, argv, device=True)
    if run.device.type != "cuda":
        parser.error("this study needs a GPU that torch can use; without one, see make bench")
    hardware, versions = results.hardware(str(run.device)), results.versions()
    print(f"{hardware}, torch {versions['torch']}\n\n{HEAD}")
    rows, failed = [], 0
    for section in SECTIONS:
        began = time.monotonic()
        try:
            for row in section(run):
                print(line(row), flush=True)
                rows.append(dataclasses.asdict(row) | {"ratio": row.ratio})
        except Exception:
            failed = 1
            print(f"{section.__module__}.{section.__name__} failed:\n{traceback.format_exc()}", file=sys.stderr)
        torch.cuda.empty_cache()
        print(f"{section.__module__}.{section.__name__}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    table = pd.DataFrame(rows).assign(hardware=str(hardware), torch=versions["torch"])
    write_table(table, arguments.out)
    return failed


if __name__ == "__main__":
    sys.exit(main())
