"""What a person sees: lines on the standard streams, and the progress of long work.

Standard output carries answers only; notes and progress go to standard error. Progress is a bar on a terminal, and
plain lines with the time left elsewhere.
"""

import contextlib
import io
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TextIO, TypeVar

from experiments.run.filenames import shown

T = TypeVar("T")
WIDTH = 100  # characters of a line of an answer
CUT = "…"  # what stands for the middle of a long name
WARNING = "warning: "  # the beginning of a line that is said even with --quiet
_INTERVAL = 15.0  # seconds between plain lines
_TELLING = 3.0  # seconds of work before which a rate says nothing
_REMEMBERED = 8  # looks back, for the rate
_COUNT = "{desc}: {n_fmt} {unit} [{elapsed}{postfix}]"
_BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {unit} [{elapsed}{postfix}]"


class _Stream(io.FileIO):
    """Standard output or standard error. What a reader that has gone does not take is dropped, and so is all after it.

    `head` goes once it has its lines, while the command still has work to do and an exit code to give.
    """

    is_output = False

    def write(self, data) -> int | None:  # type: ignore[no-untyped-def, override]
        try:
            return super().write(data)
        except OSError as error:
            with open(os.devnull, "wb") as nothing:
                os.dup2(nothing.fileno(), self.fileno())
            if self.is_output and not isinstance(error, BrokenPipeError):
                raise OSError(error.errno, error.strerror, "standard output") from error
            return len(data)


def open_streams() -> None:
    """Give this process standard streams that take every character, and that a reader may leave at any time.

    A character that a stream's encoding lacks is written as an escape. A stream that is closed is opened, on nothing.
    Standard output gets another number, and 1 becomes standard error: what libraries and child processes write there
    is no answer.
    """
    while (nothing := os.open(os.devnull, os.O_RDWR)) < 3:
        os.set_inheritable(nothing, True)
    os.close(nothing)
    output = os.dup(1)
    os.dup2(2, 1)
    for number, name in ((output, "stdout"), (2, "stderr")):
        given = getattr(sys, name)
        encoding = given.encoding if given else "utf-8"
        by_line = number == 2 or bool(given and (given.line_buffering or given.write_through))
        raw = _Stream(number, "w", closefd=False)
        raw.is_output = number == output
        stream = io.BufferedWriter(raw)
        setattr(sys, name, io.TextIOWrapper(stream, encoding, "backslashreplace", line_buffering=by_line))


_output: TextIO | None = None  # standard output, while it is kept for answers


@contextlib.contextmanager
def kept_for_answers() -> Iterator[None]:
    """During the block only `answer` writes to standard output: what else is printed goes to standard error."""
    global _output
    before, _output = _output, sys.stdout
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _output = before


def say(text: str) -> None:
    """Write one line to stderr at once, above the bars that are shown; stdout is for results."""
    from tqdm import tqdm  # imported here, as below, so that commands that say nothing start sooner

    tqdm.write(shown(text), file=sys.stderr)
    sys.stderr.flush()


def say_warnings(text: str) -> None:
    """Say the line only if it is a warning; with --quiet this takes the place of `say`."""
    if text.startswith(WARNING):
        say(text)


def started() -> int:
    """Return how many processes torchrun has started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", 1))


def speaks() -> bool:
    """Whether this process is the only one, or the first of those that torchrun started."""
    return started() == 1 or int(os.environ.get("RANK", 0)) == 0


def answer(*lines: str) -> None:
    """Write lines of a command's result to stdout at once. Under torchrun only the first process does."""
    if not speaks():
        return
    stream = _output or sys.stdout
    lacks = not CUT.encode(stream.encoding or "utf-8", "ignore")  # ASCII: an escape would make lines longer
    for line in lines:
        print(shown(line.replace(CUT, "~") if lacks else line), file=stream)
    stream.flush()


