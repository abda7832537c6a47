"""Training in several processes, as torchrun starts them: the first looks, writes and hears signals, the others assist.

    torchrun --nproc-per-node 2 -m experiments train imagenet32

Each process takes its share of every minibatch (`gan.parallel`). Where the first stops, for a signal, a mistake or a
full disk, the others find it gone and end too. The exit code is then torchrun's own, 1, whatever the first one's was.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["from_first", "joined"]

PATIENCE = timedelta(days=1)  # the others wait while the first packs a set and removes duplicates


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
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    rank = dist.get_rank()
    if rank > 0:  # a terminal or torchrun tells all processes: what is to be done is the first one's to say
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
    try:
        yield device
        dist.barrier()  # one that ends while another still listens makes that one abort
    except RuntimeError as error:
        if rank == 0:
            raise
        # in a line: the first one's own words are what helps
        raise SystemExit(f"process {rank} ends too: {' '.join(str(error).split())[:100]}") from None
    finally:
        dist.destroy_process_group()


def from_first(values: Tensor | None, device: torch.device | str) -> Tensor:
    """The first process's int64 [N], in every process, on the CPU; the others give None. `values` where one trains."""
    if not (dist.is_available() and dist.is_initialized()):
        assert values is not None
        return values
    size = torch.tensor([0 if values is None else len(values)], device=device)
    dist.broadcast(size, 0)
    shared = torch.empty(int(size), dtype=torch.int64, device=device) if values is None else values.to(device)
    dist.broadcast(shared, 0)
    return shared.cpu()
