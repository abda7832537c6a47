"""The supervised control: a network of the discriminator's architecture, trained only with the labels.

PAPER, section 5.2 (SVHN, 1000 labels): a purely supervised CNN of the same architecture on the same data. A random
search over 64 trials chooses its hyper-parameters; the 28.87 % reported is the validation error of the best trial.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from evaluation.splits import check_rows
from evaluation.trials import Trial

SCORED = 500  # images scored at once


@dataclass(frozen=True)
class SupervisedData:
    """Labelled images, and which of them train, which judge the trials, and which are scored once at the end.

    images: uint8 [N, H, W, C], array or memory map. labels: [N], of any dtype that np.unique sorts.
    train, validation, test: int [n > 0], distinct rows; no row is in two of them.
    Raises ValueError for images, labels and rows that do not fit, and for rows that are in two of them.

    >>> images = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 3), dtype=np.uint8)
    >>> data = evaluation.SupervisedData(images, np.arange(30) % 3, *np.split(np.arange(30), [12, 21]))
    >>> data.classes, len(data.test)
    (array([0, 1, 2]), 9)
    """

    images: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)
    train: np.ndarray = field(repr=False)
    validation: np.ndarray = field(repr=False)
    test: np.ndarray = field(repr=False)

    def __post_init__(self) -> None:
        if self.images.dtype != np.uint8 or self.images.ndim != 4:
            raise ValueError(f"images must be uint8 [N, H, W, C], got {self.images.dtype} {list(self.images.shape)}")
        if np.ndim(self.labels) != 1 or len(self.labels) != len(self.images):
            got = len(self.labels) if np.ndim(self.labels) == 1 else f"shape {np.shape(self.labels)}"
            raise ValueError(f"labels must number {len(self.images)}, one for each image, got {got}")
        for name in ("train", "validation", "test"):
            check_rows(name, getattr(self, name), len(self.images))
        for name, other in (("train", "validation"), ("test", "train"), ("test", "validation")):
            if len(both := np.intersect1d(getattr(self, name), getattr(self, other))):
                raise ValueError(f"{name} and {other} must have no row in common, got {len(both)} in both")

    @property
    def classes(self) -> np.ndarray:
        """The labels that the logits stand for, sorted, [K]: those of the train rows. Other labels count as missed."""
        return np.unique(self.labels[self.train])

    def right(self, network: nn.Module, rows: np.ndarray) -> NDArray[np.bool_]:
        """Tell whether each of `rows` gets its label, bool [n]; the network is left in evaluation mode."""
        network.eval()
        parts = [rows[start : start + SCORED] for start in range(0, len(rows), SCORED)]
        with torch.no_grad():
            largest = [network(_inputs(network, self.images[part])).argmax(1).cpu().numpy() for part in parts]
        return self.classes[np.concatenate(largest)] == self.labels[rows]


@dataclass(frozen=True)
class TrialResult:
    """A trained network, and its accuracies in [0, 1] on the train rows and on the validation rows.

    >>> images = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 3), dtype=np.uint8)
    >>> data = evaluation.SupervisedData(images, np.arange(30) % 3, *np.split(np.arange(30), [12, 21]))
    >>> make = lambda trial, generator: torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 3))
    >>> result = evaluation.run_trial(data, evaluation.draw_trials(1, seed=0)[0], make, epochs=1)
    >>> 0 <= result.validation_accuracy <= 1
    True
    """

    trial: Trial
    network: nn.Module = field(repr=False)
    train_accuracy: float
    validation_accuracy: float


def run_trial(
    data: SupervisedData,
    trial: Trial,
    make_network: Callable[[Trial, torch.Generator], nn.Module],
    *,
    epochs: int,
    device: torch.device | str = "cpu",
) -> TrialResult:
    """Train a network on the train rows. On a CPU, the same trial gives the same network, whatever ran before.

    make_network: (trial, generator seeded with trial.seed) -> a new module, float32 [n, C, H, W] in [-1, 1] to logits
        [n, K]. torch's global generator gets the same seed, and its own state back after the training.
    epochs: passes over the train rows, with cross-entropy and Adam; the learning rate falls linearly to zero.
    Raises ValueError for epochs or a batch_size below 1, and for a network with other outputs.

    >>> images = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 3), dtype=np.uint8)
    >>> data = evaluation.SupervisedData(images, np.arange(30) % 3, *np.split(np.arange(30), [12, 21]))
    >>> make = lambda trial, generator: torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 3))
    >>> results = [evaluation.run_trial(data, trial, make, epochs=1) for trial in evaluation.draw_trials(2, seed=0)]
    >>> best = max(results, key=lambda result: result.validation_accuracy)
    >>> data.right(best.network, data.test).shape  # the test rows, once
    (9,)
    """
    for name, count in (("epochs", epochs), ("batch_size", trial.batch_size)):
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")
    device = torch.device(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):  # dropout uses the global generator
        torch.manual_seed(trial.seed)
        network = make_network(trial, torch.Generator().manual_seed(trial.seed)).to(device)
        _train(network, trial, data, epochs)
    scores = [float(data.right(network, rows).mean()) for rows in (data.train, data.validation)]
    return TrialResult(trial, network, *scores)


def _train(network: nn.Module, trial: Trial, data: SupervisedData, epochs: int) -> None:
    """Train in batches of one size, shuffled anew every epoch; the incomplete last batch of an epoch is left out."""
    network.train()
    rng, steps = np.random.default_rng(trial.seed), max(1, len(data.train) // trial.batch_size)
    adam = torch.optim.Adam(network.parameters(), trial.lr, (trial.beta1, 0.999), weight_decay=trial.weight_decay)
    decay = torch.optim.lr_scheduler.LinearLR(adam, 1.0, 0.0, total_iters=epochs * steps)
    classes = data.classes
    for _ in range(epochs):
        order = rng.permutation(data.train)
        for rows in (order[i * trial.batch_size :][: trial.batch_size] for i in range(steps)):
            logits = network(_inputs(network, data.images[rows]))
            if logits.shape != (len(rows), len(classes)):
                raise ValueError(
                    f"the network must give logits [{len(rows)}, {len(classes)}], got {list(logits.shape)}"
                )
            target = torch.from_numpy(np.searchsorted(classes, data.labels[rows])).to(logits.device)
            adam.zero_grad()
            F.cross_entropy(logits, target).backward()
            adam.step()
            decay.step()


def _inputs(network: nn.Module, images: np.ndarray) -> Tensor:
    """Convert uint8 [n, H, W, C] to float32 [n, C, H, W] in [-1, 1], on the network's device."""
    x = torch.from_numpy(images).to(next(network.parameters()).device).permute(0, 3, 1, 2)
    return x / 127.5 - 1
