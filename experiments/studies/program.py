"""What the programs of the studies have in common: the command line, and the table that they write."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from experiments.commands.options import add_roots, make_run
from experiments.run.context import Run
from experiments.run.files import write_bytes


def new_parser(doc: str) -> argparse.ArgumentParser:
    """Make a parser without options, described by the first line of a module's docstring."""
    return argparse.ArgumentParser(description=doc.split("\n")[0])


def parse(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None, *, device: bool = False
) -> tuple[argparse.Namespace, Run]:
    """Return the arguments, and the run that --data-root, --runs-root and, with `device`, --device ask for."""
    add_roots(parser, device=device)
    arguments = parser.parse_args(argv)
    return arguments, make_run(arguments)


def write_table(table: pd.DataFrame, out: Path | None, float_format: str | None = None) -> None:
    """Write the table as CSV, if there is a file to write; its folder is made."""
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(out, table.to_csv(index=False, float_format=float_format).encode())
