"""`dcgan-eval dedup`: find near-duplicates within one set of images, or images of one set that occur in another."""

import argparse
import json
from pathlib import Path

from experiments.commands.options import add_dry_run, add_record, add_roots, one_of
from experiments.data.names import NAMES
from experiments.deduplication.spec import METHODS, DedupSpec
from experiments.run import console
from experiments.run.context import Run

EXAMPLE = "dcgan-eval dedup cifar10-test --against cifar10-train\n  dcgan-eval dedup ~/photos --method phash --radius 6"


def options(parser: argparse.ArgumentParser) -> None:
    """Add the sources, the method and the output folder."""
    parser.add_argument(
        "name", metavar="SOURCE", help=f"{', '.join(NAMES)}, a set packed before, or a folder or zip of image files"
    )
    parser.add_argument("--against", metavar="SOURCE", help="find images of the first SOURCE that occur in this one")
    parser.add_argument(
        "--method", type=one_of(METHODS), default=DedupSpec.method, help=f"{', '.join(METHODS)} (default: %(default)s)"
    )
    parser.add_argument("--radius", type=int, help="for the hashes: greatest Hamming distance in bits (default: 4)")
    parser.add_argument(
        "--turned",
        action="store_true",
        help="for the hashes: also find copies that are turned by quarter turns or mirrored",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="folder (default: RUNS_ROOT/dedup/SOURCE[-against-SOURCE]; a path adds 8 digits that tell it from others)",
    )
    add_record(parser, "add the audit to results/leakage")
    add_dry_run(parser)
    add_roots(parser)


def execute(arguments: argparse.Namespace, run: Run) -> int:
    """Run the pass and print its summary, or say what would be done; return 1 if files were skipped."""
    from experiments.deduplication.image_source import describe
    from experiments.deduplication.output import GALLERY, check_folder
    from experiments.deduplication.run_pass import check_pass, deduplicate, default_folder

    name, against, record = arguments.name, arguments.against, arguments.record
    spec = DedupSpec(arguments.method, arguments.radius, arguments.turned)
    sources = [name] if against is None else [name, against]
    out = arguments.out or default_folder(name, against, run)
    if arguments.dry_run:
        check_pass(name, spec, run, against=against, record=record)
        check_folder(out)
        for source in sources:
            console.answer(describe(source, run))
        console.answer(f"would search by {spec}, which {METHODS[spec.method]}; into {out}")
        return 0
    summary = deduplicate(name, out, spec, run, against=against, record=record)
    console.answer(*json.dumps(summary, indent=2).splitlines())
    judge = (
        f"judge the groups in {out / GALLERY}" if summary["groups"] else "no group was found, so there is none to judge"
    )
    run.say(f"written to {out}; {judge}")
    return 1 if summary["skipped"] else 0
