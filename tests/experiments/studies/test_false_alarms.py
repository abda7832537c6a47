"""Alarms between halves of one network's draws: many if whole draws are lucky and the test looks only at images."""

import numpy as np

from experiments.studies.false_alarms import alarms


def test_luck_of_whole_draws_misleads_a_test_over_images_alone() -> None:
    rng = np.random.default_rng(0)
    luck = rng.normal(0, 0.4, (40, 1))
    right = rng.normal(1, 1, 300) + luck + rng.normal(0, 0.3, (40, 300)) > 0
    found = alarms(right, overlap=0.5, pairs=300)
    assert list(found) == ["over images only", "over images and draws", "the gate"]
    assert found["over images only"] > 0.15 > 0.1 > found["over images and draws"] >= found["the gate"]
