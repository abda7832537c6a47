"""The restricted reader equals the ordinary one on official files, and refuses everything else."""

import io
import os
import pickle
import tracemalloc
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


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("planes", [PLANES, np.asfortranarray(PLANES), np.repeat(PLANES, 2, axis=0)[::2]])
@pytest.mark.parametrize(
    "labels",
    [LABELS, np.array(LABELS), np.array(LABELS, np.uint8), np.array(LABELS, ">i4"), list(np.array(LABELS, np.int16))],
)
def test_saved_again(protocol: int, planes: np.ndarray, labels: object) -> None:
    for content in ({"data": planes, "labels": labels}, {b"data": planes, b"labels": labels, b"filenames": [b"x.png"]}):
        for data in (pickle.dumps(content, protocol), _as_numpy_1(pickle.dumps(content, protocol))):
            pixels, found = read_batch(data)
            np.testing.assert_array_equal(pixels, PLANES)
            np.testing.assert_array_equal(found, LABELS)
            assert (pixels.dtype, found.dtype) == (np.uint8, np.int64)


def _as_numpy_1(data: bytes) -> bytes:
    """The pickle with the module paths of numpy 1, which are a letter shorter."""
    for module in (b"numpy._core.multiarray", b"numpy._core.numeric"):
        old = module.replace(b"_core", b"core")
        data = data.replace(b"c" + module + b"\n", b"c" + old + b"\n")
        data = data.replace(b"\x8c" + bytes([len(module)]) + module, b"\x8c" + bytes([len(old)]) + old)
    assert b"numpy._core" not in data
    is_framed = data[2:3] == b"\x95"  # one frame over all of it
    return data[:3] + (len(data) - 11).to_bytes(8, "little") + data[11:] if is_framed else data


class _Runs:
    """Executes a function when unpickled."""

    def __init__(self, function: Callable, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


@pytest.mark.parametrize("protocol", range(6))
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
        ({"data": PLANES.astype(np.int64), "labels": LABELS}, r"`data` must be uint8 \[3, 3072\]"),
        ({"data": np.array([[os]], dtype=object)[:0], "labels": []}, "`data` must be uint8"),
        ({"data": PLANES, "labels": np.array([0.0, 1.0, 2.0])}, "`labels` must be integers"),
        ({"data": PLANES, "labels": np.array([[1, 2, 3]])}, "`labels` must be one for each image"),
        ({"data": PLANES, "labels": [np.float64(1), 2, 3]}, "`labels` must be integers"),
        ({"data": np.uint8(3), "labels": [1]}, "must hold the array `data`"),
        ({"data": PLANES[:, :5], "labels": LABELS}, "a row for each label"),
        ({"data": PLANES, "labels": LABELS[:2]}, r"`data` must be uint8 \[2, 3072\], a row for each label"),
        ({"data": PLANES, "labels": ["a", "b", "c"]}, "`labels` must be integers"),
        ({"data": PLANES, "labels": [1, 2, 10**30]}, "too large"),
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


ENCODE = b"c_codecs\nencode\nq\x00"  # and its place in the memo
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"


def _batch(data: bytes) -> bytes:
    """A pickle {"data": ..., "labels": [3]}."""
    return b"\x80\x02}(U\x06labels](K\x03eU\x04data" + data + b"u."


def test_numpy_is_not_told_that_numbers_are_pointers() -> None:
    """The flags that a file gives to numpy's own dtype would make it follow these bytes, and die."""
    dtype = b"cnumpy\ndtype\n(U\x02O8K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    state = b"(K\x01K\x01M\x00\x0c\x86" + dtype + b"\x89T" + (8 * 3072).to_bytes(4, "little") + b"A" * 8 * 3072 + b"tb"
    with pytest.raises(ValueError, match="`data` must be uint8"):
        read_batch(_batch(ARRAY + state))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        # the same megabyte of text, to be encoded 10,000 times
        (
            b"X\x00\x00\x10\x00" + b"a" * 2**20 + b"q\x010" + ENCODE + b"0](" + b"h\x00h\x01\x85R" * 10_000 + b"e",
            "must hold",
        ),
        # tuples of two equal tuples, 60 deep: 2**60 numbers, written out
        (ARRAY + b"(K\x01K\x01K\x01\x86" + b"2\x86" * 60 + b"NNNtb", "batch: "),
        (b"](" + b"]" * 1_000_001 + b"e", "more than 1,000,000 steps"),
        (b"Nr" + (2**31).to_bytes(4, "little"), "at place 2147483648 of its memo"),  # a memo of 32 GB
        (b"\x8e" + (2**50).to_bytes(8, "little") + b"x", "batch: "),  # a petabyte
    ],
)
def test_a_small_file_does_not_take_much_memory(data: bytes, message: str) -> None:
    tracemalloc.start()
    with pytest.raises(ValueError, match=message) as caught:
        read_batch(_batch(data))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60 * 2**20 and len(str(caught.value)) < 200


