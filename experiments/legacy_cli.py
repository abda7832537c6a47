"""The command line: `dcgan-eval data|dedup|train|check|extract|eval|table|compare|ablate|look|report`.

Exit codes: 0 done, 1 done but the answer is no or an unexpected failure, 2 the user's mistake (one line that names
the fix), 130 interrupted (run the same command again to go on).
"""

import argparse
import signal
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn

from experiments.commands import look as look_command
from experiments.commands.options import commands_of
from experiments.run import console
from experiments.run.errors import UserError, one_line
from experiments.run.memory import keep_freed_memory


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    arguments = _parser().parse_args(list(sys.argv[1:] if argv is None else argv))
    arguments.command = ["dcgan-eval", *(sys.argv[1:] if argv is None else argv)]
    keep_freed_memory()
    signal.signal(signal.SIGTERM, lambda *_: _interrupt())
    # libraries' warnings (a rebuilt cache, say) are for the user too, but as plain lines
    warnings.showwarning = lambda message, *_, **__: console.say(f"warning: {message}")
    try:
        return arguments.run(arguments)
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    except (UserError, ValueError, OSError) as error:
        print(f"dcgan-eval: {one_line(error)}", file=sys.stderr)
        return 2
    except FloatingPointError as error:
        print(f"dcgan-eval: {one_line(error)}", file=sys.stderr)
        return 1


def _interrupt() -> None:
    raise KeyboardInterrupt


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line instead of the usage."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="dcgan-eval", description="DCGAN discriminators as feature extractors.")
    command = commands_of(parser, "data|dedup|train|check|extract|eval|table|compare|ablate|look")

    look_command.add(command)
    return parser
