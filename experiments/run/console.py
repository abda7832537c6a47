"""Show the progress of long work: a bar on a terminal, plain lines with the time left elsewhere."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
_INTERVAL = 15.0  # seconds between plain lines


def say(text: str) -> None:
    """Write one line to stderr at once, above the bars that are shown; stdout is for results."""
    from tqdm import tqdm  # imported here, as below, so that commands that say nothing start sooner

    tqdm.write(text, file=sys.stderr)
    sys.stderr.flush()


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
    """Pass items through and show how far the loop is, how fast, and the time left (see `run.progress.Progress`)."""
    if sys.stderr.isatty():
        yield from _bar(iterable, total=total, desc=desc, unit=unit, step=step, done=done, postfix=postfix)
        return
    started = last = time.monotonic()
    now_done = done
    for item in iterable:
        yield item
        now_done += step
        now = time.monotonic()
        if now - last >= _INTERVAL:
            last = now
            say(_line(desc, unit, now_done, total, (now_done - done) / (now - started), postfix))
    if now_done > done and time.monotonic() - started >= 1:
        say(f"{desc}: {now_done - done:,} {unit} in {_duration(time.monotonic() - started)}")


def _bar(iterable, *, total, desc, unit, step, done, postfix):
    from tqdm import tqdm

    shown = time.monotonic()
    with tqdm(
        total=total, initial=done, desc=desc, unit=f" {unit}", unit_scale=step > 1, dynamic_ncols=True, leave=True
    ) as bar:
        for item in iterable:
            yield item
            bar.update(step)
            if postfix is not None and time.monotonic() - shown >= 1:
                shown = time.monotonic()
                bar.set_postfix_str(postfix())


def _line(
    desc: str, unit: str, done: int, total: int | None, rate: float, postfix: Callable[[], str] | None = None
) -> str:
    """Make one plain line; `rate` is in units per second, > 0."""
    besides = f", {text}" if postfix is not None and (text := postfix()) else ""
    if not total:
        return f"{desc}: {done:,} {unit}, {rate:,.3g} {unit}/s{besides}"
    left = _duration((total - done) / rate)
    return f"{desc}: {done:,}/{total:,} {unit}, {100 * done // total} %, {rate:,.3g} {unit}/s, {left} left{besides}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
