"""The four networks against the paper's figures, and both forward passes against functions of torch."""

import dataclasses
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import gan
from gan.parallel import BatchNorm2d

# (in, out, stride) of every convolution, from the discriminator's images to the generator's
PAPER = {
    "imagenet32": {
        "conv": [(3, 128, 1), (128, 128, 2), (128, 256, 1), (256, 256, 2), (256, 512, 1), (512, 512, 2)],
        "deconv": [(512, 512, 2), (512, 256, 1), (256, 256, 2), (256, 128, 1), (128, 128, 2), (128, 3, 1)],
        "kernel": 3,
        "padding": 1,
        "z": (256, "uniform"),
        "flat": True,
        "size": 32,
        "features": 28_672,
    },
    "svhn32": {
        "conv": [(3, 64, 2), (64, 128, 2), (128, 256, 2)],
        "deconv": [(256, 128, 2), (128, 64, 2), (64, 3, 2)],
        "kernel": 5,
        "padding": 2,
        "z": (100, "normal"),
        "flat": True,
        "size": 32,
        "features": 7_168,
    },
    "dcgan64": {
        "conv": [(3, 128, 2), (128, 256, 2), (256, 512, 2), (512, 1024, 2)],
        "deconv": [(1024, 512, 2), (512, 256, 2), (256, 128, 2), (128, 3, 2)],
        "kernel": 5,
        "padding": 2,
        "z": (100, "uniform"),
        "flat": False,
        "size": 64,
        "features": 30_720,
    },
    "dcgan32": {
        "conv": [(3, 256, 2), (256, 512, 2), (512, 1024, 2)],
        "deconv": [(1024, 512, 2), (512, 256, 2), (256, 3, 2)],
        "kernel": 4,
        "padding": 1,
        "z": (100, "uniform"),
        "flat": False,
        "size": 32,
        "features": 28_672,
    },
}
PAPER["dcgan64 of the ports"] = PAPER["dcgan64"] | {"kernel": 4, "padding": 1}


def arch_of(name):
    if name == "dcgan64 of the ports":
        return dataclasses.replace(gan.PRESETS["dcgan64"], kernel=4)
    return gan.architecture(name)


@pytest.fixture(params=PAPER)
def case(request):
    """Name, expected figures, and both networks without memory: shapes are followed, nothing is computed."""
    with torch.device("meta"):
        arch = arch_of(request.param)
        return PAPER[request.param], gan.Discriminator(arch), gan.Generator(arch)


def parts(network, kind):
    return [m for m in network.modules() if isinstance(m, kind)]


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def test_there_are_four_presets():
    assert set(gan.PRESETS) == set(PAPER) - {"dcgan64 of the ports"}


def test_discriminator_is_the_papers(case):
    paper, d, _ = case
    convolutions = parts(d, nn.Conv2d)
    assert [(m.in_channels, m.out_channels, m.stride[0]) for m in convolutions] == paper["conv"]
    assert {m.kernel_size for m in convolutions} == {(paper["kernel"],) * 2}
    assert {m.padding for m in convolutions} == {(paper["padding"],) * 2}
    assert all(m.bias is None for m in [*convolutions, d.logit])
    stages = [child for name, child in d.named_children() if name != "logit"]
    assert [name for name, _ in d.named_children()] == [*d.arch.stage_names, "logit"]
    assert d.arch.stage_names == tuple(f"conv{i + 1}" for i in range(len(paper["conv"])))
    assert [[type(m) for m in stage] for stage in stages] == [
        [nn.Conv2d, nn.LeakyReLU],
        *[[nn.Conv2d, BatchNorm2d, nn.LeakyReLU]] * (len(paper["conv"]) - 1),
    ]
    assert {m.negative_slope for m in parts(d, nn.LeakyReLU)} == {0.2}
    assert {m.eps for m in parts(d, nn.BatchNorm2d)} == {1e-8}


def test_feature_width_and_stage_sizes(case):
    paper, d, _ = case
    maps = torch.empty(2, 3, paper["size"], paper["size"], device="meta")
    assert d(maps).shape == (2,)
    width, size = 0, paper["size"]
    for name, (_, channels, stride) in zip(d.arch.stage_names, paper["conv"], strict=True):
        maps, size = d.get_submodule(name)(maps), size // stride
        assert maps.shape == (2, channels, size, size)
        width += F.adaptive_max_pool2d(maps, 4).flatten(1).shape[1]
    assert size == 4
    assert width == paper["features"]


