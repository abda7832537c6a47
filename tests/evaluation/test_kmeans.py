"""K-means features against a naive float64 reference, and the clusters that they must find."""

import numpy as np
import pytest
import torch

import features
from evaluation import KMeansFeatures, QuadrantSums, learn_kmeans
from evaluation.kmeans import contrast_normalised, lloyd, random_patches, zca


def images(n, seed=0, shape=(11, 9, 3)):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


def batch(uint8):
    return torch.from_numpy(uint8).permute(0, 3, 1, 2).float()


@pytest.fixture(scope="module")
def learnt():
    return learn_kmeans(images(20), 7, seed=0, patches=300, iterations=5)


def naive(image, net):
    """Triangle activations float64 [K, h, w] of one uint8 [H, W, C], position by position, centroid by centroid."""
    centroids, mean, whitening = (t.double().numpy() for t in (net.triangle.centroids, net.mean, net.whitening))
    height, width = image.shape[0] - 5, image.shape[1] - 5
    maps = np.zeros((len(centroids), height, width))
    for i in range(height):
        for j in range(width):
            x = image[i : i + 6, j : j + 6].transpose(2, 0, 1).ravel().astype(float)
            x = (x - x.mean()) / np.sqrt(x.var(ddof=1) + 10)
            x = (x - mean) @ whitening
            z = np.array([np.sqrt(((x - c) ** 2).sum()) for c in centroids])
            maps[:, i, j] = np.maximum(0, z.mean() - z)
    return maps


def test_activations_are_those_of_the_naive_reference(learnt):
    some = images(3, seed=1)
    some[0] = 200  # a flat image has no contrast
    some[1] //= 32  # little contrast, where what is added to the variance counts
    expected = np.stack([naive(image, learnt) for image in some])
    maps = learnt(batch(some))
    assert maps.shape == (3, 7, 6, 4) and maps.dtype == torch.float32
    np.testing.assert_allclose(maps.numpy(), expected, atol=1e-4)
    assert (expected > 0.01).mean() > 0.2  # there is something to compare


def test_more_positions_than_are_compared_at_once(learnt):
    large = images(1, seed=2, shape=(25, 26, 3))  # 420 patches
    np.testing.assert_allclose(learnt(batch(large))[0].numpy(), naive(large[0], learnt), atol=1e-4)


def test_a_patch_that_is_a_centroid_is_at_distance_zero():
    x = contrast_normalised(batch(images(1, shape=(6, 6, 1))).flatten(1))
    net = KMeansFeatures(torch.cat([x, -x]), mean=torch.zeros(36), whitening=torch.eye(36))
    other = float(2 * x.norm())
    # the square of the smaller distance is rounded where numbers near 36 cancel: its root by up to 1e-2
    np.testing.assert_allclose(net(batch(images(1, shape=(6, 6, 1)))).flatten(), [other / 2, 0], atol=2e-2)


def test_an_image_depends_on_no_other_of_its_batch(learnt):
    some = batch(images(9, seed=3))
    together = learnt(some)
    for i in range(9):
        assert torch.equal(together[i], learnt(some[i : i + 1])[0])


def test_whitening_is_that_of_the_covariance():
    x = torch.randn(500, 12, generator=torch.Generator().manual_seed(0)) @ torch.diag(torch.arange(1.0, 13)) + 3
    mean, whitening = zca(x)
    np.testing.assert_allclose(mean, x.numpy().mean(0), rtol=1e-5)
    np.testing.assert_allclose(whitening, whitening.T, atol=1e-6)
    # P (S + 0.1) P = 1 for P = (S + 0.1)^-1/2
    regular = np.cov(x.numpy().T.astype(float)) + 0.1 * np.eye(12)
    p = whitening.double().numpy()
    np.testing.assert_allclose(p @ regular @ p, np.eye(12), atol=1e-4)


