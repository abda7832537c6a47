"""Codes of pieces are the codes of the whole, wherever the pieces are hashed."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import dedup
from dedup import chunks


@pytest.fixture
def images(tmp_path, monkeypatch):
    """A memory map of 50 images behind 7 other bytes; pieces of 4 images."""
    array = np.random.default_rng(0).integers(0, 256, (50, 16, 16, 3), np.uint8)
    (tmp_path / "images.u8").write_bytes(bytes(7) + array.tobytes())
    monkeypatch.setattr(chunks, "_BYTES", 4 * 16 * 16 * 3)
    return np.memmap(tmp_path / "images.u8", np.uint8, "r", 7, (50, 16, 16, 3))


@pytest.mark.parametrize("hash", [dedup.phash, dedup.ahash])
def test_pieces_hash_as_the_whole(images, hash):
    whole = hash(images)
    assert np.array_equal(dedup.hash_chunks(images, hash), whole)
    with ThreadPoolExecutor(2) as executor:
        assert np.array_equal(dedup.hash_chunks(images, hash, executor=executor), whole)
        # views have other offsets, strides or both than their file
        for view in (images[3:], images[::-2], images[:, 4:12, ::2], np.array(images)):
            assert np.array_equal(dedup.hash_chunks(view, hash, executor=executor), hash(np.array(view)))
    assert dedup.hash_chunks(images[:0], hash).shape == (0,)


def test_of_a_memory_map_only_the_name_travels(images):
    sent = []

    class Watching(ThreadPoolExecutor):
        def map(self, job, work):
            work = list(work)
            sent.extend(work)
            return super().map(job, work)

    with Watching(2) as executor:
        dedup.hash_chunks(images, executor=executor)
        assert sent == [(i, min(i + 4, 50)) for i in range(0, 50, 4)]
        sent.clear()
        dedup.hash_chunks(images[1:], executor=executor)
        assert len(sent) == 13 and all(isinstance(piece, np.ndarray) for piece in sent)


def test_what_is_no_image_is_refused():
    with pytest.raises(ValueError, match=r"images must be uint8 \[N, H, W, 1 or 3\]"):
        dedup.hash_chunks(np.zeros((3, 8, 8), np.uint8))
