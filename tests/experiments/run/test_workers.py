"""Worker processes: order, errors, death, and that no process is left."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from experiments.run import workers
from experiments.run.workers import AHEAD, WorkerDied, cores, in_order


def pid_after(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_results_come_in_order_from_processes_with_one_thread_that_end():
    seconds = [0.3, 0, 0, 0.1, *[0] * 30]
    results = list(in_order(number_and_worker, enumerate(seconds), workers=2))
    assert [(number, threads) for number, _, threads in results] == [(i, "1") for i in range(len(seconds))]
    pids = {pid for _, pid, _ in results}
    assert len(pids) == 2 and os.getpid() not in pids and all(map(is_gone, pids))


def number_and_worker(task):
    number, seconds = task
    return number, pid_after(seconds), os.environ["OPENBLAS_NUM_THREADS"]


def test_a_loop_that_is_left_leaves_no_process(tmp_path):
    loop = in_order(partial(note_pid, tmp_path), [0.5, 60, 60], workers=2)
    next(loop)
    loop.close()
    pids = [int(file.name) for file in tmp_path.iterdir()]
    assert len(pids) == 2 and all(map(is_gone, pids))


def note_pid(folder, seconds):
    (folder / str(os.getpid())).touch()
    time.sleep(seconds)


def test_a_loop_that_is_left_while_large_results_are_sent_ends():
    for _ in range(3):
        loop = in_order(bytes, [1, 2**28, 2**28, 2**28], workers=2)
        next(loop)
        time.sleep(0.3)
        start = time.monotonic()
        loop.close()
        assert time.monotonic() - start < 5


def test_no_more_tasks_are_taken_than_are_needed_soon():
    taken = []
    loop = in_order(abs, (taken.append(n) or n for n in range(100)), workers=2)
    assert [next(loop) for _ in range(3)] == [0, 1, 2]
    assert len(taken) == 2 * AHEAD + 2
    loop.close()


def test_an_error_is_raised_here():
    with pytest.raises(ValueError, match="invalid literal for int"):
        list(in_order(int, ["1", "x", "2"], workers=2))


def test_a_task_may_print(capfd):
    assert list(in_order(print, ["a line"], workers=2)) == [None]
    assert capfd.readouterr() == ("", "a line\n")


def test_a_killed_process_is_one_clear_error():
    with pytest.raises(WorkerDied, match=r"a worker process ended by signal 9 \(SIGKILL\)"):
        list(in_order(kill_at_13, [1, 2, 13, 3], workers=2))
    with pytest.raises(WorkerDied, match="a worker process ended with exit code 7"):
        list(in_order(os._exit, [7], workers=2))


def kill_at_13(number):
    if number == 13:
        os.kill(os.getpid(), signal.SIGKILL)


def test_one_worker_is_this_process():
    assert list(in_order(pid_after, [0, 0], workers=1)) == [os.getpid()] * 2
    assert cores() >= 1


PROGRAM = """
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
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = os.environ | {"PYTHONPATH": str(Path(workers.__file__).parents[2])}
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
        os.killpg(program.pid, sent)  # as a terminal does: to all of its group
    else:
        program.kill()
    # stderr ends when the last process that holds it has ended
    printed, complained = program.communicate(timeout=20)
    assert (program.returncode, printed, complained) == (code, "", "")  # "main" again: a worker has run the program


def test_a_worker_imports_nothing_from_the_current_folder(tmp_path, monkeypatch):
    """Python itself imports before a program can set its path: 3.13 for `-c`, and every one for `site`."""
    for name in ("struct", "pickle", "linecache", "collections", "sitecustomize", "usercustomize"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'CANARY')!r}, 'a').write({name!r})")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    monkeypatch.setenv("PYTHONPATH", os.pathsep)
    command, environment = workers.python("import pickle, sys; print(sys.flags.safe_path, *sys.path, sep='\\n')")
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
    assert printed[0] == "True" and not {"", ".", str(tmp_path)} & set(printed)
    assert list(in_order(abs, [-1, -2], workers=2)) == [1, 2]
    assert not (tmp_path / "CANARY").exists()
