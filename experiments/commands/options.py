"""What the commands share: the options for roots and device, and what is checked before the work."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import torch

__all__ = [
    "LAYERS_HELP",
    "Command",
    "add_roots",
    "commands_of",
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
