"""Nearest neighbours by Euclidean distance, in blocks: a matrix product a block, never the whole table of distances."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def nearest(queries: Tensor, references: Tensor, *, chunk: int = 2048) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The nearest of `references` to each of `queries`.

    queries, references: [N, ...] and [M, ...] of one shape behind the first dimension, on one device, of any number
        type (uint8 images need no conversion: a block at a time is converted).
    chunk: references compared at once; N x chunk float32 are held.

    Returns distances float32 [N] >= 0, in the units of the input, and indices int64 [N] into `references`. The
    neighbour is found in float32 (of two at nearly one distance either may be named), its distance in float64, so that
    an equal image is at distance 0. Raises ValueError where the shapes do not fit or there is no reference.
    """
    if queries.shape[1:] != references.shape[1:] or len(references) == 0:
        raise ValueError(
            f"queries and references must be [N, ...] and [M > 0, ...] of one shape, "
            f"got {list(queries.shape)} and {list(references.shape)}"
        )
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1, got {chunk}")
    q = queries.flatten(1).float()
    centre = q.mean(0) if len(q) else 0.0  # distances stay, norms shrink: less is lost where they cancel
    q = q - centre
    best = torch.full((len(q),), torch.inf, device=q.device)
    index = torch.zeros(len(q), dtype=torch.int64, device=q.device)
    for start in range(0, len(references), chunk):
        r = references[start : start + chunk].flatten(1).float() - centre
        # |q - r|^2 = |q|^2 + |r|^2 - 2 q.r, where |q|^2 is the same for every reference
        distance, at = torch.addmm(r.square().sum(1), q, r.T, alpha=-2).min(dim=1)
        closer = distance < best
        best = torch.where(closer, distance, best)
        index = torch.where(closer, at + start, index)
    pairs = zip(queries.cpu(), references[index].cpu(), strict=True)  # not every device has float64
    exact = [(a.double() - b.double()).square().sum().sqrt() for a, b in pairs]
    distances = torch.stack(exact) if exact else torch.zeros(0)
    return distances.float().numpy(), index.cpu().numpy()


def mean_distance(points: Tensor) -> float:
    """Mean Euclidean distance over the pairs of different `points` [N, ...], N >= 2, in float64."""
    if len(points) < 2:
        raise ValueError(f"need at least two points, got {len(points)}")
    # pdist takes differences: a matrix product would leave equal points apart by rounding errors
    return float(torch.pdist(points.flatten(1).cpu().double()).mean())