def progress(
    iterable: Iterable[T],
    *,
    total: int | None,
    desc: str,
    unit: str,
    step: int = 1,
    done: int = 0,
    postfix: Callable[[], str] | None = None,
) -> Iterator[T]:
    """Pass items through and show how far the loop is, how fast, and the time left (see `run.progress.Progress`).

    The rate is that of the last items, never of the first, which may load or compile. No time left is shown before
    there is a rate, and no total that has turned out to be too small.
    """
    from tqdm import tqdm

    on_terminal = sys.stderr.isatty()
    desc, count = shown(desc), done
    started = told = time.monotonic()
    seen: deque[tuple[float, int]] = deque(maxlen=_REMEMBERED)  # times, and what was done then
    look = {
        "unit": unit if total == 1 else plural(unit),
        "unit_scale": step > 1,
        "dynamic_ncols": True,
        "disable": not on_terminal,
    }
    with tqdm(total=total, initial=done, desc=desc, bar_format=_BAR if total else _COUNT, **look) as bar:
        for item in iterable:
            yield item
            count += step
            bar.update(step)
            now = time.monotonic()
            if not seen:
                seen.append((now, count))
            if now - told < (1 if on_terminal else _INTERVAL):
                continue
            told = now
            if total and count > total:
                total = bar.total = None
                bar.bar_format = _COUNT
            details = _details(seen, now, count, total, unit) if count - seen[0][1] >= 2 * step else []
            if count > seen[-1][1]:
                seen.append((now, count))
            if postfix is not None:
                details.append(postfix())
            if on_terminal:
                bar.set_postfix_str(", ".join(details))
            else:
                say(", ".join([f"{desc}: {_far(count, total, unit)}", *details]))
    if not on_terminal and count > done and time.monotonic() - started >= 1:
        say(f"{desc}: {counted(count - done, unit)} in {_duration(time.monotonic() - started)}")


def counted(n: int, unit: str) -> str:
    """Return `1 image`, `2,000 images`, `3 batches`, `4 MiB`."""
    return f"{n:,} {unit if n == 1 else plural(unit)}"


def rounded(number: float) -> str:
    """Return a number with three significant digits, and at most six after the point: `0.0501`, `12.8`, `20,000`."""
    return f"{float(f'{number:.3g}'):,f}".rstrip("0").rstrip(".")


def size(n_bytes: float) -> str:
    """Return a size with three significant digits: `15.4 kB`, `7.34 GB`."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if n_bytes >= unit:
            return f"{rounded(n_bytes / unit)} {name}"
    return f"{n_bytes:.0f} {'byte' if n_bytes == 1 else 'bytes'}"


def shortened(text: str, most: int) -> str:
    """Return the text with at most `most` characters; what is left out in the middle becomes `…`."""
    if len(text) <= most:
        return text
    head = (most - 1) // 2
    return f"{text[:head]}{CUT}{text[len(text) - (most - 1 - head) :]}"


def joined(parts: Sequence[str], most: int = WIDTH) -> str:
    """Return `a, b, c` with as many of the parts, from the first, as fit into `most` characters; at least the first."""
    line = shortened(parts[0], most)
    for part in parts[1:]:
        if len(line) + 2 + len(part) > most:
            break
        line += f", {part}"
    return line


def first_few(texts: Sequence[str]) -> str:
    """Return the first three texts, and how many more there are: `a, b, c and 2 more`."""
    more = len(texts) - 3
    return ", ".join(texts[:3]) + (f" and {more:,} more" if more > 0 else "")


def plural(unit: str) -> str:
    """Return the plural of a unit; symbols, and what is plural already, have the same."""
    if unit in ("MiB", "s") or unit.endswith("images"):
        return unit
    return f"{unit}es" if unit.endswith(("s", "ch")) else f"{unit}s"


def _far(count: int, total: int | None, unit: str) -> str:
    if not total:
        return counted(count, unit)
    return f"{count:,}/{total:,} {unit if total == 1 else plural(unit)}, {100 * count // total} %"


def _details(seen: Sequence[tuple[float, int]], now: float, count: int, total: int | None, unit: str) -> list[str]:
    """Return the rate since the first of `seen`, and the time left; nothing if that was just now."""
    since, before = seen[0]
    if now - since < _TELLING:
        return []
    rate = (count - before) / (now - since)
    left = [f"{_duration((total - count) / rate)} left"] if total else []
    return [f"{rounded(rate)} {plural(unit)}/s", *left]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
