"""Exact nearest neighbours by Euclidean distance, block by block: one matrix product per block, never the whole table.

The product is taken in float32. Pairs that its rounding could have hidden, by the worst-case bound of an inner product
(Higham 2002, section 3.1: D u |q| |r|), are compared again in float64, in which the squared distances of 8-bit images
are exact. If several references are equally near, the first one counts.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

_EPS = torch.finfo(torch.float32).eps  # 2 u
_PAIR_ELEMENTS = 2**22  # numbers compared at once in float64: 32 MiB


class RunningKnn:
    """The k nearest references of `queries` while references come in a stream; none is held after its chunk.

    queries: [N, ...], of any number type.
    chunk: references compared at once; N x chunk float32 are held.

    Attributes:
        squared: float64 [N, k], squared distances of the k nearest so far, nearest first; inf if there are fewer.
        index, labels: int64 [N, k], their places in the stream and their labels; -1 if there are fewer.
        seen: how many references have been added.

    >>> references = torch.tensor([[0.0, 0.0], [3.0, 4.0], [9.0, 9.0]])
    >>> queries = torch.tensor([[3.0, 3.0]])
    >>> search = evaluation.RunningKnn(queries, k=2)
    >>> for reference, label in zip(references.split(1), [[7], [8], [9]], strict=True):
    ...     search.add(reference, label)
    >>> search.index, search.squared, search.predict()
    (array([[1, 0]]), array([[ 1., 18.]]), array([8]))
    """

    def __init__(self, queries: Tensor, *, k: int = 1, chunk: int = 2048) -> None:
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        queries = _checked("queries", queries)
        self.squared = np.full((len(queries), k), np.inf)
        self.index = np.full((len(queries), k), -1)
        self.labels = np.full((len(queries), k), -1)
        self.seen = 0
        self._queries, self._chunk = queries, chunk
        self._dtype = torch.promote_types(queries.dtype, torch.float32)  # float64 is centred before it is rounded
        q = queries.flatten(1).to(self._dtype)
        self._centre = q.mean(0) if len(q) else torch.zeros_like(q.sum(0))  # keeps distances, shrinks norms
        self._q = (q - self._centre).float()
        self._q2 = self._q.square().sum(1)
        _check_finite(self._q2, "queries")

    def add(self, references: Tensor, labels: ArrayLike | None = None) -> None:
        """Add references [m > 0, ...], on the device of the queries, with labels: integers [m] >= 0, or None.

        Raises ValueError as `nearest` does.
        """
        references = _checked("references", references)
        for block, label in _blocks(self._queries, references, labels, self._chunk):
            self._add_block(block, label)

    def _add_block(self, block: Tensor, labels: NDArray[np.int64] | None) -> None:
        r = (block.flatten(1).to(self._dtype) - self._centre).float()
        r2 = r.square().sum(1)
        _check_finite(r2, "references")
        table = torch.addmm(r2, self._q, r.T, alpha=-2)  # |q - r|^2 - |q|^2 puts a query's references in the same order
        slack = (r.shape[1] + 8) * _EPS * (self._q2.sqrt() + r2.max().sqrt()) ** 2  # two entries' errors, rounded up
        worst = torch.from_numpy(self.squared[:, -1]).float().to(r.device) - self._q2
        row = torch.nonzero(table.amin(1) <= worst + slack)[:, 0]  # queries that may have a new neighbour here
        near, k = table[row], self.squared.shape[1]
        bound = worst[row]
        if len(block) >= k:
            bound = torch.minimum(bound, near.topk(k, largest=False).values[:, -1])
        at, column = torch.nonzero(near <= (bound + slack[row])[:, None], as_tuple=True)
        row = row[at]
        squared = self._exact(row, block, column)
        columns = column.cpu().numpy()
        label = np.full(len(columns), -1) if labels is None else labels[columns]
        self._merge(row.cpu().numpy(), squared, columns + self.seen, label)
        self.seen += len(block)

    def _exact(self, row: Tensor, block: Tensor, column: Tensor) -> NDArray[np.float64]:
        """Return the squared distances of pairs, in float64. It runs on the CPU, as some devices have no float64."""
        size = max(1, _PAIR_ELEMENTS // max(1, self._q.shape[1]))
        parts = [
            (self._queries[i].flatten(1).cpu().double() - block[j].flatten(1).cpu().double()).square_().sum(1)
            for i, j in zip(row.split(size), column.split(size), strict=True)
        ]
        return torch.cat(parts).numpy()

    def _merge(self, row: NDArray, squared: NDArray, index: NDArray, label: NDArray) -> None:
        """Keep the k nearest of each query among the neighbours so far and these; the first of equally near ones."""
        rows, k = np.unique(row), self.squared.shape[1]
        row = np.concatenate([np.repeat(rows, k), row])
        squared = np.concatenate([self.squared[rows].ravel(), squared])
        index = np.concatenate([self.index[rows].ravel(), index])
        label = np.concatenate([self.labels[rows].ravel(), label])
        order = np.lexsort((index, squared, row))
        take = order[np.searchsorted(row[order], rows)[:, None] + np.arange(k)]
        self.squared[rows], self.index[rows], self.labels[rows] = squared[take], index[take], label[take]

    def predict(self) -> NDArray[np.int64]:
        """Return labels int64 [N]: the most frequent label among the k nearest references of each query.

        Among equally frequent labels, the one with the nearest member wins. Among equally near references, the first
        counts. With fewer than k references all of them vote; without any, the label is -1.
        """
        return _vote(self.labels)

    def state(self) -> dict[str, NDArray]:
        """Return what `restore` takes: squared distances float64, indices and labels int64 [N, k], count int64 [1]."""
        found = {"squared": self.squared, "index": self.index, "labels": self.labels}
        return {name: array.copy() for name, array in found.items()} | {"seen": np.array([self.seen])}

    def restore(self, state: Mapping[str, NDArray]) -> None:
        """Continue from the `state` of a search of the same queries and k. Raises ValueError for other shapes."""
        shape = self.squared.shape
        if any(state[name].shape != shape for name in ("squared", "index", "labels")):
            raise ValueError(f"need the state of {shape[0]} queries with k {shape[1]}, got {state['squared'].shape}")
        self.squared, self.index, self.labels = (state[name].copy() for name in ("squared", "index", "labels"))
        self.seen = int(state["seen"][0])


def nearest(queries: Tensor, references: Tensor, *, chunk: int = 2048) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Find the nearest of `references` to each of `queries`.

    queries, references: [N, ...] and [M, ...] of one shape after the first dimension, on one device, of any number type
        (uint8 images need no conversion; one block at a time is converted).
    chunk: references compared at once; N x chunk float32 are held.

    Returns distances float32 [N] >= 0, in the units of the input, and indices int64 [N] into `references`. The first of
    equally near references counts. Both are decided in float64, exactly for 8-bit images. Raises ValueError when the
    shapes do not fit, there is no reference, or values are not finite.

    >>> references = torch.tensor([[0.0, 0.0], [3.0, 4.0], [9.0, 9.0]])
    >>> queries = torch.tensor([[3.0, 3.0]])
    >>> evaluation.nearest(queries, references)
    (array([1.], dtype=float32), array([1]))
    """
    distances, index = k_nearest(queries, references, 1, chunk=chunk)
    return distances[:, 0], index[:, 0]


