"""Processes: order, errors, death, and that none is left."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from experiments.run import workers as pool
from experiments.run.workers import WorkerDied, in_order


def test_results_come_in_order_and_no_process_is_left():
    seconds = [0.3, 0, 0, 0.1, *[0] * 30]
    loop = in_order(partial(_wait_and_tell, os.getpid()), enumerate(seconds), workers=2)
    first = next(loop)
    assert first == (0, True) and len(multiprocessing.active_children()) == 2
    assert [first, *loop] == [(i, True) for i in range(len(seconds))]
    assert multiprocessing.active_children() == []


def _wait_and_tell(parent, task):
    number, seconds = task
    time.sleep(seconds)
    return number, os.getpid() != parent and os.environ["OPENBLAS_NUM_THREADS"] == "1"


def test_a_loop_that_is_left_leaves_no_process():
    loop = in_order(time.sleep, [0, 60, 60], workers=2)
    next(loop)
    loop.close()
    assert multiprocessing.active_children() == []


def test_an_error_is_raised_here():
    with pytest.raises(ValueError, match="invalid literal for int"):
        list(in_order(int, ["1", "x", "2"], workers=2))
    assert multiprocessing.active_children() == []


def test_a_killed_process_is_one_clear_error():
    with pytest.raises(WorkerDied, match=r"a worker process ended by signal 9 \(SIGKILL\)"):
        list(in_order(_kill_on, [1, 2, 13, 3], workers=2))
    with pytest.raises(WorkerDied, match="a worker process ended with exit code 7"):
        list(in_order(os._exit, [7], workers=2))


def _kill_on(number):
    if number == 13:
        os.kill(os.getpid(), signal.SIGKILL)


def test_one_worker_is_this_process():
    assert list(in_order(_pid, [1, 2], workers=1)) == [os.getpid()] * 2
    assert pool.cores() >= 1


def _pid(_):
    return os.getpid()


INTERRUPTED = """
import sys, time
from experiments.run.workers import in_order
print("main", flush=True)
try:
    for _ in in_order(time.sleep, [0, 3, 3, 3], workers=2):
        print("first", flush=True)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("sent, code", [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_stopped_program_leaves_no_process(tmp_path, sent, code):
    (tmp_path / "program.py").write_text(INTERRUPTED)
    environment = os.environ | {"PYTHONPATH": str(Path(pool.__file__).parents[2])}
    program = subprocess.Popen(
        [sys.executable, str(tmp_path / "program.py")],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert program.stdout is not None
    assert [program.stdout.readline() for _ in range(2)] == ["main\n", "first\n"]
    if sent == signal.SIGINT:
        os.killpg(program.pid, sent)  # as a terminal does: to all of them
    else:
        program.kill()
    # both pipes end when the last process that holds them has ended
    printed, complained = program.communicate(timeout=20)
    assert (program.returncode, printed, complained) == (code, "", "")  # "main" again: a worker has run the program
