"""The process of a command: its signals at every stage, its streams, and where it imports from."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INTERRUPTED = "interrupted; run the same command again to go on\n"

# runs `python -m experiments table` with a command of the test's own in place of `table`
PROGRAM = """
import runpy, sys
import experiments.commands
experiments.commands.__path__.insert(0, sys.argv.pop(1))
sys.argv[0] = "dcgan-eval"
runpy.run_module("experiments", run_name="__main__")
"""
COMMAND = """
import argparse, atexit, pathlib, sys, time
from experiments.run import console
EXAMPLE = ""
def ready():
    console.answer("ready")
def options(parser):
    parser.set_defaults(data_root=None, runs_root=pathlib.Path())
def execute(arguments, run):
    {execute}
{module}
"""
SLOW = "from experiments.run import console; console.answer('ready'); import time; time.sleep({seconds})"
WRITES = """
    from experiments.run.files import whole_folder
    from pathlib import Path
    with whole_folder(Path({out!r})):
        import slow
        time.sleep(9)
"""
STAGES = {  # what the command does, its module's last line, seconds that its import `slow` takes, its own exit code
    "its module is imported": ("", "ready(); time.sleep(9)", 0, 130),
    "a long import": ("import slow", "", 9, 130),
    "a short import amid work": (WRITES, "", 0.3, 130),
    "work": ("ready(); time.sleep(9)", "", 0, 130),
    "work that makes another exception of it": (
        "\n    try:\n        ready(); time.sleep(9)\n    except KeyboardInterrupt:\n        raise RecursionError",
        "",
        0,
        130,
    ),
    "work that swallows it": (
        "\n    try:\n        ready(); time.sleep(9)\n    except KeyboardInterrupt:\n        return 0",
        "",
        0,
        130,
    ),
    "the interpreter's end": ("atexit.register(lambda: (ready(), time.sleep(0.3)))\n    return 1", "", 0, 1),
}


def started(folder: Path, execute: str, module: str, seconds: float) -> subprocess.Popen:
    (folder / "commands").mkdir()
    (folder / "commands" / "table.py").write_text(COMMAND.format(execute=execute or "pass", module=module))
    (folder / "slow.py").write_text(SLOW.format(seconds=seconds))
    command = [sys.executable, "-c", PROGRAM, str(folder / "commands"), "table"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)])}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("stage", STAGES)
def test_a_signal_ends_the_process_in_one_line_at_every_stage(stage: str, number: int, tmp_path: Path) -> None:
    execute, module, seconds, code = STAGES[stage]
    process = started(tmp_path, execute.format(out=str(tmp_path / "out")), module, seconds)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(number)
    _, said = process.communicate(timeout=5)  # a long import is left before it ends
    assert (process.returncode, said) == (code, INTERRUPTED if code == 130 else "")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "__pycache__") == ["commands", "slow.py"]


def test_a_signal_that_the_process_ignores_stays_ignored(tmp_path: Path) -> None:
    (tmp_path / "slow.py").touch()
    process = started(tmp_path, "signal.raise_signal(signal.SIGINT); ready(); return 1", "import signal", 0)
    process.communicate()
    assert process.returncode == 130
    ignoring = subprocess.run(
        ["sh", "-c", f'trap "" INT; exec {sys.executable} -c "$0" "$@"', PROGRAM, str(tmp_path / "commands"), "table"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (ignoring.returncode, ignoring.stdout, ignoring.stderr) == (1, "ready\n", "")


def run(*arguments: str, folder: Path, given: str = "", **environment: str) -> subprocess.CompletedProcess:
    """Run the command line in `folder` by the shell, with what is `given` after it."""
    line = f'"{sys.executable}" -m experiments "$@" {given}'
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line, "bash", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("given", ["| true", "| head -c 1", "2>&1 >/dev/null | true", ">&-", "2>&-"])
def test_a_reader_that_leaves_changes_neither_the_exit_code_nor_what_is_said(given: str, tmp_path: Path) -> None:
    done = run("--help", folder=tmp_path, given=given)
    assert (done.returncode, done.stderr) == (0, "")
    done = run("tabel", folder=tmp_path, given=given)
    assert done.returncode == 2 and len(done.stderr.splitlines()) <= 1
    if given in ("| head -c 1", ">&-"):
        done = run("train", "mnist-64", "--dry-run", folder=tmp_path, given=given)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_standard_output_on_a_full_disk_is_named(tmp_path: Path) -> None:
    done = run("train", "mnist-64", "--dry-run", folder=tmp_path, given=">/dev/full")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("dcgan-eval: No space left on device: standard output")


def test_characters_that_a_stream_lacks_are_escaped(tmp_path: Path) -> None:
    command = ["train", "mnist-64", "--dry-run", "--out", "☃/\x1b[31m"]
    done = run(*command, folder=tmp_path, PYTHONIOENCODING="ascii")
    assert done.returncode == 0 and r"into \u2603/\x1b[31m, from the start" in done.stdout
    for command in (["train", "\x1b[31m☃\n"], ["\x1b[31m☃\n"]):
        done = run(*command, folder=tmp_path, PYTHONIOENCODING="ascii")
        assert done.returncode == 2 and r"\x1b[31m\u2603" in done.stderr and len(done.stderr.splitlines()) == 1


def test_what_the_users_code_prints_is_no_answer(tmp_path: Path) -> None:
    """Neither by print, nor by a program that it starts, nor by C code that writes to the stream itself."""
    prints = "print('printed'); os.system('echo started'); os.write(1, b'written\\n')"
    net = "torch.nn.Sequential(torch.nn.Conv2d(3, 4, 4, 2, 1), torch.nn.ReLU())"
    (tmp_path / "mine.py").write_text(f"import os, torch\n{prints}\ndef make():\n    {prints}\n    return {net}\n")
    done = run("check", "mine.py:make", "--json", folder=tmp_path)
    assert done.returncode == 0 and done.stdout.startswith('{"network": "mine.py:make"')
    assert len(done.stdout.splitlines()) == 1
    assert all(done.stderr.count(word) == 2 for word in ("printed", "started", "written"))


def test_nothing_in_the_current_folder_is_imported(tmp_path: Path) -> None:
    """Data from a stranger may hold files that are named like modules of Python."""
    for name in ("struct", "pickle", "threading", "argparse", "json", "torch", "numpy", "tqdm", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'CANARY')!r}, 'a').write({name!r})")
    done = run("train", "mnist-64", "--dry-run", folder=tmp_path)
    assert done.returncode == 0 and not (tmp_path / "CANARY").exists()


def test_a_removed_current_folder_is_named(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    command = f"cd {gone} && rmdir {gone} && exec {sys.executable} -m experiments report"
    ended = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "dcgan-eval: the current folder was removed: change to another\n"
