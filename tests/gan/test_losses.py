"""Both losses against torch's binary cross-entropy with logits, values and gradients."""

import math

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from gan.losses import discriminator_loss, generator_loss, nt_xent


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


def reference_nt_xent(embeddings, temperature):
    """Chen et al. 2020, algorithm 1, as loops."""
    n = len(embeddings) // 2
    rows = [e / e.norm() for e in embeddings]
    losses = []
    for i in range(2 * n):
        partner = (i + n) % (2 * n)
        others = [math.exp(float(rows[i] @ rows[k]) / temperature) for k in range(2 * n) if k != i]
        losses.append(-math.log(math.exp(float(rows[i] @ rows[partner]) / temperature) / sum(others)))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("n, temperature", [(1, 0.5), (2, 0.2), (5, 1.0), (7, 0.1)])
def test_nt_xent_equals_a_loop(n, temperature):
    embeddings = torch.randn(2 * n, 6, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    ours = float(nt_xent(embeddings.float(), temperature))
    assert ours == pytest.approx(reference_nt_xent(embeddings, temperature), rel=1e-5, abs=1e-6)


def test_nt_xent_of_two_pairs_in_closed_form():
    """Partners are equal and the pairs orthogonal: the partner's similarity is 1, those of two others are 0."""
    first, second = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 0.5])
    for temperature in (0.2, 1.0):
        loss = float(nt_xent(torch.stack([first, second, 2 * first, second]), temperature))
        assert loss == pytest.approx(math.log(1 + 2 * math.exp(-1 / temperature)), rel=1e-5)


def test_nt_xent_among_others_is_its_part_of_the_whole():
    """As each of two processes computes it: the mean over both is the loss of all pairs."""
    one, two = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0)).unbind()
    among = torch.cat([one, two])
    parts = [nt_xent(own, 0.3, among=among, first=first) for own, first in ((one, 0), (two, 6))]
    halves = [part.view(2, 3, 4) for part in (one, two)]
    whole = nt_xent(torch.cat([half[view] for view in range(2) for half in halves]), 0.3)
    torch.testing.assert_close(sum(parts) / 2, whole)


def test_nt_xent_is_float32_under_autocast():
    embeddings = torch.randn(8, 16, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", torch.bfloat16):
        cast = nt_xent(embeddings, 0.2)
    assert torch.equal(cast, nt_xent(embeddings, 0.2))
