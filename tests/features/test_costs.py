"""Costs against counts made by hand."""

import pytest
import torch
from torch import nn

from features import Backbone, costs, max_grid, measure_costs


def backbone(layers):
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 8, 2, 2, groups=2), nn.Flatten())
    model.append(nn.Linear(8 * 16, 10))
    return Backbone(model, layers, (3, 8, 8), (-1, 1))


def test_counts_are_those_of_the_layers_used():
    first, second = 8 * 8 * 4 * 3 * 9, 4 * 4 * 8 * 2 * 4  # positions x channels out x channels in a group x kernel
    found = measure_costs(backbone(["1", "2"]), repeats=3)
    assert found.multiply_adds == first + second and found.features == 16 * (4 + 8)
    assert found.parameters == (4 * 27 + 4) + (8 * 8 + 8) + (128 * 10 + 10)
    assert found.batch == 128 and len(found.seconds) == 3 and min(found.seconds) > 0
    one = measure_costs(backbone(["1"]), pool=max_grid(1), repeats=1)
    assert (one.multiply_adds, one.features, one.parameters) == (first, 4, found.parameters)


def test_a_parametrised_weight_is_counted_as_another_and_still_wants_its_gradient():
    found = backbone(["1"])
    nn.utils.parametrizations.spectral_norm(found.model[0])
    assert measure_costs(found, repeats=1).multiply_adds == 8 * 8 * 4 * 27  # torch counts no matrix-vector products
    assert all(parameter.requires_grad for parameter in found.model.parameters())


def test_speed_is_of_the_median_batch():
    assert costs.Costs(1, 1, 1, batch=10, seconds=(2.0, 100.0, 1.0)).images_per_second == 5


def test_slow_networks_are_timed_in_smaller_batches(monkeypatch):
    monkeypatch.setattr(costs, "LONGEST", 1e-9)
    shown = []

    def progress(steps, **labels):
        shown.append(labels)
        return steps

    found = measure_costs(backbone(["0"]), repeats=2, progress=progress)
    assert found.batch == 1 and len(found.seconds) == 2
    assert shown == [{"total": 3, "desc": "costs", "unit": "batch"}]


def test_the_time_is_that_of_the_network(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(costs.time, "perf_counter", lambda: clock[0])

    class Slow(nn.Module):
        def forward(self, x):
            clock[0] += 0.5 * len(x)
            return x

    found = measure_costs(Backbone(nn.Sequential(Slow()), ["0"], (1, 4, 4), (0, 1)), repeats=4)
    assert found.batch == 8 and found.seconds == (4.0,) * 4  # of 128, 64, ... the first that takes no more than 4 s
    assert found.images_per_second == pytest.approx(2)
    assert torch.is_grad_enabled()
