"""The packed form: what goes in comes out, and nothing damaged, half-written or altered is ever opened."""

import json
import os
import shutil
import time
from collections import namedtuple
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.data.packed import PackedSet, open_packed, pack
from experiments.run.errors import UserError
from experiments.run.files import ABANDONED_AFTER

IMAGES = np.random.default_rng(0).integers(0, 256, (7, 4, 5, 3), dtype=np.uint8)
LABELS = np.arange(7)


def _pack(folder: Path) -> PackedSet:
    return pack(folder, [IMAGES[:3], IMAGES[3:]], shape=IMAGES.shape, labels=LABELS, source="s", transform="t")


def test_round_trip(tmp_path: Path) -> None:
    _pack(tmp_path / "packed" / "little")
    opened = open_packed(tmp_path / "packed" / "little")
    assert opened.name == "little"
    assert opened.images.dtype == np.uint8 and opened.labels is not None and opened.labels.dtype == np.int64
    np.testing.assert_array_equal(opened.images, IMAGES)
    np.testing.assert_array_equal(opened.labels, LABELS)
    assert opened.meta["sha256"]["images"] == sha256(IMAGES.tobytes()).hexdigest()
    assert (opened.meta["source"], opened.meta["transform"], opened.meta["shape"]) == ("s", "t", [7, 4, 5, 3])
    assert sorted(os.listdir(tmp_path / "packed")) == ["little"]


def test_flat_file_is_c_order(tmp_path: Path) -> None:
    _pack(tmp_path / "x")
    assert (tmp_path / "x" / "images.u8").read_bytes() == IMAGES.tobytes()


def test_images_and_labels_are_read_only(tmp_path: Path) -> None:
    opened = _pack(tmp_path / "x")
    with pytest.raises(ValueError, match="read-only"):
        opened.images[0, 0, 0, 0] = 1
    assert opened.labels is not None
    with pytest.raises(ValueError, match="read-only"):
        opened.labels[0] = 1


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 7), max_size=4))
def test_any_batching_gives_the_same_set(tmp_path_factory: pytest.TempPathFactory, cuts: list[int]) -> None:
    folder = tmp_path_factory.mktemp("packed") / "x"
    batches = np.split(IMAGES, sorted(cuts))
    made = pack(folder, batches, shape=IMAGES.shape, source="s", transform="t")
    assert made.meta["sha256"]["images"] == sha256(IMAGES.tobytes()).hexdigest()
    assert made.labels is None


def test_non_contiguous_batches(tmp_path: Path) -> None:
    flipped = IMAGES[:, ::-1]
    made = pack(tmp_path / "x", [flipped], shape=IMAGES.shape, source="s", transform="t")
    np.testing.assert_array_equal(made.images, flipped)


def test_fewer_images_than_announced_with_labels_and_details_filled_on_the_way(tmp_path: Path) -> None:
    labels: list[int] = []
    details = {"skipped": 0}

    def batches():
        yield IMAGES[:2]
        labels.extend([5, 6])
        details["skipped"] = 5

    made = pack(
        tmp_path / "x",
        batches(),
        shape=IMAGES.shape,
        labels=labels,
        details=details,
        source="s",
        transform="t",
    )
    assert made.images.shape == (2, 4, 5, 3) and made.meta["skipped"] == 5
    np.testing.assert_array_equal(made.labels, [5, 6])


