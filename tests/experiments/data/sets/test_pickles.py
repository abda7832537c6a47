"""The restricted reader: equal to the ordinary one on official files, deaf to everything else."""

import io
import os
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from experiments.data.sets.pickles import read_batch

Writer = Callable[[np.ndarray, list[int]], bytes]
PLANES = np.random.default_rng(0).integers(0, 256, (3, 3072), dtype=np.uint8)
LABELS = [3, 0, 9]


def test_python2_pickle_as_the_ordinary_reader_sees_it(python2_pickle: Writer) -> None:
    data = python2_pickle(PLANES, LABELS)
    ordinary = pickle.load(io.BytesIO(data), encoding="latin1")
    np.testing.assert_array_equal(ordinary["data"], PLANES)  # the fabricated file is a true one
    pixels, labels = read_batch(data)
    np.testing.assert_array_equal(pixels, PLANES)
    np.testing.assert_array_equal(labels, LABELS)
    assert (pixels.dtype, labels.dtype) == (np.uint8, np.int64)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_written_by_todays_numpy(protocol: int) -> None:
    pixels, labels = read_batch(pickle.dumps({"data": PLANES, "labels": LABELS}, protocol=protocol))
    np.testing.assert_array_equal(pixels, PLANES)
    np.testing.assert_array_equal(labels, LABELS)


class _Runs:
    """Executes a function when unpickled."""

    def __init__(self, function: Callable, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_nothing_is_executed(tmp_path: Path, protocol: int) -> None:
    marker = tmp_path / "executed"
    for attack in (
        _Runs(os.system, f"touch {marker}"),
        _Runs(os.mkdir, str(marker)),
        _Runs(eval, f"open({str(marker)!r}, 'w')"),
    ):
        data = pickle.dumps({"data": PLANES, "labels": LABELS, "extra": attack}, protocol=protocol)
        with pytest.raises(ValueError, match="not an official CIFAR-10 batch: it asks for") as caught:
            read_batch(data)
        assert "\n" not in str(caught.value)
    assert not marker.exists()
    pickle.loads(pickle.dumps(_Runs(os.mkdir, str(marker))))
    assert marker.exists()  # the attack is a true one


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"data": PLANES.astype(np.int64), "labels": LABELS}, "arrays must be uint8"),
        ({"data": np.array([[os]], dtype=object)[:0], "labels": []}, "arrays must hold numbers"),
        ({"data": np.asfortranarray(PLANES), "labels": LABELS}, "C order"),
        ({"data": PLANES[:, :5], "labels": LABELS}, r"got \[3, 5\] and 3"),
        ({"data": PLANES, "labels": LABELS[:2]}, r"got \[3, 3072\] and 2"),
        ({"data": PLANES, "labels": ["a", "b", "c"]}, "n integers"),
        ({"data": PLANES}, "must hold the array `data`"),
        ({"data": PLANES.tolist(), "labels": LABELS}, "must hold the array `data`"),
        ([1, 2], "must hold the array `data`"),
        (OrderedDict(data=PLANES), "asks for 'collections.OrderedDict'"),
    ],
)
def test_other_content(content: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_batch(pickle.dumps(content, protocol=2))


def test_cut_or_foreign_bytes(python2_pickle: Writer) -> None:
    data = python2_pickle(PLANES, LABELS)
    for broken in (
        b"",
        b"hello",
        data[:-1],
        data[: len(data) // 2],
        data.replace(b"u1", b"O8"),
        b"\x80\x02cnumpy\nndarray\n)R.",
    ):
        with pytest.raises(ValueError, match="not an official CIFAR-10 batch"):
            read_batch(broken)
