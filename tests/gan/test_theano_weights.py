"""The authors' arrays: fabricated ones, whose networks are known, and the released ones where they are at hand."""

import dataclasses

import numpy as np
import pytest
import scipy.signal
import torch
from torch import nn
from torch.nn import functional as F

import gan
from gan.theano_weights import complete_stages

NAMES = {"discriminator": "discrim_params", "generator": "gen_params"}
WEIGHTS = nn.Conv2d | nn.ConvTranspose2d | nn.Linear


def flipped(kernels):
    return np.flip(kernels, (-2, -1))


def arrays_of(network):
    """A network's arrays in the authors' order: weight, then gain and shift where there is batch norm."""
    found = []
    for module in network.modules():
        if isinstance(module, WEIGHTS | nn.BatchNorm1d | nn.BatchNorm2d):
            w = module.weight.detach().numpy()
            if isinstance(module, WEIGHTS):
                found.append(w.T if w.ndim == 2 else flipped(w))
            else:
                found += [w, module.bias.detach().numpy()]
    return found


def write(folder, network, kind="discriminator", epoch=30):
    folder.mkdir(exist_ok=True)
    files = [folder / f"{epoch}_{NAMES[kind]}.jl_{i:02d}.npy" for i in range(1, len(arrays_of(network)) + 1)]
    for file, array in zip(files, arrays_of(network), strict=True):
        np.save(file, array)
    return files


def random_network(preset, kind="discriminator", width=4):
    arch = dataclasses.replace(gan.PRESETS[preset], width=width)
    network = gan.Discriminator(arch) if kind == "discriminator" else gan.Generator(arch)
    random = torch.Generator().manual_seed(0)
    for p in network.parameters():
        p.data = torch.randn(p.shape, generator=random)
    return network


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("preset", ["imagenet32", "svhn32", "dcgan32"])
def test_round_trip(tmp_path, preset, kind):
    network = random_network(preset, kind)
    write(tmp_path, network, kind)
    loaded = gan.load_theano(tmp_path, network.arch, kind)
    assert loaded.state_dict().keys() == network.state_dict().keys() and not loaded.training
    assert all(torch.equal(loaded.state_dict()[name], t) for name, t in network.state_dict().items())


def test_the_loaded_convolution_is_a_true_one(tmp_path):
    """scipy's convolution with the array as it lies in the file, theano's definition of one."""
    network = random_network("svhn32")
    kernels = np.load(write(tmp_path, network)[0])
    image = np.random.default_rng(0).standard_normal((3, 32, 32))
    expected = [sum(scipy.signal.convolve2d(image[c], k[c], "same") for c in range(3))[::2, ::2] for k in kernels]
    conv1 = gan.load_theano(tmp_path, network.arch).conv1
    with torch.no_grad():
        found = conv1(torch.from_numpy(image).float()[None])[0]
    np.testing.assert_allclose(found, np.where(np.array(expected) > 0, expected, 0.2 * np.array(expected)), atol=1e-4)


@pytest.mark.parametrize(
    "missing, stages",
    [([11, 14], 4), ([14], 5), ([3], 1), ([4, 17], 1), ([17], 6), ([2, 3, 4], 1)],
)
def test_where_arrays_are_missing_the_network_ends_at_its_last_complete_stage(tmp_path, missing, stages):
    network = random_network("imagenet32").eval()
    files = write(tmp_path, network)
    for number in missing:
        files[number - 1].unlink()
    loaded = gan.load_theano(tmp_path, network.arch)
    assert complete_stages(loaded) == network.arch.stage_names[:stages]
    assert [name for name, _ in loaded.named_children()] == list(complete_stages(loaded))
    maps = expected = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for name in complete_stages(loaded):
            maps, expected = loaded.get_submodule(name)(maps), network.get_submodule(name)(expected)
            assert torch.equal(maps, expected)
        with pytest.raises(AttributeError, match="logit" if stages == 6 else f"conv{stages + 1}"):
            loaded(torch.zeros(2, 3, 32, 32))


def test_nothing_usable_is_an_error_that_says_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*absent"):
        gan.load_theano(tmp_path / "absent", "svhn32")
    with pytest.raises(FileNotFoundError, match=r"no \*_discrim_params.jl_NN.npy in"):
        gan.load_theano(tmp_path, "svhn32")
    network = random_network("svhn32")
    write(tmp_path, network)[0].unlink()
    with pytest.raises(FileNotFoundError, match="first convolution's array is missing"):
        gan.load_theano(tmp_path, network.arch)
    with pytest.raises(ValueError, match="network must be discriminator or generator, got 'encoder'"):
        gan.load_theano(tmp_path, network.arch, "encoder")


def test_a_generator_must_be_complete(tmp_path):
    network = random_network("svhn32", "generator")
    files = write(tmp_path, network, "generator")
    files[4].unlink()
    files[9].unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks the generator's arrays \[5, 10\]"):
        gan.load_theano(tmp_path, network.arch, "generator")


