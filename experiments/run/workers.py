"""Spread work over processes; the results come in the order of the tasks.

Every worker process has its own pipes, and a thread in this process waits for its answers. The processes of
`concurrent.futures.ProcessPoolExecutor` share one pipe instead. If one of them is killed while it sends a large result
(at Ctrl-C, or by the system because memory ran out), the executor waits for the rest of that result for ever.
"""

import contextlib
import os
import pickle
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, TypeVar

from experiments.run import safe_path

Task = TypeVar("Task")
Result = TypeVar("Result")

AHEAD = 4  # tasks given out per process before the first result is taken, so that a slow task delays no other
ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")  # or they compete


class WorkerDied(RuntimeError):
    """A process ended without an answer, for example killed by the system because memory ran out."""


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(function: Callable[[Task], Result], tasks: Iterable[Task], *, workers: int) -> Iterator[Result]:
    """Yield `function(task)` for every task, in the order of the tasks, computed by `workers` processes (1: this one).

    A worker process is a new interpreter. It imports the module of `function` but not the main program, so large
    imports there are not repeated. An exception of `function` is raised here. Raises WorkerDied if a worker process
    ends. However the loop ends, no worker process is left; if this process is killed, each one ends after its task.
    """
    yield from map(function, tasks) if workers <= 1 else in_processes(function, tasks, workers=workers)


def in_processes(function: Callable[[Task], Result], tasks: Iterable[Task], *, workers: int) -> Iterator[Result]:
    """Like `in_order`, but never in this process: a task that would kill this process raises WorkerDied instead."""
    idle: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
    results: deque[Future[Result]] = deque()

    def compute(task: Task) -> Result:
        process = idle.get()
        try:
            return _ask(process, function, task)
        finally:
            idle.put(process)

    processes: list[subprocess.Popen[bytes]] = []
    threads = ThreadPoolExecutor(workers)
    try:
        for _ in range(workers):
            processes.append(_started())
            idle.put(processes[-1])
        for task in tasks:
            results.append(threads.submit(compute, task))
            if len(results) == AHEAD * workers:
                yield results.popleft().result()
        while results:
            yield results.popleft().result()
    finally:
        for process in processes:
            process.kill()
        threads.shutdown(cancel_futures=True)
        for process in processes:
            process.communicate()  # closes the pipes, and waits


def python(code: str) -> tuple[list[str], dict[str, str]]:
    """Return the command and the environment in which a new interpreter runs `code` with this one's `safe_path`."""
    command = [sys.executable, "-P", "-c", f"import sys; sys.path[:] = {safe_path()!r}; {code}"]
    # site imports from PYTHONPATH, before the code runs
    return command, {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def _started() -> subprocess.Popen[bytes]:
    """Start a worker process in its own process group, so that Ctrl-C in a terminal does not reach it."""
    command, environment = python(f"from {__name__} import serve; serve()")
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment | ONE_THREAD, stdin=pipe, stdout=pipe, process_group=0)


def _ask(process: subprocess.Popen[bytes], function: Callable[[Task], Result], task: Task) -> Result:
    assert process.stdin is not None and process.stdout is not None
    try:
        pickle.dump(pickle.dumps((function, task)), process.stdin)
        process.stdin.flush()
        result, error = pickle.load(process.stdout)
    except (EOFError, OSError, pickle.UnpicklingError) as gone:
        code = process.wait()
        how = f"by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"with exit code {code}"
        raise WorkerDied(f"a worker process ended {how}") from gone
    if error is not None:
        raise error
    return result


def serve() -> None:
    """Answer tasks, in a worker process, until the process that sends them is gone."""
    tasks, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a task that prints must not write into the answers
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            message = pickle.load(tasks)
            try:
                function, task = pickle.loads(message)
                answer: tuple[Any, Exception | None] = (function(task), None)
            except Exception as error:
                answer = (None, error)
            answers.write(pickle.dumps(answer))
            answers.flush()
