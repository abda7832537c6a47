"""The supervised control: a network of the discriminator's architecture, trained with the labels alone.

PAPER, section 5.2 (SVHN, 1000 labels): a purely supervised CNN of the same architecture on the same data, its
hyper-parameters by random search over 64 trials; the 28.87 % reported is the validation error of the best.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evaluation.trials import Space, Trial, draw_trials

Progress = Callable[..., Iterable]  # as tqdm: progress(iterable, total=, desc=, unit=)

SCORED = 500  # images scored at once


@dataclass(frozen=True)
class Search:
    """Every trial in the order drawn, with its accuracy in [0, 1] on the validation rows, and the best one's network.

    Of equals the first is best. classes: [K], the labels that the logits stand for.
    """

    trials: tuple[tuple[Trial, float], ...]
    best: Trial
    network: nn.Module = field(repr=False)
    classes: np.ndarray = field(repr=False)
    seen: np.ndarray = field(repr=False)  # rows that trained or judged

    def test_accuracy(self, images: np.ndarray, labels: np.ndarray, test: np.ndarray) -> float:
        """The best network's accuracy in [0, 1] on rows `test` of the same images and labels, to be asked for once.

        Raises ValueError where a row took part in training or validation. For images of another array: `accuracy`.
        """
        test = _rows("test", test, len(images))
        if len(both := np.intersect1d(test, self.seen)):
            raise ValueError(f"test rows must not be among those trained or validated on, {len(both)} are")
        return accuracy(self.network, images, _targets(labels, self.classes), test)


def random_search(
    make_network: Callable[[Trial, torch.Generator], nn.Module],
    images: np.ndarray,
    labels: np.ndarray,
    train: np.ndarray,
    validation: np.ndarray,
    *,
    epochs: int,
    seed: int,
    trials: int = 64,
    space: Space | None = None,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> Search:
    """Trains a network in every trial and keeps the one of highest accuracy on the validation rows.

    make_network: (trial, generator seeded with trial.seed) -> a new module, float32 [n, C, H, W] in [-1, 1] to logits
        [n, K]; torch's global generator is seeded likewise while it runs, and put back after the trial.
    images: uint8 [N, H, W, C], array or memory map. labels: [N], of any dtype that np.unique sorts.
    train, validation: distinct rows with none in common. K classes are among the train rows; others count as missed.
    epochs: over the train rows, of cross-entropy by Adam, its rate falling linearly to zero.
    space: what trials are drawn from; Space() when None.
    seed: of all trials; on a CPU the same seed gives the same result, whatever ran before.
    progress: shows the trials as they are done, as tqdm would.
    Raises ValueError for images, labels, rows or counts that do not fit, and for networks of other outputs.
    """
    if images.dtype != np.uint8 or images.ndim != 4:
        raise ValueError(f"images must be uint8 [N, H, W, C], got {images.dtype} {list(images.shape)}")
    if len(labels) != len(images):
        raise ValueError(f"labels must number {len(images)}, one an image, got {len(labels)}")
    train, validation = _rows("train", train, len(images)), _rows("validation", validation, len(images))
    if len(both := np.intersect1d(train, validation)):
        raise ValueError(f"train and validation rows must have none in common, {len(both)} are in both")
    if epochs < 1 or trials < 1:
        raise ValueError(f"epochs and trials must be at least 1, got {epochs} and {trials}")
    classes = np.unique(labels[train])
    target = _targets(labels, classes)
    device = torch.device(device)
    outcomes: list[tuple[Trial, float]] = []
    drawn: Iterable[Trial] = draw_trials(trials, seed=seed, space=space or Space())
    for trial in drawn if progress is None else progress(drawn, total=trials, desc="random search", unit="trial"):
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):  # dropout knows no other one
            torch.manual_seed(trial.seed)
            network = make_network(trial, torch.Generator().manual_seed(trial.seed)).to(device)
            _train(network, trial, images, target, train, epochs, len(classes))
        score = accuracy(network, images, target, validation)
        if all(score > before for _, before in outcomes):
            best, best_network = trial, network
        outcomes.append((trial, score))
    return Search(tuple(outcomes), best, best_network, classes, np.union1d(train, validation))


@torch.no_grad()
def accuracy(network: nn.Module, images: np.ndarray, target: np.ndarray, rows: np.ndarray) -> float:
    """Share of `rows` whose largest logit is target's, int [N] in Search.classes; leaves evaluation mode on."""
    network.eval()
    hits = 0
    for start in range(0, len(rows), SCORED):
        some = rows[start : start + SCORED]
        hits += int((network(_inputs(network, images, some)).argmax(1).cpu().numpy() == target[some]).sum())
    return hits / len(rows)


def _train(
    network: nn.Module, trial: Trial, images: np.ndarray, target: np.ndarray, rows: np.ndarray, epochs: int, k: int
) -> None:
    """Trains on the rows in batches of one size, dealt anew every epoch; what is left of an epoch is not used."""
    network.train()
    rng, steps = np.random.default_rng(trial.seed), max(1, len(rows) // trial.batch_size)
    adam = torch.optim.Adam(network.parameters(), trial.lr, (trial.beta1, 0.999), weight_decay=trial.weight_decay)
    decay = torch.optim.lr_scheduler.LinearLR(adam, 1.0, 0.0, total_iters=epochs * steps)
    for _ in range(epochs):
        order = rng.permutation(rows)
        for some in (order[i * trial.batch_size :][: trial.batch_size] for i in range(steps)):
            logits = network(_inputs(network, images, some))
            if logits.shape != (len(some), k):
                raise ValueError(f"the network must give logits [{len(some)}, {k}], got {list(logits.shape)}")
            adam.zero_grad()
            F.cross_entropy(logits, torch.from_numpy(target[some]).to(logits.device)).backward()
            adam.step()
            decay.step()


def _inputs(network: nn.Module, images: np.ndarray, rows: np.ndarray) -> Tensor:
    """float32 [n, C, H, W] in [-1, 1] on the network's device."""
    x = torch.from_numpy(images[rows]).to(next(network.parameters()).device).permute(0, 3, 1, 2)
    return x / 127.5 - 1


def _targets(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Index int64 [N] of every label among the sorted classes, -1 for one that is none of them."""
    index = np.searchsorted(classes, labels).clip(max=len(classes) - 1)
    return np.where(classes[index] == labels, index, -1)


def _rows(name: str, rows: np.ndarray, n: int) -> np.ndarray:
    """The rows; ValueError unless distinct indices from 0 to n - 1, at least one."""
    rows = np.asarray(rows)
    if rows.ndim != 1 or len(rows) == 0 or not np.issubdtype(rows.dtype, np.integer):
        raise ValueError(f"{name} must hold row indices, int [m > 0], got {rows.dtype} {list(rows.shape)}")
    if rows.min() < 0 or rows.max() >= n or len(np.unique(rows)) < len(rows):
        raise ValueError(f"{name} must hold distinct row indices from 0 to {n - 1}")
    return rows
