"""What a GPU does otherwise: batches joined into one forward pass, and rows put in place by a thread."""

import time

import numpy as np
import pytest
import torch
from torch import nn

from features import Backbone, batch_statistics
from features.blocks import carried
from features.extract import _to_host, joined_size


def a_backbone(side=32, **norm):
    return Backbone(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, **norm)), ("1",), (3, side, side), (-1, 1))


@pytest.mark.parametrize(
    ("side", "batch_size", "chunk_rows", "joined"),
    [
        *((32, 128, None, 512), (32, 100, None, 500), (32, 512, None, 512), (32, 1000, None, 1000)),
        *((64, 64, None, 128), (224, 16, None, 16), (32, 128, 1024, 512), (32, 128, 640, 128), (32, 128, 256, 256)),
    ],
)
def test_small_images_are_joined_to_a_multiple_of_the_batch_that_divides_the_chunk(
    side, batch_size, chunk_rows, joined
):
    assert joined_size(a_backbone(side), batch_size, chunk_rows) == joined


def test_batches_are_not_joined_where_batch_norm_uses_their_statistics():
    assert joined_size(a_backbone(track_running_stats=False), 128, None) == 128
    backbone = a_backbone()
    with batch_statistics(backbone.model):
        assert joined_size(backbone, 128, None) == 128
    assert joined_size(backbone, 128, None) == 512


def blocks_of(rows):
    buffer = torch.empty(4, rows.shape[1])
    for start in range(0, len(rows), 4):
        part = rows[start : start + 4]
        buffer[: len(part)] = part
        yield start, buffer[: len(part)]


@pytest.mark.parametrize("known", [True, False])
def test_a_thread_puts_the_same_rows(known):
    rows = torch.randn(30, 6, generator=torch.Generator().manual_seed(0))
    out = np.empty(rows.shape, np.float32) if known else None
    found = _to_host(carried(blocks_of(rows), torch.float32, None), out, {"a": 6}, beside=True)
    np.testing.assert_array_equal(found, rows.numpy())


def test_the_thread_is_waited_for_and_its_errors_are_raised(monkeypatch):
    rows = torch.zeros(12, 6)

    def slow(self):
        time.sleep(0.01)
        raise OSError("no room")

    monkeypatch.setattr(torch.Tensor, "clone", slow)
    with pytest.raises(OSError, match="no room"):
        _to_host(carried(blocks_of(rows), torch.float32, None), None, {"a": 6}, beside=True)
