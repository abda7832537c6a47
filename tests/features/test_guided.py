"""Guided backpropagation beside the same written out by hand; how concentrated a gradient is."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.nn import functional as F

import features


def network(inplace=False):
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 4, 3, padding=1), nn.LeakyReLU(0.2, inplace)),
        *(nn.Conv2d(4, 5, 3, stride=2, padding=1), nn.BatchNorm2d(5), nn.ReLU(inplace)),
        *(nn.Conv2d(5, 6, 3, padding=1), nn.LeakyReLU(0.1, inplace)),
        nn.Flatten(),
        nn.Linear(6 * 16, 2),
    )


def backbone(model, layer="6"):
    return features.Backbone(model, [layer], (3, 8, 8), (-1, 1))


IMAGES = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
CHANNELS = [0, 3, 5, 3]


def by_hand(model, x, channels):
    """Springenberg et al. 2014, figure 1: backwards through an activation, what is negative is left out."""
    a1 = F.conv2d(x, model[0].weight, model[0].bias, padding=1)
    h1 = torch.where(a1 > 0, a1, 0.2 * a1)
    a2 = F.conv2d(h1, model[2].weight, model[2].bias, stride=2, padding=1)
    scale = model[3].weight / torch.sqrt(model[3].running_var + model[3].eps)
    n2 = (a2 - model[3].running_mean[:, None, None]) * scale[:, None, None] + model[3].bias[:, None, None]
    a3 = F.conv2d(n2.clamp(min=0), model[5].weight, model[5].bias, padding=1)
    h3 = torch.where(a3 > 0, a3, 0.1 * a3)
    r3, found = torch.zeros_like(h3), []
    for i, channel in enumerate(channels):
        at = int(h3[i, channel].argmax())
        found.append(h3[i, channel].flatten()[at])
        r3[i, channel].view(-1)[at] = 1.0
    r3 = r3.clamp(min=0) * torch.where(a3 > 0, 1.0, 0.1)
    r2 = F.conv_transpose2d(r3, model[5].weight, padding=1)
    r2 = r2.clamp(min=0) * (n2 > 0) * scale[:, None, None]
    r1 = F.conv_transpose2d(r2, model[2].weight, stride=2, padding=1, output_padding=1)
    r1 = r1.clamp(min=0) * torch.where(a1 > 0, 1.0, 0.2)
    return torch.stack(found), F.conv_transpose2d(r1, model[0].weight, padding=1)


@pytest.mark.parametrize("inplace", [False, True])
def test_it_equals_the_same_by_hand(inplace):
    model = network(inplace)
    model[3].running_mean.uniform_(-0.2, 0.2)
    model[3].running_var.uniform_(0.1, 1.0)
    net = backbone(model)
    responses, gradients = features.guided_backprop(net, IMAGES, "6", CHANNELS)
    with torch.no_grad():
        expected = by_hand(model, net.prepare(IMAGES), CHANNELS)
    np.testing.assert_allclose(responses, expected[0].numpy(), rtol=0, atol=1e-6)
    np.testing.assert_allclose(gradients, expected[1].numpy(), rtol=0, atol=1e-6)
    assert responses.dtype == gradients.dtype == np.float32 and np.abs(gradients).max() > 1e-3


def test_it_is_not_the_plain_gradient_and_leaves_the_model_as_it_was():
    model = network(inplace=True).train()
    model[0].eval()
    flags = [m.training for m in model.modules()]
    before = {name: t.clone() for name, t in model.state_dict().items()}
    _, guided = features.guided_backprop(backbone(model), IMAGES, "6", CHANNELS)
    assert [m.training for m in model.modules()] == flags
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())
    assert all(p.grad is None for p in model.parameters()) and model[1].inplace

    model.eval()
    x = backbone(model).prepare(IMAGES).requires_grad_()
    maps = model[:7](x)
    maps[range(4), CHANNELS].flatten(1).amax(1).sum().backward()
    assert np.abs(x.grad.numpy() - guided).max() > 1e-3


def test_another_path_around_an_activation_keeps_its_gradient():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.act, self.out = nn.ReLU(inplace=True), nn.Identity()

        def forward(self, x):
            return self.out(self.act(x) - 3 * x)

    net = features.Backbone(Residual(), ["out"], (1, 1, 1), (-1, 1))
    # backwards the activation sees 1 and lets it pass; the path around it carries -3, which no activation stops
    _, gradient = features.guided_backprop(net, np.full((1, 1, 1, 1), 255, np.uint8), "out", [0])
    assert gradient.item() == pytest.approx(-2)


def test_errors_name_what_is_missing():
    model = network()
    with pytest.raises(ValueError, match="no layer 'conv9'"):
        features.guided_backprop(backbone(model), IMAGES, "conv9", CHANNELS)
    with pytest.raises(ValueError, match="4 of the 6 maps"):
        features.guided_backprop(backbone(model), IMAGES, "6", [0, 1, 2, 6])
    plain = features.Backbone(nn.Sequential(nn.Conv2d(3, 2, 3)), ["0"], (3, 8, 8), (-1, 1))
    with pytest.raises(ValueError, match=r"nn\.ReLU or nn\.LeakyReLU"):
        features.guided_backprop(plain, IMAGES, "0", [0, 0, 0, 0])


def test_concentration_of_known_gradients():
    gradients = np.zeros((4, 2, 5, 4))
    gradients[0] = 1.0  # everywhere alike: half of the pixels
    gradients[1, :, 2, 2] = -7.0  # one pixel of twenty: half of one
    gradients[2, 0] = np.random.default_rng(0).normal(size=(5, 4))
    area, kurtosis = features.concentration(gradients[:3])
    assert area[:2] == pytest.approx([50.0, 2.5]) and 2.5 < area[2] < 50
    assert kurtosis[1:] == pytest.approx(stats.kurtosis(gradients[1:3].reshape(2, -1), axis=1))
    assert np.isnan(features.concentration(gradients[3:])[0]).all()
