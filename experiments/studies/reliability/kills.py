"""Kills at random moments of long commands: run again, each must end like a run that nothing interrupted.

Each run is a process of its own, started as a person would start it. SIGKILL, SIGTERM and SIGINT take turns, each at a
moment drawn from the time that the whole run takes. After SIGTERM and SIGINT the exit code must be 130. What a killed
run leaves must not look finished unless it is. Then the command is run again, and its outputs are compared byte for
byte.
"""

import hashlib
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors import safe_open

from experiments.run.workers import ONE_THREAD
from experiments.studies.reliability import workplace
from experiments.studies.reliability.case import Verdict
from experiments.studies.reliability.pool import Pool, environment, fresh_command
from experiments.studies.reliability.worker import STARTED
from experiments.studies.reliability.workplace import CHECKPOINT_IMAGES, TRAINED
from experiments.training.files import DISCRIMINATOR, GENERATOR, LOSSES, STATE, SUMMARY

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
LIMIT = 300.0  # seconds of a run
PHOTOGRAPHS = 1200
# when and where, and digests over these
VARYING = {"started", "seconds", "written", "hardware", "notes", "digest", "seal"}
TRAIN_IMAGES = 640


@dataclass(frozen=True)
class Command:
    """A long command.

    argv: its words. needs: parts of the workplace. outputs: patterns of its files. finished: the file without which the
    outputs do not count as finished. compared: file -> the bytes that must be equal.
    """

    argv: tuple[str, ...]
    needs: tuple[str, ...]
    outputs: tuple[str, ...]
    finished: str
    compared: Callable[[Path], bytes] = Path.read_bytes


def _timeless(value: Any) -> Any:
    """Return nested JSON values without the fields that say when and where."""
    if isinstance(value, dict):
        return {key: _timeless(inner) for key, inner in value.items() if key not in VARYING}
    return [_timeless(inner) for inner in value] if isinstance(value, list) else value


def _without_time(file: Path) -> bytes:
    """Return the content of records or of a checkpoint without what says when and where; all of another file."""
    if file.suffix == ".safetensors":
        with safe_open(file, "np") as opened:
            tensors = sorted((name, opened.get_tensor(name).tobytes()) for name in opened.keys())  # noqa: SIM118
            header = _timeless(json.loads(opened.metadata()["dcgan-eval"]))
        return repr((tensors, header)).encode()
    if file.suffix not in (".json", ".jsonl"):
        return file.read_bytes()
    text = file.read_text()
    lines = text.splitlines() if file.suffix == ".jsonl" else [text]
    return json.dumps([_timeless(json.loads(line)) for line in lines]).encode()


SETS = ("runs/packed",)
MEASURED = ("random:imagenet32,width=4", "--subset", "1280", "--layers", "conv3,conv4")
COMMANDS = {
    "pack": Command(
        ("data", "pack", "many", "--size", "32", "--name", "many"),
        ("many",),
        ("runs/packed/many/*",),
        "runs/packed/many",
    ),
    "extract": Command(
        ("extract", "random:imagenet32,width=8", "--subset", "2500"), SETS, ("runs/features/*/*",), "runs/features/none"
    ),
    "eval": Command(
        ("eval", *MEASURED, "--C", "0.009"), SETS, ("runs/records/*",), "runs/records/cifar10.jsonl", _without_time
    ),
    "dedup": Command(("dedup", "many", "--method", "phash", "--out", "out"), ("many",), ("out/*",), "out/summary.json"),
    "train": Command(
        ("train", "long.toml", "--out", "run", *CHECKPOINT_IMAGES),
        ("long.toml", "runs/packed/tiny"),
        tuple(f"run/{name}" for name in (DISCRIMINATOR, GENERATOR, STATE, LOSSES)),
        f"run/{SUMMARY}",
        _without_time,
    ),
    "report": Command(("report", "--out", "out/report.html"), ("results",), ("out/*",), "out/report.html"),
    "look": Command(
        ("look", "walk", TRAINED, "--out", "out"),
        (TRAINED, "runs/packed/tiny"),
        ("out/*",),
        "out/record.json",
        _without_time,
    ),
}


def verdicts(pool: Pool, kills: int, seed: int, *, commands: Sequence[str] = tuple(COMMANDS)) -> Iterator[Verdict]:
    """Yield a verdict for each of `kills` kills, the commands in turn."""
    prepare(pool.base)
    with ThreadPoolExecutor(pool.workers) as threads:
        whole = dict(zip(commands, threads.map(lambda name: _whole(pool, COMMANDS[name]), commands), strict=True))

        def killed(number: int) -> Verdict:
            name, turn = commands[number % len(commands)], number // len(commands)
            return _killed(pool, name, number, SIGNALS[turn % len(SIGNALS)], *whole[name], seed)

        yield from threads.map(killed, range(kills))


