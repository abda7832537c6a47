"""z, lines between points, and images as uint8."""

import dataclasses
import math

import pytest
import torch

import gan

ARCH = dataclasses.replace(gan.PRESETS["svhn32"], width=4)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("preset, sd", [("imagenet32", 1 / math.sqrt(3)), ("svhn32", 1.0)])
def test_z_has_its_distribution(preset, sd):
    z = gan.sample_z(gan.PRESETS[preset], 2000, seeded())
    assert z.shape == (2000, gan.PRESETS[preset].nz) and z.dtype == torch.float32
    n = z.numel()
    assert abs(float(z.double().mean())) < 5 * sd / math.sqrt(n)
    assert float(z.double().std()) == pytest.approx(sd, rel=5 / math.sqrt(2 * n))
    uniform = gan.PRESETS[preset].z_distribution == "uniform"
    assert (float(z.abs().max()) <= 1) == uniform
    assert torch.equal(z, gan.sample_z(gan.PRESETS[preset], 2000, seeded()))
    assert not torch.equal(z, gan.sample_z(gan.PRESETS[preset], 2000, seeded(1)))


def test_lines_are_straight_and_even():
    start, end = gan.sample_z(ARCH, 2, seeded())
    line = gan.interpolate(start, end, 5)
    assert torch.equal(line[0], start) and torch.equal(line[-1], end)
    expected = torch.stack([start + (end - start) * i / 4 for i in range(5)])
    torch.testing.assert_close(line, expected, rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="steps must be at least 2, got 1"):
        gan.interpolate(start, end, 1)


@pytest.mark.parametrize("training", [True, False])
def test_samples_are_those_of_batch_statistics_and_leave_the_network_alone(training):
    generator = gan.Generator(ARCH)
    gan.initialise(generator, seeded())
    generator.deconv3.conv.weight.data *= 50  # contrast: without it every pixel is gray
    generator.train(training)
    before = {name: t.clone() for name, t in generator.state_dict().items()}
    z = gan.sample_z(ARCH, 6, seeded())
    images = gan.sample(generator, z)
    assert images.shape == (6, 32, 32, 3) and images.dtype == torch.uint8 and images.is_contiguous()
    assert generator.training is training
    assert all(m.training is training for m in generator.modules())
    assert all(torch.equal(t, before[name]) for name, t in generator.state_dict().items())

    with torch.no_grad():
        raw = generator.train()(z).permute(0, 2, 3, 1)
    assert torch.equal(images, ((raw + 1) * 127.5).round().to(torch.uint8))
    assert images.min() == 0 and images.max() == 255


def test_a_failing_sample_restores_the_mode():
    generator = gan.Generator(ARCH).eval()
    with pytest.raises(RuntimeError):
        gan.sample(generator, torch.zeros(4, ARCH.nz + 1))
    assert not generator.training


def test_paths_on_a_sphere_keep_the_norm_and_turn_evenly():
    start, end = torch.tensor([3.0, 0.0, 0.0]), torch.tensor([0.0, 3.0, 0.0])
    path = gan.interpolate_on_sphere(start, end, 4)
    angles = torch.arange(4) * math.pi / 6
    expected = torch.stack([3 * torch.cos(angles), 3 * torch.sin(angles), torch.zeros(4)], 1)
    torch.testing.assert_close(path, expected, rtol=0, atol=1e-6)
    for other in (2 * start, -start):  # no circle, or no one circle
        assert torch.equal(gan.interpolate_on_sphere(start, other, 4), gan.interpolate(start, other, 4))
    with pytest.raises(ValueError, match="steps must be at least 2"):
        gan.interpolate_on_sphere(start, end, 1)


def test_arithmetic_is_of_means_and_noise_stays_within_its_radius():
    a, b, c = (gan.sample_z(ARCH, n, seeded(n)) for n in (3, 4, 5))
    torch.testing.assert_close(gan.analogy(a, b, c), a.sum(0) / 3 - b.sum(0) / 4 + c.sum(0) / 5)
    z = a[0]
    around = gan.around(z, 9, 0.25, seeded())
    assert around.shape == (9, ARCH.nz) and torch.equal(around[4], z)
    offsets = (around - z)[[0, 1, 2, 3, 5, 6, 7, 8]]
    assert 0.24 < float(offsets.abs().max()) <= 0.25 + 1e-6
    assert float(offsets.std()) == pytest.approx(0.25 / math.sqrt(3), rel=0.1)
