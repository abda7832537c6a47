"""max_grid against a brute-force oracle, for every map size that occurs and some that should not."""

import math

import pytest
import torch

from features import max_grid


def brute_force(maps, size):
    n, channels, h, w = maps.shape
    grid = torch.empty(n, channels, size, size)
    for i in range(size):
        for j in range(size):
            rows = slice(i * h // size, math.ceil((i + 1) * h / size))
            columns = slice(j * w // size, math.ceil((j + 1) * w / size))
            grid[:, :, i, j] = maps[:, :, rows, columns].amax((2, 3))
    return grid.reshape(n, -1)


@pytest.mark.parametrize("h, w", [(1, 1), (2, 2), (3, 3), (4, 4), (5, 7), (8, 8), (8, 4), (16, 2), (9, 16), (32, 32)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_max_grid_equals_brute_force(h, w, layout):
    maps = torch.randn(3, 5, h, w, generator=torch.Generator().manual_seed(h * 100 + w))
    pooled = max_grid(4)(maps.contiguous(memory_format=layout))
    assert torch.equal(pooled, brute_force(maps, 4))


def test_features_are_channel_major():
    maps = torch.arange(2 * 16.0).reshape(1, 2, 4, 4)
    assert torch.equal(max_grid(4)(maps), torch.arange(32.0)[None])


def test_other_grid_sizes():
    maps = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(max_grid(1)(maps), maps.amax((2, 3)))
    assert max_grid(3)(maps).shape == (2, 27)


def test_nan_is_not_hidden_by_a_maximum():
    maps = torch.zeros(1, 1, 8, 8)
    maps[0, 0, 0, 0] = torch.nan
    assert max_grid(4)(maps).isnan().sum() == 1


def test_size_must_be_positive():
    with pytest.raises(ValueError, match="grid size must be at least 1, got 0"):
        max_grid(0)
