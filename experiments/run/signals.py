"""SIGINT and SIGTERM, handled between two steps, so that what is saved then is the state of a whole step."""

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def deferred() -> Iterator[Sequence[int]]:
    """Inside the block, a first SIGINT or SIGTERM is only added to the sequence that it yields.

    A second one raises KeyboardInterrupt at once. A signal that the process ignores stays ignored.
    """
    arrived: list[int] = []
    before: dict[signal.Signals, Any] = {}

    def note(number: int, frame: FrameType | None) -> None:
        if arrived:
            raise KeyboardInterrupt
        arrived.append(number)  # nothing is printed here: the signal may have come in the middle of a line

    if threading.current_thread() is threading.main_thread():  # Python delivers signals to no other
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, note)
    try:
        yield arrived
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