BY_HAND = {  # opcodes that call, or reach what can be called, each in its own way
    "INST": b"(S'mkdir here'\nios\nsystem\n",
    "OBJ": b"(cos\nsystem\nS'mkdir here'\no",
    "REDUCE": b"cos\nsystem\n(S'mkdir here'\ntR",
    "NEWOBJ": b"csubprocess\nPopen\n(S'mkdir here'\nt\x81",
    "STACK_GLOBAL": b"\x8c\x05posix\x8c\x06system\x93(S'mkdir here'\ntR",
    "a path of attributes": b"\x8c\x05numpy\x8c\x12dtype.__subclasses__\x93)R",
    "a builtin": b"c__builtin__\neval\n(S'1'\ntR",
    "getattr": b"cbuiltins\ngetattr\n(cnumpy\nndarray\nS'tofile'\ntR",
    "numpy's own reader": b"cnumpy\nload\n(S'file'\ntR",
    "numpy's scalar of objects": b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(S'O8'\ntRS'cos\nsystem'\ntR",
    "an extension": b"\x82\x01",
    "a persistent object": b"Pos.system\n",
    "a buffer from outside": b"\x97",
}


@pytest.mark.parametrize("step", BY_HAND.values(), ids=BY_HAND)
def test_no_opcode_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: bytes) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="not an official CIFAR-10 batch: "):
        read_batch(_batch(step))
    with pytest.raises(ValueError, match="not an official CIFAR-10 batch: "):
        read_batch(b"\x80\x02" + step + b".")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "state",
    [
        b"K\x05",  # no tuple
        b"}",
        b"(K\x01K\x01K\x00tb",  # too short
        b"(K\x01(K\x01M\x00\x0ctK\x05\x89U\x01atb",  # no dtype
        b"(K\x01(K\x01M\x00\x0ctcnumpy\ndtype\n(U\x02u1tR\x89]tb",  # a list for bytes
        b"(K\x01(K\x01J\xff\xff\xff\xfftcnumpy\ndtype\n(U\x02u1tR\x89U\x01atb",  # a negative length
        b"(K\x01(K\x01M\x00\x0ctcnumpy\ndtype\n(U\x02u1tR\x89U\x01atb",  # fewer bytes than it says
        b"(K\x01(K\x01M\x00\x0ctcnumpy\ndtype\n(U\x0bu1,u1,u1,u1tR\x89U\x01atb",  # a record
        b"(K\x01(K\x01\x8a\x10" + b"\x7f" * 16 + b"tcnumpy\ndtype\n(U\x02u1tR\x89U\x01atb",  # a length beyond 64 bits
    ],
)
def test_arrays_that_are_none(state: bytes) -> None:
    with pytest.raises(ValueError, match="not an official CIFAR-10 batch: "):
        read_batch(_batch(ARRAY + (state if state.endswith(b"b") else state + b"b")))
