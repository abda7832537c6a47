"""Run the commands of a page's console blocks and write their answers below them.

    python -m docs.tools.transcript    # docs/your-network.md; needs CIFAR-10, in DATA_ROOT or packed in RUNS_ROOT

A command begins with `$ `. Its answer is what it prints on standard output. Commands run in docs/examples/.
"""

import contextlib
import io
import re
import shlex
from collections.abc import Callable
from pathlib import Path

from experiments import cli

DOCS = Path(__file__).parents[1]
PAGE = DOCS / "your-network.md"
BLOCK = re.compile(r"(?<=```console\n).*?(?=```)", re.S)


def answered(text: str) -> str:
    """Return the text of a page in which every command of a console block is followed by its answer of now."""
    with contextlib.chdir(DOCS / "examples"):
        return BLOCK.sub(lambda block: "\n".join(_with_answers(block[0], _answer)), text)


def commands(text: str) -> list[str]:
    """Return the commands of a page's console blocks."""
    return [line.removeprefix("$ ") for block in BLOCK.findall(text) for line in block.splitlines() if line[:2] == "$ "]


def _with_answers(block: str, answer: Callable[[str], str]) -> list[str]:
    return [f"$ {command}\n{answer(command)}" for command in re.findall(r"^\$ (.*)$", block, re.M)]


def _answer(command: str) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        if cli.main(shlex.split(command)[1:]) not in (0, 1):
            raise SystemExit(f"this command failed: {command}")
    return printed.getvalue()


if __name__ == "__main__":
    PAGE.write_text(answered(PAGE.read_text()))
