"""Planted copies and a planted collapse are seen; held-out images, blurred ones too, are not accused."""

import numpy as np
import pytest
import torch

import evaluation


def scenes(n, seed):
    """uint8 [n, 8, 8, 3]: smooth random pictures, so that some are nearer to one another than others."""
    coarse = torch.rand(n, 3, 3, 3, generator=torch.Generator().manual_seed(seed))
    fine = torch.nn.functional.interpolate(coarse, size=(8, 8), mode="bilinear")
    return fine.mul(255).to(torch.uint8).permute(0, 2, 3, 1)


TRAINING = scenes(400, 0)


def test_nearest_others_against_all_pairs():
    points = torch.cat([scenes(40, 1), scenes(40, 1)[:3], scenes(40, 1)[:3]])  # three pictures three times
    rows = np.array([0, 2, 7, 41, 45])
    distances, index = evaluation.nearest_others(points, rows, 2)
    table = torch.cdist(points.flatten(1).double(), points.flatten(1).double()).numpy()
    np.fill_diagonal(table, np.inf)
    np.testing.assert_allclose(distances, np.sort(table[rows], axis=1)[:, :2], rtol=1e-6, atol=1e-4)
    assert (index != rows[:, None]).all() and np.isfinite(table[rows[:, None], index]).all()


def test_held_out_images_are_honest():
    near = evaluation.nearness(scenes(200, 9), TRAINING)
    assert not near.memorised and (near.n, near.references) == (200, 200)
    assert near.below_5_percent < 15 and near.median_ratio == pytest.approx(1, abs=0.1)
    assert near.diversity == pytest.approx(1, abs=0.1) and near.spacing == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("share", [1.0, 0.2])
def test_copies_of_training_images_are_caught(share):
    samples, copied = scenes(200, 9), int(200 * share)
    noise = torch.randint(-2, 3, samples[:copied].shape, generator=torch.Generator().manual_seed(2))
    samples[:copied] = (TRAINING[100 : 100 + copied].int() + noise).clamp(0, 255).to(torch.uint8)
    near = evaluation.nearness(samples, TRAINING)
    assert near.memorised and near.copies == pytest.approx(copied, abs=2) and near.diversity > 0.8
    assert near.below_1_percent >= 99 * share
    assert (near.nearest[:copied] == np.arange(100, 100 + copied)).all()


@pytest.mark.parametrize(("copied", "told"), [(5, False), (6, True)])
def test_few_copies_are_told_by_fishers_exact_test(copied, told):
    samples = scenes(200, 9)
    samples[:copied] = TRAINING[:copied]
    near = evaluation.nearness(samples, TRAINING)  # of 200 against 0 of 200: p is 0.030 for 5, 0.015 for 6
    assert (near.copies, near.reference_copies, near.memorised) == (copied, 0, told)


def test_shifted_copies_are_not_counted_but_lie_near():
    shifted = TRAINING[:200].roll(1, dims=2)
    near = evaluation.nearness(shifted, TRAINING)
    assert near.copies < 10 and near.below_1_percent > 5


def test_blur_is_nearer_to_training_images_but_no_copy():
    blurred = scenes(200, 9).float().mul(0.5).add(64).to(torch.uint8)  # half the contrast
    near = evaluation.nearness(blurred, TRAINING)
    assert near.below_5_percent > 50 and near.median_ratio < 0.9
    assert not near.memorised


@pytest.mark.parametrize("modes", [1, 5])
def test_few_modes_are_a_collapse(modes):
    near = evaluation.nearness(scenes(modes, 9).repeat(40, 1, 1, 1), TRAINING)
    assert near.spacing == 0 and (near.diversity == 0) == (modes == 1) and not near.memorised


def test_pairs_within_the_training_set_are_allowed_for():
    training = torch.cat([TRAINING[:100], TRAINING[:100]])
    near = evaluation.nearness(scenes(100, 9), training)
    assert (near.copies, near.reference_copies) == (0, 100) and not near.memorised
    again = evaluation.nearness(TRAINING[:100], training)  # what cannot be told: every image is a copy of another
    assert (again.copies, again.reference_copies) == (100, 100) and not again.memorised


def test_too_few_points_are_refused():
    with pytest.raises(ValueError, match="three samples and three training images, got 2 and 400"):
        evaluation.nearness(TRAINING[:2], TRAINING)
