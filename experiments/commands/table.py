"""`dcgan-eval table`: regenerate the committed tables from the records.

An installed package stays as it is: the tables go to RUNS_ROOT/results/tables.
"""

import argparse

from experiments.commands.options import add_roots, one_of
from experiments.measure.protocols import ABLATION, LEADERBOARD
from experiments.run import console
from experiments.run.context import Run, in_clone
from experiments.run.errors import UserError
from experiments.run.files import write_bytes
from experiments.run.reading.toml import names

EXAMPLE = "dcgan-eval table cifar10"


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `table`."""
    known = [*names("tables"), LEADERBOARD, ABLATION]
    parser.add_argument("name", nargs="?", type=one_of(known), help=f"{', '.join(known)} (default: every table)")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 if a file differs from what the records make"
    )
    add_roots(parser)


def execute(arguments: argparse.Namespace, run: Run) -> int:
    """Write the files, and print the table if one is named; with --check, only say which files differ."""
    from experiments.measure.tables import committed, regenerate

    if arguments.name == ABLATION and not committed(ABLATION, run):
        raise UserError(f"no record of an ablation in {run.records}; dcgan-eval ablate TARGET --record adds one")
    folder = run.tables if arguments.check or in_clone() else run.runs_root / "results" / "tables"
    made = regenerate([arguments.name] if arguments.name else [*names("tables"), LEADERBOARD, ABLATION], run)
    files = {folder / file.name: content for file, content in made.items()}
    differ = [file for file, content in files.items() if not file.exists() or file.read_bytes() != content]
    if arguments.check:
        if differ:
            told = ", ".join(file.name for file in differ)
            run.say(f"{folder} differs from what the records make: {told}; dcgan-eval table writes them")
        return 1 if differ else 0
    folder.mkdir(parents=True, exist_ok=True)
    for file in differ:
        write_bytes(file, files[file])
        run.say(f"written {file}")
    if same := len(files) - len(differ):
        run.say(f"unchanged in {folder}: {console.counted(same, 'file')}")
    if arguments.name:
        console.answer(*files[folder / f"{arguments.name}.md"].decode().split("\n"))
    return 0
