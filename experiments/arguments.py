"""What the commands share: the options for roots and device, and what is checked before the work."""

import argparse
import errno
import os
from collections.abc import Callable
from pathlib import Path

import torch

from experiments.errors import UserError
from experiments.evaluate import ROOT

__all__ = [
    "LAYERS_HELP",
    "Command",
    "add_roots",
    "check_writable",
    "commands_of",
    "device_of",
    "named_roots",
    "one_line",
]

LAYERS_HELP = (
    "comma-separated layers or patterns, e.g. conv1,conv2 or 'layer*'; relu@2 is a module's second run in a pass "
    "(default: LAYERS, or every stage)"
)

# name, what runs it, a sentence, an example -> the parser of a command
Command = Callable[[str, Callable[[argparse.Namespace], int], str, str], argparse.ArgumentParser]


def commands_of(parser: argparse.ArgumentParser, names: str) -> Command:
    """What adds commands, `names` (one|two) in all, below a parser."""
    below = parser.add_subparsers(required=True, metavar=names)

    def command(
        name: str, run: Callable[[argparse.Namespace], int], text: str, example: str
    ) -> argparse.ArgumentParser:
        added = below.add_parser(
            name,
            help=text,
            description=text,
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        added.set_defaults(run=run)
        return added

    return command


def add_roots(parser: argparse.ArgumentParser, *, device: bool = False) -> None:
    """--data-root and --runs-root, with their variables; --device where the command computes."""
    for root, default, text in (
        ("data", "data", "official files, read only"),
        ("runs", "runs", "downloads, packed sets, features, runs"),
    ):
        env = f"{root.upper()}_ROOT"
        parser.add_argument(
            f"--{root}-root",
            type=Path,
            default=Path(os.environ.get(env) or default),
            help=f"{text} (default: {env}, or {default}/)",
        )
    if device:
        best = "cuda" if torch.cuda.is_available() else "cpu"
        parser.add_argument(
            "--device", default=os.environ.get("DEVICE") or best, help="default: DEVICE, or %(default)s"
        )


def check_writable(*folders: Path) -> None:
    """Makes the folders; UserError where one cannot be written to."""
    for folder in folders:
        probe = folder / f".write-test-{os.getpid()}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise UserError(
                f"cannot write to {folder}: {error.strerror}; make it writable, or choose another RUNS_ROOT or --out"
            ) from error


def device_of(name: str) -> torch.device:
    """The device of that name; UserError where it cannot be used."""
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device {name!r} cannot be used; set DEVICE=cpu ({one_line(error)[:120]})") from error
    return device


def named_roots(arguments: argparse.Namespace) -> dict[str, Path]:
    """How records write paths below the roots, which differ between machines."""
    return {"$DATA_ROOT": arguments.data_root, "$RUNS_ROOT": arguments.runs_root, ".": ROOT}


def one_line(error: Exception) -> str:
    """An error as the line that the user sees."""
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename else ""
        fix = "; free space there, or set RUNS_ROOT or --out elsewhere" if error.errno == errno.ENOSPC else ""
        return f"{' '.join(error.strerror.split())}{where}{fix}"
    return " ".join(str(error).split()) or type(error).__name__
