"""What goes through three places in turn: the same blocks, each handed on while the next one is computed."""

import numpy as np
import pytest
import torch

from features.blocks import carried, host_blocks

DTYPES = [torch.float32, torch.float16]


def computed(blocks, events=None):
    """The blocks as a network gives them: all in one buffer, which the next one overwrites."""
    buffer = torch.empty(blocks[0].shape) if blocks else torch.empty(0)
    for number, block in enumerate(blocks):
        buffer[: len(block)] = block
        if events is not None:
            events.append(("computed", number))
        yield 10 * number, buffer[: len(block)]


def some(count, rows=4):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(rows - (i == count - 1), 6, generator=generator) for i in range(count)]  # the last is smaller


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [0, 1, 2, 3, 7])
def test_blocks_come_whole_in_order_and_rounded(count, dtype):
    blocks = some(count)
    for bring in (lambda b: carried(b, dtype, None), lambda b: host_blocks(b, dtype, torch.device("cpu"))):
        found = [(start, block.clone(), finite) for start, block, finite in bring(computed(blocks))]
        assert [start for start, *_ in found] == [10 * i for i in range(count)]
        for (_, block, finite), expected in zip(found, blocks, strict=True):
            assert block.dtype == dtype
            assert finite
            assert torch.equal(block, expected.to(dtype))


def test_a_block_is_handed_on_once_the_next_is_under_way_and_not_overwritten():
    events, blocks = [], some(4)
    for start, block, _ in carried(computed(blocks, events), torch.float32, None):
        events.append(("handed on", start // 10))
        assert torch.equal(block, blocks[start // 10])
    names = [f"{what} {number}" for what, number in events]
    assert names == [
        *("computed 0", "computed 1", "handed on 0", "computed 2", "handed on 1"),
        *("computed 3", "handed on 2", "handed on 3"),
    ]


def test_a_block_stays_valid_while_the_next_one_is_taken():
    blocks, before = some(7), None
    for number, (_, block, _) in enumerate(carried(computed(blocks), torch.float32, None)):
        assert before is None or torch.equal(before, blocks[number - 1])
        before = block


def test_host_memory_is_that_of_three_blocks():
    addresses = {block.data_ptr() for _, block, _ in carried(computed(some(7)), torch.float32, None)}
    assert len(addresses) == 3


@pytest.mark.parametrize(("value", "dtype"), [(np.nan, torch.float32), (np.inf, torch.float16), (7e4, torch.float16)])
def test_blocks_that_may_not_be_finite_are_marked(value, dtype):
    blocks = some(5)
    blocks[2][3, 1] = value
    for found in (carried(computed(blocks), dtype, None), host_blocks(computed(blocks), dtype, torch.device("cpu"))):
        assert [finite for *_, finite in found] == [True, True, False, True, True]


def test_on_the_cpu_float32_is_not_copied():
    block = torch.ones(2, 3)
    ((_, same, _),) = host_blocks([(0, block)], torch.float32, torch.device("cpu"))
    assert same.data_ptr() == block.data_ptr()
