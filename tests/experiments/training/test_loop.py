"""When checkpoints are saved, by a clock of the test's own, and how often the loop waits for the device."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import gan
from experiments.run.context import Run
from experiments.training import loop
from tests.gan.small import ARCH

BATCH = 128


def saved(monkeypatch: pytest.MonkeyPatch, out: Path, *, rate: float, steps: int, checkpoint_images=None) -> list[int]:
    """Steps after which a run that shows `rate` images a second saves a checkpoint; it has no looks."""
    state = SimpleNamespace(step=0)

    def train():
        for step in range(1, steps + 1):
            state.step = step
            yield gan.Step(step, step * BATCH, "generator", torch.tensor(0.0), 1.0)

    found: list[int] = []
    monkeypatch.setattr(loop.time, "monotonic", lambda: state.step * BATCH / rate)
    monkeypatch.setattr(loop, "finite", lambda state: True)
    monkeypatch.setattr(gan, "save_state", lambda file, state, config: found.append(state.step))
    monitor = SimpleNamespace(
        state=state,
        config=SimpleNamespace(batch_size=BATCH, steps=steps),
        out=out,
        schedule=SimpleNamespace(due=lambda step: False),
        losses=SimpleNamespace(add=lambda steps: True),
        notes=SimpleNamespace(seconds=0.0),
        data=SimpleNamespace(summary={}),
    )
    loop.run_steps(train(), monitor, Run(out, out), checkpoint_images=checkpoint_images)  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize(
    ("rate", "checkpoint_images", "expected"),
    [
        (256, None, [200, 400, 600, 800, 1000]),  # 100 s each
        (1280, None, [600, 1000]),  # 25,600 images take 20 s: a minute has three times as many
        (48_000, None, [1000]),  # the whole run takes 3 s
        (48_000, 12_800, [100, 200, 300, 400, 500, 600, 700, 800, 900, 1000]),  # as asked for
        (64, None, [151, 200, 351, 400, 551, 600, 751, 800, 951, 1000]),  # and five minutes after the last one
    ],
)
def test_when_a_checkpoint_is_saved(monkeypatch, tmp_path, rate, checkpoint_images, expected):
    assert saved(monkeypatch, tmp_path, rate=rate, steps=1000, checkpoint_images=checkpoint_images) == expected


def test_all_numbers_are_looked_at_with_one_wait():
    config = gan.TrainingConfig(images=32, decay_from=16, batch_size=8, rotation=1.0)
    state = gan.new_state(ARCH, config)
    images = torch.zeros(8, ARCH.size, ARCH.size, ARCH.channels, dtype=torch.uint8)
    for _ in gan.train(state, images, config):
        pass
    with torch.profiler.profile() as profile:
        assert loop.finite(state)
    assert sum(event.name == "aten::_local_scalar_dense" for event in profile.events()) == 1
    head = state.rotation_head
    assert head is not None
    for spoiled in (head.bias.data, state.generator_optimizer.state[next(state.generator.parameters())]["exp_avg"]):
        kept = spoiled.clone()
        spoiled.view(-1)[-1] = torch.nan
        assert not loop.finite(state)
        spoiled.copy_(kept)
    assert loop.finite(state)
