"""Both losses against torch's binary cross-entropy with logits, values and gradients."""

import math

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from gan.losses import discriminator_loss, generator_loss


def logits(seed, scale, dtype=torch.float64):
    values = torch.randn(64, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale
    return values.to(dtype).requires_grad_()


@pytest.mark.parametrize("scale", [0.1, 3.0, 100.0])
def test_losses_and_gradients_equal_binary_cross_entropy(scale):
    real, fake = logits(0, scale), logits(1, scale)
    expected = bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake))
    found = discriminator_loss(real, fake)
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-7)  # computed in float32
    for a, b in zip(*(torch.autograd.grad(loss, (real, fake)) for loss in (found, expected)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-8)

    expected, found = bce(fake, torch.ones_like(fake)), generator_loss(fake)
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-7)
    gradients = [torch.autograd.grad(loss, fake)[0] for loss in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-8)


def test_undecided_discriminator():
    zeros = torch.zeros(7)
    assert float(discriminator_loss(zeros, zeros)) == pytest.approx(2 * math.log(2))
    assert float(generator_loss(zeros)) == pytest.approx(math.log(2))


def test_the_generator_loss_does_not_saturate():
    """Where the discriminator is sure of a fake, the gradient is full, not vanishing; and nothing overflows."""
    fake = torch.tensor([-1e4], requires_grad=True)
    loss = generator_loss(fake)
    loss.backward()
    assert loss.item() == 1e4 and fake.grad.item() == -1
    assert float(discriminator_loss(torch.tensor([-1e4]), torch.tensor([1e4]))) == 2e4


def test_half_precision_logits_are_summed_in_float32():
    real, fake = logits(2, 3.0, torch.float16), logits(3, 3.0, torch.float16)
    assert discriminator_loss(real, fake).dtype == torch.float32
    assert torch.equal(discriminator_loss(real, fake), discriminator_loss(real.float(), fake.float()))
