"""Named layers are read in the order asked for, reduced at once, and nothing behind the last one runs."""

import pytest
import torch
from torch import nn

from features import tapped


class Recorder(nn.Module):
    """Counts its calls."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return x


def network():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 1), Recorder())


def identity(name, output):
    return output


def test_outputs_in_the_order_given():
    model, x = network(), torch.randn(2, 3, 8, 8)
    with tapped(model, ["2", "1"], identity) as forward:
        second, first = forward(x)
    assert torch.equal(first, model[:2](x))
    assert torch.equal(second, model[:3](x))


def test_forward_stops_after_the_last_tap():
    model = network()
    with tapped(model, ["1", "2"], identity) as forward:
        forward(torch.randn(2, 3, 8, 8))
    assert model[3].calls == 0
    model(torch.randn(2, 3, 8, 8))
    assert model[3].calls == 1  # and the model runs whole again afterwards


def test_a_forward_that_catches_every_exception_gives_its_outputs_too():
    class Catches(nn.Sequential):
        def forward(self, x):
            for module in self:
                try:
                    x = module(x)
                except Exception:
                    return None

    model, x = Catches(*network()[:2]), torch.randn(2, 3, 8, 8)
    with tapped(model, ["1"], identity) as forward:
        assert torch.equal(forward(x)[0], model[1](model[0](x)))


def test_a_forward_that_exits_is_an_error():
    class Exits(nn.Module):
        def forward(self, x):
            raise SystemExit(0)

    model, told = nn.Sequential(Exits(), nn.ReLU()), "forward raises SystemExit: 0"
    with tapped(model, ["1"], identity) as forward, pytest.raises(ValueError, match=told):
        forward(torch.zeros(1))


def test_later_in_place_operations_do_not_reach_the_tap():
    model = network()
    model[0].bias.data.fill_(-100)  # everything before the ReLU is negative
    with tapped(model, ["0", "1"], identity) as forward:
        before, after = forward(torch.randn(2, 3, 8, 8))
    assert before.max() < 0
    assert after.max() == 0


def test_reduce_sees_the_name_and_results_need_no_gradient():
    with tapped(network(), ["0", "2"], lambda name, output: output.sum() * 0 + int(name)) as forward:
        results = forward(torch.randn(2, 3, 8, 8))
    assert [int(r) for r in results] == [0, 2]
    assert not results[0].requires_grad


def test_a_layer_that_runs_twice_counts_with_its_first_output():
    shared = nn.Linear(3, 3, bias=False)
    shared.weight.data = 2 * torch.eye(3)
    with tapped(nn.Sequential(shared, shared, Recorder()), ["1", "2"], identity) as forward:
        first, last = forward(torch.ones(1, 3))
    assert torch.equal(first, torch.full((1, 3), 2.0))
    assert torch.equal(last, torch.full((1, 3), 4.0))


def test_a_run_of_several_is_named():
    shared = nn.Linear(3, 3, bias=False)
    shared.weight.data = 2 * torch.eye(3)
    model = nn.Sequential(shared)
    model.forward = lambda x: model[0](model[0](model[0](x)))
    with tapped(model, ["0@3", "0"], identity) as forward:
        for _ in range(2):  # counted anew in every pass
            third, first = forward(torch.ones(1, 3))
            assert torch.equal(first, torch.full((1, 3), 2.0)) and torch.equal(third, torch.full((1, 3), 8.0))
    with tapped(model, ["0", "0@4"], identity) as forward, pytest.raises(ValueError, match="never reached: 0@4"):
        forward(torch.ones(1, 3))
    with pytest.raises(ValueError, match="distinct"), tapped(model, ["0", "0@1"], identity):
        pass
    with pytest.raises(ValueError, match="no layer '1@2' in this network"), tapped(model, ["1@2"], identity):
        pass


def test_training_flags_and_hooks_are_put_back_after_an_error():
    model = network().train()
    model[1].eval()
    with pytest.raises(RuntimeError), tapped(model, ["0"], identity) as forward:
        assert not model.training
        forward(torch.randn(2, 99, 8, 8))
    assert [m.training for m in model] == [True, False, True, True]
    assert not any(m._forward_hooks for m in model.modules())


def test_unknown_layers_are_refused_with_those_there():
    with (
        pytest.raises(ValueError, match=r"no layer 'conv9' in this network; it has: 0, 1, 2, 3$"),
        tapped(network(), ["0", "conv9"], identity),
    ):
        pass


@pytest.mark.parametrize("layers", [[], ["0", "0"], "0"])
def test_layers_must_be_distinct_names(layers):
    with pytest.raises(ValueError, match="distinct module names"), tapped(network(), layers, identity):
        pass


def test_a_layer_outside_the_forward_pass_is_named():
    model = network()
    model.register_module("spare", nn.Linear(1, 1))
    model.forward = lambda x: model[0](x)
    with (
        tapped(model, ["0", "spare"], identity) as forward,
        pytest.raises(ValueError, match="never reached: spare"),
    ):
        forward(torch.randn(1, 3, 8, 8))
