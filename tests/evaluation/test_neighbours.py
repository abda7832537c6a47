"""Nearest neighbours against brute force, and what is exact in them."""

import numpy as np
import pytest
import torch

from evaluation import mean_distance, nearest, nearest_others


def brute_force(queries, references):
    q, r = (np.asarray(x, np.float64).reshape(len(x), -1) for x in (queries, references))
    table = np.sqrt(((q[:, None] - r[None]) ** 2).sum(-1))
    return table.min(1), table.argmin(1)


def images(n, seed, shape=(4, 4, 3)):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8))


@pytest.mark.parametrize("chunk", [1, 7, 50, 2048])
@pytest.mark.parametrize("kind", [torch.uint8, torch.float32, torch.float64])
def test_brute_force_agrees(chunk, kind):
    queries, references = images(20, 0).to(kind), images(50, 1).to(kind)
    distances, index = nearest(queries, references, chunk=chunk)
    expected, at = brute_force(queries, references)
    assert (distances.dtype, index.dtype) == (np.float32, np.int64)
    assert np.array_equal(index, at)
    np.testing.assert_allclose(distances, expected, rtol=1e-6)  # float32 of a float64 sum


def test_equal_images_are_at_distance_zero_wherever_they_lie():
    references = images(300, 2, (32, 32, 3))
    distances, index = nearest(references[[250, 3]], references, chunk=64)
    assert distances.tolist() == [0.0, 0.0] and index.tolist() == [250, 3]


def test_of_equal_references_the_first_is_named():
    references = images(5, 3).repeat(3, 1, 1, 1)
    assert nearest(references[:5], references, chunk=4)[1].tolist() == [0, 1, 2, 3, 4]


def test_no_queries_have_no_neighbours():
    distances, index = nearest(images(0, 0), images(5, 1))
    assert distances.shape == index.shape == (0,) and (distances.dtype, index.dtype) == (np.float32, np.int64)


@pytest.mark.parametrize(
    ("queries", "references", "options", "text"),
    [
        (images(2, 0), images(2, 0, (4, 4, 1)), {}, r"of one shape, got \[2, 4, 4, 3\] and \[2, 4, 4, 1\]"),
        (images(2, 0), images(0, 0), {}, r"\[M > 0, ...\]"),
        (images(2, 0), images(2, 0), {"chunk": 0}, "chunk must be at least 1, got 0"),
    ],
)
def test_what_has_no_nearest_is_refused(queries, references, options, text):
    with pytest.raises(ValueError, match=text):
        nearest(queries, references, **options)


def test_mean_distance_in_closed_form():
    assert mean_distance(torch.tensor([[0.0, 0], [3, 4], [0, 0]])) == pytest.approx(10 / 3)
    assert mean_distance(images(1, 0).repeat(9, 1, 1, 1)) == 0.0
    with pytest.raises(ValueError, match="at least two points, got 1"):
        mean_distance(images(1, 0))


@pytest.mark.parametrize(
    "points",
    [
        torch.zeros(()),
        torch.zeros(5),
        torch.zeros(5, 3, dtype=torch.complex64),
        torch.zeros(5, 3, device="meta"),
        torch.eye(5, 3).to_sparse(),
        np.zeros((5, 3)),
    ],
)
def test_what_holds_no_points_is_named(points: torch.Tensor) -> None:
    for wrong in (lambda: nearest(points, torch.zeros(2, 3)), lambda: nearest(torch.zeros(2, 3), points)):
        with pytest.raises(ValueError, match=r"(queries|references) must (be a dense|have the shape)"):
            wrong()
    with pytest.raises(ValueError, match="points must"):
        mean_distance(points)


def test_points_with_a_gradient_are_compared() -> None:
    points = torch.arange(6.0).view(3, 2).requires_grad_()
    assert nearest(points, points)[1].tolist() == [0, 1, 2] and mean_distance(points) > 0


def test_distances_of_points_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="finite numbers, got NaN or infinity"):
        mean_distance(torch.tensor([[0.0], [torch.nan]]))


@pytest.mark.parametrize("rows", [[7], [-1], [0.5]])
def test_rows_of_no_point_are_refused(rows: list) -> None:
    with pytest.raises(ValueError, match="indices from 0 to 2"):
        nearest_others(torch.zeros(3, 2), np.array(rows))
