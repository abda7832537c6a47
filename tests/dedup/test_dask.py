"""Hashing and search on two worker processes give what one process gives."""

import os

import numpy as np
from distributed import Client, LocalCluster

import dedup
from dedup import representatives


def test_two_workers_give_what_one_process_gives(tmp_path, monkeypatch):
    for name, value in {"_ROUNDS": 1, "_BLOCK": 8, "_FEW": 1 << 12, "_MANY": 256}.items():
        monkeypatch.setattr(representatives, name, value)  # few codes are searched by the workers too
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, (1500, 16, 16, 3), np.uint8)
    noisy = np.clip(base[:500] + rng.integers(-12, 13, base[:500].shape), 0, 255).astype(np.uint8)
    np.save(tmp_path / "images.npy", np.concatenate([base, noisy, base[:50]]))
    images = np.load(tmp_path / "images.npy", mmap_mode="r")
    more = rng.integers(0, 2**64, 50_000, np.uint64)
    codes = dedup.phash(images)
    chain = np.cumsum(np.uint64(1) << rng.integers(0, 64, 1500, np.uint64), dtype=np.uint64)
    codes_and_more = np.concatenate([codes, more, more[:2000] ^ np.uint64(0b10011), chain])
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=tmp_path) as cluster,
        Client(cluster) as client,
    ):
        executor = client.get_executor()
        pids = set(client.run(os.getpid).values())
        assert len(pids) == 2 and os.getpid() not in pids
        assert np.array_equal(dedup.hash_chunks(images, executor=executor), codes)
        groups = dedup.radius_groups(codes_and_more, 6, executor=executor, shared=tmp_path)
        kept_for = dedup.radius_representatives(codes_and_more, 6, executor=executor, shared=tmp_path)
        pairs = dedup.radius_pairs(codes_and_more, 6, executor=executor, shared=tmp_path)
        between = dedup.radius_pairs_between(codes, codes_and_more, 6, executor=executor, shared=tmp_path)
    assert len(pairs) > 2000
    assert np.array_equal(groups, dedup.radius_groups(codes_and_more, 6))
    assert np.array_equal(kept_for, dedup.pair_representatives(pairs, len(codes_and_more)))
    assert np.array_equal(pairs, dedup.radius_pairs(codes_and_more, 6))
    assert np.array_equal(between, dedup.radius_pairs_between(codes, codes_and_more, 6))
