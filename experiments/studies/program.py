"""What the programs of the studies have in common: the command line, and the table that they write."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pandas as pd

from experiments.commands.options import add_roots, make_run
from experiments.run.context import Run
from experiments.run.errors import UserError
from experiments.run.files import write_bytes


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Print one line instead of the usage."""
        self.exit(2, f"{self.prog}: {message} (--help shows the options)\n")


def new_parser(doc: str) -> argparse.ArgumentParser:
    """Make a parser without options, described by the first line of a module's docstring."""
    return _Parser(description=doc.split("\n")[0])


def parse(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None, *, device: bool = False
) -> tuple[argparse.Namespace, Run]:
    """Return the arguments, and the run that --data-root, --runs-root and, with `device`, --device ask for.

    A mistake, or a device that cannot be used, ends the program with one line and exit code 2.
    """
    add_roots(parser, device=device)
    arguments = parser.parse_args(argv)
    run = make_run(arguments)
    if device:
        try:
            run.device  # noqa: B018
        except UserError as error:
            parser.error(str(error))
    return arguments, run


def write_table(table: pd.DataFrame, out: Path | None, float_format: str | None = None) -> None:
    """Write the table as CSV, if there is a file to write; its folder is made."""
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(out, table.to_csv(index=False, float_format=float_format).encode())
