"""Run training updates as CUDA graphs: the some 300 kernels of an update are launched at once instead of one by one.

A captured update reads nothing but tensors that stay where they are (networks, optimisers, buffers, the state of the
generator of draws), and it never waits for the device. `gan.updates` is written so.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor

from gan.state import TrainingState

WARM = 3  # updates of each network that run one by one first; they settle memory and the choice of convolutions

Update = Callable[[], Tensor]  # does one update, and returns its loss


class Recorder(Protocol):
    """What records updates: `CudaRecorder`, or a stand-in on other devices."""

    def once(self, update: Update) -> Tensor:
        """Do the update one by one."""

    def record(self, update: Update, noise: torch.Generator) -> Update:
        """Return what repeats the update, without doing it now. Raises RuntimeError if it cannot be recorded."""


class CudaRecorder:
    """Records CUDA graphs."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)

    def once(self, update: Update) -> Tensor:
        """Do the update one by one, on the stream on which it is recorded later."""
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream), _fastest_convolutions():
            loss = update()
        current.wait_stream(self._stream)
        return loss

    def record(self, update: Update, noise: torch.Generator) -> Update:
        """Return what replays the update."""
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(noise)
        with _fastest_convolutions(), torch.cuda.graph(graph, stream=self._stream):
            loss = update()

        def replay() -> Tensor:
            graph.replay()
            return loss.clone()  # the next replay overwrites it

        return replay


class Recorded:
    """Updates of a training state, by name. Each runs one by one `WARM` times; then all are recorded, and replayed.

    The first updates are steps of the run like all others. If an update cannot be recorded, all go on one by one, and a
    warning says so.
    """

    def __init__(self, updates: Mapping[str, Update], state: TrainingState, recorder: Recorder) -> None:
        self._updates, self._state, self._recorder = updates, state, recorder
        self._done = dict.fromkeys(updates, 0)
        self._replays: dict[str, Update] | None = None

    def __call__(self, name: str) -> Tensor:
        """Do the update of this name; return its loss, a scalar of its own."""
        if self._replays is None and min(self._done.values()) >= WARM:
            self._replays = self._record()
        self._done[name] += 1
        if self._replays:
            return self._replays[name]()
        return self._recorder.once(self._updates[name])

    def _record(self) -> dict[str, Update]:
        state = self._state
        draws = state.noise.get_state()
        try:
            return {name: self._recorder.record(update, state.noise) for name, update in self._updates.items()}
        except RuntimeError as error:
            why = " ".join(str(error).split())[:200]
            warnings.warn(f"training goes on without CUDA graphs, more slowly: {why}", stacklevel=4)
            # a capture that failed leaves its generator unusable, so another one continues the draws
            state.noise = torch.Generator(state.noise.device)
            state.noise.set_state(draws)
            return {}


@contextmanager
def _fastest_convolutions() -> Iterator[None]:
    """Let cuDNN choose by trying within the block. Shapes never change here, so that it tries once."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
