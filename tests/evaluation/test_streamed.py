"""A matrix that is large for memory is read from its file, ahead of use, and gives the same fits."""

import errno
import fcntl
import os
import threading

import numpy as np
import pytest
import torch

from evaluation import L2SVM, select_C, stratified_holdout, subspace
from evaluation import rows as rows_module
from evaluation import streamed as streamed_module
from evaluation.rows import Rows
from evaluation.streamed import Streamed, streamed

MEMORY = streamed_module._memory  # the fixture below replaces it
WAYS = {"all directions": (1e10, 0), "rows": (0, 2500), "passes": (0, 0)}
only_past_cache = pytest.mark.skipif(
    not hasattr(os, "O_DIRECT"), reason="this system reads files through its cache only"
)


@pytest.fixture(autouse=True, params=["through the cache", "past the cache"])
def every_file_is_large(request, monkeypatch):
    monkeypatch.setattr(streamed_module, "MEMORY_SHARE", 0)
    if request.param == "past the cache":
        monkeypatch.setattr(streamed_module, "_memory", lambda: 0)


@pytest.fixture
def flags(monkeypatch):
    """The flags of every file that os.open opens."""
    found, system = [], os.open
    monkeypatch.setattr(os, "open", lambda path, flags: found.append(flags) or system(path, flags))
    return found


@pytest.fixture(params=[np.float16, np.float32, np.float64])
def mapped(request, tmp_path):
    X = np.random.default_rng(0).normal(size=(500, 37)).astype(request.param)
    np.save(tmp_path / "X.npy", X)
    return np.load(tmp_path / "X.npy", mmap_mode="r")


@pytest.mark.parametrize("view", [np.s_[:], np.s_[13:400], np.s_[499:]])
@pytest.mark.parametrize("rows", [1, 7, 128, 1000])
def test_blocks_are_the_rows_in_either_direction(mapped, view, rows):
    X = np.asarray(mapped[view])  # no longer of the type memmap
    source = streamed(X)
    for backwards in (False, True, False):
        found = [(where, block.clone()) for where, block in source.blocks(rows)]
        starts = [where.start for where, _ in found]
        assert starts == sorted(starts, reverse=backwards)
        assert sum(len(block) for _, block in found) == len(X)
        for where, block in found:
            assert len(block) <= rows and np.array_equal(block.numpy(), X[where])


def test_chosen_rows(mapped):
    index = torch.tensor([3, 499, 3, 0])
    assert np.array_equal(streamed(mapped).take(index).numpy(), mapped[index.numpy()])


def test_what_is_no_file_or_is_small_is_not_streamed(mapped, tmp_path, monkeypatch):
    changed = np.load(tmp_path / "X.npy", mmap_mode="c")  # its changes are in memory only
    fortran = np.lib.format.open_memmap(tmp_path / "F.npy", "w+", mapped.dtype, (4, 5), fortran_order=True)
    for X in (np.array(mapped), changed, mapped[::2], mapped[:, :5], mapped[:0], fortran):
        assert streamed(X) is None
    monkeypatch.setattr(streamed_module, "MEMORY_SHARE", 0.5)
    monkeypatch.setattr(streamed_module, "_memory", lambda: 2**40)
    assert streamed(mapped) is None


def test_a_file_that_ends_early_is_named(mapped, tmp_path):
    source = streamed(mapped)
    with (tmp_path / "X.npy").open("r+b") as file:
        file.truncate(5000)
    with pytest.raises(OSError, match=r"X.npy ends before row .* of 500; make it again"):
        list(source.blocks(10))


def test_a_map_whose_file_ends_early_is_refused(mapped, tmp_path):
    length = (tmp_path / "X.npy").stat().st_size
    os.truncate(tmp_path / "X.npy", 5000)
    with pytest.raises(OSError, match=r"X.npy became shorter after it was opened; make it again"):
        streamed(mapped)
    os.truncate(tmp_path / "X.npy", length)  # pytest may read the map


@pytest.mark.parametrize("other", [None, np.zeros((500, 37)), np.zeros((9, 37))])
def test_a_map_keeps_its_file_when_the_name_is_removed_or_given_to_another(other, mapped, tmp_path):
    whole, source = np.array(mapped), streamed(mapped)
    (tmp_path / "X.npy").rename(tmp_path / "elsewhere")
    if other is not None:
        np.save(tmp_path / "X.npy", other.astype(mapped.dtype))
    for rows in (Rows(mapped), Rows(mapped[5:])):
        assert rows._streamed is None
        np.testing.assert_array_equal(np.concatenate([x.clone() for _, x in rows.blocks()]), whole[-rows.n :])
    with pytest.raises(OSError, match="No such file" if other is None else "X.npy was replaced while it was in use"):
        list(source.blocks(100))


def test_a_failing_disk_is_an_error_that_names_the_file(mapped, monkeypatch):
    def failing(*given):
        raise OSError(errno.EIO, "Input/output error")

    source = streamed(mapped)
    monkeypatch.setattr(os, "preadv", failing)
    with pytest.raises(OSError, match=r"Input/output error: .*X\.npy"):
        list(source.blocks(10))


