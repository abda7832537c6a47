"""Backbones are validated when made."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import relu

from features import Backbone, BackboneError, feature_width, layer_shapes, max_grid, max_units


def network(*between):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.LeakyReLU(0.2),
        *between,
        nn.Conv2d(8, 12, 3, 2, 1),
        nn.LeakyReLU(0.2),
    )


def backbone(model, layers=("1", "3"), **options):
    return Backbone(model, layers, (3, 16, 16), (-1, 1), **options)


def test_shapes_width_and_units():
    b = backbone(network())
    assert layer_shapes(b) == {"1": (8, 16, 16), "3": (12, 8, 8)}
    assert feature_width(b) == (8 + 12) * 16
    assert feature_width(b, pool=max_grid(2)) == (8 + 12) * 4
    assert max_units(b) == 12
    assert max_units(backbone(network(), layers=("1",))) == 8


def test_fields_become_tuples():
    b = Backbone(network(), ["1"], [3, 16, 16], [0, 1])
    assert (b.layers, b.image_shape, b.value_range) == (("1",), (3, 16, 16), (0, 1))


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"layers": ["conv1"]}, "no layer 'conv1' in this network; it has: 0, 1, 2, 3"),
        ({"image_shape": (3, 16)}, r"image_shape must be three positive sizes \(C, H, W\), got \(3, 16\)"),
        ({"value_range": (1, -1)}, r"value_range must be .* low < high, numbers or 3 of each, got \(1, -1\)"),
        ({"value_range": (0, float("nan"))}, "value_range must be"),
        ({"value_range": ((0, 0), (1, 1))}, "numbers or 3 of each"),
        ({"value_range": ((0, 0, 0), (1, 1, 0))}, "low < high"),
        ({"value_range": 1}, "value_range must be"),
    ],
)
def test_impossible_fields(fields, message):
    good = {"layers": ["1"], "image_shape": (3, 16, 16), "value_range": (0, 1)}
    with pytest.raises(ValueError, match=message):
        Backbone(network(), **{**good, **fields})


def test_a_range_for_each_channel_is_that_of_mean_and_sd():
    mean, sd = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    b = Backbone(network(), ["1"], (3, 16, 16), [list(-mean / sd), (1 - mean) / sd])
    assert b.value_range == (tuple(-mean / sd), tuple((1 - mean) / sd))
    images = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    expected = ((images / 255 - mean) / sd).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(b.prepare(images).numpy(), expected, atol=1e-6)
    assert b.prepare(images).is_contiguous(memory_format=torch.channels_last)
    same = Backbone(network(), ["1"], (3, 16, 16), ((-1, -1, -1), (1, 1, 1)))
    torch.testing.assert_close(same.prepare(images), backbone(network()).prepare(images))


def test_everything_wrong_is_told_at_once_and_the_backbone_kept():
    with pytest.raises(BackboneError, match=r"must be a torch\.nn\.Module, got function; image_shape must be") as told:
        Backbone(relu, ["1"], (3, 0, 16), (0, 1))
    assert told.value.backbone.model is relu


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 1, 1)])
def test_a_network_that_cannot_run_is_told_with_the_shape(shape):
    with pytest.raises(ValueError, match=rf"cannot run on one image of image_shape \({shape[0]}, .*: RuntimeError: "):
        layer_shapes(Backbone(nn.Sequential(nn.Conv2d(3, 8, 3)), ["0"], shape, (0, 1)))


def test_outputs_that_are_not_maps_need_to_maps():
    model = nn.Sequential(nn.Conv2d(3, 6, 4, 4), nn.Flatten(2))  # [N, 6, 16] tokens
    with pytest.raises(
        ValueError, match=r"layer '1' must give float maps .* got torch.float32 \[1, 6, 16\]; pass to_maps"
    ):
        layer_shapes(backbone(model, layers=("1",)))
    converted = backbone(model, layers=("1",), to_maps=lambda tokens: tokens.unflatten(2, (4, 4)))
    assert layer_shapes(converted) == {"1": (6, 4, 4)}
