"""The command line: `dcgan-eval COMMAND ...`. A command's module is imported only when the command runs.

Exit codes: 0 done; 1 done, but a check failed or files were skipped, or an unexpected failure; 2 a mistake of the user,
with one line that names the fix; 130 interrupted: the same command continues.
"""

import argparse
import importlib
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from experiments.commands.options import check_words, make_run
from experiments.run import console, signals
from experiments.run.context import RESULTS
from experiments.run.errors import UserError, closest, one_line
from experiments.run.filenames import shown

PROGRAM = "dcgan-eval"


class Command(NamedTuple):
    """A command: what it does, and its module in `experiments.commands`, which has EXAMPLE, options and execute."""

    module: str
    summary: str


COMMANDS: Mapping[str, Command] = {
    "data": Command("data", "Get data sets by name and pack them."),
    "data pack": Command("data_pack", "Pack any images: the shorter side resized, then the centre square."),
    "dedup": Command("dedup", "Find near-duplicates in one set of images, or between two: mask, groups, gallery."),
    "train": Command("train", "Train a recipe."),
    "check": Command("check", "Check a network before it is measured: problems with their fixes, layers, costs."),
    "extract": Command("extract", "Extract the features of CIFAR-10."),
    "eval": Command("eval", "Measure one row of a table."),
    "compare": Command("compare", "Compare two measured networks image by image; exit 1 if B is worse than A."),
    "ablate": Command("ablate", "Vary one choice of the protocol at a time, on held-out training images."),
    "table": Command("table", "Regenerate the committed tables from the records."),
    "report": Command("report", "Write one page with all results."),
    "look walk": Command("look.walk", "Images between random z: do they change smoothly?"),
    "look arithmetic": Command("look.arithmetic", "Compute A - B + C on the mean z of exemplars, or turn samples."),
    "look filters": Command("look.filters", "What the maps of a convolution respond to, compared with random weights."),
    "look forget": Command("look.forget", "Drop the maps that respond to an object, found from boxes drawn around it."),
    "look memorised": Command("look.memorised", "Are samples copies of training images, or all alike?"),
}


GROUPS = {  # what a group of commands is for; "" stands for all of them
    "": "DCGAN discriminators as feature extractors.",
    "look": "Look inside trained networks: pictures and figures.",
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Print one line instead of the usage."""
        line = f"{self.prog}: {message} (see {self.prog} --help)"
        self.exit(2, f"{shown(line)}\n" if console.speaks() else None)


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version  # imported here because it takes as long as all the rest

        print(f"{PROGRAM} {version(PROGRAM)}")
        parser.exit()


def main(argv: Sequence[str] | None = None, *, results: Path = RESULTS) -> int:
    """Run one command and return its exit code; `results` is the folder of the committed records and tables."""
    given = list(sys.argv[1:] if argv is None else argv)
    try:
        try:
            return _run(given, results)
        finally:
            sys.stdout.flush()  # here a failure is still answered in one line
    except KeyboardInterrupt:
        print(signals.INTERRUPTED, file=sys.stderr)
        return signals.EXIT_CODE
    except (UserError, ValueError, OSError) as error:
        print(f"{PROGRAM}: {one_line(error)}", file=sys.stderr)
        return 2
    except FloatingPointError as error:
        print(f"{PROGRAM}: {one_line(error)}", file=sys.stderr)
        return 1


def _run(given: list[str], results: Path) -> int:
    name, rest = _command(given)
    command = COMMANDS[name]
    module = importlib.import_module(f"experiments.commands.{command.module}")
    parser = _Parser(
        prog=f"{PROGRAM} {name}",
        description=command.summary,
        epilog=f"example:\n  {module.EXAMPLE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.options(parser)
    check_words(rest)
    arguments, unknown = parser.parse_known_args(rest)
    if unknown:
        options = re.findall(r"--[a-z][\w-]*", parser.format_usage())
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{closest(unknown[0], options)}")
    _prepare_process()
    run = make_run(arguments, [PROGRAM, *given], results)
    # matplotlib's cache of fonts, which it keeps in the person's home otherwise
    os.environ.setdefault("MPLCONFIGDIR", str(run.runs_root.absolute() / "matplotlib"))
    with console.kept_for_answers(), signals.interruptible():
        return module.execute(arguments, run)


def _command(given: list[str]) -> tuple[str, list[str]]:
    """Return the command's name, one word or two, and the words after it; exit if the words name no command."""
    for length in (2, 1):
        if (name := " ".join(given[:length])) in COMMANDS:
            return name, given[length:]
    group = next((word for word in given[:1] if any(name.startswith(f"{word} ") for name in COMMANDS)), "")
    prefix = f"{group} " if group else ""
    known = {name.removeprefix(prefix): command for name, command in COMMANDS.items() if name.startswith(prefix)}
    parser = _Parser(
        prog=f"{PROGRAM} {prefix}".strip(),
        usage="%(prog)s COMMAND ...",
        description=GROUPS[group],
        epilog=_listing(known),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", nargs=0, action=_Version, help="print the version and exit")
    _, words = parser.parse_known_args(given[1:] if group else given)
    if not words:
        parser.error(f"name a command: {', '.join(known)}")
    parser.error(f"no command {words[0]!r}{closest(words[0], known)}")


def _listing(commands: Mapping[str, Command]) -> str:
    width = max(map(len, commands))
    lines = [f"  {name:{width}}  {command.summary}" for name, command in commands.items()]
    return "\n".join(["commands:", *lines, "", "COMMAND --help shows the options of a command and an example."])


def _prepare_process() -> None:
    """Set up the process: keep freed memory, and print the warnings of libraries as plain lines."""
    import warnings

    from experiments.run.memory import keep_freed_memory

    keep_freed_memory()
    warnings.showwarning = lambda message, *_, **__: console.say(f"{console.WARNING}{' '.join(str(message).split())}")
