"""Which runs get a warning, in which words, and how often."""

import math

import pytest

from experiments.training.collapse import CollapseDetector


def looks(**columns):
    """Rows of a healthy run, with columns replaced."""
    n = max(len(values) for values in columns.values())
    healthy = {"loss_generator": 1.2, "loss_generator_sd": 0.2, "loss_discriminator": 1.0, "diversity": 0.9}
    return [
        {"epoch": i + 1.0, "step": 1000.0 * (i + 1)} | healthy | {name: values[i] for name, values in columns.items()}
        for i in range(n)
    ]


def heard(rows):
    """Look (from 1) -> its warnings, if there are any."""
    detector = CollapseDetector()
    said = {i: detector.warnings(row) for i, row in enumerate(rows, start=1)}
    return {i: texts for i, texts in said.items() if texts}


def test_a_collapse_is_told_at_the_second_look_that_shows_it():
    found = heard(looks(diversity=[0.8, 0.9, 0.15, 0.12, 0.1, 0.1]))
    assert list(found) == [4]
    assert found[4] == [
        "samples differ from one another 0.12 times as much as training images do (epoch 4; 0.15 at epoch 3): the "
        "generator has collapsed or is collapsing; look at samples.png"
    ]


def test_a_young_network_is_not_judged():
    rows = looks(diversity=[0.09, 0.08, 0.1, 0.1], loss_discriminator=[0.0] * 4, loss_generator=[9.0] * 4)
    assert heard([row | {"step": 499.0} for row in rows]) == {}
    assert list(heard([row | {"step": 250.0 * i} for i, row in enumerate(rows, start=1)])) == [3]
    lost = looks(diversity=[0.5, 0.1, 0.1])  # its samples had differed already
    assert list(heard([row | {"step": 99.0} for row in lost])) == [3]


@pytest.mark.parametrize(
    "diversity",
    [
        [0.087, 0.392, 0.589, 0.486, 0.489, 0.595, 0.528],  # width 16 on CIFAR-10, five looks an epoch
        [0.05, 0.6, 0.8, 0.9],  # a first look at next to nothing
        [0.9, 0.2, 0.9, 0.2, 0.9],  # single looks
        [0.5, 0.55, 0.6, 0.4, 0.35],  # less, but not half of its best
        [math.nan] * 4,
    ],
)
def test_a_healthy_run_hears_nothing(diversity):
    assert heard(looks(diversity=diversity)) == {}


def test_half_of_its_own_best_is_a_collapse_too():
    assert list(heard(looks(diversity=[0.9, 0.92, 0.4, 0.38]))) == [4]


def test_a_warning_comes_again_only_after_a_recovery():
    flickering = [0.9, 0.1, 0.1, 0.46, 0.1, 0.1, 0.9, 0.1, 0.1]  # 0.46 lies between the thresholds
    assert list(heard(looks(diversity=flickering))) == [3, 9]


def test_a_discriminator_that_is_never_wrong():
    found = heard(looks(loss_discriminator=[1.0, 0.01, 0.002, 0.0], loss_generator=[1.0, 6.0, 8.5, 9.0]))
    assert list(found) == [3]
    assert found[3][0].startswith(
        "the discriminator is never wrong: its loss is 0.002 and the generator's 8.50 (epoch 3; 6.00 at epoch 2): "
    )
    assert heard(looks(loss_discriminator=[0.3] * 4, loss_generator=[4.0] * 4)) == {}  # strong, not perfect


def test_a_generator_whose_loss_stands_still():
    found = heard(looks(loss_generator=[0.7] * 3, loss_generator_sd=[1e-6] * 3))
    assert list(found) == [2] and found[2][0].startswith("the generator's loss stays at 0.7, with a spread of")
    assert heard(looks(loss_generator_sd=[math.nan] * 3)) == {}


def test_kinds_are_told_apart():
    rows = looks(diversity=[0.9, 0.1, 0.1], loss_discriminator=[1, 0, 0], loss_generator=[1, 9, 9])
    assert {i: len(texts) for i, texts in heard(rows).items()} == {3: 2}