def test_digest_covers_images_labels_and_shape(tmp_path: Path) -> None:
    def digest(name: str, images: np.ndarray, labels: np.ndarray | None) -> str:
        return pack(tmp_path / name, [images], shape=images.shape, labels=labels, source=name, transform="t").digest

    first = digest("a", IMAGES, LABELS)
    assert first == digest("b", IMAGES, LABELS)  # the name and the source are not part of the content
    others = [
        digest("c", IMAGES, None),
        digest("d", IMAGES, LABELS[::-1]),
        digest("e", IMAGES[::-1], LABELS),
        digest("f", IMAGES.reshape(7, 5, 4, 3), LABELS),
    ]
    assert len({first, *others}) == 5


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: _flip(f / "images.u8"), "SHA-256 of images.u8 differs"),
        (lambda f: os.truncate(f / "images.u8", 100), "images.u8 must hold 420 bytes, got 100"),
        (lambda f: (f / "images.u8").unlink(), "images.u8 must hold 420 bytes, got 0"),
        (lambda f: _flip(f / "labels.npy"), "labels.npy differs"),
        (lambda f: os.truncate(f / "labels.npy", 3), "labels.npy cannot be read"),
        (lambda f: (f / "labels.npy").unlink(), "labels.npy cannot be read"),
        (
            lambda f: [(f / "labels.npy").unlink(), os.mkfifo(f / "labels.npy")],
            "labels.npy .* not a regular file",
        ),
        (lambda f: (f / "meta.json").write_text("{"), "meta.json cannot be read"),
        (lambda f: _edit(f, shape=[7, 4, 5]), "shape in it must be four positive numbers"),
        (lambda f: _edit(f, shape=[0, 4, 5, 3]), "shape in it must be four positive numbers"),
        (lambda f: _edit(f, sha256=None), "meta.json cannot be read"),
        (lambda f: _edit(f, format=99), "format must be 1, got 99"),
        (lambda f: _edit(f, source=...), "meta.json cannot be read: it lacks source"),
        (lambda f: _edit(f, shape=[float("inf"), 4, 5, 3]), "meta.json cannot be read: it holds Infinity"),
        (lambda f: _edit(f, shape=[2**62, 4, 5, 3]), "must hold 276,701,161,105,643,274,240 bytes"),
        (lambda f: (f / "meta.json").write_text("[" * 100_000), "meta.json cannot be read"),
    ],
)
def test_damage_is_refused_with_the_fix(tmp_path: Path, damage, message: str) -> None:
    _pack(tmp_path / "x")
    damage(tmp_path / "x")
    with pytest.raises(ValueError, match=message) as caught:
        open_packed(tmp_path / "x")
    assert str(tmp_path / "x") in str(caught.value) and "delete the folder and pack it again" in str(caught.value)
    assert "\n" not in str(caught.value)


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def _edit(folder: Path, **changes: object) -> None:
    meta = json.loads((folder / "meta.json").read_text())
    meta = {key: value for key, value in (meta | changes).items() if value is not ... and key != "seal"}
    (folder / "meta.json").write_text(json.dumps(meta))


def test_a_set_of_an_earlier_version_has_no_seal(tmp_path: Path) -> None:
    _pack(tmp_path / "x")
    _edit(tmp_path / "x")
    assert "seal" not in (tmp_path / "x" / "meta.json").read_text()
    assert open_packed(tmp_path / "x").meta["source"] == "s"


@pytest.mark.parametrize("name", ["meta.json", "labels.npy"])
def test_a_changed_bit_is_found_wherever_it_is(tmp_path: Path, name: str) -> None:
    whole, meta = _pack(tmp_path / "x"), (tmp_path / "x" / "meta.json").read_bytes()
    file = tmp_path / "x" / name
    content, draws = file.read_bytes(), np.random.default_rng(0)
    for bit in draws.choice(8 * len(content), 300, replace=False).tolist():
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        file.write_bytes(bytes(changed))
        try:
            opened = open_packed(tmp_path / "x")
        except ValueError:
            continue
        assert opened.meta == whole.meta and np.array_equal(opened.labels, whole.labels), (bit, meta)


