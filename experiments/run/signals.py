"""What SIGINT and SIGTERM do: before and after a command's work, during it, and between two steps of training.

A signal that the process ignores (under nohup, or in the background of a script) stays ignored everywhere.
"""

import atexit
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

EXIT_CODE = 130
INTERRUPTED = "interrupted; run the same command again to go on"
PATIENCE = 1.0  # seconds that an import may go on after a signal: the long ones come before there is anything to remove
_TICK = 0.01  # seconds between two looks whether the import has ended

Handler = Callable[[int, FrameType | None], None]


def end_at_once() -> None:
    """Until work begins: a signal ends the process with one line, since nothing has to be removed.

    An exception is not as sure: raised in the middle of an import, it can become any other exception.
    """
    _handle(lambda number, frame: _end())
    atexit.register(_handle, signal.SIG_IGN)  # called last; after it, Python would let a signal kill the process


def at_the_end(code: int) -> None:
    """When work is done: a signal ends the process with the command's own exit code while the interpreter ends."""
    _handle(lambda number, frame: os._exit(code))


@contextmanager
def interruptible() -> Iterator[None]:
    """During the block a signal raises KeyboardInterrupt, so that the work in the block can remove what it has begun.

    While a module is imported, the signal waits for the end of the import. A second signal then, or an import that goes
    on for more than PATIENCE seconds, ends the process at once. After a signal the block ends with KeyboardInterrupt
    even if it has caught the first one, or made another exception of it.
    """
    came: list[float] = []  # when the first signal came

    def interrupt(number: int, frame: FrameType | None) -> None:
        again = bool(came) and number != signal.SIGALRM
        came.append(time.monotonic())
        if not _importing(frame):
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise KeyboardInterrupt
        if again or came[-1] - came[0] > PATIENCE:
            _end()
        signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, _TICK)

    before = _handle(interrupt)
    try:
        yield
    except Exception as error:
        if came:
            raise KeyboardInterrupt from error
        raise
    finally:
        if came:
            signal.setitimer(signal.ITIMER_REAL, 0)
        _restore(before)
    if came:
        raise KeyboardInterrupt


@contextmanager
def deferred() -> Iterator[Sequence[int]]:
    """During the block, a first SIGINT or SIGTERM is only added to the sequence that this yields.

    So the state that is saved then is that of a whole step. A second signal raises KeyboardInterrupt at once.
    """
    arrived: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if arrived:
            raise KeyboardInterrupt
        arrived.append(number)  # nothing is printed here: the signal may have come in the middle of a line

    before = _handle(note)
    try:
        yield arrived
    finally:
        _restore(before)


def _handle(handler: Handler | signal.Handlers) -> dict[signal.Signals, object]:
    """Let `handler` handle the signals; return what handled them before."""
    if threading.current_thread() is not threading.main_thread():  # no other can handle them
        return {}
    heard = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is not signal.SIG_IGN]
    return {number: signal.signal(number, handler) for number in heard}


def _restore(before: dict[signal.Signals, object]) -> None:
    for number, handler in before.items():
        signal.signal(number, handler)  # type: ignore[arg-type]


def _importing(frame: FrameType | None) -> bool:
    """Return whether the import of a module has called `frame`, through any number of others."""
    while frame is not None and frame.f_globals.get("__name__") != "importlib._bootstrap":
        frame = frame.f_back
    return frame is not None


def _end() -> None:
    try:
        os.write(2, f"{INTERRUPTED}\n".encode())
    finally:
        os._exit(EXIT_CODE)
