"""Backbones are validated when made; check_backbone finds what makes features unfit."""

import pytest
import torch
from torch import nn

from features import Backbone, check_backbone, feature_width, layer_shapes, max_grid, max_units


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
        ({"value_range": (1, -1)}, r"value_range must be .* low < high, got \(1, -1\)"),
        ({"value_range": (0, float("nan"))}, "value_range must be"),
    ],
)
def test_impossible_fields(fields, message):
    good = {"layers": ["1"], "image_shape": (3, 16, 16), "value_range": (0, 1)}
    with pytest.raises(ValueError, match=message):
        Backbone(network(), **{**good, **fields})


def test_a_sound_network_has_no_findings():
    assert check_backbone(backbone(network())) == []
    assert check_backbone(backbone(network(nn.BatchNorm2d(8)), layers=("2", "4"))) == []


class Noise(nn.Module):
    def forward(self, x):
        return x + torch.rand_like(x)


class CentredOverBatch(nn.Module):
    def forward(self, x):
        return x - x.mean(0, keepdim=True)


class Fixed(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, x):
        return x * 0 + self.value


@pytest.mark.parametrize(
    "fault, finding",
    [
        (Noise(), "different maps for the same images"),
        (CentredOverBatch(), "different maps for an image alone and in a batch"),
        (nn.BatchNorm2d(8, track_running_stats=False), "different maps for an image alone and in a batch"),
        (Fixed(float("inf")), "not finite"),
        (Fixed(1.0), "the same maps for different images"),
    ],
)
def test_planted_faults_are_found(fault, finding):
    findings = check_backbone(backbone(network(fault), layers=("1", "2", "4")))
    assert [line for line in findings if line.startswith("layer '1'")] == []
    assert finding in findings[0]
    assert findings[0].startswith("layer '2'")


def test_a_layer_used_twice_is_found():
    relu = nn.ReLU()
    model = nn.Sequential(nn.Conv2d(3, 4, 3), relu, nn.Conv2d(4, 4, 3), relu)
    assert check_backbone(backbone(model, layers=("1",))) == [
        "layer '1' runs 2 times in one pass; only its first output is used"
    ]


def test_a_network_without_its_head_still_passes():
    class Headless(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = network()

        def forward(self, x):
            self.body(x)
            raise RuntimeError("the head is missing")

    assert check_backbone(backbone(Headless(), layers=("body.1", "body.3"))) == []


def test_outputs_that_are_not_maps_need_to_maps():
    model = nn.Sequential(nn.Conv2d(3, 6, 4, 4), nn.Flatten(2))  # [N, 6, 16] tokens
    with pytest.raises(
        ValueError, match=r"layer '1' must give float maps .* got torch.float32 \[8, 6, 16\]; pass to_maps"
    ):
        check_backbone(backbone(model, layers=("1",)))
    converted = backbone(model, layers=("1",), to_maps=lambda tokens: tokens.unflatten(2, (4, 4)))
    assert layer_shapes(converted) == {"1": (6, 4, 4)}
    assert check_backbone(converted) == []
