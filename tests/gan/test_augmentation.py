"""Turned and transformed minibatches: closed forms, ranges, determinism, and gradients to the generator."""

import pytest
import torch

from gan.augmentation import POLICIES, diff_augment, recolor, rotate

IMAGES = torch.rand(64, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_every_image_is_turned_by_its_own_number_of_quarters():
    images = IMAGES.contiguous(memory_format=torch.channels_last)
    turns = torch.arange(64) % 4
    turned = rotate(images, turns)
    for image, k, found in zip(images, turns.tolist(), turned, strict=True):
        assert torch.equal(found, torch.rot90(image, k, (1, 2)))
    assert turned.is_contiguous(memory_format=torch.channels_last)
    for _ in range(3):
        turned = rotate(turned, turns)
    assert torch.equal(turned, images)  # four times the same turn is none


def test_no_policy_changes_nothing():
    assert diff_augment(IMAGES, (), seeded()) is IMAGES


@pytest.mark.parametrize("policy", POLICIES)
def test_images_are_changed_one_by_one_and_alike_from_the_same_seed(policy):
    once, again, other = (diff_augment(IMAGES, (policy,), seeded(s)) for s in (1, 1, 2))
    assert torch.equal(once, again) and not torch.equal(once, other)
    assert once.shape == IMAGES.shape
    same = IMAGES[:1].repeat(64, 1, 1, 1)
    assert len({tuple(image.flatten().tolist()) for image in diff_augment(same, (policy,), seeded())}) > 10


def test_translation_moves_by_an_eighth_at_most_and_fills_with_zeros():
    marked = torch.zeros(400, 1, 16, 16)
    marked[:, :, 8, 8] = 1
    moved = diff_augment(marked, ("translation",), seeded())
    places = moved.flatten(1).argmax(1)
    rows, columns = places // 16 - 8, places % 16 - 8
    assert torch.equal(moved.sum((1, 2, 3)), torch.ones(400))
    assert set(rows.tolist()) == set(columns.tolist()) == {-2, -1, 0, 1, 2}
    assert diff_augment(torch.ones(400, 1, 16, 16), ("translation",), seeded()).mean((1, 2, 3)).min() == (14 / 16) ** 2


def test_cutout_blanks_half_a_side_and_keeps_the_rest():
    cut = diff_augment(torch.ones(400, 3, 16, 16), ("cutout",), seeded())
    assert set(cut.unique().tolist()) == {0.0, 1.0}
    kept = cut.mean((1, 2, 3))
    assert kept.min() == 0.75  # a whole square inside
    assert kept.max() <= 1 - (4 / 16) ** 2  # its middle is never outside


def test_color_keeps_the_picture():
    changed = diff_augment(IMAGES, ("color",), seeded())
    gray, before = changed.mean(1).flatten(1), IMAGES.mean(1).flatten(1)
    for a, b in zip(gray, before, strict=True):  # brightness and contrast are affine on the gray picture
        assert torch.corrcoef(torch.stack([a, b]))[0, 1] > 0.999
    assert (changed.mean((1, 2, 3)) - IMAGES.mean((1, 2, 3))).abs().max() <= 0.5 + 1e-6


@pytest.mark.parametrize("policy", POLICIES)
def test_gradients_reach_the_images(policy):
    images = IMAGES.clone().requires_grad_()
    diff_augment(images, (policy,), seeded()).square().sum().backward()
    assert images.grad.isfinite().all() and (images.grad != 0).float().mean() > 0.5


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_turning_by_an_index_of_pixels_equals_turning_by_masks(layout):
    images = torch.randn(40, 3, 8, 8, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=layout)
    turns = torch.randint(4, (40,), generator=torch.Generator().manual_seed(1))
    masked = torch.empty_like(images)
    for k in range(4):
        masked[turns == k] = torch.rot90(images[turns == k], k, (2, 3))
    assert torch.equal(rotate(images, turns), masked)


def test_recoloring_stays_in_range_and_grays_its_share():
    images = torch.rand(500, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    seen = recolor(images, 0.4, 0.2, torch.Generator().manual_seed(1))
    assert float(seen.min()) >= -1 and float(seen.max()) <= 1
    gray = (seen - seen.mean(1, keepdim=True)).abs().amax((1, 2, 3)) < 1e-6
    assert 60 < int(gray.sum()) < 140
    torch.testing.assert_close(recolor(images, 0.0, 0.0, torch.Generator()), images)  # factors of 1
    assert torch.equal(seen, recolor(images, 0.4, 0.2, torch.Generator().manual_seed(1)))


def test_recoloring_multiplies_brightness_by_what_was_drawn():
    flat = torch.full((300, 3, 2, 2), -0.5)  # of one gray, which contrast and saturation do not change
    factors = (recolor(flat, 0.4, 0.0, torch.Generator().manual_seed(2))[:, 0, 0, 0] + 1) / 0.5
    assert 0.6 <= float(factors.min()) < 0.62 and 1.38 < float(factors.max()) <= 1.4
