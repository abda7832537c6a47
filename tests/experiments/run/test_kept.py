"""Kept arrays: what is written is read again, damage is refused, files written before still count."""

import hashlib

import numpy as np
import pytest
import safetensors.torch
import torch

from experiments.run import kept

ARRAYS = {
    "codes": np.array([2**63, 1], np.uint64),
    "images": np.random.default_rng(0).integers(0, 256, (2, 3, 4), np.uint8),
    "none": np.empty((0, 5), np.float32),
    "turned": np.arange(6.0).reshape(2, 3).T,
}


def test_arrays_and_header_come_back(tmp_path):
    file = tmp_path / "new" / "x.safetensors"
    for header in ({"trial": 1, "names": ["ü\n", None]}, {}):
        kept.write(file, ARRAYS, header)
        arrays, read = kept.read(file)
        assert read == header and arrays.keys() == ARRAYS.keys()
        for name, array in ARRAYS.items():
            assert arrays[name].dtype == array.dtype
            np.testing.assert_array_equal(arrays[name], array)
    kept.write(file, {}, {"alone": True})
    assert kept.read(file) == ({}, {"alone": True})
    assert [path.name for path in file.parent.iterdir()] == ["x.safetensors"]


@pytest.mark.parametrize("at", [0, 9, 200, -300, -1])
def test_a_changed_byte_is_refused(tmp_path, at):
    kept.write(tmp_path / "x", ARRAYS, {"trial": 1})
    data = bytearray((tmp_path / "x").read_bytes())
    data[at] ^= 1
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(ValueError, match=r"x is damaged \("):
        kept.read(tmp_path / "x")


@pytest.mark.parametrize("data", [b"", b"text", b"\xff" * 99, safetensors.torch.save({"a": torch.zeros(2)})])
def test_other_files_are_refused(tmp_path, data):
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(ValueError, match=r"x is damaged \("):
        kept.read(tmp_path / "x")


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        kept.read(tmp_path / "x")


def test_files_written_through_torch_are_read(tmp_path):
    """As the first release wrote the centroids of K-means and the state of a search."""
    tensors = {"seen": torch.tensor([7]), "mean": torch.randn(2, 3)}
    hashed = hashlib.sha256()
    for name in ("mean", "seen"):
        hashed.update(f"{name} {tensors[name].dtype} {list(tensors[name].shape)}\n".encode())
        hashed.update(tensors[name].numpy().tobytes())
    digest = torch.frombuffer(bytearray(hashed.digest()), dtype=torch.uint8)
    (tmp_path / "x").write_bytes(safetensors.torch.save({**tensors, "digest": digest}))
    arrays, header = kept.read(tmp_path / "x")
    assert header == {} and {name: array.tolist() for name, array in arrays.items()} == {
        name: tensor.tolist() for name, tensor in tensors.items()
    }


def test_keys_are_those_of_before():
    assert kept.key("a", [1, None]) == hashlib.sha256(b'["a", [1, null]]').hexdigest()[:16]
