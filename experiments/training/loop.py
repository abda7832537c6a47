"""The training loop around `gan.train`: looks, checkpoints, signals, and nothing saved that is not a number."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

import gan
from experiments.run.files import write_bytes
from experiments.run.signals import deferred
from experiments.training.losses import Curve
from experiments.training.monitor import Watch

STATE, CLOCK = "state.safetensors", "clock.json"
CHECKPOINT_SECONDS = 300.0  # what a kill may cost where images are few a second


class Clock:
    """Seconds that a run has trained, over all its sessions, and images a second since the last look."""

    def __init__(self, file: Path, step: int) -> None:
        self._file = file
        self._before = float(json.loads(file.read_text())["seconds"]) if step and file.exists() else 0.0
        self._started = time.monotonic()
        self._mark = (step, self._started)

    def seconds(self) -> float:
        """In all."""
        return self._before + time.monotonic() - self._started

    def images_per_second(self, step: int, batch_size: int) -> float:
        """Since the last call, or since this session began."""
        now = time.monotonic()
        (last, then), self._mark = self._mark, (step, now)
        return (step - last) * batch_size / max(now - then, 1e-9)

    def save(self) -> None:
        """For the next session."""
        write_bytes(self._file, json.dumps({"seconds": round(self.seconds(), 3)}).encode())


def run(
    steps: Iterator[gan.Step],
    state: gan.TrainingState,
    config: gan.TrainingConfig,
    out: Path,
    *,
    curve: Curve,
    watch: Watch,
    checkpoint_images: int,
    say: Callable[[str], None],
) -> float:
    """Exhausts `steps`; returns the seconds that the run has taken, earlier sessions included.

    A checkpoint falls every `checkpoint_images` images, after `CHECKPOINT_SECONDS`, at the end, and when SIGINT or
    SIGTERM arrives: KeyboardInterrupt follows it, at once on a second signal. FloatingPointError, and nothing saved,
    where a loss, a weight, a statistic or an optimiser's slot is not finite.
    """
    every = max(2, checkpoint_images // config.batch_size)
    clock, saved = Clock(out / CLOCK, state.step), time.monotonic()
    pending: list[gan.Step] = []
    with deferred() as stop:
        for step in steps:
            pending.append(step)
            last = step.step == config.steps
            look = watch.schedule.due(step.step)
            stopping = bool(stop)  # asked once: a signal during what follows is for the next step
            save = last or stopping or step.step % every == 0 or time.monotonic() - saved > CHECKPOINT_SECONDS
            if not (look or save):
                continue
            if not (finite(state) and curve.add(pending)):
                raise FloatingPointError(
                    f"a loss or a weight is not finite at step {step.step}; the checkpoint before it is kept in {out}"
                )
            pending = []
            # the state comes last: what a kill leaves of curve and looks beyond it, the next session drops
            if look:
                watch.look(clock.seconds(), clock.images_per_second(step.step, config.batch_size))
            if save:
                clock.save()
                gan.save_state(out / STATE, state, config)
                saved = time.monotonic()
            if stopping and not last:
                say(f"stopped at step {step.step} of {config.steps}, saved in {out}")
                raise KeyboardInterrupt
    return clock.seconds()


def finite(state: gan.TrainingState) -> bool:
    """Whether every weight, batch-norm statistic and Adam moment is a finite number."""
    networks = [n for n in (state.generator, state.discriminator, state.rotation_head) if n is not None]
    tensors = [t for network in networks for t in network.state_dict().values()]
    for optimizer in (state.generator_optimizer, state.discriminator_optimizer):
        tensors += [t for slots in optimizer.state.values() for t in slots.values() if isinstance(t, torch.Tensor)]
    return all(bool(torch.isfinite(t).all()) for t in tensors)
