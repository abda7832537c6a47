"""Single-layer K-means features: the row "1 layer K-means" of the paper's CIFAR-10 table.

Coates, Lee & Ng, "An Analysis of Single-Layer Networks in Unsupervised Feature Learning" (AISTATS 2011), as their
released Matlab demo has it (kmeans_demo.m, run_kmeans.m, extract_features.m): random 6x6 patches, each normalised in
contrast, ZCA whitening, Lloyd's K-means, the triangle activation max(0, mean(z) - z_k) at every position, sums over
quadrants. The demo then standardises the features for its L2-SVM; that is left to whoever fits it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn

Progress = Callable[..., Iterable]  # as tqdm: progress(iterable, total=, desc=, unit=)

PATCH = 6  # side of a patch, pixels
CONTRAST_EPS = 10.0  # added to a patch's variance, pixels in 0..255
ZCA_EPS = 0.1  # added to the eigenvalues of the covariance
ROWS = 243  # patches compared at once: their distances to 4,800 centroids (5 MB) stay in the processor's cache
SCORED = 1000  # patches assigned at once while learning, as in run_kmeans.m


class Triangle(nn.Module):
    """Whitened patches float [N, h, w, d] -> triangle activations [N, K, h, w] >= 0, channels-last in memory.

    Of a patch at distances z_1 .. z_K from the centroids, activation k is max(0, mean(z) - z_k).
    centroids: float [K, d].
    """

    centroids: Tensor

    def __init__(self, centroids: Tensor) -> None:
        super().__init__()
        self.register_buffer("centroids", centroids)

    @torch.no_grad()
    def forward(self, patches: Tensor) -> Tensor:
        c, (n, h, w, _) = self.centroids, patches.shape
        # |x - c|^2 = [x, |x|^2, 1] . [-2c, 1, |c|^2]: the table of distances comes whole out of one product
        right = torch.cat([-2 * c, torch.ones_like(c[:, :1]), c.square().sum(1, keepdim=True)], 1).T.contiguous()
        maps = patches.new_empty(n, h * w, len(c))
        for image, table in zip(patches.flatten(1, 2), maps, strict=True):
            left = torch.cat([image, image.square().sum(1, keepdim=True), torch.ones_like(image[:, :1])], 1)
            for some, z in zip(left.split(ROWS), table.split(ROWS), strict=True):
                torch.mm(some, right, out=z)
                z.clamp_(min=0).sqrt_()  # rounding can leave a square distance below zero
                torch.sub(z.mean(1, keepdim=True), z, out=z).clamp_(min=0)
        return maps.view(n, h, w, len(c)).permute(0, 3, 1, 2)


class KMeansFeatures(nn.Module):
    """Images float [N, C, H, W] in [0, 255] -> triangle activations [N, K, H - 5, W - 5], output of `triangle`.

    An image depends on no other of its batch. N maps are held at once: 14 MB an image of 32x32 with 4,800 centroids.
    centroids: float [K, C * 36], of whitened patches flattened (channel, row, column).
    mean, whitening: float [C * 36] and symmetric [C * 36, C * 36]; a normalised patch x becomes (x - mean) @ whitening.
    Raises ValueError for shapes that do not fit, and in forward for images of other channels or below 6x6.
    """

    mean: Tensor
    whitening: Tensor

    def __init__(self, centroids: Tensor, *, mean: Tensor, whitening: Tensor) -> None:
        super().__init__()
        d = len(mean)
        if centroids.ndim != 2 or len(centroids) < 2 or d % PATCH**2 or centroids.shape[1] != d:
            raise ValueError(
                f"centroids must be [K >= 2, C * {PATCH**2}], mean of that width; got "
                f"{list(centroids.shape)} and {list(mean.shape)}"
            )
        if whitening.shape != (d, d):
            raise ValueError(f"whitening must be [{d}, {d}], got {list(whitening.shape)}")
        self.register_buffer("mean", mean)
        self.register_buffer("whitening", whitening)
        self.triangle = Triangle(centroids)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        channels = len(self.mean) // PATCH**2
        if images.ndim != 4 or images.shape[1] != channels or min(images.shape[2:]) < PATCH:
            raise ValueError(f"images must be [N, {channels}, H >= {PATCH}, W >= {PATCH}], got {list(images.shape)}")
        windows = images.unfold(2, PATCH, 1).unfold(3, PATCH, 1).permute(0, 2, 3, 1, 4, 5)  # [N, h, w, C, 6, 6]
        # image by image: a product over the batch could round otherwise
        whitened = [(contrast_normalised(w.flatten(2)) - self.mean) @ self.whitening for w in windows]
        return self.triangle(torch.stack(whitened))


@dataclass(frozen=True)
class QuadrantSums:
    """Callable: maps float [N, C, h, w] -> [N, C * 4], sums over the quadrants, in the order (channel, row, column).

    Of an odd side the middle line belongs to the upper or left half, as in extract_features.m.
    Raises ValueError for maps below 2x2.
    """

    def __call__(self, maps: Tensor) -> Tensor:
        if min(maps.shape[2:]) < 2:
            raise ValueError(f"maps must be at least 2x2 to have quadrants, got {list(maps.shape)}")
        y, x = ((side + 1) // 2 for side in maps.shape[2:])
        halves = torch.stack([maps[:, :, :y].sum(2), maps[:, :, y:].sum(2)], 2)  # [N, C, 2, w]
        return torch.stack([halves[..., :x].sum(3), halves[..., x:].sum(3)], 3).flatten(1)


def learn_kmeans(
    images: np.ndarray,
    k: int,
    *,
    seed: int,
    patches: int = 400_000,
    iterations: int = 50,
    progress: Progress | None = None,
) -> KMeansFeatures:
    """The features of k centroids learnt on random patches of unlabelled images.

    images: uint8 [N, H, W, C], array or memory map, at least 6x6.
    k: centroids, from 2 to `patches`. The published row has 4,800.
    seed: of the patches drawn (with replacement) and of K-means; the same seed gives the same features.
    patches, iterations: the demo's numbers by default; C * 144 bytes a patch are held.
    progress: shows the iterations of K-means, as tqdm would.
    Raises ValueError for images, numbers of patches or centroids, or iterations that do not fit.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or len(images) == 0 or min(images.shape[1:3]) < PATCH:
        raise ValueError(
            f"images must be uint8 [N > 0, H >= {PATCH}, W >= {PATCH}, C], got {images.dtype} {list(images.shape)}"
        )
    if not 2 <= k <= patches:
        raise ValueError(f"k must be from 2 to the {patches} patches, got {k}")
    if iterations < 1:
        raise ValueError(f"iterations must be at least 1, got {iterations}")
    rng = np.random.default_rng(seed)
    x = contrast_normalised(torch.from_numpy(random_patches(images, patches, rng)))
    mean, whitening = zca(x)
    centroids = lloyd((x - mean) @ whitening, k, iterations=iterations, rng=rng, progress=progress)
    return KMeansFeatures(centroids, mean=mean, whitening=whitening)


