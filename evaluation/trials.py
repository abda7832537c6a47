"""Hyper-parameters drawn at random, for the supervised control (evaluation.supervised).

The paper names 64 random trials, but neither hyper-parameters nor ranges; `Space` is this project's choice.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Trial:
    """One draw of hyper-parameters.

    `dropout` is used by the function that makes the network. `seed` decides the weights, the order and the dropout.

    >>> trial = evaluation.Trial(lr=1e-3, weight_decay=1e-4, dropout=0.5, beta1=0.9, batch_size=64, seed=0)
    >>> trial.batch_size
    64
    """

    lr: float
    weight_decay: float
    dropout: float
    beta1: float
    batch_size: int
    seed: int


@dataclass(frozen=True)
class Space:
    """What trials are drawn from.

    lr and weight_decay are log-uniform in (low, high), dropout is uniform in (low, high), and beta1 and batch_size are
    one of their values, with equal chances.

    >>> narrow = evaluation.Space(lr=(1e-4, 1e-3))
    >>> 1e-4 <= evaluation.draw_trials(1, seed=0, space=narrow)[0].lr <= 1e-3
    True
    """

    lr: tuple[float, float] = (1e-4, 1e-2)  # two decades around Adam's default
    weight_decay: tuple[float, float] = (1e-6, 1e-2)  # from one that does not matter to one that is too much
    dropout: tuple[float, float] = (0.0, 0.7)
    beta1: tuple[float, ...] = (0.5, 0.9)  # the GAN's value, and Adam's default
    batch_size: tuple[int, ...] = (32, 64, 128)


def draw_trials(count: int, *, seed: int, space: Space = Space()) -> tuple[Trial, ...]:
    """Draw `count` trials independently; a larger count gives the same trials first.

    >>> trials = evaluation.draw_trials(64, seed=0)
    >>> trials[:2] == evaluation.draw_trials(2, seed=0)
    True
    """
    rng = np.random.default_rng(seed)

    def log_uniform(low: float, high: float) -> float:
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    return tuple(
        Trial(
            lr=log_uniform(*space.lr),
            weight_decay=log_uniform(*space.weight_decay),
            dropout=float(rng.uniform(*space.dropout)),
            beta1=float(rng.choice(space.beta1)),
            batch_size=int(rng.choice(space.batch_size)),
            seed=int(rng.integers(2**31)),
        )
        for _ in range(count)
    )
