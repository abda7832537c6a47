"""losses.csv: one line for each minibatch. When a run goes on, the lines after its checkpoint are cut off."""

import math
import os
from array import array
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import gan
from experiments.run.errors import UserError, one_line
from experiments.run.files import append_bytes, write_bytes

HEADER = "step,images_seen,network,loss,lr"


class Losses:
    """The loss of every minibatch of a run, in a file and in memory.

    The file is made if it is absent, and cut back to the minibatches up to `step` if it holds more. Raises UserError
    for a file in another format.
    """

    def __init__(self, file: Path, step: int) -> None:
        self._file = file
        self._seen: dict[str, array[int]] = defaultdict(lambda: array("q"))
        self._losses: dict[str, array[float]] = defaultdict(lambda: array("d"))
        if not file.exists():
            write_bytes(file, f"{HEADER}\n".encode())
            return
        with open(file, "rb") as opened:
            if opened.readline() != f"{HEADER}\n".encode():
                raise UserError(
                    f"{file} does not begin with {HEADER}; move it away, or choose another folder with --out"
                )
            kept = opened.tell()
            for line in opened:
                # a kill can cut the last line short; no checkpoint covers such a line
                if not line.endswith(b"\n") or (fields := _minibatch(line, file))[0] > step:
                    break
                self._remember(*fields[1:])
                kept += len(line)
        os.truncate(file, kept)

    def add(self, steps: Sequence[gan.Step]) -> bool:
        """Append these minibatches, at least one; they are on disk when this returns.

        Returns False, with nothing written, if a loss is not finite.
        """
        losses = torch.stack([s.loss for s in steps]).tolist()  # waits for the device once
        if not np.isfinite(losses).all():
            return False
        lines = []
        for s, loss in zip(steps, losses, strict=True):
            lines.append(f"{s.step},{s.images_seen},{s.network},{loss:.9g},{s.lr:.6g}\n")
            self._remember(s.network, s.images_seen, loss)
        append_bytes(self._file, "".join(lines).encode())
        return True

    def by_network(self) -> dict[str, tuple[Sequence[int], Sequence[float]]]:
        """Return network -> (images seen, losses)."""
        return {name: (self._seen[name], self._losses[name]) for name in sorted(self._seen)}

    def since(self, images_seen: int, network: str) -> NDArray[np.float64]:
        """Return the losses of a network's minibatches after `images_seen`."""
        return np.array(self._losses[network][bisect_right(self._seen[network], images_seen) :])

    def _remember(self, network: str, images_seen: int, loss: float) -> None:
        self._seen[network].append(images_seen)
        self._losses[network].append(loss)


def _minibatch(line: bytes, file: Path) -> tuple[int, str, int, float]:
    """Return step, network, images seen and loss. Raises UserError for another line."""
    try:
        step, seen, network, loss, _ = line.decode("ascii").rstrip("\n").split(",")
        if network not in ("generator", "discriminator") or not math.isfinite(float(loss)):
            raise ValueError(f"a loss of {network} of {loss}")
        return int(step), network, int(seen), float(loss)
    except ValueError as error:
        raise UserError(f"{file} holds a line of another form ({one_line(error)}); move it away") from error
