"""Several processes, which torchrun starts: how they join, how they share rows, and how they end.

    torchrun --nproc-per-node 2 -m experiments train|extract|eval ...

The first process alone speaks, and writes records. In training it also decides when to stop; the other processes only
take their share of every minibatch (`gan.parallel`).

A process that ends early ends the others, too. Each says through torchrun's store, which outlives them, how it ends.
The first one that is left then says one line: its own mistake, which process has died, or that it was interrupted.
torchrun's exit code is 1, whatever theirs was.
"""

import dataclasses
import os
import re
import select
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist

from experiments.run import console, signals
from experiments.run.context import Run
from experiments.run.errors import UserError
from experiments.run.progress import silent

T = TypeVar("T")
PATIENCE = timedelta(days=1)  # the other processes wait while the first one packs a set and removes duplicates
FAILED, INTERRUPTED, LOST, BUSY = "failed", "interrupted", "lost", "busy"  # how a process ends; BUSY: not yet
TICK = 0.5  # seconds between two looks whether another process ends
GRACE = 2.0  # seconds in which a process that hears of an end should end by itself; then it is BUSY
ROLL_CALL = 5.0  # seconds until a process that has not said anything counts as dead
STUCK = 12.0  # seconds after which a BUSY process is ended; torchrun kills after 30


def processes() -> int:
    """Return how many processes have joined."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return which of them this is, from 0."""
    return dist.get_rank() if processes() > 1 else 0


def is_first() -> bool:
    """Whether this is the first process, which speaks and writes."""
    return rank() == 0


def refuse_several(what: str) -> None:
    """Raise UserError if torchrun has started several processes. what: that which cannot be shared among them."""
    if console.started() > 1:
        raise UserError(f"{what} runs in one process; start it without torchrun")


