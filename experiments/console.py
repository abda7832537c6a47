"""What a person sees of long work: a bar on a terminal, plain lines with an estimate elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")
_INTERVAL = 15.0  # seconds between plain lines


def say(text: str) -> None:
    """One line on stderr, at once; stdout is for results."""
    tqdm.write(text, file=sys.stderr)
    sys.stderr.flush()


def progress(iterable: Iterable[T], *, total: int | None, desc: str, unit: str) -> Iterator[T]:
    """Passes items through and shows how far it is, with the time left."""
    if sys.stderr.isatty():
        yield from tqdm(iterable, total=total, desc=desc, unit=f" {unit}", dynamic_ncols=True, leave=True)
        return
    started = last = time.monotonic()
    done = 0
    for item in iterable:
        yield item
        done += 1
        now = time.monotonic()
        if now - last >= _INTERVAL:
            last = now
            say(_line(desc, unit, done, total, now - started))
    if done and time.monotonic() - started >= 1:
        say(f"{desc}: {done} {unit} in {_duration(time.monotonic() - started)}")


def _line(desc: str, unit: str, done: int, total: int | None, seconds: float) -> str:
    if not total:
        return f"{desc}: {done} {unit}"
    left = seconds / done * (total - done)
    return f"{desc}: {done}/{total} {unit}, {100 * done // total} %, {_duration(left)} left"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
