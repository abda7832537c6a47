"""Workers for cases, each case in a folder of its own; a verdict for each, in the order of the cases."""

import glob
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from experiments.run.context import ROOT
from experiments.run.workers import ONE_THREAD
from experiments.studies.reliability.case import Answer, Case, Verdict, classify

MOST_BYTES = 200_000  # of what a case writes
NO_NETWORK = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")


class Pool:
    """Workers, and the workplace from which each case gets its parts.

    base: the workplace. digests: see `worker.program_main`.
    """

    def __init__(self, base: Path, digests: Mapping[str, str], *, workers: int) -> None:
        self.base, self.workers = base, workers
        self.digests = dict(digests)
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        self._all = [_Worker() for _ in range(workers)]
        self._clean: dict[str, str] = {}
        self._lock = threading.Lock()
        for worker in self._all:
            self._idle.put(worker)

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._all:
            worker.stop()

    def verdicts(self, cases: Iterable[tuple[int, Case]]) -> Iterator[Verdict]:
        """Yield the verdict of each numbered case."""
        with ThreadPoolExecutor(self.workers) as threads:
            yield from threads.map(lambda numbered: self.verdict(*numbered), cases)

    def verdict(self, number: int, case: Case) -> Verdict:
        """Run a case, and without its fault if nobody has yet and the verdict needs it; say how it ended."""
        clean = None
        if case.accepts == "same":
            with self._lock:
                if case.clean not in self._clean:
                    answer, self._clean[case.clean] = self._without_fault(case)
                    if answer.code:
                        raise RuntimeError(f"{case.reader} fails without a fault: {answer.err or answer.out}")
                clean = self._clean[case.clean]
        with tempfile.TemporaryDirectory(prefix="case-", ignore_cleanup_errors=True) as name:
            folder = Path(name).resolve()
            answer, result, more = self._in(folder, case, hostile=True)
            kind, why = classify(case, answer, folder, result, clean)
        what = f"{case.what} {more}".strip()
        return Verdict(case.reader, what, number, kind, why.replace(str(folder), "CASE"), answer.seconds)

    def run(self, folder: Path, case: Case) -> Answer:
        """Run the case's command in a folder that is ready."""
        argv = [text.replace("{case}", str(folder)) for text in case.argv]
        env = environment(folder) | dict(case.env)
        out, err = folder / ".stdout", folder / ".stderr"
        task: dict[str, Any] = {
            "argv": argv,
            "call": case.call,
            "cwd": str(folder),
            "env": env,
            "results": f"{folder}/results",
        }
        task |= {"out": str(out), "err": str(err), "limit": case.limit, "digests": self.digests}
        if case.fresh:
            made = run_fresh(task)
        else:
            worker = self._idle.get()
            try:
                made = worker.ask(task)
            finally:
                self._idle.put(worker)
        return Answer(**made, out=_text(out), err=_text(err))

    def _without_fault(self, case: Case) -> tuple[Answer, str]:
        with tempfile.TemporaryDirectory(prefix="case-", ignore_cleanup_errors=True) as name:
            return self._in(Path(name).resolve(), case, hostile=False)[:2]

    def _in(self, folder: Path, case: Case, *, hostile: bool) -> tuple[Answer, str, str]:
        """Return how the case ended, the digest of its result, and what its preparation says."""
        self.lay_out(folder, case.needs)
        more = case.prepare(folder) if hostile else None
        answer = self.run(folder, case)
        return answer, _digest(folder, answer.out, case.results), more or ""

    def lay_out(self, folder: Path, needs: Sequence[str]) -> None:
        """Make the folders of a case, and copy parts of the workplace into it."""
        for name in ("data", "runs", "results"):
            (folder / name).mkdir(exist_ok=True)
        for part in needs:
            source, target = self.base / part, folder / part
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
            else:
                shutil.copy2(source, target)


def environment(folder: Path) -> dict[str, str]:
    """Return the variables of a command in the folder of a case: its own roots, the CPU, no network."""
    roots = {"DATA_ROOT": f"{folder}/data", "RUNS_ROOT": f"{folder}/runs", "DEVICE": "cpu", "HOME": str(folder)}
    return roots | NO_NETWORK | {"BACKBONE": "", "LAYERS": ""}


class _Worker:
    """A process that serves `worker.serve`; another one is started if it dies."""

    def __init__(self) -> None:
        self._process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        # -P: nothing beside the study is imported, whatever the current folder holds
        program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from {__package__}.worker import serve; serve()"
        pipe, env = subprocess.PIPE, os.environ | ONE_THREAD | {"MPLBACKEND": "agg"}
        return subprocess.Popen(
            [sys.executable, "-P", "-c", program], env=env, stdin=pipe, stdout=pipe, process_group=0
        )

    def ask(self, task: dict[str, Any]) -> dict[str, Any]:
        """Return the answer of `worker._answer`."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(task).encode() + b"\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())
        except (OSError, ValueError):
            self.stop()
            self._process = self._started()
            return {"code": -9, "hang": False, "seconds": 0.0}

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


def fresh_command(task: Mapping[str, Any]) -> list[str]:
    """Return the command that runs a task in a new interpreter, as the console script would."""
    given = (list(task["argv"]), task["results"], task["digests"])
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from {__package__}.worker import program_main"
    return [sys.executable, "-P", "-c", f"{program}; sys.exit(program_main{given!r})"]


def run_fresh(task: Mapping[str, Any]) -> dict[str, Any]:
    """Run a task in a new interpreter; return what `worker._answer` returns."""
    began = time.monotonic()
    with open(task["out"], "wb") as out, open(task["err"], "wb") as err:
        process = subprocess.Popen(
            fresh_command(task),
            env=os.environ | ONE_THREAD | dict(task["env"]),
            cwd=task["cwd"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        try:
            hang, code = False, process.wait(task["limit"])
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            hang, code = True, process.wait()
    return {"code": code, "hang": hang, "seconds": round(time.monotonic() - began, 3)}


def _text(file: Path) -> str:
    with open(file, "rb") as opened:
        return opened.read(MOST_BYTES).decode("utf-8", "surrogateescape")


def _digest(folder: Path, out: str, patterns: Sequence[str]) -> str:
    """Return the digest of the result: standard output, and the files that the patterns name."""
    hashed = hashlib.sha256(out.replace(str(folder), "").encode("utf-8", "surrogateescape"))
    for pattern in patterns:
        for file in sorted(glob.glob(pattern, root_dir=folder, recursive=True)):
            if (folder / file).is_file():
                hashed.update(os.fsencode(file) + (folder / file).read_bytes())
    return hashed.hexdigest()
