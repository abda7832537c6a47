"""How the program behaves on hostile inputs, flipped bits of its caches, kills at random moments, and odd pictures.

    python -m experiments.studies.reliability --out results/reliability/campaign.csv

Every case is one command on one input, in a folder of its own (`case.Case`). It may refuse the input in one line, or
accept what is harmless. The study fails if a case ends in a traceback, a hang, executed code, an accepted change, a
loss, or an end that nobody can understand. `--case READER:NUMBER` runs one input of a seed again, shows what it
printed, and leaves its folder.

    inputs  hostile inputs for every reader and every command (`hostile`), --count in all
    flips   single bits flipped in every cache and state (`caches`), --flips of each
    kills   long commands killed at random moments and run again (`kills`), --kills in all
    dedup   `dedup` against a judge that compares every image with every other (`judge`), --sets random folders
"""

import argparse
import os
import shlex
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import pandas as pd

import results
from experiments.run.workers import cores
from experiments.studies.program import new_parser, write_table
from experiments.studies.reliability import flips, hostile, judge, kills, workplace
from experiments.studies.reliability.case import CLASSES, MEANING, Verdict
from experiments.studies.reliability.pool import Pool

PARTS = ("inputs", "flips", "kills", "dedup")
EACH = 3  # failures of a class and reader that are shown


def verdicts(part: str, pool: Pool, arguments: argparse.Namespace) -> Iterator[Verdict]:
    """Yield the verdicts of one part."""
    if part == "inputs":
        return pool.verdicts(hostile.cases(arguments.count, arguments.seed))
    if part == "flips":
        return pool.verdicts(flips.cases(arguments.flips, arguments.seed))
    if part == "kills":
        return kills.verdicts(pool, arguments.kills, arguments.seed)
    return judge.verdicts(pool, arguments.sets, arguments.seed)


def table(found: Sequence[Verdict]) -> pd.DataFrame:
    """Return a row for each reader: the number of cases, and of those in each class."""
    rows = []
    for reader, of_reader in groupby(sorted(found, key=lambda verdict: verdict.reader), lambda verdict: verdict.reader):
        counts = Counter(verdict.kind for verdict in of_reader)
        rows.append({"reader": reader, "cases": counts.total(), **{kind: counts[kind] for kind in CLASSES}})
    return pd.DataFrame(rows, columns=["reader", "cases", *CLASSES])


def main(argv: list[str] | None = None) -> int:
    """Run the parts; print the failures and the counts; return 1 if there is a failure."""
    arguments = _parser().parse_args(argv)
    began, found = time.monotonic(), []
    with tempfile.TemporaryDirectory(prefix="reliability-") as name:
        base = Path(name).resolve()
        with Pool(base, workplace.make(base), workers=arguments.workers) as pool:
            workplace.complete(base, pool)
            print(f"the workplace is made: {time.monotonic() - began:.0f} s", file=sys.stderr)
            if arguments.case:
                return _again(pool, arguments.case, arguments.seed)
            for part in arguments.parts:
                for verdict in verdicts(part, pool, arguments):
                    found.append(verdict)
                    if verdict.bad:
                        print(_line(verdict), file=sys.stderr, flush=True)
                print(f"{part}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    counts = table(found)
    print(counts.to_string(index=False))
    failed = [verdict for verdict in found if verdict.bad]
    for kind, number in Counter(verdict.kind for verdict in failed).items():
        print(f"{number} {kind}: {MEANING[kind]}")
    print(f"{len(found):,} cases, {len(failed):,} failures, {time.monotonic() - began:.0f} s")
    command = shlex.join(["python", "-m", __package__, *(sys.argv[1:] if argv is None else argv)])
    versions = ", ".join(f"{name} {version}" for name, version in results.versions().items() if version)
    write_table(counts.assign(seed=arguments.seed, versions=versions, command=command), arguments.out)
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(__doc__)
    add = parser.add_argument
    parts = f"parts to run, of {', '.join(PARTS)} (default: all)"
    add("--parts", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=parts)
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--count", type=int, default=3_000, help="hostile inputs (default: %(default)s)")
    add("--flips", type=int, default=300, help="flipped bits of each cache (default: %(default)s)")
    add("--kills", type=int, default=100, help="kills in all (default: %(default)s)")
    add("--sets", type=int, default=200, help="random sets of images (default: %(default)s)")
    add("--workers", type=int, default=cores(), help="processes (default: one for each core)")
    add("--case", metavar="READER:NUMBER", help="run one hostile input of the seed, e.g. recipe:17, and show it")
    add("--out", type=Path, help="CSV file to write, with a row for each reader")
    return parser


def _line(verdict: Verdict) -> str:
    why = "".join(c if c.isprintable() else repr(c)[1:-1] for c in verdict.why)
    return f"{verdict.kind}: {verdict.reader}:{verdict.number} ({verdict.what}): {why}"


def _again(pool: Pool, named: str, seed: int) -> int:
    """Run one input again in a folder that stays, and show the command and what it printed."""
    name, _, number = named.partition(":")
    case = hostile.case(name, int(number), seed)
    folder = Path(tempfile.mkdtemp(prefix="case-")).resolve()
    pool.lay_out(folder, case.needs)
    print(f"in {folder}: dcgan-eval {shlex.join(case.argv)}\n{case.what}: {case.prepare(folder) or ''}")
    answer = pool.run(folder, case)
    print(f"exit {answer.code} after {answer.seconds} s{', killed' if answer.hang else ''}")
    for text in (answer.out, answer.err):
        sys.stdout.buffer.write(os.fsencode(text))
    return 0


if __name__ == "__main__":
    sys.exit(main())
