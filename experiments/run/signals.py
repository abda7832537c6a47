"""SIGINT and SIGTERM, heard between two steps: what is saved then is a whole step's state."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Stop:
    """Whether a signal has arrived; true from then on."""

    def __init__(self) -> None:
        self._arrived = False

    def __bool__(self) -> bool:
        return self._arrived

    def arrive(self, number: int, frame: FrameType | None) -> None:
        """The handler: the first signal is noted, a second one stops at once (KeyboardInterrupt)."""
        if self._arrived:
            raise KeyboardInterrupt
        self._arrived = True  # nothing is printed here: the signal may have come in the middle of a line


@contextmanager
def deferred() -> Iterator[Stop]:
    """Inside, SIGINT and SIGTERM only set what it yields. A signal that the process ignores stays ignored."""
    stop = Stop()
    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():  # Python delivers signals to no other
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, stop.arrive)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
