"""A worker imports everything once, then runs each case in a fork of itself: isolated, in milliseconds.

The study starts it (`pool.Pool`). A task is one line of JSON on standard input, its answer one on standard output. A
case whose process outlives its limit is killed, with the processes that it started.
"""

import contextlib
import importlib
import json
import os
import pkgutil
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

MEMORY = 12 * 2**30  # bytes of address space of a case: a bomb must not take the machine down
FILE_BYTES = 2**30  # bytes of a file that a case may write
STARTED = ".started"  # a file in the case's folder: from now on it is the program that decides about signals
POLL = 0.002  # seconds between looks at the process of a case
ROOMS = ("run", "data", "networks", "deduplication", "training", "measure", "look", "report", "commands")
HEAVY = ("scipy.io", "sklearn.svm", "matplotlib.pyplot", "PIL.Image", "jinja2", "lmdb", "tabulate", "tqdm", "torch")


def serve() -> None:
    """Answer tasks until standard input ends."""
    _import_all()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), file=answers, flush=True)


def program_main(argv: list[str], results: str, digests: dict[str, str]) -> int:
    """Run `dcgan-eval ARGV` with `results` as the folder of committed records.

    digests: published digests of CIFAR-10's parts to replace, since the study's own set is made up.
    """
    if digests:
        from experiments.data.sets import cifar10

        cifar10.SHA256.update(digests)
    from experiments.cli import main

    Path(STARTED).touch()
    return main(argv, results=Path(results))


def _import_all() -> None:
    """Import what commands import when they run, so that a fork has it."""
    import experiments

    for name in HEAVY:
        importlib.import_module(name)
    for room in ROOMS:
        package = importlib.import_module(f"{experiments.__name__}.{room}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    importlib.import_module("PIL.Image").init()
    importlib.import_module("torch").set_num_threads(1)


def _answer(task: dict[str, Any]) -> dict[str, Any]:
    began = time.monotonic()
    child = os.fork()
    if not child:
        _run(task)
    status = None
    while status is None and time.monotonic() - began < task["limit"]:
        found, ended = os.waitpid(child, os.WNOHANG)
        status = ended if found else None
        if status is None:
            time.sleep(POLL)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    hang = status is None
    if status is None:
        _, status = os.waitpid(child, 0)
    return {"code": os.waitstatus_to_exitcode(status), "hang": hang, "seconds": round(time.monotonic() - began, 3)}


def _run(task: dict[str, Any]) -> None:
    """Run the case in this process, a fork, and end it as the interpreter would."""
    os.setsid()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number, file, mode in ((0, os.devnull, "r"), (1, task["out"], "w"), (2, task["err"], "w")):
        with open(file, mode) as opened:
            os.dup2(opened.fileno(), number)
    sys.stdout = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="strict")
    sys.stderr = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="backslashreplace", buffering=1)
    os.chdir(task["cwd"])
    os.environ.update(task["env"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    code = 1
    try:
        code = _exit_code(_target(task))
    finally:
        os._exit(code & 0xFF)


def _target(task: dict[str, Any]) -> Callable[[], int]:
    if task["call"] is None:
        return lambda: program_main(task["argv"], task["results"], task["digests"])
    module, _, name = task["call"].partition(":")
    return lambda: getattr(importlib.import_module(module), name)(*task["argv"])


def _exit_code(run: Callable[[], int]) -> int:
    """Return the exit code that the interpreter would give, after it has written what is left and any traceback."""
    try:
        code = run()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    try:
        sys.stdout.flush()
    except Exception:
        traceback.print_exc()
        code = 120
    sys.stderr.flush()
    return code or 0
