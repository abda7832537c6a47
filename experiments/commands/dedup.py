"""`dcgan-eval dedup`: find near-duplicates within one set of images, or images of one set that occur in another."""

import argparse
from pathlib import Path
from typing import Any

from experiments.commands import options as shared
from experiments.data.names import NAMES
from experiments.deduplication.spec import METHODS, DedupSpec
from experiments.run import console
from experiments.run.context import Run

EXAMPLE = """dcgan-eval dedup cifar10-test --against cifar10-train
  dcgan-eval dedup ~/photos --method phash --radius 6

--json prints what the folder's summary.json holds."""


def options(parser: argparse.ArgumentParser) -> None:
    """Add the sources, the method and the output folder."""
    parser.add_argument(
        "name", metavar="SOURCE", help=f"{', '.join(NAMES)}, a set packed before, or a folder or zip of image files"
    )
    parser.add_argument("--against", metavar="SOURCE", help="find images of the first SOURCE that occur in this one")
    parser.add_argument(
        "--method",
        type=shared.one_of(METHODS),
        default=DedupSpec.method,
        help=f"{', '.join(METHODS)} (default: %(default)s)",
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
    shared.add_record(parser, "add the audit to results/leakage")
    shared.add_dry_run(parser)
    shared.add_allow_skipped(parser)
    shared.add_output(parser)
    shared.add_roots(parser)


def execute(arguments: argparse.Namespace, run: Run) -> int:
    """Run the pass and print its summary, or say what would be done; return 1 if files were skipped."""
    from experiments.deduplication.image_source import describe, is_set
    from experiments.deduplication.output import check_folder
    from experiments.deduplication.run_pass import check_pass, deduplicate, default_folder

    name, against, record = arguments.name, arguments.against, arguments.record
    spec = DedupSpec(arguments.method, arguments.radius, arguments.turned)
    sources = [name] if against is None else [name, against]
    out = arguments.out or default_folder(name, against, run)
    if arguments.dry_run:
        check_pass(name, spec, run, against=against, record=record)
        check_folder(out)
        lines = [describe(source, run) for source in sources]
        lines += [f"would search by {spec}, which {METHODS[spec.method]}", f"would write into {out}"]
        files = [] if all(is_set(source, run) for source in sources) else [shared.UNKNOWN]
        shared.answer_plan(arguments, [*lines, *files])
        return 0
    summary = deduplicate(name, out, spec, run, against=against, record=record)
    shared.answer(arguments, summary, _lines(summary, out))
    return shared.exit_code(arguments, summary["skipped"])


def _lines(summary: dict[str, Any], out: Path) -> list[str]:
    """Say how many images the mask leaves out, where the groups are, and how many files could not be read."""
    from experiments.deduplication.output import GALLERY, SKIPPED

    against, removed = summary["against"], summary["removed"]
    images, groups = console.counted(summary["images"], "image"), console.counted(summary["groups"], "group")
    if against is None and summary["images"] < 2:
        found = f"{images}, which nothing was compared with"
    else:
        verb = ("occur" if against else "repeat") + ("s" if removed == 1 else "")
        what = f"in {console.shortened(against['name'], 30)}" if against else f"an earlier one, in {groups}"
        found = f"{removed:,} of {images} {verb} {what}"
    judge = f"judge the groups in {out / GALLERY}" if summary["groups"] else f"no group to judge; written to {out}"
    name = console.shortened(summary["set"]["name"], console.WIDTH - len(found) - 2)
    return [f"{name}: {found}", judge, *shared.unread(summary["skipped"], out / SKIPPED)]
