"""When looks happen and what they measure; they notice a planted collapse and a memoriser, but no healthy run."""

import csv
import dataclasses

import numpy as np
import pytest
import torch

import gan
from experiments.run.context import Run
from experiments.training import loop, monitor
from experiments.training.images import TrainingSet
from experiments.training.monitor import Monitor, Schedule

ARCH = dataclasses.replace(gan.PRESETS["imagenet32"], width=2)
CONFIG = gan.TrainingConfig(images=8 * 40, decay_from=160, batch_size=8, seed=1)


def noise(n, seed=0):
    made = np.random.default_rng(seed).integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)
    return torch.from_numpy(made.repeat(4, axis=1).repeat(4, axis=2))


def train(out, monkeypatch, *, spoil=None, samples=None, held_out=None, looks=4, config=CONFIG, larger=1):
    """A run with looks. `spoil(step, state)` returns the step to use; `samples(n)` replaces the generator's samples.

    `larger`: times by which the set's images are larger than the network's.
    """
    if samples is not None:
        monkeypatch.setattr(gan, "sample", lambda generator, z, *labels: samples(len(z)))
    out.mkdir(exist_ok=True)
    state, images, said = gan.new_state(ARCH, config), noise(80), []
    everything = images if held_out is None else torch.cat([images, held_out])
    everything = everything.repeat_interleave(larger, 1).repeat_interleave(larger, 2)
    rows, others = torch.arange(80), torch.arange(80, len(everything))
    data = TrainingSet(everything, None, rows, others, np.empty((0, 2), np.int64), {})
    run = Run(out, out, say=said.append)
    watching = Monitor(out, state, config, data, run, looks=looks, young=10)
    steps = gan.train(state, images, config)
    if spoil is not None:
        steps = (spoil(step, state) for step in steps)
    loop.run_steps(steps, watching, run, checkpoint_images=160)
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
        (2, 80, list(range(2, 81, 2))),  # 40 epochs: one look each
        (2, 82, [2, *range(4, 9, 4), 10, *range(12, 81, 4), 82]),  # 41: after every second, the first and the fifth
        (2, 83, [2, *range(4, 9, 4), 10, *range(12, 81, 4), 83]),
        (3, 3 * 1000, [3, 15, *range(75, 3001, 75)]),  # 1,000 epochs: every 25th
    ],
)
def test_looks_fall_at_epochs_ends_and_in_short_runs_between(per_epoch, steps, expected):
    schedule = Schedule(per_epoch, steps, looks=20)
    assert [step for step in range(1, steps + 1) if schedule.due(step)] == expected


@pytest.mark.parametrize("per_epoch", [1, 8, 781])
def test_no_run_has_many_more_looks_than_another(per_epoch):
    for epochs in [*range(1, 200, 7), 1_000, 6_790]:
        schedule = Schedule(per_epoch, per_epoch * epochs, looks=20)
        ends = range(1, schedule.steps + 1) if epochs < 20 else range(per_epoch, schedule.steps + 1, per_epoch)
        looks = sum(schedule.due(step) for step in ends)
        assert min(20, schedule.steps) <= looks <= 43, epochs
        assert all(schedule.due(per_epoch * early) for early in (1, 5) if early <= epochs)  # generators are kept


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


def test_samples_are_compared_with_larger_images_at_the_networks_size(tmp_path, monkeypatch):
    kept = {"samples": lambda n: noise(80).repeat(2, 1, 1, 1)[:n], "held_out": noise(80, seed=2), "looks": 1}
    (of_small, _), (of_large, _) = (
        train(tmp_path / str(larger), monkeypatch, larger=larger, **kept) for larger in (1, 2)
    )
    for columns in ("diversity", "nearest_training", "nearest_held_out", "nearest_ratio"):
        assert [row[columns] for row in of_large] == [row[columns] for row in of_small]
    assert {row["nearest_training"] for row in of_large} == {"0"}
    neighbours = [(tmp_path / larger / "neighbours.png").read_bytes() for larger in "12"]
    assert neighbours[0] == neighbours[1]


def test_without_the_gan_nobody_is_warned_of_its_generator(tmp_path, monkeypatch):
    """The generator stays as it was initialised; the columns are those of every run."""
    with_gan, said = train(tmp_path / "gan", monkeypatch, samples=lambda n: noise(1).repeat(n, 1, 1, 1))
    assert said
    alone = dataclasses.replace(CONFIG, adversarial=0.0, rotation=1.0)
    rows, said = train(tmp_path / "alone", monkeypatch, samples=lambda n: noise(1).repeat(n, 1, 1, 1), config=alone)
    assert said == [] and {row["warning"] for row in rows} == {""}
    assert rows[0].keys() == with_gan[0].keys() and len(rows) == len(with_gan)
    assert {row["loss_generator"] for row in rows} == {"nan"} and float(rows[-1]["loss_discriminator"]) > 0
    fresh = gan.new_state(ARCH, alone).generator.state_dict()
    trained = gan.load(tmp_path / "alone" / "generators" / "epoch-1.safetensors").state_dict()
    weights = [name for name in fresh if "running" not in name and "num_batches" not in name]
    assert all(torch.allclose(trained[name], fresh[name], atol=1e-3) for name in weights)


def test_the_slow_pictures_take_three_percent_of_the_time(tmp_path, monkeypatch):
    """They take 4 s of a clock on which a step takes 10 s, and a look comes every 50 s: at most one in 133 s."""
    clock, drawn, plot = [0.0], [], monitor.figures.loss_plot

    def advance(step, state):
        clock[0] += 10.0
        return step

    def slow(curves):
        clock[0] += 4.0
        drawn.append(clock[0])
        return plot(curves)

    monkeypatch.setattr(monitor.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(monitor.figures, "loss_plot", slow)
    monkeypatch.setattr(monitor, "SAMPLES", 64)
    train(tmp_path, monkeypatch, spoil=advance, looks=8)
    assert drawn == [54, 208, 362, 416]  # at looks 1, 4 and 7, and at the end


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
