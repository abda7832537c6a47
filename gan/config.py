"""How a DCGAN is trained: lengths, rates, views of the real images, and the weights of the objectives."""

from dataclasses import dataclass

from gan.architectures import LARGEST, Architecture
from gan.augmentation import POLICIES
from gan.conditional import ConditionalArchitecture
from gan.fieldtypes import check_fields

PRECISIONS = ("float32", "bfloat16")
SEEDS = 2**40  # a pass over the images is drawn from seed * 1,000,003 + pass, in 64 bits
CONTRAST_BATCH = 4  # smallest minibatch of NT-Xent: with two images, an embedding has only two negatives


def check_conditional(arch: ConditionalArchitecture) -> None:
    """Raise ValueError for fields of wrong types, and for more than `LARGEST` weights or values of an image."""
    check_fields(arch)
    if arch.size < 4:
        raise ValueError(f"size must be a positive multiple of 4, got {arch.size}")
    inputs = max(2 * arch.width * (arch.size // 4) ** 2, arch.nz) + arch.classes
    joined = (arch.channels + 2 * arch.width + arch.classes) * 2 * arch.width
    if (values := max(inputs * arch.units, 25 * joined, arch.channels * arch.size**2)) > LARGEST:
        raise ValueError(f"weights, and values of an image, must be at most {LARGEST:,}, got {values:,}")


@dataclass(frozen=True)
class TrainingConfig:
    """How a DCGAN is trained. Lengths are counted in images shown, so that sets and batch sizes can be compared.

    >>> gan.TrainingConfig(images=12_800, decay_from=12_800, batch_size=64).steps
    200
    """

    images: int  # images shown in all: minibatches x batch_size; generator steps count, as in the authors' epochs
    decay_from: int  # images shown before the learning rate begins to fall to zero; `images` for no decay
    batch_size: int = 128  # paper section 4
    lr: float = 2e-4  # paper section 4
    beta1: float = 0.5  # paper section 4
    weight_decay: float = 0.0  # L2, added to the gradient; 1e-5 for faces in the authors' code
    seed: int = 0
    discriminator_steps: int = 1  # discriminator updates per generator update, each with a minibatch of its own
    rotation: float = 0.0  # weight of the rotation task; 1 in Chen et al.
    r1: float = 0.0  # gamma of the R1 penalty; 10 in Mescheder et al.
    augment: tuple[str, ...] = ()  # DiffAugment: any of color, translation, cutout
    precision: str = "float32"  # "bfloat16" is autocast, for GPUs and for CPUs that multiply it (AVX-512 BF16)
    crop: float = 1.0  # side of the smallest view of a real image, as a share of the image's side
    mirror: bool = False  # whether half of the views are mirrored
    contrast: float = 0.0  # weight of NT-Xent between two views of each real image (Chen et al. 2020)
    temperature: float = 0.2  # of NT-Xent; 0.1 to 1 in Chen et al.
    contrast_crop: float = 0.5  # `crop` of the views that NT-Xent compares
    contrast_color: float = 0.4  # their brightness, contrast and saturation are multiplied by 1 - this to 1 + this
    contrast_gray: float = 0.2  # share of them that lose their colors
    adversarial: float = 1.0  # weight of the discriminator's GAN loss; 0 trains the discriminator alone, a control

    def __post_init__(self) -> None:
        check_fields(self)
        if self.images < self.batch_size:
            raise ValueError(f"images must be at least one batch of {self.batch_size}, got {self.images}")
        if not 0 <= self.decay_from <= self.images:
            raise ValueError(f"decay_from must lie in [0, images = {self.images}], got {self.decay_from}")
        if self.batch_size < 2:
            raise ValueError(f"batch_size must be at least 2 (batch norm), got {self.batch_size}")
        if not (self.lr > 0 and 0 <= self.beta1 < 1 and self.weight_decay >= 0):
            raise ValueError(
                f"need lr > 0, 0 <= beta1 < 1 and weight_decay >= 0, got {self.lr}, {self.beta1}, {self.weight_decay}"
            )
        if not 0 <= self.seed < SEEDS:
            raise ValueError(f"seed must lie in [0, 2**40), got {self.seed}")
        if self.discriminator_steps < 1:
            raise ValueError(f"discriminator_steps must be at least 1, got {self.discriminator_steps}")
        if unknown := [policy for policy in self.augment if policy not in POLICIES]:
            raise ValueError(f"unknown augmentation {unknown[0]!r}; known: {', '.join(POLICIES)}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {self.precision!r}")
        self._check_views()
        self._check_objectives()

    def _check_views(self) -> None:
        for name in ("crop", "contrast_crop"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in (0, 1], got {getattr(self, name)}")
        for name in ("contrast_color", "contrast_gray"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}")

    def _check_objectives(self) -> None:
        for name in ("rotation", "r1", "contrast", "adversarial"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if self.temperature <= 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}")
        if self.contrast and self.batch_size < CONTRAST_BATCH:
            raise ValueError(f"contrast needs a batch_size of at least {CONTRAST_BATCH}, got {self.batch_size}")
        if not self.adversarial and (self.r1 or not (self.rotation or self.contrast)):
            raise ValueError("adversarial = 0 needs another objective: rotation or contrast above 0, and r1 = 0")

    def check_fits(self, arch: Architecture | ConditionalArchitecture) -> None:
        """Raise ValueError for an objective that networks of this architecture cannot have, or an impossible one."""
        if isinstance(arch, ConditionalArchitecture):
            check_conditional(arch)
        for name in ("rotation", "contrast"):
            if isinstance(arch, ConditionalArchitecture) and getattr(self, name):
                raise ValueError(f"{name} must be 0 for class-conditional networks, got {getattr(self, name)}")

    @property
    def steps(self) -> int:
        """Minibatches in all. Each updates one network; by default, half of them update the generator."""
        return self.images // self.batch_size

    def updated(self, step: int) -> str:
        """Return which network 0-based `step` updates: "generator" or "discriminator"."""
        generators = self.adversarial and step % (1 + self.discriminator_steps) == 0
        return "generator" if generators else "discriminator"

    def lr_at(self, step: int) -> float:
        """Return the learning rate of 0-based `step`: constant until `decay_from`, then linear to zero at `images`."""
        seen = step * self.batch_size
        if seen <= self.decay_from or self.decay_from >= self.images:
            return self.lr
        return self.lr * max(0.0, (self.images - seen) / (self.images - self.decay_from))
