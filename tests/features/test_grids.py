"""Every grid from the finest, to the last bit, for maps of any size."""

import pytest
import torch
import torch.nn.functional as F

from features import NestedGrids, max_grid


@pytest.mark.parametrize("h, w", [(1, 1), (2, 3), (4, 4), (5, 7), (8, 8), (8, 5), (10, 13), (16, 16), (32, 32)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_maxima_are_those_of_the_maps(h: int, w: int, layout: torch.memory_format) -> None:
    maps = torch.randn(3, 5, h, w, generator=torch.Generator().manual_seed(100 * h + w)).contiguous(
        memory_format=layout
    )
    pool = NestedGrids()
    pooled = pool(maps)
    for size in (1, 2, 4):
        assert torch.equal(pool.grid(pooled, (5, h, w), size=size, kind="max"), max_grid(size)(maps))
    finest = 8 if min(h, w) >= 8 else 4  # maps smaller than the grid are pooled as the paper does
    assert torch.equal(pool.grid(pooled, (5, h, w), size=8, kind="max"), max_grid(finest)(maps))
    means = F.adaptive_avg_pool2d(maps, 4).flatten(1)
    assert torch.equal(pool.grid(pooled, (5, h, w), size=4, kind="mean"), means)
    assert pooled.shape == (3, 5 * (finest**2 + 16))


@pytest.mark.parametrize(("size", "kind"), [(3, "max"), (16, "max"), (8, "mean"), (4, "median")])
def test_grids_that_are_not_there(size: int, kind: str) -> None:
    pool, maps = NestedGrids(), torch.zeros(1, 2, 16, 16)
    with pytest.raises(ValueError, match=f"no {kind} of a {size}x{size} grid"):
        pool.grid(pool(maps), (2, 16, 16), size=size, kind=kind)


def test_the_finest_is_a_multiple_of_the_papers() -> None:
    with pytest.raises(ValueError, match="finest must be a multiple of 4, got 6"):
        NestedGrids(6)
