"""SIGINT and SIGTERM, handled between two steps, so that what is saved then is the state of a whole step."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Stop:
    """True once a signal has arrived."""

    def __init__(self) -> None:
        self._arrived = False

    def __bool__(self) -> bool:
        return self._arrived

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Note the first signal; a second one raises KeyboardInterrupt at once."""
        if self._arrived:
            raise KeyboardInterrupt
        self._arrived = True  # nothing is printed here: the signal may have come in the middle of a line


@contextmanager
def deferred() -> Iterator[Stop]:
    """Inside the block, SIGINT and SIGTERM only set the `Stop` that it yields. An ignored signal stays ignored."""
    stop = Stop()
    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():  # Python delivers signals to no other
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, stop.handle)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
