"""Views: whole pictures are block means, crops lie inside, mirrors mirror, and draws are the generator's alone."""

import pytest
import torch

import gan
from gan.updates import to_range
from gan.views import random_view


def images(side, n=50, seed=0):
    return torch.randint(0, 256, (n, side, side, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def block_means(images, times):
    n, side, _, channels = images.shape
    blocks = images.view(n, side // times, times, side // times, times, channels).double()
    return blocks.mean((2, 4))


@pytest.mark.parametrize("times", [2, 3, 4])
def test_whole_pictures_are_block_means_rounded_half_up(times):
    larger = images(16 * times)
    expected = (block_means(larger, times) + 0.5).floor().to(torch.uint8)
    assert torch.equal(gan.full_view(larger, 16), expected)


def test_whole_pictures_of_the_size_are_themselves():
    same = images(16)
    assert gan.full_view(same, 16) is same


@pytest.mark.parametrize("times", [2, 4])
def test_a_full_view_is_the_block_mean_before_rounding(times):
    larger = images(16 * times)
    view = random_view(to_range(larger), 16, 1.0, False, seeded())
    levels = (view.permute(0, 2, 3, 1).double() + 1) * 127.5
    assert float((levels - block_means(larger, times)).abs().max()) < 1e-3
    assert float((levels - gan.full_view(larger, 16)).abs().max()) <= 0.5 + 1e-3


def test_views_of_the_size_are_the_images_and_draw_nothing():
    real, generator = to_range(images(16)), seeded()
    before = generator.get_state()
    assert random_view(real, 16, 1.0, False, generator) is real
    assert torch.equal(generator.get_state(), before)


def test_half_of_the_views_are_mirrored():
    real = to_range(images(16, 400))
    view = random_view(real, 16, 1.0, True, seeded())
    same = (view - real).abs().amax((1, 2, 3)) < 1e-3
    turned = (view - real.flip(3)).abs().amax((1, 2, 3)) < 1e-3
    assert bool((same ^ turned).all())
    assert 150 < int(turned.sum()) < 250


@pytest.mark.parametrize("crop", [0.3, 0.75])
def test_crops_lie_inside_and_have_every_side_and_place(crop):
    """On an image whose red is x and whose green is y, a view shows where it was taken."""
    n, side = 2000, 64
    centres = (torch.arange(side) + 0.5) / side * 2 - 1
    place = torch.stack([centres.expand(side, -1), centres[:, None].expand(-1, side), torch.zeros(side, side)])
    view = random_view(place.expand(n, -1, -1, -1), 32, crop, False, seeded())
    x, y = view[:, 0, 16, :], view[:, 1, :, 16]
    sides = (x[:, 24] - x[:, 8]) / 16 * 32 / 2
    torch.testing.assert_close(sides, (y[:, 24] - y[:, 8]) / 16 * 32 / 2, atol=1e-3, rtol=0)  # squares
    assert crop - 1e-3 <= float(sides.min()) < crop + 0.02 and 0.98 < float(sides.max()) <= 1 + 1e-3
    assert float(sides.mean()) == pytest.approx((1 + crop) / 2, abs=0.02)
    for along in (x, y):
        middle = (along[:, 15] + along[:, 16]) / 2
        assert bool((middle.abs() <= 1 - sides + 1e-3).all())
        free = middle[sides < (1 + crop) / 2] / (1 - sides[sides < (1 + crop) / 2])
        assert float(free.min()) < -0.95 and float(free.max()) > 0.95 and abs(float(free.mean())) < 0.06


def test_views_are_one_generator_s_and_channels_last():
    real = to_range(images(24))
    first, second, other = (random_view(real, 16, 0.5, True, seeded(s)) for s in (1, 1, 2))
    assert torch.equal(first, second) and not torch.equal(first, other)
    assert first.is_contiguous(memory_format=torch.channels_last) and first.shape == (50, 3, 16, 16)


@pytest.mark.parametrize(
    "wrong",
    [images(15), images(16).float(), images(16)[:, :, :15], images(16)[0]],
    ids=["small", "float", "flat", "one"],
)
def test_other_images_are_refused(wrong):
    with pytest.raises(ValueError, match=r"images must be uint8 \[N, 16, 16, C\] or larger squares, got torch"):
        gan.full_view(wrong, 16)
