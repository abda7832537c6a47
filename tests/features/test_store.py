"""Feature stores: the same bits after any stop, damage caught and repaired, plain refusals."""

import json
import os
import shutil
from collections import namedtuple

import numpy as np
import pytest
import torch
from torch import nn

from features import Backbone, FeatureStore, extract

KEY = {"weights": "abc", "layers": ["0"]}
ROWS, WIDTH, CHUNK, BATCH = 50, 6 * 16, 8, 4


class Stop(Exception):
    """Stands for a kill: nothing of the store's gets to clean up."""


@pytest.fixture
def backbone():
    torch.manual_seed(0)
    return Backbone(nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1)), ["0"], (3, 16, 16), (-1, 1))


@pytest.fixture
def images():
    return np.random.default_rng(5).integers(0, 256, (ROWS, 16, 16, 3), dtype=np.uint8)


def open_store(root, key=KEY, **options):
    return FeatureStore(root, key, **{"rows": ROWS, "width": WIDTH, "chunk_rows": CHUNK, **options})


def stop_after(batches):
    def progress(iterable, *, total, desc, unit):
        for number, item in enumerate(iterable):
            if number == batches:
                raise Stop
            yield item

    return progress


def computed(backbone, images, store):
    """Extracts into the store; returns the features and how many batches were computed for them."""
    calls = []

    def progress(iterable, *, total, desc, unit):
        for item in iterable:
            calls.append(item[0])
            yield item

    return extract(backbone, images, batch_size=BATCH, out=store, progress=progress), len(calls)


def test_a_finished_store_holds_what_extract_gives_and_is_read_only(backbone, images, tmp_path):
    store = open_store(tmp_path)
    features = extract(backbone, images, batch_size=BATCH, out=store)
    assert np.array_equal(features, extract(backbone, images, batch_size=BATCH))
    assert isinstance(features, np.memmap)
    assert not features.flags.writeable
    assert (store.folder / "features.f32").stat().st_size == ROWS * WIDTH * 4
    assert sorted(f.name for f in store.folder.iterdir()) == ["chunks.json", "features.f32", "key.json"]
    again = open_store(tmp_path)
    assert again.complete
    assert again.rejected == 0
    assert again.digest == store.digest
    assert np.array_equal(again.array(), features)


@pytest.mark.parametrize("batches", [0, 1, 2, 3, 7, 12])
def test_resumed_after_a_stop_bit_for_bit(backbone, images, tmp_path, batches):
    expected = extract(backbone, images, batch_size=BATCH)
    store = open_store(tmp_path)
    with pytest.raises(Stop):
        extract(backbone, images, batch_size=BATCH, out=store, progress=stop_after(batches))
    features, again = computed(backbone, images, open_store(tmp_path))
    held = batches // (CHUNK // BATCH) * (CHUNK // BATCH)
    assert again == -(-ROWS // BATCH) - held  # whole chunks are kept, the torn one is computed again
    assert np.array_equal(features, expected)


def test_resumed_from_a_stream(backbone, images, tmp_path):
    with pytest.raises(Stop):
        extract(backbone, images, batch_size=BATCH, out=open_store(tmp_path), progress=stop_after(5))
    features, again = computed(backbone, iter(np.split(images, [7])), open_store(tmp_path))
    assert again == 13 - 4
    assert np.array_equal(features, extract(backbone, images, batch_size=BATCH))


@pytest.mark.parametrize("row", [0, 8, 30, 49])
def test_a_flipped_bit_is_caught_and_its_chunk_computed_again(backbone, images, tmp_path, row):
    expected = extract(backbone, images, batch_size=BATCH, out=open_store(tmp_path)).copy()
    with next(tmp_path.glob("*/features.f32")).open("r+b") as file:
        file.seek(row * WIDTH * 4 + 17)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 4]))
    store = open_store(tmp_path)
    assert store.rejected == 1
    assert not store.has(row)
    features, again = computed(backbone, images, store)
    assert again == (1 if row >= 48 else 2)
    assert np.array_equal(features, expected)