def test_generator_is_the_papers(case):
    paper, _, g = case
    first = paper["deconv"][0][0]
    nz, distribution = paper["z"]
    deconvolutions = parts(g, nn.ConvTranspose2d)
    assert [(m.in_channels, m.out_channels, m.stride[0]) for m in deconvolutions] == paper["deconv"]
    assert {m.kernel_size for m in deconvolutions} == {(paper["kernel"],) * 2}
    assert g.arch.z_distribution == distribution
    assert g.project.weight.shape == (16 * first, nz)
    assert all(m.bias is None for m in [*deconvolutions, g.project])
    norms = parts(g, nn.BatchNorm1d | nn.BatchNorm2d)
    widths = [16 * first if paper["flat"] else first, *(o for _, o, _ in paper["deconv"][:-1])]
    assert [m.num_features for m in norms] == widths
    assert {m.eps for m in norms} == {1e-8}
    assert isinstance(g.project_norm, nn.BatchNorm1d if paper["flat"] else nn.BatchNorm2d)
    assert [type(m) for m in g.get_submodule(g.stage_names[-1])] == [nn.ConvTranspose2d, nn.Tanh]
    assert g(torch.empty(2, nz, device="meta")).shape == (2, 3, paper["size"], paper["size"])


def test_parameter_counts_in_closed_form(case):
    paper, d, g = case
    k2, channels = paper["kernel"] ** 2, [o for _, o, _ in paper["conv"]]
    first, nz = paper["deconv"][0][0], paper["z"][0]
    assert parameters(d) == sum(k2 * i * o for i, o, _ in paper["conv"]) + 2 * sum(channels[1:]) + 16 * channels[-1]
    norms = 2 * first * (16 if paper["flat"] else 1) + 2 * sum(o for _, o, _ in paper["deconv"][:-1])
    assert parameters(g) == 16 * nz * first + sum(k2 * i * o for i, o, _ in paper["deconv"]) + norms


def test_width_and_channels_scale_every_layer():
    arch = dataclasses.replace(gan.PRESETS["imagenet32"], width=8, channels=1)
    assert arch.stage_channels == (8, 8, 16, 16, 32, 32)
    assert arch.image_shape == (1, 32, 32)
    d, g = gan.Discriminator(arch), gan.Generator(arch)
    images = g(gan.sample_z(arch, 3, torch.Generator().manual_seed(0)))
    assert images.shape == (3, 1, 32, 32) and images.dtype == torch.float32
    assert -1 <= images.min() < images.max() <= 1
    logits = d(images)
    assert logits.shape == (3,) and logits.dtype == torch.float32


@pytest.mark.parametrize("preset", gan.PRESETS)
def test_forward_passes_equal_functions_of_torch(preset):
    """Training mode, so that batch norm is the minibatch's own mean and biased variance."""
    arch = dataclasses.replace(gan.PRESETS[preset], width=4)
    d, g = gan.Discriminator(arch), gan.Generator(arch)
    random = torch.Generator().manual_seed(1)
    for network in (d, g):  # gains and shifts that matter
        for p in network.parameters():
            p.data = torch.randn(p.shape, generator=random) * 0.3
    z = gan.sample_z(arch, 5, random)

    def norm(maps, module):
        return F.batch_norm(maps, None, None, module.weight, module.bias, training=True, eps=1e-8)

    maps = z @ g.project.weight.T
    maps = norm(maps, g.project_norm) if arch.flat_batchnorm else maps
    maps = maps.reshape(5, -1, 4, 4)
    maps = (maps if arch.flat_batchnorm else norm(maps, g.project_norm)).relu()
    padding = PAPER[preset]["padding"]
    for i, (name, stride) in enumerate(zip(g.stage_names, arch.strides[::-1], strict=True)):
        stage = g.get_submodule(name)
        # conv_transpose2d is the gradient of conv2d with respect to its input
        size = [5, stage.conv.weight.shape[1], maps.shape[2] * stride, maps.shape[3] * stride]
        maps = torch.nn.grad.conv2d_input(size, stage.conv.weight, maps, stride, padding)
        maps = maps.tanh() if i == len(arch.strides) - 1 else norm(maps, stage.norm).relu()
    images = g(z)
    torch.testing.assert_close(images, maps, rtol=1e-4, atol=1e-4)  # float32, other summation order

    maps = images
    for i, name in enumerate(arch.stage_names):
        stage = d.get_submodule(name)
        maps = F.conv2d(maps, stage.conv.weight, stride=arch.strides[i], padding=padding)
        maps = F.leaky_relu(norm(maps, stage.norm) if i else maps, 0.2)
    # the ports' last layer, a valid 4x4 convolution, is the same map
    logits = F.conv2d(maps, d.logit.weight.view(1, -1, 4, 4)).flatten()
    torch.testing.assert_close(d(images), logits, rtol=1e-4, atol=1e-4)