def k_nearest(
    queries: Tensor, references: Tensor, k: int, *, chunk: int = 2048
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Find the `k` nearest references of each query, nearest first: distances and indices as `nearest`, but [N, k].

    If there are fewer than k references, the rest is inf and -1.

    >>> references = torch.tensor([[0.0, 0.0], [3.0, 4.0], [9.0, 9.0]])
    >>> queries = torch.tensor([[3.0, 3.0]])
    >>> evaluation.k_nearest(queries, references, 2)[1]
    array([[1, 0]])
    """
    search = RunningKnn(queries, k=k, chunk=chunk)
    search.add(references)
    return np.sqrt(search.squared).astype(np.float32), search.index


def nearest_others(
    points: Tensor, rows: NDArray[np.int64], k: int = 1, *, chunk: int = 2048
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Find the `k` nearest other points of the `points` [N, ...] at `rows` int64 [M]: [M, k] twice, as `k_nearest`.

    >>> points = torch.tensor([[0.0], [1.0], [5.0]])
    >>> evaluation.nearest_others(points, np.array([0, 2]))
    (array([[1.],
           [4.]], dtype=float32), array([[1],
           [1]]))
    """
    if not np.issubdtype(rows.dtype, np.integer) or rows.min(initial=0) < 0 or rows.max(initial=-1) >= len(points):
        raise ValueError(f"rows must be indices from 0 to {len(points) - 1}, got {rows.dtype} {rows.tolist()[:5]}")
    distances, index = k_nearest(points[torch.from_numpy(rows).to(points.device)], points, k + 1, chunk=chunk)
    own = index == rows[:, None]
    own[~own.any(1), -1] = True  # the point itself is missing if more than k equal points come before it
    return distances[~own].reshape(-1, k), index[~own].reshape(-1, k)


def knn_predict(
    queries: Tensor, references: Tensor, labels: ArrayLike, *, k: int = 1, chunk: int = 2048
) -> NDArray[np.int64]:
    """Label `queries` by their k nearest of `references` [M, ...] with labels [M]: int64 [N]. See `RunningKnn`.

    >>> references = torch.tensor([[0.0, 0.0], [3.0, 4.0], [9.0, 9.0]])
    >>> queries = torch.tensor([[3.0, 3.0]])
    >>> evaluation.knn_predict(queries, references, [7, 8, 9])
    array([8])
    """
    running = RunningKnn(queries, k=k, chunk=chunk)
    running.add(references, labels)
    return running.predict()


def _vote(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the most frequent label of each row: [N, k], nearest first, with -1 for none -> [N]."""
    votes = np.stack([(labels == column[:, None]).sum(1) for column in labels.T], axis=1)
    votes[labels < 0] = 0
    return labels[np.arange(len(labels)), votes.argmax(1)]  # the first of the greatest


def _blocks(
    queries: Tensor, references: Tensor, given: ArrayLike | None, chunk: int
) -> Iterator[tuple[Tensor, NDArray[np.int64] | None]]:
    labels = None if given is None else np.asarray(given)
    if queries.shape[1:] != references.shape[1:] or len(references) == 0:
        raise ValueError(
            f"queries and references must be [N, ...] and [M > 0, ...] of one shape, "
            f"got {list(queries.shape)} and {list(references.shape)}"
        )
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1, got {chunk}")
    if labels is not None and (
        labels.shape != (len(references),) or not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0
    ):
        raise ValueError(
            f"labels must be integers [{len(references)}] >= 0, got {labels.dtype} {list(labels.shape)}"
            + (f" from {labels.min()}" if labels.size and np.issubdtype(labels.dtype, np.number) else "")
        )
    for start in range(0, len(references), chunk):
        part = slice(start, start + chunk)
        yield references[part], None if labels is None else labels[part].astype(np.int64)


def _check_finite(squares: Tensor, what: str) -> None:
    if not bool(torch.isfinite(squares).all()):
        raise ValueError(f"{what} must be finite numbers whose squares float32 can hold")


def _checked(what: str, points: Tensor) -> Tensor:
    """Return the points without their gradient. Raises ValueError unless they are a dense tensor of real numbers."""
    if not isinstance(points, Tensor) or points.layout != torch.strided or points.is_meta or points.is_complex():
        got = f"{points.dtype} on {points.device}" if isinstance(points, Tensor) else type(points).__name__
        raise ValueError(f"{what} must be a dense tensor of real numbers that has data, got {got}")
    if points.ndim < 2:
        raise ValueError(f"{what} must have the shape [N, ...], got {list(points.shape)}")
    return points.detach()


def mean_distance(points: Tensor) -> float:
    """Return the mean Euclidean distance over the pairs of different `points` [N, ...], N >= 2, in float64.

    Raises ValueError for fewer points, and for points that are no dense, real, finite tensor.

    >>> evaluation.mean_distance(torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
    5.0
    """
    points = _checked("points", points)
    if not bool(torch.isfinite(points).all()):
        raise ValueError("points must be finite numbers, got NaN or infinity")
    if len(points) < 2:
        raise ValueError(f"need at least two points, got {len(points)}")
    # pdist takes differences; by a matrix product, equal points would have a distance above 0 from rounding
    return float(torch.pdist(points.flatten(1).cpu().double()).mean())
