"""Work spread over processes, its results in the order of the tasks."""

import contextlib
import itertools
import multiprocessing
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Any, TypeVar

__all__ = ["WorkerDied", "cores", "in_order", "in_processes"]

Task = TypeVar("Task")
Result = TypeVar("Result")

_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")  # of each process: one, or they fight
_AHEAD = 4  # results a process that may wait for one before them: a slow task does not make the others pile up


class WorkerDied(RuntimeError):
    """A process ended without an answer, as one that the system kills for want of memory does."""


def cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(function: Callable[[Task], Result], tasks: Iterable[Task], *, workers: int) -> Iterator[Result]:
    """Yields `function(task)` for every task, in their order, computed by so many processes (1: by this one).

    `function` is found again by its name in a process started afresh, which imports its module and nothing else: not
    the program that was started, so a large import there is not repeated. What the function raises is raised here.
    Raises WorkerDied where a process ends. However the loop ends, no process is left.
    """
    yield from map(function, tasks) if workers <= 1 else in_processes(function, tasks, workers=workers)


def in_processes(function: Callable[[Task], Result], tasks: Iterable[Task], *, workers: int) -> Iterator[Result]:
    """`in_order` that never computes in this process: what kills a process there is WorkerDied here."""
    numbered = enumerate(tasks)
    processes: dict[Connection, BaseProcess] = {}
    running: dict[Connection, int] = {}  # the numbers of the tasks
    done: dict[int, Result] = {}
    following = 0

    def give() -> None:
        for connection in processes.keys() - running.keys():
            if len(done) >= _AHEAD * workers:
                return
            for number, task in itertools.islice(numbered, 1):
                running[connection] = number
                with contextlib.suppress(OSError):  # a process that has ended is noticed where its answer is awaited
                    connection.send((function, task))

    try:
        processes.update(_started(workers))
        give()
        while running:
            for ready in wait(list(running)):
                assert isinstance(ready, Connection)
                done[running.pop(ready)] = _answer(ready, processes[ready])
            give()  # before the caller is: it may take its time
            while following in done:
                yield done.pop(following)
                following += 1
            give()
    finally:
        for connection, process in processes.items():
            process.kill()
            connection.close()
        for process in processes.values():
            process.join()


def _answer(connection: Connection, process: BaseProcess) -> Any:
    try:
        result, error = connection.recv()
    except (EOFError, OSError) as gone:
        process.join()
        code = process.exitcode or 0
        how = f"by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"with exit code {code}"
        raise WorkerDied(f"a worker process ended {how}") from gone
    if error is not None:
        raise error
    return result


def _started(count: int) -> Iterator[tuple[Connection, BaseProcess]]:
    # "fork" is not safe beside the threads of a BLAS or of torch
    context = multiprocessing.get_context("spawn")
    with _light_start():
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs,), daemon=True)
            process.start()
            theirs.close()  # so that its end is the end of the connection
            yield ours, process


@contextlib.contextmanager
def _light_start() -> Iterator[None]:
    """Processes started here do not import the main module anew, have one BLAS thread, and never hear of SIGINT."""
    main, environment = sys.modules["__main__"], {name: os.environ.get(name) for name in _THREADS}
    resource_tracker.ensure_running()  # which unblocks SIGINT when it starts, as it would between the lines below
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # a terminal sends it to all: this one decides
    sys.modules["__main__"] = ModuleType("__main__")
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        for name, value in environment.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _serve(connection: Connection) -> None:
    """Answers until the other end closes, which it also does when its process ends in any way."""
    while True:
        try:
            message = connection.recv_bytes()
        except (EOFError, OSError):
            return
        try:
            function, task = pickle.loads(message)
            answer: tuple[Any, Exception | None] = (function(task), None)
        except Exception as error:
            answer = (None, error)
        try:
            connection.send(answer)
        except OSError:
            return
