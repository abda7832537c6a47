"""Generators as functions of z alone, and without some of their maps."""

import dataclasses

import pytest
import torch

import gan
from tests.gan.small import ARCH


@pytest.fixture
def generator():
    network = gan.Generator(
        dataclasses.replace(ARCH, size=32, strides=(2, 2, 2), multipliers=(1, 2, 2), up_multipliers=(3, 2, 1))
    )
    gan.initialise(network, torch.Generator().manual_seed(0))
    network.deconv3.conv.weight.data *= 50  # contrast: without it every pixel is gray
    return network.train()


def z_of(generator, n, seed=1):
    return gan.sample_z(generator.arch, n, torch.Generator().manual_seed(seed))


def test_an_image_depends_on_its_own_z_alone(generator):
    before = {name: t.clone() for name, t in generator.state_dict().items()}
    frozen, z = gan.freeze(generator), z_of(generator, 130)
    images = gan.draw(frozen, z)
    assert images.shape == (130, 32, 32, 3) and images.dtype == torch.uint8 and images.float().std() > 10
    assert torch.equal(gan.draw(frozen, z[[7]])[0], images[7])
    assert not torch.equal(gan.sample(generator, z[:2])[0], gan.sample(generator, z)[0])  # as it is without
    assert torch.equal(gan.draw(gan.freeze(generator), z), images)
    assert generator.training and not frozen.training
    assert all(torch.equal(t, before[name]) for name, t in generator.state_dict().items())


def test_the_statistics_are_the_mean_over_batches_of_the_prior(generator):
    frozen = gan.freeze(generator, seed=3)
    with torch.no_grad():
        maps = generator.project(z_of(generator, 8 * 128, seed=3)).view(8, 128, -1, 16).double()
    torch.testing.assert_close(frozen.project_norm.running_mean.double(), maps.mean((0, 1, 3)), rtol=0, atol=1e-7)
    variance = torch.stack([part.transpose(0, 1).flatten(1).var(1) for part in maps]).mean(0)
    torch.testing.assert_close(frozen.project_norm.running_var.double(), variance, rtol=1e-5, atol=0)
    assert frozen.project_norm.momentum == generator.project_norm.momentum


def test_a_network_in_training_is_not_drawn_from(generator):
    with pytest.raises(ValueError, match="freeze"):
        gan.draw(generator, z_of(generator, 2))


def test_dropped_maps_are_zero_everywhere_for_what_follows(generator):
    frozen, z = gan.freeze(generator), z_of(generator, 5)

    def zero(module, inputs, output):
        output = output.clone()
        output[:, [0, 5]] = 0
        return output

    hook = frozen.deconv1.register_forward_hook(zero)
    expected = gan.draw(frozen, z)
    hook.remove()
    assert torch.equal(gan.draw(gan.drop_maps(frozen, "deconv1", [5, 0]), z), expected)
    assert not torch.equal(gan.draw(frozen, z), expected)  # the network itself keeps them
    assert torch.equal(gan.draw(gan.drop_maps(frozen, "deconv1", []), z), gan.draw(frozen, z))


@pytest.mark.parametrize(("stage", "maps"), [("deconv3", [0]), ("conv1", [0]), ("deconv1", [8]), ("deconv1", [-1])])
def test_what_is_not_there_cannot_be_dropped(generator, stage, maps):
    with pytest.raises(ValueError, match=r"stage must be one of deconv1, deconv2|has maps 0 to 7"):
        gan.drop_maps(generator, stage, maps)