def share(n: int, multiple: int = 1) -> slice:
    """Return this process's contiguous share of n rows: whole multiples of `multiple`, except at the end."""
    units, parts = -(-n // multiple), processes()
    bounds = (units // parts * k + min(k, units % parts) for k in (rank(), rank() + 1))
    return slice(*(min(bound * multiple, n) for bound in bounds))


def everyones(value: T) -> list[T]:
    """Return the values of all processes, in their order, in every process."""
    values = [value] * processes()
    if len(values) > 1:
        dist.all_gather_object(values, value)
    return values


def gathered(array: np.ndarray, axis: int = 0) -> np.ndarray:
    """Return the rows of all processes joined in their order, in every process."""
    return array if processes() == 1 else np.concatenate(everyones(array), axis=axis)


def broadcast(value: Any) -> Any:
    """Return the first process's `value` in every process; the others pass None."""
    shared = [value]
    if processes() > 1:
        dist.broadcast_object_list(shared)
    assert shared[0] is not None
    return shared[0]


def check_same(value: Any, what: str) -> None:
    """Raise UserError, in all processes, unless `value` is the same in each. what: begins the error."""
    if any(other != value for other in everyones(value)):
        raise UserError(f"{what} differ between the processes; give all machines the same files, code and torch")


def after_first(make: Callable[[], T]) -> T:
    """Return what `make` returns, called in the first process before the others, so that they find what it prepares."""
    if processes() == 1:
        return make()
    made: list[T] = []
    try:
        if is_first():
            made.append(make())
    finally:
        done = broadcast(len(made) if is_first() else None)
    if not done:
        raise _Ended
    return made[0] if made else make()


class _Ended(Exception):
    """Another process has failed and says why."""


@contextmanager
def joined(run: Run, *, stays: str = "", first_decides: bool = False) -> Iterator[Run]:
    """During the block, join the processes that torchrun started; yield the run with this process's device.

    They communicate by Gloo on CPUs, and by NCCL on GPUs, one GPU for each process. In the run of all but the first
    nothing is shown. Without torchrun, `run` is yielded unchanged.
    stays: what a run that goes on will find; for the line that is said if a process dies.
    first_decides: whether a signal is the first process's affair alone, which may end later.
    """
    if console.started() == 1:
        yield run
        return
    backend = "gloo"
    store, number, size = next(dist.rendezvous("env://", timeout=PATIENCE))
    ends = _Ends(store, number, size, stays)
    try:
        if (run.device_name == "auto" and torch.cuda.is_available()) or run.device_name.startswith("cuda"):
            run, backend = _with_own_gpu(run), "cpu:gloo,cuda:nccl"
        group = dist.PrefixStore("group", store)
        dist.init_process_group(backend, store=group, rank=number, world_size=size, timeout=PATIENCE)
        with warnings.catch_warnings(), ends.watched(hear_signals=not first_decides):
            if number > 0:
                run = dataclasses.replace(run, say=lambda text: None, progress=silent)
                warnings.simplefilter("ignore")
            if number > 0 and first_decides:
                _ignore_signals()
            yield run
            dist.barrier()
        dist.destroy_process_group()
        ends.wait_for_all()  # if a process ends while another still listens, the other may abort
    except BaseException as error:
        _ignore_signals()  # torchrun sends them when it sees that a process has ended
        if dist.is_initialized() and backend == "gloo":
            dist.destroy_process_group()  # wakes the processes that wait for this one
        ends.tell(_how(error))
        told = ends.roll_call()
        if speaks(number, told):
            lost = said(number, size, told, stays)
            if lost is None:
                raise
            console.say(lost)
        code = {FAILED: 1, LOST: 1}.get(told[number], signals.EXIT_CODE)
        raise SystemExit(1 if len(told) < size else code) from None


def speaks(rank: int, told: Mapping[int, str]) -> bool:
    """Whether this process is the one that says why all end: the first that failed, else the first that is left."""
    failed = [other for other, how in told.items() if how == FAILED]
    return rank == min(failed or told)


def said(rank: int, size: int, told: Mapping[int, str], stays: str) -> str | None:
    """Return the line about processes that died; None if this one's own error says what happened."""
    if told.get(rank) == FAILED:
        return None
    dead = sorted(set(range(size)) - set(told))
    if not dead and INTERRUPTED in told.values():
        return signals.INTERRUPTED if told[rank] != INTERRUPTED else None
    what = f"process{'es' * (len(dead) > 1)} {', '.join(map(str, dead))} ended"
    what = what if dead else "the connection between the processes broke"
    return "; ".join(filter(None, [what, stays, "run the same command again to go on"]))


class _Ends:
    """How processes tell each other that they end."""

    def __init__(self, store: dist.Store, rank: int, size: int, stays: str) -> None:
        self.store, self.rank, self.size, self.stays = store, rank, size, stays

    def tell(self, how: str) -> None:
        """Tell the others how this process ends."""
        with _despite_loss():
            self.store.set(f"end/{self.rank}", how)
            self.store.set("ending", "")

    def roll_call(self) -> dict[int, str]:
        """Return rank -> how it ends; a process that is missing has died."""
        told, until = {}, time.monotonic() + ROLL_CALL
        with _despite_loss():
            while True:
                here = [r for r in range(self.size) if self.store.check([f"end/{r}"])]
                told = {r: self.store.get(f"end/{r}").decode() for r in here}
                if len(told) == self.size or time.monotonic() > until:
                    break
                time.sleep(TICK / 5)
        return told or {self.rank: LOST}

    def wait_for_all(self) -> None:
        """Wait until every process has come here, but not for one that has died."""
        with _despite_loss():
            self.store.add("left", 1)
            until = time.monotonic() + ROLL_CALL
            while self.store.add("left", 0) < self.size and time.monotonic() < until:
                time.sleep(0.01)

    @contextmanager
    def watched(self, *, hear_signals: bool) -> Iterator[None]:
        """During the block, a thread notices when another process ends, and when a signal comes.

        This process may be in the middle of a long computation, or wait for one that has died: then the thread answers
        for it, and ends it in the end.
        """
        ear, mouth = os.pipe()
        os.set_blocking(mouth, False)
        before = signal.set_wakeup_fd(mouth, warn_on_full_buffer=False) if hear_signals else -1
        thread = threading.Thread(target=self._watch, args=(ear,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            if hear_signals:
                signal.set_wakeup_fd(before)
            os.write(mouth, b"\0")
            thread.join()  # a thread that is in C++ while the interpreter ends would abort the process
            os.close(ear)
            os.close(mouth)

    def _watch(self, ear: int) -> None:
        heard: float | None = None
        busy = False
        while True:
            if select.select([ear], [], [], TICK)[0]:
                came = os.read(ear, 64)
                if 0 in came:
                    return
                if not {signal.SIGINT, signal.SIGTERM}.isdisjoint(came):
                    heard = heard or time.monotonic()
            with _despite_loss():
                if heard is None and self.store.check(["ending"]):
                    heard = time.monotonic()
            if heard is None:
                continue
            if not busy and time.monotonic() - heard > GRACE:
                self.tell(BUSY)
                busy = True
            if time.monotonic() - heard > STUCK:
                self._end_here()

    def _end_here(self) -> None:
        """End the process from the thread: the other one waits for a process that has died."""
        told = self.roll_call()
        if speaks(self.rank, told):
            console.say(said(self.rank, self.size, told, self.stays) or "")
        os._exit(1)


@contextmanager
def _despite_loss() -> Iterator[None]:
    """Go on if the store is gone, as it is if the process that held it has died."""
    with suppress(RuntimeError):
        yield


def _how(error: BaseException) -> str:
    """Return how a process ends by this error."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    by_connection = type(error) is RuntimeError and re.search("gloo|nccl|connection", str(error), re.IGNORECASE)
    return LOST if by_connection or isinstance(error, dist.DistError | _Ended) else FAILED


def _with_own_gpu(run: Run) -> Run:
    """Return the run on this process's own GPU."""
    number, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if number >= gpus:
        raise UserError(f"this machine has {gpus} GPUs, one for each process; start --nproc-per-node {gpus} at most")
    run = dataclasses.replace(run, device_name=f"cuda:{number}")
    torch.cuda.set_device(run.device)
    return run


def _ignore_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