@only_past_cache
def test_a_file_that_the_cache_cannot_hold_is_read_past_it(mapped, flags, monkeypatch):
    X = mapped[3:]
    monkeypatch.setattr(streamed_module, "_memory", lambda: 2**50)
    list(streamed(X).blocks(100))
    assert not any(used & os.O_DIRECT for used in flags)
    monkeypatch.setattr(streamed_module, "_memory", lambda: 2 * X.nbytes)
    list(streamed(X).blocks(100))
    assert not any(used & os.O_DIRECT for used in flags)
    flags.clear()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    list(streamed(X).blocks(100))
    assert flags and flags[0] & os.O_DIRECT


@only_past_cache
@pytest.mark.parametrize("where", ["open", "preadv"])
def test_a_file_system_that_cannot_is_read_through_the_cache(where, mapped, monkeypatch):
    system = getattr(os, where)

    def refuses(first, *rest):
        flags = rest[0] if where == "open" else fcntl.fcntl(first, fcntl.F_GETFL)
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return system(first, *rest)

    monkeypatch.setattr(streamed_module, "_memory", lambda: 0)
    monkeypatch.setattr(os, where, refuses)
    assert np.array_equal(np.concatenate([x.clone() for _, x in streamed(mapped).blocks(70)]), mapped)


def test_rows_that_are_not_aligned_are_mapped(tmp_path):
    (tmp_path / "odd").write_bytes(bytes(1 + 4 * 6))
    assert streamed(np.memmap(tmp_path / "odd", np.float32, "r", offset=1, shape=(2, 3))) is None


def test_a_pass_that_is_left_early_ends_its_reads(mapped):
    before = threading.active_count()
    blocks = Streamed(mapped.filename, mapped.offset, mapped.shape, mapped.dtype).blocks(10)
    next(blocks)
    assert threading.active_count() > before
    blocks.close()
    assert threading.active_count() == before


def test_a_pass_that_fails_leaves_no_threads_while_its_error_is_kept(mapped, monkeypatch):
    before, workers = torch.get_num_threads(), threading.active_count()
    torch.set_num_threads(2)
    rows = Rows(mapped, double=True)  # the rows of narrower types are converted
    monkeypatch.setattr(rows, "_block", 10)
    monkeypatch.setattr(torch.Tensor, "to", lambda *arguments: 1 / 0)
    try:
        with pytest.raises(ZeroDivisionError) as error:
            next(rows.blocks())
        assert (torch.get_num_threads(), threading.active_count()) == (2, workers)
        assert error
    finally:
        torch.set_num_threads(before)


def test_a_pass_computes_with_one_thread_fewer(mapped, monkeypatch):
    threads = [4]
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads[-1])
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    blocks = Rows(mapped).blocks()
    next(blocks)
    assert threads == [4, 3]
    blocks.close()
    assert threads == [4, 3, 4]


@pytest.mark.parametrize("way", WAYS)
def test_fits_are_those_of_the_matrix_in_memory(way, mapped, monkeypatch):
    full_cost, few_rows = WAYS[way]
    monkeypatch.setattr(subspace, "FULL_COST", full_cost)
    monkeypatch.setattr(rows_module, "FEW_ROWS", few_rows)
    monkeypatch.setattr(rows_module, "SMALL_BYTES", 0)
    monkeypatch.setitem(rows_module.BLOCK_BYTES, "cpu", 37 * 8 * 16)
    for name, value in {"SAMPLE": 200, "RANK": 20, "LEADING": 10}.items():
        monkeypatch.setattr(subspace, name, value)
    y = np.arange(500) % 3
    assert Rows(mapped)._streamed is not None and Rows(np.array(mapped))._streamed is None
    disk, memory = (L2SVM(0.1, tol=1e-6).fit(X, y) for X in (mapped, np.array(mapped)))
    np.testing.assert_allclose(disk.objective_, memory.objective_, rtol=1e-5)
    np.testing.assert_array_equal(disk.predict(mapped), memory.predict(np.array(mapped)))
    _, held = stratified_holdout(y, 100, seed=0)
    chosen = [select_C(X, y, held, [0.01, 0.1]) for X in (mapped, np.array(mapped))]
    assert chosen[0].C == chosen[1].C
    assert [tried["accuracy"] for tried in chosen[0].grid] == [tried["accuracy"] for tried in chosen[1].grid]


def test_the_first_bad_row_is_named_whichever_way_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setitem(rows_module.BLOCK_BYTES, "cpu", 1)
    X = np.ones((200, 3), np.float32)
    X[33, 1] = X[150, 1] = np.nan
    np.save(tmp_path / "X.npy", X)
    rows = Rows(np.load(tmp_path / "X.npy", mmap_mode="r"))
    for _ in range(2):
        with pytest.raises(ValueError, match="feature row 33 has NaN"):
            rows.check_finite()


def test_the_memory_is_what_the_control_groups_allow(tmp_path, monkeypatch):
    monkeypatch.setattr(streamed_module, "GROUPS", tmp_path / "nothing")
    whole = MEMORY()
    job = tmp_path / "batch" / "job_1"
    job.mkdir(parents=True)
    (tmp_path / "own").write_text("0::/batch/job_1\n")
    monkeypatch.setattr(streamed_module, "GROUPS", tmp_path / "own")
    monkeypatch.setattr(streamed_module, "CGROUP", tmp_path)
    assert MEMORY() == whole
    (job / "memory.max").write_text("max\n")
    (job.parent / "memory.max").write_text("1000000\n")
    assert MEMORY() == 1_000_000
    (tmp_path / "memory.max").write_text("900000\n")
    assert MEMORY() == 900_000
    (tmp_path / "own").unlink()
    assert MEMORY() == whole
