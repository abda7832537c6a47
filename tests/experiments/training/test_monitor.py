"""When looks happen and what they measure; they notice a planted collapse and a memoriser, but no healthy run."""

import csv
import dataclasses

import numpy as np
import pytest
import torch

import gan
from experiments.run.context import Run
from experiments.training import loop
from experiments.training.images import TrainingSet
from experiments.training.monitor import Monitor, Schedule

ARCH = dataclasses.replace(gan.PRESETS["imagenet32"], width=2)
CONFIG = gan.TrainingConfig(images=8 * 40, decay_from=160, batch_size=8, seed=1)


def noise(n, seed=0):
    made = np.random.default_rng(seed).integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)
    return torch.from_numpy(made.repeat(4, axis=1).repeat(4, axis=2))


def train(out, monkeypatch, *, spoil=None, samples=None, held_out=None, looks=4):
    """A run with looks. `spoil(step, state)` returns the step to use; `samples(n)` replaces the generator's samples."""
    if samples is not None:
        monkeypatch.setattr(gan, "sample", lambda generator, z, *labels: samples(len(z)))
    out.mkdir(exist_ok=True)
    state, images, said = gan.new_state(ARCH, CONFIG), noise(80), []
    everything = images if held_out is None else torch.cat([images, held_out])
    rows, others = torch.arange(80), torch.arange(80, len(everything))
    data = TrainingSet(everything, None, rows, others, np.empty((0, 2), np.int64), {})
    run = Run(out, out, say=said.append)
    monitor = Monitor(out, state, CONFIG, data, run, looks=looks, young=10)
    steps = gan.train(state, images, CONFIG)
    if spoil is not None:
        steps = (spoil(step, state) for step in steps)
    loop.run_steps(steps, monitor, run, checkpoint_images=160)
    with open(out / "epochs.csv", newline="") as opened:
        return list(csv.DictReader(opened)), said


@pytest.mark.parametrize(
    ("per_epoch", "steps", "expected"),
    [
        (5, 100, list(range(5, 101, 5))),  # 20 epochs: one look each
        (5, 103, [*range(5, 101, 5), 103]),  # and at the end
        (50, 100, list(range(5, 101, 5))),  # 2 epochs: ten looks in each
        (1000, 40, list(range(2, 41, 2))),  # not one pass
        (1, 30, list(range(1, 31))),
        (7, 10, list(range(1, 11))),  # more looks wanted than there are minibatches
    ],
)
def test_looks_fall_at_every_epochs_end_and_in_short_runs_between(per_epoch, steps, expected):
    schedule = Schedule(per_epoch, steps, looks=20)
    assert [step for step in range(1, steps + 1) if schedule.due(step)] == expected


def test_a_healthy_run_is_not_warned_of(tmp_path, monkeypatch):
    rows, said = train(tmp_path, monkeypatch, samples=lambda n: noise(n, seed=5), looks=8)
    assert len(rows) == 8 and said == [] and {row["warning"] for row in rows} == {""}


def test_a_collapsed_generator_is_seen(tmp_path, monkeypatch):
    rows, said = train(tmp_path, monkeypatch, samples=lambda n: noise(1).repeat(n, 1, 1, 1), looks=4)
    assert [row["diversity"] for row in rows] == ["0"] * len(rows)
    assert len(said) == 1 and said[0].startswith("warning: samples differ from one another 0.00 times as much as")
    assert [bool(row["warning"]) for row in rows] == [i == 1 for i in range(len(rows))]


def test_a_discriminator_loss_of_zero_is_seen(tmp_path, monkeypatch):
    def won(step, state):
        loss = 0.0 if step.network == "discriminator" else 9.0
        return dataclasses.replace(step, loss=torch.tensor(loss + 1e-2 * (step.step % 4)))

    _, said = train(tmp_path, monkeypatch, spoil=won, samples=lambda n: noise(n, seed=5), looks=4)
    assert len(said) == 1 and said[0].startswith("warning: the discriminator is never wrong: its loss is 0.0")


def test_a_memoriser_is_nearer_to_training_than_to_held_out_images(tmp_path, monkeypatch):
    held_out = noise(80, seed=2)
    rows, _ = train(
        tmp_path, monkeypatch, samples=lambda n: noise(80).repeat(2, 1, 1, 1)[:n], held_out=held_out, looks=1
    )
    assert {row["nearest_training"] for row in rows} == {"0"} == {row["nearest_ratio"] for row in rows}
    assert all(float(row["nearest_held_out"]) > 10 for row in rows)
    fresh = noise(500, seed=3)
    rows, _ = train(tmp_path / "b", monkeypatch, samples=lambda n: fresh[:n], held_out=held_out, looks=1)
    assert all(0.9 < float(row["nearest_ratio"]) < 1.1 for row in rows)


def test_looking_changes_nothing_about_training(tmp_path, monkeypatch):
    train(tmp_path, monkeypatch)  # the generator's own samples
    state = gan.load_state(tmp_path / "state.safetensors", ARCH, CONFIG)
    alone = gan.new_state(ARCH, CONFIG)
    assert len(list(gan.train(alone, noise(80), CONFIG))) == 40
    for ours, theirs in ((state.generator, alone.generator), (state.discriminator, alone.discriminator)):
        assert all(
            torch.equal(a, b) for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True)
        )
    assert torch.equal(state.noise.get_state(), alone.noise.get_state())
