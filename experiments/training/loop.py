"""The training loop around `gan.train`: looks, checkpoints and signals. It only saves finite numbers."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable

import torch

import gan
from experiments.run.context import Run
from experiments.run.signals import deferred
from experiments.training.files import STATE
from experiments.training.monitor import Monitor
from experiments.training.resume import notes_of

CHECKPOINT_IMAGES = 25_600  # images that a kill may cost
CHECKPOINT_SECONDS = 300.0  # seconds of training that a kill may cost if there are few images a second
LEAST_SECONDS = 60.0  # between checkpoints if there are many images a second: at full width one has 100 MB


def run_steps(
    steps: Iterable[gan.Step],
    monitor: Monitor,
    run: Run,
    *,
    checkpoint_images: int | None = None,
    track: Callable[..., None] | None = None,
) -> float:
    """Take all `steps`, which train `monitor.state`; return the seconds of the run, earlier sessions included.

    A checkpoint is saved every `checkpoint_images` images; if that is None, every `CHECKPOINT_IMAGES` images, unless
    the last one is less than `LEAST_SECONDS` old. It is also saved after `CHECKPOINT_SECONDS`, at the end, and when
    SIGINT or SIGTERM arrives. After that last one KeyboardInterrupt is raised; on a second signal it is raised at once.
    track: called with each look of `monitor.history()`, after a checkpoint of the same step.
    Raises FloatingPointError, with nothing saved, if a loss, a weight, a statistic or an optimiser's slot is not
    finite.
    """
    state, config, out = monitor.state, monitor.config, monitor.out
    images, least = (CHECKPOINT_IMAGES, LEAST_SECONDS) if checkpoint_images is None else (checkpoint_images, 0.0)
    every = max(2, images // config.batch_size)
    saved = time.monotonic()
    began = saved - monitor.notes.seconds  # when the run would have begun if it were one session
    pending: list[gan.Step] = []
    with deferred() as signals:
        for step in steps:
            pending.append(step)
            last = step.step == config.steps
            look = monitor.schedule.due(step.step)
            stopping = bool(signals)  # read once: a signal from here on is handled at the next step
            since = time.monotonic() - saved
            save = last or stopping or (step.step % every == 0 and since >= least) or since > CHECKPOINT_SECONDS
            if not (look or save):
                continue
            if not (finite(state) and monitor.losses.add(pending)):
                left = (
                    f"the checkpoint before it is kept in {out}"
                    if (out / STATE).exists()
                    else "no checkpoint was saved"
                )
                raise FloatingPointError(f"a loss or a weight is not finite at step {step.step}; {left}")
            pending = []
            # the state is saved last: after a kill, the next session drops losses and looks of later steps
            if look:
                monitor.look(time.monotonic() - began)
            if save:
                state.notes = notes_of(out, time.monotonic() - began, monitor.data.summary)
                gan.save_state(out / STATE, state, config)
                saved = time.monotonic()
            if look and track is not None:
                track(*monitor.history()[-1])
            if stopping and not last:
                run.say(f"stopped at step {step.step} of {config.steps}, saved in {out}")
                raise KeyboardInterrupt
    return time.monotonic() - began


def finite(state: gan.TrainingState) -> bool:
    """Return whether every weight, batch-norm statistic and Adam moment is a finite number. It waits for a GPU once."""
    tensors = [t for network in state.networks.values() for t in network.state_dict().values()]
    tensors += [t for adam in state.optimizers.values() for slots in adam.state.values() for t in slots.values()]
    found = defaultdict(list)  # by device: Adam may count its steps on the CPU
    for tensor in tensors:
        found[tensor.device].append(tensor.isfinite().all())
    return all(bool(torch.stack(flags).all()) for flags in found.values())