def test_truncated_data_lost_journal_and_garbage_journal_are_repaired(backbone, images, tmp_path):
    expected = extract(backbone, images, batch_size=BATCH, out=open_store(tmp_path)).copy()
    data, journal = (next(tmp_path.glob(f"*/{name}")) for name in ("features.f32", "chunks.json"))

    def damage_by(action):
        action()
        store = open_store(tmp_path)
        assert not store.complete
        features, _ = computed(backbone, images, store)
        assert np.array_equal(features, expected)

    damage_by(lambda: os.truncate(data, 30 * WIDTH * 4))
    damage_by(data.unlink)
    damage_by(journal.unlink)
    for text in ("", "{", '{"crc32": 3}', '{"crc32": [1, 2]}', "[]", json.dumps({"crc32": ["x"] * 7})):
        damage_by(lambda text=text: journal.write_text(text))


def test_another_key_or_shape_is_another_store(tmp_path):
    store = open_store(tmp_path)
    others = [
        open_store(tmp_path, {**KEY, "weights": "abd"}),
        open_store(tmp_path, {**KEY, "more": None}),
        open_store(tmp_path, rows=ROWS + 1),
        open_store(tmp_path, chunk_rows=16),
    ]
    assert len({store.folder, *(other.folder for other in others)}) == 5
    assert open_store(tmp_path, dict(reversed(KEY.items()))).folder == store.folder
    recorded = json.loads((store.folder / "key.json").read_text())
    assert recorded == {**KEY, "store": {"format": 1, "rows": ROWS, "width": WIDTH, "chunk_rows": CHUNK}}


def test_an_unfinished_store_is_not_read(backbone, images, tmp_path):
    store = open_store(tmp_path)
    with pytest.raises(Stop):
        extract(backbone, images, batch_size=BATCH, out=store, progress=stop_after(5))
    for read in (store.array, lambda: store.digest):
        with pytest.raises(ValueError, match=r"must be complete to be read, got 2 of 7 chunks .* run the extraction"):
            read()


def test_a_finished_store_is_not_touched_again(backbone, images, tmp_path):
    extract(backbone, images, batch_size=BATCH, out=open_store(tmp_path))
    times = {file: file.stat().st_mtime_ns for file in tmp_path.glob("*/*")}
    _, again = computed(backbone, images, open_store(tmp_path))
    assert again == 0
    assert {file: file.stat().st_mtime_ns for file in tmp_path.glob("*/*")} == times


def test_batch_size_must_divide_the_chunk(backbone, images, tmp_path):
    with pytest.raises(ValueError, match="batch_size must divide the store's chunk of 8 rows, got 3"):
        extract(backbone, images, batch_size=3, out=open_store(tmp_path))


def test_the_store_must_fit_network_and_images(backbone, images, tmp_path):
    with pytest.raises(ValueError, match=r"out must have shape \[50, 96\], got \[50, 95\]"):
        extract(backbone, images, batch_size=BATCH, out=open_store(tmp_path, width=95))
    with pytest.raises(ValueError, match="images must number 51, the rows of out; got 50"):
        extract(backbone, iter([images]), batch_size=BATCH, out=open_store(tmp_path, rows=51))


@pytest.mark.parametrize(
    "start, n, dtype",
    [(0, 9, np.float32), (4, 4, np.float32), (48, 3, np.float32), (0, 4, np.float64), (0, 0, np.float32)],
)
def test_blocks_out_of_place_are_refused(tmp_path, start, n, dtype):
    with pytest.raises(
        ValueError, match=r"block must be float32 \[n, 96\]|rows of a chunk must be written in sequence"
    ):
        open_store(tmp_path).write(start, np.zeros((n, WIDTH), dtype))


def test_too_little_disk_space_is_one_line_before_any_work(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**6, 10**6 - 100, 100))
    with pytest.raises(
        OSError, match=r"needs 19,200 bytes, 100 are free\); free space or choose another folder"
    ) as error:
        open_store(tmp_path)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_root_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot store features \(Not a directory\)") as error:
        open_store(tmp_path / "file" / "stores")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", [{"path": os}, {"value": float("nan")}])
def test_keys_must_be_json(tmp_path, key):
    with pytest.raises(ValueError, match="key must be made of JSON values"):
        open_store(tmp_path, key)
    assert not list(tmp_path.iterdir())


