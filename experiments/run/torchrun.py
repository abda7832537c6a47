"""Training in several processes, which torchrun starts: rank 0 monitors and writes, the other ranks only train.

    torchrun --nproc-per-node 2 -m experiments train imagenet32

Each process takes its share of every minibatch (`gan.parallel`). If rank 0 stops, because of a signal, a mistake of the
user or a full disk, the other ranks notice and end too. torchrun's exit code is then 1, whatever rank 0's was.
"""

import dataclasses
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from experiments.run.context import Run

PATIENCE = timedelta(days=1)  # the other ranks wait while rank 0 packs a set and removes duplicates


@contextmanager
def joined(run: Run) -> Iterator[Run]:
    """During the block, join the processes that torchrun started; yield the run with this process's device.

    They communicate by Gloo on CPUs, and by NCCL on GPUs, one GPU for each process. Without torchrun, `run` is yielded
    unchanged.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield run
        return
    if run.device.type == "cuda":
        run = dataclasses.replace(run, device_name=f"cuda:{os.environ['LOCAL_RANK']}")
        torch.cuda.set_device(run.device)
    dist.init_process_group("nccl" if run.device.type == "cuda" else "gloo", timeout=PATIENCE)
    rank = dist.get_rank()
    if rank > 0:  # a terminal or torchrun signals all processes, but rank 0 decides what to do
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
    try:
        yield run
        dist.barrier()  # if a process ends while another still listens, the other aborts
    except RuntimeError as error:
        if rank == 0:
            raise
        # one line only: rank 0's own message is the one that helps
        raise SystemExit(f"process {rank} ends too: {' '.join(str(error).split())[:100]}") from None
    finally:
        dist.destroy_process_group()


def broadcast(values: Tensor | None) -> Tensor:
    """Return rank 0's `values`, a tensor on the CPU, in every process; the other ranks pass None.

    Without other processes, this returns `values`.
    """
    shared = [values]
    if dist.is_available() and dist.is_initialized():
        dist.broadcast_object_list(shared)
    assert shared[0] is not None
    return shared[0]
