"""The DCGANs of arXiv 1511.06434 as data, and the two networks built from them.

The paper's tables rest on three different networks, read off the authors' released code and weights
(Newmu/dcgan_code, MIT): `imagenet32` (CIFAR-10 table), `svhn32` (SVHN table) and `dcgan64` (LSUN, faces);
`dcgan32` is the common 32-pixel network for MNIST-like sets. A discriminator is a row of stages
`conv1 .. convK`, each convolution -> batch norm (not in conv1) -> LeakyReLU(0.2), then one linear map of the flattened
last map to a logit. A generator mirrors it.
"""

import math
from collections import OrderedDict
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import is_parametrized

from gan.fieldtypes import check_fields
from gan.parallel import BatchNorm1d, BatchNorm2d

BATCHNORM_EPS = 1e-8  # the authors' code; PyTorch's default would be 1e-5
INIT_SD = 0.02  # weights ~ N(0, 0.02), gains ~ N(1, 0.02): paper section 4 and the authors' code
LEAK = 0.2  # paper section 4
LARGEST = 2**31  # weights of a pair, and values of an image: 8 GiB; a damaged header cannot ask for more


@dataclass(frozen=True)
class Architecture:
    """One DCGAN pair.

    `multipliers` and `strides` have one entry per discriminator stage; stage i has `width * multipliers[i]` channels.
    `up_multipliers` are the input channels of the generator's deconvolutions, whose strides are `strides` reversed.
    Raises ValueError for what no network can be built of, and for more than `LARGEST` weights.
    """

    width: int  # channels of the first discriminator stage
    multipliers: tuple[int, ...]  # channels of each stage, in units of `width`
    strides: tuple[int, ...]
    kernel: int
    nz: int  # length of z
    z_distribution: str  # "uniform": uniform[-1, 1]; "normal": standard Gaussian
    up_multipliers: tuple[int, ...]
    size: int = 32  # image height and width, pixels
    channels: int = 3  # image channels
    flat_batchnorm: bool = False  # the generator's first batch norm works on flat units, not on 4x4 maps
    spectral_norm: bool = (
        False  # the discriminator's weights at spectral norm 1 in place of batch norm (Miyato et al. 2018)
    )

    def __post_init__(self) -> None:
        check_fields(self)
        stages = len(self.strides)
        if not len(self.multipliers) == len(self.up_multipliers) == stages > 0:
            raise ValueError(
                "multipliers, up_multipliers and strides must be equally long and not empty, got "
                f"{len(self.multipliers)}, {len(self.up_multipliers)} and {stages}"
            )
        for name in ("width", "kernel", "nz", "size", "channels"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be a positive integer, got {getattr(self, name)!r}")
        for name in ("multipliers", "up_multipliers"):
            if min(getattr(self, name)) < 1:
                raise ValueError(f"{name} must be positive integers, got {getattr(self, name)}")
        if self.z_distribution not in ("uniform", "normal"):
            raise ValueError(f"z_distribution must be uniform or normal, got {self.z_distribution!r}")
        even = self.kernel % 2 == 0  # centred only where it also shrinks the map
        if min(self.strides) < 1 + even:
            raise ValueError(f"strides must be at least {1 + even} with kernel {self.kernel}, got {self.strides}")
        if max(self.strides) > self.kernel:
            raise ValueError(
                f"kernel must be at least {max(self.strides)}, the largest stride, or pixels between the windows are "
                f"never seen, got {self.kernel}"
            )
        down = math.prod(self.strides)
        if self.size != 4 * down:
            raise ValueError(f"strides {self.strides} take {self.size} pixels to {self.size / down:g}, not to 4")
        if (values := max(self.weights, self.channels * self.size**2)) > LARGEST:
            raise ValueError(f"weights, and values of an image, must be at most {LARGEST:,}, got {values:,}")

    @property
    def weights(self) -> int:
        """Number of weights of both networks, without those of batch norm."""
        down = [self.channels, *self.stage_channels]
        up = [*(self.width * m for m in self.up_multipliers), self.channels]
        pairs = sum(a * b for channels in (down, up) for a, b in pairwise(channels))
        return self.kernel**2 * pairs + 16 * (down[-1] + self.nz * up[0])

    @property
    def stage_channels(self) -> tuple[int, ...]:
        """Output channels of conv1 .. convK."""
        return tuple(self.width * m for m in self.multipliers)

    @property
    def stage_names(self) -> tuple[str, ...]:
        """conv1 .. convK: the names of the discriminator's stages."""
        return tuple(f"conv{i}" for i in range(1, len(self.strides) + 1))

    @property
    def value_range(self) -> tuple[float, float]:
        """Of the images: Tanh."""
        return (-1.0, 1.0)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the images."""
        return (self.channels, self.size, self.size)


PRESETS: dict[str, Architecture] = {
    # six 3x3 convolutions; 1792 channels x 4 x 4 = 28,672 features; the paper's CIFAR-10 network
    "imagenet32": Architecture(
        width=128,
        multipliers=(1, 1, 2, 2, 4, 4),
        strides=(1, 2, 1, 2, 1, 2),
        kernel=3,
        nz=256,
        z_distribution="uniform",
        up_multipliers=(4, 4, 2, 2, 1, 1),
        flat_batchnorm=True,
    ),
    # three 5x5 convolutions; 448 channels x 4 x 4 = 7,168 features; the paper's SVHN network
    "svhn32": Architecture(
        width=64,
        multipliers=(1, 2, 4),
        strides=(2, 2, 2),
        kernel=5,
        nz=100,
        z_distribution="normal",
        up_multipliers=(4, 2, 1),
        flat_batchnorm=True,  # the released gains and shifts have 4096 entries
    ),
    # LSUN bedrooms and faces (paper figure 1); kernel=4 gives the networks of the common PyTorch ports
    "dcgan64": Architecture(
        width=128,
        multipliers=(1, 2, 4, 8),
        strides=(2, 2, 2, 2),
        kernel=5,
        nz=100,
        z_distribution="uniform",
        up_multipliers=(8, 4, 2, 1),
        size=64,
    ),
    # MNIST and Fashion-MNIST at 32x32
    "dcgan32": Architecture(
        width=256,
        multipliers=(1, 2, 4),
        strides=(2, 2, 2),
        kernel=4,
        nz=100,
        z_distribution="uniform",
        up_multipliers=(4, 2, 1),
    ),
}


def architecture(arch: "str | Architecture") -> Architecture:
    """The `Architecture` itself, or the preset of that name (ValueError names the presets)."""
    if isinstance(arch, Architecture):
        return arch
    if arch not in PRESETS:
        raise ValueError(f"unknown preset {arch!r}; the presets are {', '.join(PRESETS)}")
    return PRESETS[arch]


def _padding(kernel: int) -> int:
    """Padding for which a convolution divides the map size by exactly its stride: 1, 1, 2 for kernels 3, 4, 5."""
    return (kernel - 1) // 2


class Discriminator(nn.Module):
    """Images float32 [N, C, H, W] in [-1, 1] -> logits float32 [N].

    Stages are the submodules `conv1 .. convK`, each ending in its LeakyReLU; `logit` is the last linear map.
    Freshly built weights are drawn from torch's global generator; see `initialise` for a seeded draw.
    """

    def __init__(self, arch: str | Architecture) -> None:
        super().__init__()
        self.arch = architecture(arch)
        a = self.arch
        inputs = a.channels
        for i, (name, outputs, stride) in enumerate(zip(a.stage_names, a.stage_channels, a.strides, strict=True)):
            stage = OrderedDict[str, nn.Module](
                conv=nn.Conv2d(inputs, outputs, a.kernel, stride, _padding(a.kernel), bias=False)
            )
            if (
                i > 0 and not a.spectral_norm
            ):  # "not applying batchnorm to ... the discriminator input layer" (paper section 3)
                stage["norm"] = BatchNorm2d(outputs, eps=BATCHNORM_EPS)
            stage["act"] = nn.LeakyReLU(LEAK, inplace=True)
            self.add_module(name, nn.Sequential(stage))
            inputs = outputs
        self.logit = nn.Linear(inputs * 4 * 4, 1, bias=False)
        if a.spectral_norm:
            for module in [m for m in self.modules() if isinstance(m, nn.Conv2d | nn.Linear)]:
                spectral_norm(module)
        initialise(self)

    def units(self, images: Tensor) -> Tensor:
        """float32 [N, C, H, W] in [-1, 1] -> the flattened last map, float32 [N, C_last * 16]."""
        maps = images
        for name in self.arch.stage_names:
            maps = self.get_submodule(name)(maps)
        return maps.flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        """float32 [N, C, H, W] in [-1, 1] -> logits float32 [N]."""
        units = self.units(images)
        return self.logit(units).squeeze(1)


class Generator(nn.Module):
    """z float32 [N, nz] -> images float32 [N, C, H, W] in [-1, 1] (Tanh)."""

    def __init__(self, arch: str | Architecture) -> None:
        super().__init__()
        self.arch = architecture(arch)
        a = self.arch
        inputs = [a.width * m for m in a.up_multipliers]
        self._first = inputs[0]
        self.project = nn.Linear(a.nz, inputs[0] * 4 * 4, bias=False)
        self.project_norm: nn.Module = (
            BatchNorm1d(inputs[0] * 4 * 4, eps=BATCHNORM_EPS)
            if a.flat_batchnorm
            else BatchNorm2d(inputs[0], eps=BATCHNORM_EPS)
        )
        strides = a.strides[::-1]
        for i, (channels, stride) in enumerate(zip(inputs, strides, strict=True), start=1):
            last = i == len(inputs)
            outputs = a.channels if last else inputs[i]
            padding = _padding(a.kernel)
            extra = stride - a.kernel + 2 * padding  # makes the map exactly `stride` times larger
            stage = OrderedDict[str, nn.Module](
                conv=nn.ConvTranspose2d(channels, outputs, a.kernel, stride, padding, extra, bias=False)
            )
            if last:
                stage["act"] = nn.Tanh()
            else:
                stage["norm"] = BatchNorm2d(outputs, eps=BATCHNORM_EPS)
                stage["act"] = nn.ReLU(inplace=True)
            self.add_module(f"deconv{i}", nn.Sequential(stage))
        initialise(self)

    @property
    def stage_names(self) -> tuple[str, ...]:
        """deconv1 .. deconvK: the names of the stages."""
        return tuple(f"deconv{i}" for i in range(1, len(self.arch.strides) + 1))

    def forward(self, z: Tensor) -> Tensor:
        """float32 [N, nz] -> float32 [N, C, H, W] in [-1, 1]."""
        units = self.project(z)
        if self.arch.flat_batchnorm:
            maps = self.project_norm(units).view(-1, self._first, 4, 4)
        else:
            maps = self.project_norm(units.view(-1, self._first, 4, 4))
        maps = torch.relu(maps)
        for name in self.stage_names:
            maps = self.get_submodule(name)(maps)
        return maps


@torch.no_grad()
def initialise(module: nn.Module, generator: torch.Generator | None = None) -> None:
    """The paper's initialisation, in place: weights ~ N(0, 0.02), batch-norm gains ~ N(1, 0.02), shifts 0.

    Draws come from `generator` (torch's global one when None), in the order of `module.modules()`.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            # the parameter itself, also where spectral norm makes `part.weight` a product of it
            next(part.parameters()).normal_(0.0, INIT_SD, generator=generator)
            if isinstance(part, nn.Linear) and part.bias is not None:  # of the rotation task
                part.bias.zero_()
            if is_parametrized(part, "weight"):
                for vector in part.parametrizations.weight.buffers():  # type: ignore[union-attr]
                    vector.normal_(generator=generator).div_(vector.norm())
                for _ in range(15):
                    _ = part.weight  # one power iteration each
        elif isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.reset_running_stats()
            if part.affine:
                part.weight.normal_(1.0, INIT_SD, generator=generator)
                part.bias.zero_()