def test_shape_must_be_positive(tmp_path):
    with pytest.raises(ValueError, match="rows, width and chunk_rows must be at least 1, got 0, 96, 8"):
        open_store(tmp_path, rows=0)


def test_the_folder_of_a_key_is_the_same_as_ever(tmp_path):
    """Features that were stored before there were other types are found."""
    assert open_store(tmp_path).key_hash == "ec6bafef915cf693"
    assert open_store(tmp_path, dtype="float32").key_hash == "ec6bafef915cf693"


@pytest.fixture
def halves(backbone, images):
    return extract(backbone, images, batch_size=BATCH).astype(np.float16)


def test_a_store_of_float16_takes_half_the_disk_and_is_another_store(backbone, images, halves, tmp_path):
    store = open_store(tmp_path, dtype="float16")
    features = extract(backbone, images, batch_size=BATCH, out=store)
    assert isinstance(features, np.memmap)
    assert features.dtype == np.float16
    assert np.array_equal(features, halves)
    assert sorted(f.name for f in store.folder.iterdir()) == ["chunks.json", "features.f16", "key.json"]
    assert (store.folder / "features.f16").stat().st_size == ROWS * WIDTH * 2
    assert json.loads((store.folder / "key.json").read_text())["store"]["dtype"] == "float16"
    again = open_store(tmp_path, dtype="float16")
    assert again.complete
    assert again.digest == store.digest
    assert not open_store(tmp_path).complete


@pytest.mark.parametrize("batches", [1, 4, 7])
def test_a_store_of_float16_is_resumed_and_repaired(backbone, images, halves, tmp_path, batches):
    with pytest.raises(Stop):
        store = open_store(tmp_path, dtype="float16")
        extract(backbone, images, batch_size=BATCH, out=store, progress=stop_after(batches))
    features, again = computed(backbone, images, open_store(tmp_path, dtype="float16"))
    assert again == 13 - batches // 2 * 2
    assert np.array_equal(features, halves)
    with next(tmp_path.glob("*/features.f16")).open("r+b") as file:
        file.seek(30 * WIDTH * 2 + 5)
        file.write(b"?")
    store = open_store(tmp_path, dtype="float16")
    assert store.rejected == 1
    assert not store.has(30)
    assert np.array_equal(computed(backbone, images, store)[0], halves)


def test_space_is_counted_in_the_bytes_of_the_type(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**6, 10**6 - 9600, 9600))
    open_store(tmp_path / "half", dtype="float16")
    with pytest.raises(OSError, match=r"needs 19,200 bytes, 9,600 are free"):
        open_store(tmp_path / "whole")


def test_types_do_not_mix(tmp_path):
    with pytest.raises(ValueError, match=r"block must be float16 \[n, 96\] .* got float32"):
        open_store(tmp_path, dtype="float16").write(0, np.zeros((4, WIDTH), np.float32))
    with pytest.raises(ValueError, match="dtype must be one of float32, float16, got 'float64'"):
        open_store(tmp_path, dtype="float64")


def opened(root, i, n):
    return open_store(root, part=(i, n))


def filled(backbone, images, root, n, *, only=None):
    """Open and fill the parts of n processes in turn, as if they ran at the same time; return the stores."""
    stores = [opened(root, i, n) for i in range(n)]
    for i, store in enumerate(stores):
        if only is None or i in only:
            extract(backbone, images, batch_size=BATCH, out=store)
    return stores


def merged(stores):
    checksums = tuple(checksum for part in stores for checksum in part.checksums)
    for store in stores:
        store.merge(checksums)
    return stores


@pytest.mark.parametrize("n", [2, 3, 7, 9])  # of 7 chunks
def test_parts_make_the_store_of_one_process(backbone, images, tmp_path, n):
    expected = extract(backbone, images, batch_size=BATCH, out=open_store(tmp_path / "one"))
    stores = filled(backbone, images, tmp_path / "many", n)
    rows = [store.part_rows for store in stores]
    assert [r.start for r in rows] == [0, *(r.stop for r in rows[:-1])] and rows[-1].stop == ROWS
    for store in stores:
        assert np.array_equal(store.array(), expected[store.part_rows])
    for store in merged(stores):
        assert np.array_equal(store.array(), expected)
    files = [{f.name: f.read_bytes() for f in root.glob("*/*")} for root in (tmp_path / "one", tmp_path / "many")]
    assert files[0] == files[1]
    assert open_store(tmp_path / "many").digest == stores[0].digest == open_store(tmp_path / "one").digest


