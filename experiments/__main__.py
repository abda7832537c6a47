"""The process of `dcgan-eval`, which is also `python -m experiments`: from its first signal to its last output."""

import os
import sys

from experiments import own_packages
from experiments.run import safe_path


def main() -> int:
    """Run the command that the process was started with, and return its exit code."""
    try:
        os.getcwd()
    except FileNotFoundError:
        print("dcgan-eval: the current folder was removed: change to another", file=sys.stderr)
        return 2
    sys.path[:] = safe_path()  # before anything is imported that a file in the current folder could stand for
    os.environ["PYTHONSAFEPATH"] = "1"  # for interpreters that libraries start
    try:
        own_packages.check()
    except ImportError as error:
        print(f"dcgan-eval: {error}", file=sys.stderr)
        return 2

    from experiments.run import signals

    signals.end_at_once()  # before anything is imported that takes time

    from experiments import cli
    from experiments.run import console

    console.open_streams()
    code = 1  # of an unexpected failure
    try:
        code = cli.main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
        raise
    finally:
        signals.at_the_end(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