def test_patches_are_windows_of_the_images():
    some = images(2, shape=(7, 8, 3))
    windows = {
        some[n, i : i + 6, j : j + 6].transpose(2, 0, 1).astype(np.float32).tobytes()
        for n in range(2)
        for i in range(2)
        for j in range(3)
    }
    drawn = {p.tobytes() for p in random_patches(some, 500, np.random.default_rng(0))}
    assert drawn == windows  # none that is not a window, and every window in time


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (1, 2, 5, 7), (3, 1, 2, 2), (1, 2, 27, 27)])
def test_quadrants_are_summed(shape):
    maps = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    pooled = QuadrantSums()(maps).reshape(*shape[:2], 2, 2)
    y, x = -(-shape[2] // 2), -(-shape[3] // 2)
    for i, rows in enumerate((range(y), range(y, shape[2]))):
        for j, columns in enumerate((range(x), range(x, shape[3]))):
            expected = sum(maps[:, :, r, c].double() for r in rows for c in columns)
            np.testing.assert_allclose(pooled[:, :, i, j], expected, rtol=1e-5)


def test_planted_clusters_are_found():
    rng = np.random.default_rng(0)
    planted = 5 * rng.standard_normal((6, 10))
    member = rng.integers(6, size=3000)  # more than are assigned at once
    points = torch.from_numpy(planted[member] + 0.1 * rng.standard_normal((3000, 10))).float()
    found = lloyd(points, 12, iterations=10, rng=np.random.default_rng(1)).numpy()
    nearest = np.linalg.norm(found[None] - planted[:, None], axis=2).min(1)
    assert (nearest < 0.2).all()


def test_one_iteration_is_the_mean_of_the_nearest_and_the_empty_become_points():
    points = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    k = 35  # of so many some are nearest to no point
    start = 0.1 * np.random.default_rng(5).standard_normal((k, 3))
    found = lloyd(points, k, iterations=1, rng=np.random.default_rng(5)).numpy()
    label = ((points.numpy()[:, None] - start) ** 2).sum(2).argmin(1)
    filled = np.unique(label)
    assert len(filled) < k
    for c in range(k):
        if c in filled:
            np.testing.assert_allclose(found[c], points.numpy()[label == c].mean(0), atol=1e-5)
        else:
            assert (points.numpy() == found[c]).all(1).any()


def test_same_seed_same_features_another_seed_others(learnt):
    again = learn_kmeans(images(20), 7, seed=0, patches=300, iterations=5)
    other = learn_kmeans(images(20), 7, seed=1, patches=300, iterations=5)
    assert features.weights_digest(again) == features.weights_digest(learnt) != features.weights_digest(other)


def test_a_memory_map_serves_as_well_and_progress_sees_every_iteration(tmp_path, learnt):
    np.save(tmp_path / "images.npy", images(20))
    seen = []

    def progress(steps, **labels):
        seen.append(labels)
        for step in steps:
            seen.append(step)
            yield step

    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    again = learn_kmeans(mapped, 7, seed=0, patches=300, iterations=5, progress=progress)
    assert torch.equal(again.triangle.centroids, learnt.triangle.centroids)
    assert seen == [{"total": 5, "desc": "k-means", "unit": "iteration"}, 0, 1, 2, 3, 4]


def test_it_serves_as_a_backbone(learnt):
    backbone = features.Backbone(learnt, layers=["triangle"], image_shape=(3, 11, 9), value_range=(0, 255))
    features.check_backbone(backbone, pool=QuadrantSums())
    assert features.feature_width(backbone, pool=QuadrantSums()) == 28
    some = images(5, seed=4)
    rows = features.extract(backbone, some, pool=QuadrantSums(), batch_size=2)
    np.testing.assert_array_equal(rows, QuadrantSums()(learnt(batch(some))))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: learn_kmeans(images(2).astype(float), 2, seed=0), r"uint8 \[N > 0, H >= 6, W >= 6, C\], got float64"),
        (lambda: learn_kmeans(images(2, shape=(5, 9, 3)), 2, seed=0), r"got uint8 \[2, 5, 9, 3\]"),
        (lambda: learn_kmeans(images(2), 1, seed=0), "k must be from 2 to the 400000 patches, got 1"),
        (lambda: learn_kmeans(images(2), 9, seed=0, patches=8), "from 2 to the 8 patches, got 9"),
        (lambda: learn_kmeans(images(2), 2, seed=0, iterations=0), "iterations must be at least 1, got 0"),
        (lambda: QuadrantSums()(torch.zeros(1, 3, 1, 4)), r"at least 2x2 to have quadrants, got \[1, 3, 1, 4\]"),
        (
            lambda: KMeansFeatures(torch.zeros(4, 36), mean=torch.zeros(108), whitening=torch.eye(108)),
            r"got \[4, 36\] and \[108\]",
        ),
        (
            lambda: KMeansFeatures(torch.zeros(4, 36), mean=torch.zeros(36), whitening=torch.eye(35)),
            r"whitening must be \[36, 36\], got \[35, 35\]",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("shape", [(1, 1, 9, 9), (1, 3, 5, 9), (3, 9, 9)])
def test_images_that_do_not_fit_are_refused(learnt, shape):
    with pytest.raises(ValueError, match=r"images must be \[N, 3, H >= 6, W >= 6\], got"):
        learnt(torch.zeros(shape))
