"""A case: a hostile input, the command that reads it, and the classes into which its end falls."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

CANARY = "executed.txt"  # a file in the case's folder that only code out of an input would write
LIMIT = 40.0  # seconds after which a case hangs; nearly all take less than one
MOST_SHOWN = 600  # characters of what a failed case said

GOOD = ("refused", "answered no", "accepted", "unchanged")
BAD = ("traceback", "hang", "executed", "changed", "lost", "unexplained")
CLASSES = (*GOOD, *BAD)
MEANING = {
    "refused": "exit 2 and one line",
    "answered no": "exit 1 with its reason: skipped files, a failed check",
    "accepted": "exit 0 where the input may be accepted",
    "unchanged": "exit 0 with the same result as without the fault",
    "traceback": "a traceback, or the process died",
    "hang": "killed at its time limit",
    "executed": "code out of an input was executed",
    "changed": "a fault was accepted: another result, and no word",
    "lost": "something that had to be there at the end was not",
    "unexplained": "another exit code, more than one line, or control characters on the screen",
}
REASONS = re.compile(r"skipped|FAIL|significantly worse|differs? from what the records make|not finite|damaged")


@dataclass(frozen=True)
class Case:
    """A hostile input.

    reader: what reads it. what: what is hostile about it, for a person.
    argv: the words after `dcgan-eval`; or, if `call` names a function `module:name`, its arguments. Texts in them may
        hold `{case}`, the folder of the case, which is the current folder of the command.
    prepare: puts the input into that folder, and may return more about it, to be added to `what`.
    accepts: "refused" if it must not be accepted, "same" if it may be as long as the result is that of `clean`, "any".
    clean: for "same": names the result without the fault; cases of the same name share it.
    results: patterns of files below the folder that belong to the result, beside standard output.
    needs: parts of the workplace to copy into the folder. fresh: whether it needs a new interpreter.
    codes: the exit codes that are documented for it.
    """

    reader: str
    what: str
    argv: tuple[str, ...]
    prepare: Callable[[Path], str | None] = lambda folder: None
    accepts: str = "any"
    clean: str = ""
    results: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    call: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    fresh: bool = False
    codes: tuple[int, ...] = (0, 1, 2)
    limit: float = LIMIT


@dataclass(frozen=True)
class Answer:
    """How the process of a case ended. code: negative for a signal. out, err: what it wrote, undecodable bytes kept."""

    code: int
    hang: bool
    seconds: float
    out: str
    err: str


@dataclass(frozen=True)
class Verdict:
    """The class of a case, why, and how to run it again."""

    reader: str
    what: str
    number: int
    kind: str
    why: str
    seconds: float

    @property
    def bad(self) -> bool:
        """Whether the study fails because of it."""
        return self.kind in BAD


def classify(case: Case, answer: Answer, folder: Path, result: str, clean: str | None) -> tuple[str, str]:
    """Return the class of an end, and why. result: digest of the result; clean: that without the fault."""
    said = " ".join((answer.err.strip() or answer.out.strip()).split())[-MOST_SHOWN:]
    if (folder / CANARY).exists():
        return "executed", (folder / CANARY).read_text(errors="replace").strip() or said
    if answer.hang:
        return "hang", f"after {answer.seconds:.0f} s: {said}"
    if answer.code < 0 or "Traceback (most recent call last)" in answer.err:
        return "traceback", f"exit {answer.code}: {(answer.err.strip().splitlines() or [''])[-1][:MOST_SHOWN]}"
    if odd := unexplained(answer, case.codes):
        return "unexplained", f"exit {answer.code}, {odd}: {said}"
    if answer.code:
        return ("refused" if answer.code == 2 else "answered no"), said
    if case.accepts == "refused":
        return "changed", f"accepted: {said}"
    if case.accepts == "same":
        return ("unchanged", said) if result == clean else ("changed", f"another result: {said}")
    return "accepted", said


def unexplained(answer: Answer, codes: tuple[int, ...]) -> str:
    """Return what a person could not understand about an end; empty if there is nothing."""
    for text in (answer.out, answer.err):
        if odd := [c for c in text if not c.isprintable() and c not in "\n\t"]:
            return f"unescaped {odd[0]!r}"
    lines = answer.err.splitlines()
    errors = [line for line in lines if line.startswith("dcgan-eval")]
    if answer.code == 2 and (len(errors) != 1 or lines[-1] != errors[0]):
        return f"{len(errors)} lines of errors"
    if answer.code == 1 and not REASONS.search(answer.out + answer.err):
        return "no reason"
    return "" if answer.code in codes else "an exit code that is not documented"
