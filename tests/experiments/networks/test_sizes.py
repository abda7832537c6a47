"""Sizes that are found without memory, against those of networks that are built."""

import dataclasses

import pytest
import torch

import gan
from experiments.networks.sizes import sizes

SMALL = [dataclasses.replace(gan.PRESETS[name], width=4) for name in ("imagenet32", "svhn32", "dcgan64")]
SMALL += [dataclasses.replace(SMALL[1], spectral_norm=True), gan.ConditionalArchitecture(width=3, units=20)]


@pytest.mark.parametrize("arch", SMALL)
def test_weights_and_outputs_are_those_of_the_networks(arch: gan.Architecture | gan.ConditionalArchitecture) -> None:
    conditional = isinstance(arch, gan.ConditionalArchitecture)
    kinds = (
        [gan.ConditionalDiscriminator, gan.ConditionalGenerator] if conditional else [gan.Discriminator, gan.Generator]
    )
    for kind, size in zip(kinds, sizes(arch), strict=True):
        network = kind(arch)
        assert size.weights == sum(tensor.nbytes for tensor in network.state_dict().values())
    images, labels = torch.zeros(3, *arch.image_shape), torch.zeros(3, dtype=torch.int64)
    seen = [images.nbytes]
    discriminator = kinds[0](arch)
    for name, module in discriminator.named_modules():
        if not list(module.children()) and "parametrizations" not in name:
            module.register_forward_hook(lambda _, __, output: seen.append(output.nbytes))
    discriminator(*([images, labels] if conditional else [images]))
    assert sizes(arch)[0].maps * 3 == sum(seen)
    assert sizes(arch)[0].largest * 3 == max(seen)


def test_a_network_beyond_any_memory_costs_nothing() -> None:
    discriminator, generator = sizes(dataclasses.replace(gan.PRESETS["imagenet32"], width=1900))
    assert min(discriminator.weights, generator.weights) > 3 * 10**9
