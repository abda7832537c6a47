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
    from tqdm import tqdm

    on_terminal = sys.stderr.isatty()
    started = shown = time.monotonic()
    now_done = done
    look = {"unit": f" {unit}", "unit_scale": step > 1, "dynamic_ncols": True, "disable": not on_terminal}
    with tqdm(total=total, initial=done, desc=desc, **look) as bar:
        for item in iterable:
            yield item
            bar.update(step)
            now_done += step
            now = time.monotonic()
            if now - shown < (1 if on_terminal else _INTERVAL):
                continue
            shown = now
            besides = postfix() if postfix is not None else ""
            if on_terminal:
                bar.set_postfix_str(besides)
            else:
                line = _line(desc, unit, now_done, total, (now_done - done) / (now - started))
                say(f"{line}, {besides}" if besides else line)
    if not on_terminal and now_done > done and time.monotonic() - started >= 1:
        say(f"{desc}: {now_done - done:,} {unit} in {_duration(time.monotonic() - started)}")


def _line(desc: str, unit: str, done: int, total: int | None, rate: float) -> str:
    """Make one plain line; `rate` is in units per second, > 0."""
    if not total:
        return f"{desc}: {done:,} {unit}, {rate:,.3g} {unit}/s"
    left = _duration((total - done) / rate)
    return f"{desc}: {done:,}/{total:,} {unit}, {100 * done // total} %, {rate:,.3g} {unit}/s, {left} left"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
