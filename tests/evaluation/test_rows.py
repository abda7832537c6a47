"""X read block by block gives what the whole would; it is neither copied nor written."""

import numpy as np
import pytest
import torch

from evaluation import rows as rows_module
from evaluation.rows import Rows


def features(n=300, width=17, dtype=np.float32):
    return np.random.default_rng(0).normal(size=(n, width)).astype(dtype)


def dense(X):
    return torch.from_numpy(np.column_stack([X, np.ones(len(X))]).astype(np.float64))


@pytest.fixture(params=[1, 2**30], ids=["blocks of 16 rows", "one block"])
def block_bytes(request, monkeypatch):
    monkeypatch.setitem(rows_module.BLOCK_BYTES, "cpu", request.param)


@pytest.mark.usefixtures("block_bytes")
@pytest.mark.parametrize("tensor", [False, True])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_products_are_those_of_the_dense_matrix(dtype, tensor):
    X = features(dtype=dtype)
    W = torch.randn(3, 18, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rows, X1 = Rows(torch.from_numpy(X) if tensor else X), dense(X)
    scores, back = rows.there_and_back(W, lambda q, _: q.abs())
    torch.testing.assert_close(scores, W @ X1.T)
    torch.testing.assert_close(rows.scores(W), W @ X1.T)
    torch.testing.assert_close(back, (W @ X1.T).abs() @ X1)
    torch.testing.assert_close(rows.back(scores), scores @ X1)
    chosen = torch.cat([part for _, part in rows.chosen(torch.tensor([5, 2]))], 1)
    torch.testing.assert_close(chosen, X1[[5, 2]])


@pytest.mark.parametrize("small_bytes", [0, 2**40])
def test_large_float32_stays_float32_and_small_gains_precision(monkeypatch, small_bytes):
    """float16 counts as the float32 in which it is computed."""
    monkeypatch.setattr(rows_module, "SMALL_BYTES", small_bytes)
    monkeypatch.setattr(rows_module, "FEW_ROWS", 0)
    expected = torch.float64 if small_bytes else torch.float32
    assert Rows(features()).dtype == Rows(features(dtype=np.float16)).dtype == expected
    assert Rows(features(dtype=np.float64)).dtype == torch.float64
    monkeypatch.setattr(rows_module, "SMALL_BYTES", features().nbytes)
    assert Rows(features()).dtype == Rows(features(dtype=np.float16)).dtype == torch.float64
    monkeypatch.setattr(rows_module, "SMALL_BYTES", features().nbytes - 1)
    assert Rows(features()).dtype == Rows(features(dtype=np.float16)).dtype == torch.float32


def test_blocks_of_float32_are_views_of_x(monkeypatch):
    monkeypatch.setattr(rows_module, "SMALL_BYTES", 0)
    monkeypatch.setattr(rows_module, "FEW_ROWS", 0)
    X = features()
    for given in (X, torch.from_numpy(X)):
        assert all(np.shares_memory(block.numpy(), X[where]) for where, block in Rows(given).blocks())


def test_float16_becomes_float32_a_block_at_a_time(monkeypatch):
    monkeypatch.setattr(rows_module, "SMALL_BYTES", 0)
    monkeypatch.setitem(rows_module.BLOCK_BYTES, "cpu", 1)
    X = features(dtype=np.float16)
    rows = Rows(X)
    assert rows.X is X
    for where, block in rows.blocks():
        assert block.dtype == torch.float32
        assert block.shape[0] <= 16
        assert np.array_equal(block.numpy(), X[where].astype(np.float32))


def test_a_tensor_is_computed_where_it_is_unless_a_device_is_named():
    X = torch.from_numpy(features())
    assert Rows(X).device == torch.device("cpu")
    with pytest.raises(ValueError, match="device must be 'cpu' or a 'cuda' device"):
        Rows(X, device="abacus")


@pytest.mark.parametrize("view", [np.s_[::-1], np.s_[::2], np.s_[:, 3:9], np.s_[:, ::-1]])
def test_any_strides(view):
    X = features()[view]
    W = torch.ones(1, X.shape[1] + 1, dtype=torch.float64)
    torch.testing.assert_close(Rows(X).scores(W), W @ dense(X).T)


@pytest.mark.usefixtures("block_bytes")
@pytest.mark.parametrize(("value", "what"), [(np.nan, "NaN"), (np.inf, "inf"), (-np.inf, "inf")])
def test_the_first_bad_row_is_named(value, what):
    X = features()
    X[217, 4] = X[250, 3] = value
    with pytest.raises(ValueError, match=f"feature row 217 has {what}"):
        Rows(X).check_finite()


def test_finite_rows_whose_sum_overflows_pass():
    Rows(np.full((20, 4), 1.7e308)).check_finite()
