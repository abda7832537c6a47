"""k nearest neighbours against brute force in whole numbers, planted ties included; streaming, votes, errors."""

import numpy as np
import pytest
import torch

from evaluation import RunningKnn, knn_predict, nearest


def brute_force(queries, references, labels, k):
    """Integer distances of 8-bit images; a stable sort, so that the first of equally near references comes first."""
    q, r = (np.asarray(x).reshape(len(x), -1).astype(np.int64) for x in (queries, references))
    order = np.argsort(((q[:, None] - r[None]) ** 2).sum(-1), axis=1, kind="stable")[:, :k]
    predicted = []
    for near in labels[order]:
        counts = np.bincount(near)
        predicted.append(next(label for label in near if counts[label] == counts.max()))
    return order[:, 0], np.array(predicted)


def digits(n, seed, low=0, high=256):
    return torch.from_numpy(np.random.default_rng(seed).integers(low, high, (n, 28, 28, 1), dtype=np.uint8))


@pytest.fixture(scope="module")
def close():
    """Uniform queries and permuted references: squared distances of some 3e7 that are equal, or differ by a few.

    Float32 holds whole numbers up to 2^24 = 1.7e7: its products cannot tell these apart.
    """
    rng = np.random.default_rng(1)
    base = rng.integers(150, 250, 784)
    references = []
    for _ in range(60):
        made = rng.permutation(base)
        i, j = np.flatnonzero(made == 200)[0], np.flatnonzero(made == 202)[0]
        for _ in range(rng.integers(0, 2)):  # both become 201: 2 less, whatever the query
            made[i], made[j] = made[i] + 1, made[j] - 1
        references.append(made)
    queries = torch.arange(12, dtype=torch.uint8)[:, None, None, None].expand(-1, 28, 28, 1)
    images = torch.from_numpy(np.array(references, dtype=np.uint8).reshape(-1, 28, 28, 1))
    return queries, images, np.arange(60) % 7


@pytest.mark.parametrize("k", [1, 2, 3, 5])
@pytest.mark.parametrize("chunk", [1, 5, 2048])
def test_near_ties_are_decided_as_in_whole_numbers(close, k, chunk):
    queries, references, labels = close
    at, predicted = brute_force(queries, references, labels, k)
    assert np.array_equal(nearest(queries, references, chunk=chunk)[1], at)
    assert np.array_equal(knn_predict(queries, references, labels, k=k, chunk=chunk), predicted)


def test_float32_alone_would_get_near_ties_wrong(close):
    """What the test above can see: the same products without the second look."""
    queries, references, labels = close
    q, r = (x.flatten(1).float() for x in (queries, references))
    naive = torch.addmm(r.square().sum(1), q, r.T, alpha=-2).argmin(1).numpy()
    assert not np.array_equal(naive, brute_force(queries, references, labels, 1)[0])


@pytest.mark.parametrize("levels", [2, 256])  # of two grey levels many are at one distance
@pytest.mark.parametrize("k", [1, 4])
def test_brute_force_agrees(levels, k):
    rng = np.random.default_rng(2)
    queries, references = (torch.from_numpy(rng.integers(0, levels, (n, 9), dtype=np.uint8)) for n in (30, 200))
    labels = rng.integers(0, 3, 200)
    at, predicted = brute_force(queries, references, labels, k)
    assert np.array_equal(nearest(queries, references, chunk=64)[1], at)
    assert np.array_equal(knn_predict(queries, references, labels, k=k, chunk=64), predicted)


def test_streaming_equals_one_shot_at_every_count():
    queries, references = digits(15, 3, 0, 3), digits(100, 4, 0, 3)
    labels = np.arange(100) % 10
    cuts = [(0, 1), (1, 40), (40, 43), (43, 100)]
    for k in (1, 3):
        running = RunningKnn(queries, k=k, chunk=16)
        assert (running.predict() == -1).all()
        for a, b in cuts:
            running.add(references[a:b], labels[a:b])
            predicted = running.predict()
            assert (running.seen, predicted.dtype) == (b, np.int64)
            assert np.array_equal(predicted, knn_predict(queries, references[:b], labels[:b], k=k))


def test_a_search_goes_on_from_its_state():
    queries, references, labels = digits(15, 3, 0, 3), digits(100, 4, 0, 3), np.arange(100) % 10
    first, second = RunningKnn(queries, k=3), RunningKnn(queries, k=3)
    first.add(references[:40], labels[:40])
    state = first.state()
    first.add(references[40:], labels[40:])  # changes nothing of the state
    second.restore(state)
    assert second.seen == 40 and np.array_equal(
        second.predict(), knn_predict(queries, references[:40], labels[:40], k=3)
    )
    second.add(references[40:], labels[40:])
    for name, value in first.state().items():
        assert np.array_equal(second.state()[name], value), name
    for other in (RunningKnn(queries, k=1), RunningKnn(queries[:5], k=3)):
        with pytest.raises(ValueError, match=r"need the state of \d+ queries with k"):
            other.restore(state)


def test_features_of_any_scale_agree_with_float64():
    rng = np.random.default_rng(5)
    queries, references = rng.normal(1e3, 1, (20, 50)), rng.normal(1e3, 1, (300, 50))
    labels = rng.integers(0, 10, 300)
    for dtype in (torch.float64, torch.float32):
        q, r = torch.from_numpy(queries).to(dtype), torch.from_numpy(references).to(dtype)
        exact = ((q.double()[:, None] - r.double()[None]) ** 2).sum(-1).numpy()
        assert np.array_equal(knn_predict(q, r, labels), labels[exact.argmin(1)])


def test_votes_in_closed_form():
    queries, references = torch.zeros(1, 1), torch.tensor([[1.0], [2], [3], [4]])
    labels = [7, 4, 4, 7]
    assert [int(knn_predict(queries, references, labels, k=k)[0]) for k in (1, 2, 3, 4, 9)] == [7, 7, 4, 7, 7]


@pytest.mark.parametrize(
    ("labels", "options", "text"),
    [
        ([0, 1], {"k": 0}, "k must be at least 1, got 0"),
        ([0, 1], {"chunk": 0}, "chunk must be at least 1, got 0"),
        ([0], {}, r"labels must be integers \[2\] >= 0, got int64 \[1\]"),
        ([0, -1], {}, r"labels must be integers \[2\] >= 0, got int64 \[2\] from -1"),
        ([0.0, 1.0], {}, r"labels must be integers \[2\] >= 0, got float64"),
    ],
)
def test_what_cannot_be_is_refused(labels, options, text):
    with pytest.raises(ValueError, match=text):
        knn_predict(digits(1, 0), digits(2, 1), labels, **options)


def test_numbers_that_are_none_are_refused():
    bad = torch.tensor([[float("nan")]])
    for queries, references, what in ((bad, bad * 0 + 1, "queries"), (torch.ones(1, 1), bad, "references")):
        with pytest.raises(ValueError, match=f"{what} must be finite"):
            nearest(queries, references)
