"""Training in several processes, as torchrun starts them: the first looks, writes and hears signals, the others assist.

    torchrun --nproc-per-node 2 -m experiments train imagenet32

Each process takes its share of every minibatch (`gan.parallel`). Where the first stops, for a signal, a mistake or a
full disk, the others find it gone and end too.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist

__all__ = ["joined", "wait_for_all"]


@contextmanager
def joined(device: torch.device | str) -> Iterator[torch.device]:
    """Inside, the processes that torchrun started train together; yields this one's device.

    Gloo on CPUs, NCCL on GPUs, one a process. Nothing happens where torchrun started none.
    """
    device = torch.device(device)
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    if dist.get_rank() > 0:  # a terminal or torchrun tells all processes: what is to be done is the first one's to say
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
    try:
        yield device
        wait_for_all()  # one that ends while another still listens makes that one abort
    finally:
        dist.destroy_process_group()


def wait_for_all() -> None:
    """Until every process is here; at once where there is one."""
    if dist.is_available() and dist.is_initialized():
        dist.barrier()
