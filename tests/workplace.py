"""What tests of commands share: a workplace of their own, and images that a linear classifier can learn."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from experiments import cli
from experiments.data.packed import PackedSet, pack
from experiments.data.sets import cifar10
from experiments.run.context import Run


@dataclass(frozen=True)
class Workplace:
    """Its folders, as a command sees them."""

    root: Path
    monkeypatch: pytest.MonkeyPatch

    @property
    def run(self) -> Run:
        """The run of a command here."""
        return Run(self.root / "data", self.root / "runs", results=self.root / "results")

    def main(self, *arguments: str) -> int:
        """`dcgan-eval ARGUMENTS`: the exit code."""
        return cli.main(list(arguments), results=self.run.results)

    def pack(self, name: str, images: np.ndarray, labels: np.ndarray | None = None) -> PackedSet:
        """A packed set in RUNS_ROOT; CIFAR-10's digests are set to those of a part of it."""
        if name in ("cifar10-train", "cifar10-test"):
            assert labels is not None
            for what, array in (("images", images), ("labels", labels.astype(np.uint8))):
                key = f"{name.removeprefix('cifar10-')} {what}"
                self.monkeypatch.setitem(cifar10.SHA256, key, hashlib.sha256(array).hexdigest())
        folder = self.run.runs_root / "packed" / name
        details = {"class_names": list(cifar10.CLASS_NAMES)} if name.startswith("cifar10-") else None
        how = {"source": "fabricated", "transform": "none", "details": details}
        return pack(folder, [images], shape=images.shape, labels=labels, **how)


def learnable(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [n, 32, 32, 3] that a linear classifier can learn, and their labels 0 to 9 in a random order."""
    labels = rng.permutation(np.arange(n) % 10)
    images = rng.integers(0, 128, (n, 32, 32, 3), dtype=np.uint8)
    for i, label in enumerate(labels):  # class k: a bright block at its own place
        images[i, 3 * label : 3 * label + 4, :, label % 3] += 100
    return images, labels
