"""The class-conditional MNIST networks of the paper's nearest-neighbour table (authors' code, train_cond_dcgan.py).

28x28 images in [0, 1] (Sigmoid); the one-hot label joins the input of every layer, as constant maps where the input is
maps; batch norm without gain and shift; 5x5 convolutions of stride 2 and fully connected layers of 1,024 units.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, one_hot

from gan.architectures import BATCHNORM_EPS, LEAK, initialise
from gan.parallel import BatchNorm1d, BatchNorm2d


@dataclass(frozen=True)
class ConditionalArchitecture:
    """One class-conditional pair; the defaults are the authors'."""

    width: int = 64  # channels of the first convolution; the second has twice as many
    units: int = 1024  # of the fully connected layers
    classes: int = 10
    nz: int = 100
    channels: int = 1
    z_distribution: str = "uniform"
    size: int = 28

    def __post_init__(self) -> None:
        for name in ("width", "units", "classes", "nz", "channels"):
            if not (isinstance(getattr(self, name), int) and getattr(self, name) > 0):
                raise ValueError(f"{name} must be a positive integer, got {getattr(self, name)!r}")
        if self.size % 4:
            raise ValueError(f"size must be a multiple of 4, got {self.size}")
        if self.z_distribution not in ("uniform", "normal"):
            raise ValueError(f"z_distribution must be uniform or normal, got {self.z_distribution!r}")

    @property
    def value_range(self) -> tuple[float, float]:
        """Of the images: Sigmoid."""
        return (0.0, 1.0)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the images."""
        return (self.channels, self.size, self.size)


CONDITIONAL_PRESETS = {"conditional28": ConditionalArchitecture()}


def _join(inputs: Tensor, label: Tensor) -> Tensor:
    """Units [N, D] or maps [N, C, H, W] with the one-hot label [N, classes] appended, as constant maps there."""
    if inputs.dim() == 4:
        label = label[:, :, None, None].expand(-1, -1, *inputs.shape[2:])
    return torch.cat([inputs, label], 1)


class ConditionalDiscriminator(nn.Module):
    """Images float32 [N, C, 28, 28] in [0, 1] and labels int64 [N] -> logits float32 [N]."""

    def __init__(self, arch: ConditionalArchitecture) -> None:
        super().__init__()
        self.arch = arch
        w, k = arch.width, arch.classes
        self.conv1 = nn.Conv2d(arch.channels + k, w, 5, 2, 2, bias=False)
        self.conv2 = nn.Conv2d(w + k, 2 * w, 5, 2, 2, bias=False)
        self.norm2 = BatchNorm2d(2 * w, eps=BATCHNORM_EPS, affine=False)
        self.linear3 = nn.Linear(2 * w * (arch.size // 4) ** 2 + k, arch.units, bias=False)
        self.norm3 = BatchNorm1d(arch.units, eps=BATCHNORM_EPS, affine=False)
        self.logit = nn.Linear(arch.units + k, 1, bias=False)
        initialise(self)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """float32 [N, C, 28, 28] in [0, 1], int64 [N] -> logits float32 [N]."""
        y = one_hot(labels, self.arch.classes).to(images.dtype)
        h = leaky_relu(self.conv1(_join(images, y)), LEAK)
        h = leaky_relu(self.norm2(self.conv2(_join(h, y))), LEAK)
        h = leaky_relu(self.norm3(self.linear3(_join(h.flatten(1), y))), LEAK)
        return self.logit(_join(h, y)).squeeze(1)


class ConditionalGenerator(nn.Module):
    """z float32 [N, nz] and labels int64 [N] -> images float32 [N, C, 28, 28] in [0, 1] (Sigmoid)."""

    def __init__(self, arch: ConditionalArchitecture) -> None:
        super().__init__()
        self.arch = arch
        w, k, side = arch.width, arch.classes, arch.size // 4
        self.linear1 = nn.Linear(arch.nz + k, arch.units, bias=False)
        self.norm1 = BatchNorm1d(arch.units, eps=BATCHNORM_EPS, affine=False)
        self.linear2 = nn.Linear(arch.units + k, 2 * w * side**2, bias=False)
        self.norm2 = BatchNorm1d(2 * w * side**2, eps=BATCHNORM_EPS, affine=False)
        self.deconv3 = nn.ConvTranspose2d(2 * w + k, w, 5, 2, 2, 1, bias=False)
        self.norm3 = BatchNorm2d(w, eps=BATCHNORM_EPS, affine=False)
        self.deconv4 = nn.ConvTranspose2d(w + k, arch.channels, 5, 2, 2, 1, bias=False)
        initialise(self)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """float32 [N, nz], int64 [N] -> float32 [N, C, 28, 28] in [0, 1]."""
        y = one_hot(labels, self.arch.classes).to(z.dtype)
        side = self.arch.size // 4
        h = torch.relu(self.norm1(self.linear1(_join(z, y))))
        h = torch.relu(self.norm2(self.linear2(_join(h, y)))).view(len(z), -1, side, side)
        h = torch.relu(self.norm3(self.deconv3(_join(h, y))))
        return torch.sigmoid(self.deconv4(_join(h, y)))