def prepare(base: Path) -> None:
    """Add to the workplace what takes long: many photographs, a longer recipe."""
    folder = base / "many"
    folder.mkdir()
    images = workplace.smooth(PHOTOGRAPHS, np.random.default_rng(5), 128)
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i:04}.png", compress_level=1)
    (base / "long.toml").write_text(workplace.recipe(images=TRAIN_IMAGES))


def start(pool: Pool, folder: Path, command: Command) -> subprocess.Popen[bytes]:
    """Start the command in the folder of a case, as a process of its own."""
    task: dict[str, Any] = {"argv": list(command.argv), "results": f"{folder}/results", "digests": pool.digests}
    env = os.environ | ONE_THREAD | environment(folder)
    pipe = subprocess.PIPE
    return subprocess.Popen(
        fresh_command(task), cwd=folder, env=env, stdout=subprocess.DEVNULL, stderr=pipe, start_new_session=True
    )


def outputs(folder: Path, command: Command) -> dict[str, str]:
    """Return file -> digest of what must be equal in it, for the outputs that are there."""
    found = {}
    for pattern in command.outputs:
        for file in sorted(file for file in folder.glob(pattern) if not file.name.startswith(".")):
            content = command.compared(file).replace(str(folder).encode(), b"")
            found[str(file.relative_to(folder))] = hashlib.sha256(content).hexdigest()
    return found


def _whole(pool: Pool, command: Command) -> tuple[dict[str, str], float]:
    """Return the outputs of a run that nothing interrupts, and its seconds."""
    with tempfile.TemporaryDirectory(prefix="kill-") as name:
        folder = Path(name).resolve()
        pool.lay_out(folder, command.needs)
        process = start(pool, folder, command)
        began = time.monotonic()
        _, said = process.communicate(timeout=LIMIT)
        if process.returncode:
            raise RuntimeError(f"{command.argv} fails uninterrupted: {said.decode(errors='replace')[-2000:]}")
        return outputs(folder, command), time.monotonic() - began


def _killed(
    pool: Pool, name: str, number: int, sent: signal.Signals, whole: dict[str, str], seconds: float, seed: int
) -> Verdict:
    """Kill a run, look at what it left, run it again and compare."""
    command = COMMANDS[name]
    moment = float(np.random.default_rng([seed, number]).uniform(0, seconds))
    what = f"{sent.name} after {moment:.2f} of {seconds:.2f} s"
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kill-", ignore_cleanup_errors=True) as made:
        folder = Path(made).resolve()
        pool.lay_out(folder, command.needs)
        kind, why = _judged(pool, folder, command, whole, moment, sent)
    return Verdict(f"kill: {name}", what, number, kind, why.replace(str(folder), "CASE"), time.monotonic() - began)


def _judged(
    pool: Pool, folder: Path, command: Command, whole: dict[str, str], moment: float, sent: signal.Signals
) -> tuple[str, str]:
    process = start(pool, folder, command)
    while process.poll() is None and not (folder / STARTED).exists():
        time.sleep(0.005)
    timer = threading.Timer(moment, process.send_signal, [sent])
    timer.start()
    code, said = _ended(process)
    timer.cancel()
    if code is None:
        return "hang", f"after {sent.name}: {said}"
    done = outputs(folder, command) == whole
    ended = (0, 130, -signal.SIGKILL, *([-sent] if done else ()))  # the interpreter dies of a signal as it ends
    if code not in ended:
        return "unexplained", f"exit {code} after {sent.name}: {said}"
    if "Traceback" in said:
        return "traceback", f"after {sent.name}: {said}"
    if code and (folder / command.finished).exists() and not done:
        return "lost", f"what it left after {sent.name} looks finished, and is not: {said}"
    again, said = _ended(start(pool, folder, command))
    if again is None or again:
        return ("hang" if again is None else "traceback"), f"run again, exit {again}: {said}"
    found = outputs(folder, command)
    if differ := sorted(file for file in whole.keys() | found.keys() if whole.get(file) != found.get(file)):
        return "lost", f"run again, these differ: {', '.join(differ)[:300]}"
    return ("unchanged" if code else "accepted"), f"exit {code}"


def _ended(process: subprocess.Popen[bytes]) -> tuple[int | None, str]:
    """Wait for the end; return the exit code, None for a hang, and the end of what it said."""
    try:
        _, said = process.communicate(timeout=LIMIT)
        code = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        _, said = process.communicate()
        code = None
    return code, " ".join(said.decode(errors="replace").split())[-300:]