def test_arrays_of_another_network_are_refused(tmp_path):
    network = random_network("svhn32")
    write(tmp_path, network)
    with pytest.raises(ValueError, match=r"jl_01.npy has shape \(4, 3, 5, 5\), the network wants \(8, 3, 5, 5\)"):
        gan.load_theano(tmp_path, dataclasses.replace(network.arch, width=8))
    write(tmp_path, network, epoch=40)
    with pytest.raises(ValueError, match=r"arrays of several networks: 30_\S+_01.npy, 40_\S+_01.npy"):
        gan.load_theano(tmp_path, network.arch)


@pytest.mark.parametrize("keep", [0, 5, 60, -1])
def test_truncated_arrays_are_refused(tmp_path, keep):
    network = random_network("svhn32")
    file = write(tmp_path, network)[1]
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"jl_02.npy is not a whole .npy array"):
        gan.load_theano(tmp_path, network.arch)


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (np.float32(3), r"jl_02.npy has shape \(\), the network wants"),
        (np.zeros(4), r"jl_02.npy has shape \(4,\), the network wants"),
        (np.zeros((8, 4, 5, 5), complex), "jl_02.npy holds complex128, the network wants real numbers"),
        (np.full((8, 4, 5, 5), "x"), "jl_02.npy holds <U1, the network wants real numbers"),
        (np.full((8, 4, 5, 5), np.nan), "jl_02.npy holds NaN or infinity"),
    ],
)
def test_wrong_arrays_are_named(tmp_path, array, told):
    network = random_network("svhn32")
    np.save(write(tmp_path, network)[1], array)
    with pytest.raises(ValueError, match=told):
        gan.load_theano(tmp_path, network.arch)


@pytest.mark.parametrize("shape", [(10**12, 10**12), (10**30,), (-3,)])
def test_an_impossible_shape_allocates_nothing(tmp_path, shape):
    network = random_network("svhn32")
    with open(write(tmp_path, network)[1], "wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(ValueError, match=r"jl_02.npy is not a whole .npy array"):
        gan.load_theano(tmp_path, network.arch)


class Trap:
    """Unpickling this creates a file."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return (open, (str(self.file), "w"))


def test_pickled_arrays_are_refused_and_not_executed(tmp_path):
    network = random_network("svhn32")
    file = write(tmp_path, network)[1]
    np.save(file, np.array([Trap(tmp_path / "sprung")], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"jl_02.npy is not a whole .npy array .*Python objects"):
        gan.load_theano(tmp_path, network.arch)
    assert not (tmp_path / "sprung").exists()


@pytest.fixture
def models(data_root):
    """The two folders of the authors' release, by preset."""
    folder = data_root / "dcgan_code" / "models"
    if not folder.is_dir():
        pytest.skip(f"no {folder}: the authors' released arrays")
    found = {"imagenet32": next(folder.glob("imagenet_*"), None), "svhn32": next(folder.glob("svhn_*"), None)}
    if None in found.values():
        pytest.skip(f"{folder} lacks one of the two networks")
    return found


@pytest.mark.data
def test_released_imagenet_discriminator_has_four_stages(models):
    if list(models["imagenet32"].glob("*jl_11.npy")):
        pytest.skip("conv5 is there: the release is whole")
    loaded = gan.load_theano(models["imagenet32"], "imagenet32")
    assert complete_stages(loaded) == ("conv1", "conv2", "conv3", "conv4")
    maps, width = torch.zeros(1, 3, 32, 32), 0
    for name in complete_stages(loaded):
        maps = loaded.get_submodule(name)(maps)
        width += F.adaptive_max_pool2d(maps, 4).numel()
    assert width == 12_288
    first = np.load(next(models["imagenet32"].glob("*_01.npy")))
    assert torch.equal(loaded.conv1.conv.weight.detach(), torch.from_numpy(flipped(first).copy()))


def border_contrast(images):
    """Spread over the images at the border, in units of that in the middle; 1.0 for photographs of digits."""
    spread = images.float().std(0).mean(2)
    border = torch.cat([spread[0], spread[-1], spread[:, 0], spread[:, -1]])
    return float(border.mean() / spread[8:24, 8:24].mean())


@pytest.mark.data
def test_released_svhn_networks_are_complete_and_make_whole_images(models):
    discriminator = gan.load_theano(models["svhn32"], "svhn32")
    generator = gan.load_theano(models["svhn32"], "svhn32", "generator")
    assert complete_stages(discriminator) == ("conv1", "conv2", "conv3") and hasattr(discriminator, "logit")
    z = gan.sample_z(generator.arch, 64, torch.Generator().manual_seed(0))
    assert border_contrast(gan.sample(generator, z)) > 0.9  # measured 1.07
    for stage in generator.stage_names:  # with the flip undone, digits dissolve and borders turn gray
        conv = generator.get_submodule(stage).conv
        conv.weight.data = conv.weight.data.flip(2, 3)
    assert border_contrast(gan.sample(generator, z)) < 0.6  # measured 0.37