def random_patches(images: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` patches at random places of random images uint8 [N, H, W, C]: float32 [count, C * 36] in [0, 255]."""
    windows = np.lib.stride_tricks.sliding_window_view(images, (PATCH, PATCH), axis=(1, 2))  # [N, h, w, C, 6, 6]
    where = tuple(rng.integers(side, size=count) for side in windows.shape[:3])
    return windows[where].reshape(count, -1).astype(np.float32)


def contrast_normalised(patches: Tensor) -> Tensor:
    """(x - mean) / sqrt(variance + 10) of every patch [..., d] in [0, 255]; the variance is the unbiased one."""
    centred = patches - patches.mean(-1, keepdim=True)
    return centred / (centred.square().sum(-1, keepdim=True) / (patches.shape[-1] - 1) + CONTRAST_EPS).sqrt()


def zca(patches: Tensor) -> tuple[Tensor, Tensor]:
    """(mean [d], whitening [d, d]) of patches [n > 1, d]: V diag(1 / sqrt(eigenvalue + 0.1)) V^T of the covariance."""
    mean = patches.mean(0, dtype=torch.float64)
    covariance = torch.zeros(len(mean), len(mean), dtype=torch.float64)
    for some in patches.split(SCORED):
        centred = some.double() - mean
        covariance += centred.T @ centred
    values, vectors = torch.linalg.eigh(covariance / (len(patches) - 1))
    whitening = vectors * (values + ZCA_EPS).rsqrt() @ vectors.T
    return mean.to(patches.dtype), whitening.to(patches.dtype)


def lloyd(
    points: Tensor, k: int, *, iterations: int, rng: np.random.Generator, progress: Progress | None = None
) -> Tensor:
    """Centroids [k, d] of points float32 [n >= k, d] after so many of Lloyd's iterations, as run_kmeans.m does them.

    They begin as normal noise of deviation 0.1; one to which no point is nearest becomes a random point.
    """
    x = points.numpy()
    centroids = torch.from_numpy(0.1 * rng.standard_normal((k, x.shape[1]))).to(points.dtype)
    steps: Iterable = range(iterations)
    for _ in steps if progress is None else progress(steps, total=iterations, desc="k-means", unit="iteration"):
        half_norms, right = centroids.square().sum(1) / 2, centroids.T.contiguous()
        sums, counts = np.zeros((k, x.shape[1])), np.zeros(k, np.int64)
        for start in range(0, len(x), SCORED):
            some = points[start : start + SCORED]
            # of the least distance |x - c|^2 = |x|^2 - 2 (c.x - |c|^2 / 2)
            label = torch.addmm(half_norms, some, right, beta=-1).argmax(1).numpy()
            member = sparse.csr_array((np.ones(len(label), x.dtype), (label, np.arange(len(label)))), (k, len(label)))
            sums += member @ x[start : start + SCORED]
            counts += np.bincount(label, minlength=k)
        empty = np.flatnonzero(counts == 0)
        sums[empty], counts[empty] = x[rng.choice(len(x), len(empty), replace=False)], 1
        centroids = torch.from_numpy(sums / counts[:, None]).to(points.dtype)
    return centroids
