"""The processes that hold the rows of one matrix together, each its shard: sums over all of them, and agreement.

Vectors of size D are the same in every process, up to rounding, and whatever has the size of the rows is each one's
own. What decides how a solver goes on is agreed on, so that no process waits for a step that another one left out.
"""

from collections.abc import Callable
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


class Processes:
    """The default group of torch.distributed if `sharded` is true and there is one; else this process alone.

    Tensors lie where the group's backend can reduce them: on CPUs for Gloo, on the process's GPU for NCCL.
    """

    def __init__(self, sharded: bool = False) -> None:
        together = sharded and dist.is_available() and dist.is_initialized()
        self.count = dist.get_world_size() if together else 1
        self.rank = dist.get_rank() if together else 0

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of the processes' tensors, which takes the place of `values`."""
        if self.count > 1:
            dist.all_reduce(values)
        return values

    def agreed(self, values: Tensor) -> Tensor:
        """Return the first process's tensor of numbers or truth values, in every process."""
        if self.count == 1:
            return values
        shared = values.to(torch.uint8) if values.dtype == torch.bool else values.contiguous()
        dist.broadcast(shared, 0)
        return shared.to(values.dtype)

    def gathered(self, value: T) -> list[T]:
        """Return every process's value, in the order of the processes."""
        if self.count == 1:
            return [value]
        values: list[T | None] = [None] * self.count
        dist.all_gather_object(values, value)
        return values  # type: ignore[return-value]

    def together(self, check: Callable[[], T]) -> T:
        """Return what `check` returns here. If it raises ValueError in any process, all raise the first one's."""
        problem, result = None, None
        try:
            result = check()
        except ValueError as error:
            if self.count == 1:
                raise
            problem = str(error)
        if found := [text for text in self.gathered(problem) if text is not None]:
            raise ValueError(found[0])
        return result  # type: ignore[return-value]


ALONE = Processes()
