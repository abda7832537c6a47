"""Seeded splits of labelled training data.

The paper's protocol holds out 10,000 training images to choose the SVM's C (DCGAN paper, section 5; the authors' code
for SVHN). Test data never takes part in that choice.
"""

import numpy as np


def stratified_holdout(labels: np.ndarray, size: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Hold out `size` rows, each class in proportion; the same seed gives the same rows.

    A class's share is its proportion of `labels`, rounded by largest remainder (ties to the lower label), so the shares
    add up to exactly `size`.

    Args:
        labels: any dtype that `np.unique` sorts, [N].
        size: the number of rows to hold out, from 1 to N - 1.
        seed: seed of the shuffle within each class.

    Returns:
        (fit_index, holdout_index): int64 [N - size] and int64 [size], each sorted, together 0 .. N - 1.

    Raises:
        ValueError: the labels are not one-dimensional, size is out of range, or a class has no row left to fit.

    >>> evaluation.stratified_holdout(np.array([0, 0, 0, 0, 1, 1]), 3, seed=0)
    (array([1, 3, 4]), array([0, 2, 5]))
    """
    labels = np.asarray(labels)
    if labels.ndim != 1:
        raise ValueError(f"labels must be one-dimensional [N], got shape {labels.shape}")
    if not 1 <= size < len(labels):
        raise ValueError(f"size must be from 1 to {len(labels) - 1} (one less than the labels), got {size}")
    classes, label_index, counts = np.unique(labels, return_inverse=True, return_counts=True)
    exact = counts * (size / len(labels))
    share = np.floor(exact).astype(np.int64)
    largest_remainder = np.argsort(share - exact, kind="stable")
    share[largest_remainder[: size - share.sum()]] += 1
    if (share == counts).any():
        emptied = classes[share == counts][0]
        raise ValueError(f"size {size} holds out every row of class {emptied}; hold out fewer rows")

    rng = np.random.default_rng(seed)
    held = np.zeros(len(labels), dtype=bool)
    for c, n_held in enumerate(share):
        held[rng.permutation(np.flatnonzero(label_index == c))[:n_held]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


def check_rows(name: str, rows: np.ndarray, n: int) -> None:
    """Raise ValueError unless the rows are distinct indices from 0 to n - 1, at least one."""
    if (
        not isinstance(rows, np.ndarray)
        or rows.ndim != 1
        or len(rows) == 0
        or not np.issubdtype(rows.dtype, np.integer)
    ):
        raise ValueError(f"{name} must hold row indices, int [m > 0], got {_seen(rows)}")
    if rows.min() < 0 or rows.max() >= n or len(np.unique(rows)) < len(rows):
        raise ValueError(f"{name} must hold distinct row indices from 0 to {n - 1}")


def _seen(rows: object) -> str:
    return f"{rows.dtype} {list(rows.shape)}" if isinstance(rows, np.ndarray) else type(rows).__name__
