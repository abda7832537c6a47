"""SVHN's .mat files: whole or partial; others refused in one line."""

import hashlib
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.io

from experiments.data.load import load
from experiments.data.sets import svhn
from experiments.run.context import Run
from experiments.run.errors import UserError

X = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 7), dtype=np.uint8)
Y = np.array([1, 10, 3, 9, 10, 2, 5], np.uint8)[:, None]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    nowhere = {s: ["http://127.0.0.1:9/x.mat", f"{s}_32x32.mat", "0" * 32] for s in ("train", "test")}
    monkeypatch.setattr(svhn, "torchvision_datasets", lambda: SimpleNamespace(SVHN=SimpleNamespace(split_list=nowhere)))
    (tmp_path / "data" / "svhn").mkdir(parents=True)
    return Run(tmp_path / "data", tmp_path / "runs")


def _write(run: Run, **arrays: np.ndarray) -> Path:
    file = run.data_root / "svhn" / "train_32x32.mat"
    scipy.io.savemat(file, arrays, do_compression=True)
    return file


def test_a_partial_set_says_so(run: Run) -> None:
    _write(run, X=X, y=Y)
    made = load("svhn-train", run)
    np.testing.assert_array_equal(made.images, X.transpose(3, 0, 1, 2))
    assert made.labels.tolist() == [1, 0, 3, 9, 0, 2, 5]
    assert made.meta["source"] == "SVHN: train_32x32.mat, 7 of 73,257 images"
    _write(run, X=X[..., :4], y=Y[:4])
    with pytest.warns(UserWarning, match="now holds SVHN: train_32x32.mat, 4 of"):
        assert len(load("svhn-train", run).images) == 4


def test_a_whole_set_is_checked(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    file = _write(run, X=X, y=Y)
    monkeypatch.setitem(svhn.COUNTS, "train", 7)
    with pytest.raises(UserError, match="MD5 of the whole file must be e26dedcc434d2e4c54c9b2d4a06d8373"):
        load("svhn-train", run)
    monkeypatch.setitem(svhn.MD5, "train", hashlib.md5(file.read_bytes()).hexdigest())
    assert load("svhn-train", run).meta["source"] == "SVHN: train_32x32.mat"


@pytest.mark.parametrize(
    "place", ["train_32x32.mat", "svhn/SVHN/train_32x32.mat", "SVHN/Train_32x32.MAT", "archive/train_32x32.mat"]
)
def test_trees(run: Run, place: str) -> None:
    written = _write(run, X=X, y=Y)
    file = run.data_root / place
    file.parent.mkdir(parents=True, exist_ok=True)
    written.rename(file)
    (file.parent / f"._{file.name}").write_bytes(b"a twin")
    np.testing.assert_array_equal(load("svhn-train", run).images, X.transpose(3, 0, 1, 2))
    assert len(load("svhn-train", run).images) == 7  # packed, and not built again


def test_of_two_files_the_one_in_svhn_is_taken_and_said(run: Run, tmp_path: Path) -> None:
    file = _write(run, X=X, y=Y)
    shutil.copy(file, run.data_root / "train_32x32.mat")
    said: list[str] = []
    load("svhn-train", Run(run.data_root, run.runs_root, say=said.append))
    assert said == [f"reading {file}, not {run.data_root / 'train_32x32.mat'}"]


def test_a_whole_set_that_was_saved_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(run, X=np.asfortranarray(X), y=Y.astype(float).T)
    monkeypatch.setitem(svhn.COUNTS, "train", 7)
    monkeypatch.setitem(svhn.DIGITS, "train", [2, 1, 1, 1, 0, 1, 0, 0, 0, 1])
    with pytest.raises(UserError, match=r"MD5 of the whole file must be .*, and its digits differ too"):
        load("svhn-train", run)
    monkeypatch.setattr(svhn, "FIRST", 5)
    first = np.ascontiguousarray(X[..., :5].transpose(3, 0, 1, 2))
    monkeypatch.setitem(svhn.SHA256, "train", hashlib.sha256(first).hexdigest())
    said: list[str] = []
    made = load("svhn-train", Run(run.data_root, run.runs_root, say=said.append))
    assert made.labels.tolist() == [1, 0, 3, 9, 0, 2, 5] and made.meta["source"] == "SVHN: train_32x32.mat"
    assert len(said) == 1 and "was saved again" in said[0]


def test_the_counts_of_the_digits_are_those_of_the_files() -> None:
    assert {split: sum(counts) for split, counts in svhn.DIGITS.items()} == svhn.COUNTS


@pytest.mark.parametrize("head", [b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512), b"\x89HDF\r\n\x1a\n"])
def test_matlab_7_3_is_named(run: Run, head: bytes) -> None:
    (run.data_root / "svhn" / "train_32x32.mat").write_bytes(head + bytes(1000))
    with pytest.raises(UserError, match=r"it is HDF5, as MATLAB 7.3 saves it; .* with -v7"):
        load("svhn-train", run)


def test_a_named_pipe_and_format_1(run: Run) -> None:
    (run.data_root / "svhn" / "test.tar.gz").write_bytes(b"x")
    with pytest.raises(
        UserError, match=r"no SVHN: .*test.tar.gz is there: these are the whole house numbers, format 1"
    ):
        load("svhn-test", run)
    os.mkfifo(run.data_root / "svhn" / "train_32x32.mat")
    with pytest.raises(UserError, match=r"train_32x32.mat is neither a file nor a folder"):
        load("svhn-train", run)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": X}, "y must be 7 numbers"),
        ({"X": X, "y": Y[:5]}, "y must be 7 numbers"),
        ({"X": X.astype(float), "y": Y}, "X must be uint8"),
        ({"X": X[:31], "y": Y}, "X must be uint8"),
        ({"X": X, "y": Y + 1}, "labels must be 1 to 10"),
        ({"X": np.array(["a", "b"], object), "y": Y}, "X must be uint8"),
    ],
)
def test_other_arrays(run: Run, arrays: dict[str, np.ndarray], message: str) -> None:
    _write(run, **arrays)
    with pytest.raises(UserError, match=message) as caught:
        load("svhn-train", run)
    assert "\n" not in str(caught.value) and "replace it with a fresh one" in str(caught.value)


@pytest.mark.parametrize("size", [0, 100, 200, 5000])
def test_cut_files(run: Run, size: int) -> None:
    os.truncate(_write(run, X=X, y=Y), size)
    with pytest.raises(UserError, match=r"is not SVHN's train_32x32\.mat") as caught:
        load("svhn-train", run)
    assert "\n" not in str(caught.value)


def test_none(run: Run) -> None:
    with pytest.raises(UserError, match=r"no SVHN: put test_32x32.mat in .*data/svhn \(.*refused"):
        load("svhn-test", run)


@pytest.mark.data
def test_the_real_one(tmp_path: Path) -> None:
    root = Path(os.environ.get("DATA_ROOT") or "data")
    if not (root / "svhn" / "train_32x32.mat").is_file():
        pytest.skip("no SVHN under DATA_ROOT")
    made = load("svhn-train", Run(root, tmp_path))
    if len(made.labels) == 1083:
        assert np.bincount(made.labels).tolist() == [66, 227, 141, 134, 110, 112, 78, 70, 78, 67]
