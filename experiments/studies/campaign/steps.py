"""The steps of the campaign, in order of worth."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DISCRIMINATOR = ("discriminator",)
BOTH = ("discriminator", "generator")
CIFAR10 = ((), ("--mirrored",), ("--protocol", "cifar10/400-per-class"))
LONG = 15_360_000  # images: 60,000 updates of each network with minibatches of 128


@dataclass(frozen=True)
class Step:
    """Networks to train, and rows to measure.

    minutes: expected on an H100. recipe: what is trained, with `settings`; none for rows alone. rounds: the networks
    that are rounded for shipping. rows: the arguments of each `eval`; of the trained network, if there is one.
    """

    name: str
    why: str
    minutes: float
    recipe: str = ""
    settings: tuple[str, ...] = ()
    rounds: tuple[str, ...] = DISCRIMINATOR
    rows: tuple[tuple[str, ...], ...] = ()

    def folder(self, runs_root: Path) -> Path:
        """The folder of the training run."""
        return runs_root / "train" / self.name

    def rounded(self, runs_root: Path) -> Path:
        """The folder of the rounded networks."""
        return runs_root / "weights" / self.name

    def commands(self, runs_root: Path) -> Iterator[tuple[str, ...]]:
        """Yield the arguments of each command of dcgan-eval."""
        measured: tuple[str, ...] = ()
        if self.recipe:
            changes = (word for setting in self.settings for word in ("--set", setting))
            yield ("train", self.recipe, *changes, "--out", str(self.folder(runs_root)))
            last = f"{self.rounds[-1]}.safetensors"
            measured = (str(self.rounded(runs_root) / last),)
        for row in self.rows:
            yield ("eval", *measured, *row)


def _contrast(seed: int, why: str) -> Step:
    settings = (f"training.images={LONG}", f"training.seed={seed}")
    return Step(f"contrast-long-{seed}", why, 10, "imagenet32-contrast", settings, rows=CIFAR10)


STEPS = (
    _contrast(0, "our best objective at one and a half times the length of the network that comes with the project"),
    Step(
        "without-gan-long",
        "the same tasks without the GAN, for as many discriminator updates: the best of five objectives in short runs",
        7,
        "imagenet32-contrast",
        ("training.adversarial=0", f"training.images={LONG // 2}"),
        rows=CIFAR10,
    ),
    _contrast(1, "the first with another seed, for the spread"),
    _contrast(2, "the same with a third seed"),
    Step("views", "the GAN alone on views, by its own recipe", 3, "imagenet32-views", rows=CIFAR10),
    Step(
        "views-long",
        "the same as long as the others",
        6,
        "imagenet32-views",
        (f"training.images={LONG}",),
        rows=CIFAR10,
    ),
    Step("faces-64", "faces at full width", 8, "faces-64", rounds=BOTH),
    Step("lsun-bedroom-64", "bedrooms at full width", 20, "lsun-bedroom-64", rounds=BOTH),
    Step(
        "mnist-conditional",
        "the paper's nearest-neighbour table, at its true length",
        6,
        "mnist-conditional",
        rounds=("generator",),
        rows=(("--table", "mnist"), ("--table", "mnist", "--samples", "1000000")),
    ),
    Step("svhn32", "SVHN's own network", 8, "svhn32", rows=(("--table", "svhn"),)),
    Step(
        "supervised",
        "the supervised control of SVHN, with the paper's 64 trials",
        15,
        rows=(("supervised:svhn32", "--table", "svhn", "--trials", "64"),),
    ),
)
