"""Handle SIGINT and SIGTERM between two steps, so that the state that is saved then is that of a whole step."""

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import FrameType


@contextmanager
def deferred() -> Iterator[Sequence[int]]:
    """During the block, a first SIGINT or SIGTERM is only added to the sequence that this yields.

    A second one raises KeyboardInterrupt at once. A signal that the process ignores stays ignored.
    """
    arrived: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if arrived:
            raise KeyboardInterrupt
        arrived.append(number)  # nothing is printed here: the signal may have come in the middle of a line

    with ExitStack() as restore:
        if threading.current_thread() is threading.main_thread():  # no other can handle them
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    restore.callback(signal.signal, number, signal.signal(number, note))
        yield arrived