def test_labels_are_never_unpickled(tmp_path: Path) -> None:
    _pack(tmp_path / "x")
    np.save(tmp_path / "x" / "labels.npy", np.array([{}] * 7, dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        open_packed(tmp_path / "x")


def test_absent(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"meta\.json is missing"):
        open_packed(tmp_path / "x")


@pytest.mark.parametrize(
    ("batches", "labels", "message"),
    [
        ([IMAGES.astype(np.int16)], None, r"must be uint8 \[n, \*\[4, 5, 3\]\], got int16"),
        ([IMAGES[:, :2]], None, r"got uint8 \[7, 2, 5, 3\]"),
        ([IMAGES, IMAGES[:1]], None, "at most 7 images were announced, got 8"),
        ([], None, "at least one image"),
        ([IMAGES], LABELS[:3], r"labels must have shape \(7,\)"),
    ],
)
def test_refused_arrays_leave_nothing(tmp_path: Path, batches, labels, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pack(tmp_path / "x", batches, shape=(7, 4, 5, 3), labels=labels, source="s", transform="t")
    assert os.listdir(tmp_path) == []


def test_a_stopped_build_leaves_nothing_and_spares_the_old_set(tmp_path: Path) -> None:
    _pack(tmp_path / "x")

    def interrupted():
        yield IMAGES[:1]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(tmp_path / "x", interrupted(), shape=IMAGES.shape, source="s", transform="t")
    assert os.listdir(tmp_path) == ["x"]
    np.testing.assert_array_equal(open_packed(tmp_path / "x").images, IMAGES)


def test_an_existing_set_is_replaced_while_readers_keep_theirs(tmp_path: Path) -> None:
    old = _pack(tmp_path / "x")
    new = pack(tmp_path / "x", [255 - IMAGES], shape=IMAGES.shape, source="s", transform="t")
    np.testing.assert_array_equal(new.images, 255 - IMAGES)
    np.testing.assert_array_equal(old.images, IMAGES)
    assert os.listdir(tmp_path) == ["x"]


def test_a_full_disk_is_told_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 1000, 1000))

    def never():
        raise AssertionError("asked for a batch")
        yield

    with pytest.raises(UserError, match=r"16,777,636 bytes needed, 1,000 free.*make room") as caught:
        pack(tmp_path / "x", never(), shape=IMAGES.shape, source="s", transform="t")
    assert "\n" not in str(caught.value) and os.listdir(tmp_path) == []


def test_a_disk_that_fills_on_the_way(tmp_path: Path) -> None:
    def batches():
        yield IMAGES
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=r"cannot write the packed set .*No space left.*make room"):
        pack(tmp_path / "x", batches(), shape=IMAGES.shape, source="s", transform="t")
    assert os.listdir(tmp_path) == []


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match="set RUNS_ROOT elsewhere"):
        _pack(tmp_path / "file" / "x")


def test_what_a_killed_run_left_goes_and_a_running_one_stays(tmp_path: Path) -> None:
    for name in [".x.dead.partial", ".x.alive.partial", ".y.dead.partial"]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "images.u8").write_bytes(b"half")
    long_ago = time.time() - ABANDONED_AFTER - 60
    for path in [*tmp_path.glob(".*.dead.partial"), *tmp_path.glob(".*.dead.partial/images.u8")]:
        os.utime(path, (long_ago, long_ago))
    _pack(tmp_path / "x")
    assert sorted(os.listdir(tmp_path)) == [".x.alive.partial", ".y.dead.partial", "x"]


def test_the_name_is_the_folders(tmp_path: Path) -> None:
    images = np.zeros((1, 2, 2, 1), np.uint8)
    pack(tmp_path / "a", [images], shape=images.shape, source="s", transform="t")
    _edit(tmp_path / "a", name="../evil")  # files are named after it
    (tmp_path / "a").rename(tmp_path / "b")
    assert open_packed(tmp_path / "b").name == "b"


def test_of_two_at_once_the_last_stays(tmp_path: Path) -> None:
    def batches():
        _pack(tmp_path / "x")
        yield IMAGES[:3]

    made = pack(tmp_path / "x", batches(), shape=IMAGES.shape, source="s", transform="t")
    assert len(made.images) == 3 and os.listdir(tmp_path) == ["x"]