def test_initial_weights_are_normal_with_the_papers_sd():
    arch = dataclasses.replace(gan.PRESETS["imagenet32"], width=64)
    norms = []
    for network in (gan.Discriminator(arch), gan.Generator(arch)):
        gan.initialise(network, torch.Generator().manual_seed(3))
        for part in parts(network, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            w = part.weight.detach().double().flatten()
            assert abs(w.mean()) < 5 * 0.02 / math.sqrt(len(w))  # five standard errors
            assert abs(w.std() / 0.02 - 1) < 5 / math.sqrt(2 * len(w))
            assert (w / 0.02).pow(4).mean() == pytest.approx(3, abs=5 * math.sqrt(96 / len(w)))  # kurtosis of a normal
        norms += parts(network, nn.BatchNorm1d | nn.BatchNorm2d)
    gains = torch.cat([m.weight.detach().double() for m in norms])
    assert abs(gains.mean() - 1) < 5 * 0.02 / math.sqrt(len(gains))
    assert abs(gains.std() / 0.02 - 1) < 5 / math.sqrt(2 * len(gains))
    assert all(m.bias.count_nonzero() == 0 and m.running_mean.count_nonzero() == 0 for m in norms)


def test_initialisation_is_the_seeds_alone():
    arch = dataclasses.replace(gan.PRESETS["svhn32"], width=4)
    network = gan.Generator(arch)
    before = torch.get_rng_state()

    def drawn(seed):
        gan.initialise(network, torch.Generator().manual_seed(seed))
        return torch.cat([p.detach().flatten() for p in network.parameters()]).clone()

    first = drawn(0)
    assert torch.equal(drawn(0), first) and not torch.equal(drawn(1), first)
    assert torch.equal(torch.get_rng_state(), before)  # the global generator is left alone


@pytest.mark.parametrize(
    "changes, text",
    [
        ({"width": 0}, "width must be a positive integer, got 0"),
        ({"channels": 1.5}, "channels must be a whole number, got 1.5"),
        ({"z_distribution": "cauchy"}, "z_distribution must be uniform or normal, got 'cauchy'"),
        ({"size": 64}, r"strides \(1, 2, 1, 2, 1, 2\) take 64 pixels to 8, not to 4"),
        ({"multipliers": (1, 2)}, "must be equally long and not empty, got 2, 6 and 6"),
        ({"kernel": 4}, "strides must be at least 2 with kernel 4"),
        ({"strides": (0, 2, 1, 2, 1, 2)}, "strides must be at least 1 with kernel 3"),
        ({"kernel": 1}, "kernel must be at least 2, the largest stride"),
        ({"kernel": True}, "kernel must be a whole number, got True"),
        ({"strides": 3}, "strides must be a list, got 3"),
        ({"strides": (1, 2.0, 1, 2, 1, 2)}, "an entry of strides must be a whole number, got 2.0"),
        ({"multipliers": (1, 1, 2, 2, 4, 0)}, "multipliers must be positive integers"),
        ({"multipliers": (), "up_multipliers": (), "strides": ()}, "equally long and not empty"),
        ({"width": 2**31}, "weights, and values of an image, must be at most 2,147,483,648, got"),
        ({"kernel": 10**6 + 1}, "must be at most 2,147,483,648"),
        ({"channels": 2**30}, "must be at most 2,147,483,648"),
        ({"nz": 10**400}, "nz must fit 64 bits"),
        ({"flat_batchnorm": 1}, "flat_batchnorm must be true or false, got 1"),
        ({"z_distribution": ["uniform"]}, "z_distribution must be text"),
    ],
)
def test_impossible_networks_are_refused(changes, text):
    with pytest.raises(ValueError, match=text):
        dataclasses.replace(gan.PRESETS["imagenet32"], **changes)


def test_unknown_preset_names_the_known():
    with pytest.raises(ValueError, match="unknown preset 'dcgan16'; the presets are imagenet32, svhn32, dcgan64, dcg"):
        gan.Generator("dcgan16")
    with pytest.raises(dataclasses.FrozenInstanceError):
        gan.PRESETS["dcgan32"].width = 1


@pytest.mark.parametrize("name", gan.PRESETS)
def test_weights_are_counted(name):
    arch = dataclasses.replace(gan.PRESETS[name], width=4, kernel=5)
    parts = [m for network in (gan.Discriminator(arch), gan.Generator(arch)) for m in network.modules()]
    kinds = (torch.nn.Conv2d, torch.nn.ConvTranspose2d, torch.nn.Linear)
    assert arch.weights == sum(m.weight.numel() for m in parts if isinstance(m, kinds))


def test_lists_become_tuples():
    assert dataclasses.replace(gan.PRESETS["svhn32"], strides=[2, 2, 2]) == gan.PRESETS["svhn32"]