@pytest.mark.parametrize("begun", [2, 3])
@pytest.mark.parametrize("went_on", [1, 2, 4])
def test_another_number_of_processes_goes_on(backbone, images, tmp_path, begun, went_on):
    expected = extract(backbone, images, batch_size=BATCH)
    stores = [opened(tmp_path, i, begun) for i in range(begun)]
    for store in stores:  # each has finished a chunk
        with pytest.raises(Stop):
            extract(backbone, images, batch_size=BATCH, out=store, progress=stop_after(2))
    stores = [opened(tmp_path, i, went_on) for i in range(went_on)]
    again = sum(computed(backbone, images, store)[1] for store in stores)
    assert again == -(-ROWS // BATCH) - begun * (CHUNK // BATCH)
    assert np.array_equal(merged(stores)[0].array(), expected)
    assert open_store(tmp_path).complete


def test_what_a_part_knew_of_others_outlives_its_own_chunks(backbone, images, tmp_path):
    """Process 1 of 2 held chunks 4 to 6; process 1 of 3 has chunks 3 and 4, and replaces that journal."""
    filled(backbone, images, tmp_path, 2, only=[1])
    store = opened(tmp_path, 1, 3)
    assert computed(backbone, images, store)[1] == CHUNK // BATCH  # chunk 3 alone
    assert opened(tmp_path, 2, 3).complete  # chunks 5 and 6


def test_one_process_takes_over_the_only_journal_of_a_part(backbone, images, tmp_path):
    filled(backbone, images, tmp_path, 2, only=[0])
    store = open_store(tmp_path)
    assert computed(backbone, images, store)[1] == -(-ROWS // BATCH) - 4 * (CHUNK // BATCH)
    assert sorted(file.name for file in store.folder.iterdir()) == ["chunks.json", "features.f32", "key.json"]


def test_each_part_verifies_its_own_chunks(backbone, images, tmp_path):
    merged(filled(backbone, images, tmp_path, 2))
    with next(tmp_path.glob("*/features.f32")).open("r+b") as file:
        file.seek(45 * WIDTH * 4)
        file.write(b"????")
    first, second = (opened(tmp_path, i, 2) for i in range(2))
    assert (first.rejected, first.complete, second.rejected, second.complete) == (0, True, 1, False)
    assert second.needs(45) and not second.needs(0) and not first.needs(45)
    with pytest.raises(ValueError, match="got 2 of 3 chunks"):
        second.array()
    with pytest.raises(ValueError, match="checksums must be those of all 7 chunks"):
        first.merge([*first.checksums, *second.checksums])
    assert np.array_equal(computed(backbone, images, second)[0], extract(backbone, images, batch_size=BATCH)[32:])


def test_garbage_in_the_journal_of_a_part_is_no_harm(backbone, images, tmp_path):
    expected = extract(backbone, images, batch_size=BATCH)
    folder = filled(backbone, images, tmp_path, 2)[0].folder
    for text in ("", "{", '{"crc32": 3}', '{"crc32": [1, 2]}', json.dumps({"crc32": [["x"]] * 7})):
        (folder / "chunks.1.json").write_text(text)
        store = open_store(tmp_path)
        assert np.array_equal(extract(backbone, images, batch_size=BATCH, out=store), expected)


def test_a_finished_store_is_not_touched_by_parts(backbone, images, tmp_path):
    extract(backbone, images, batch_size=BATCH, out=open_store(tmp_path))
    times = {file: file.stat().st_mtime_ns for file in tmp_path.glob("*/*")}
    merged(filled(backbone, images, tmp_path, 3))
    assert {file: file.stat().st_mtime_ns for file in tmp_path.glob("*/*")} == times


@pytest.mark.parametrize("part", [(2, 2), (-1, 2), (0, 0)])
def test_a_part_is_one_of_n(tmp_path, part):
    with pytest.raises(ValueError, match=r"part must be \(i, n\) with 0 <= i < n"):
        open_store(tmp_path, part=part)
