"""The semantic code: exact, the same for an image wherever it stands, and of images that training taught it."""

import dataclasses
import random

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import save_file

import dedup
from dedup.semantic import BITS, PIXELS

QUICK = dedup.SemanticConfig(steps=60, batch_size=32, noise=0.5, lr=5e-4)


def photographs(n: int, seed: int = 0, side: int = 32) -> np.ndarray:
    """uint8 [n, side, side, 3], smooth, none like another."""
    coarse = np.random.default_rng(seed).integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(c).resize((side, side), Image.Resampling.BICUBIC)) for c in coarse])


@pytest.fixture(scope="module")
def semantic() -> dedup.SemanticHash:
    return dedup.SemanticHash.fit(photographs(600), QUICK)


def test_codes_have_128_bits_of_which_most_vary(semantic):
    codes = semantic(photographs(600))
    assert codes.dtype == np.uint64 and codes.shape == (600, 2)
    bits = np.unpackbits(codes.astype(">u8").view(np.uint8), axis=1)
    assert ((bits.mean(axis=0) > 0) & (bits.mean(axis=0) < 1)).mean() > 0.9
    assert semantic(photographs(600)[:0]).shape == (0, 2)


def test_the_first_unit_is_the_highest_bit_of_the_first_word(semantic):
    images = photographs(6, seed=1)
    active = images.reshape(6, PIXELS).astype(object) @ semantic.weight.T.astype(object) > 0
    expected = [[int("".join(str(int(b)) for b in row[i : i + 64]), 2) for i in (0, 64)] for row in active]
    assert semantic(images).tolist() == expected  # Python's integers: an oracle that cannot round


def test_equal_images_collide_and_others_do_not(semantic):
    images = photographs(300, seed=2)
    groups = dedup.collision_groups(semantic(np.concatenate([images, images[40:60]])))
    assert groups.tolist() == [*range(300), *range(40, 60)]


def test_slight_noise_changes_few_bits(semantic):
    images = photographs(300, seed=3)
    noise = np.random.default_rng(0).integers(-2, 3, images.shape)
    noisy = np.clip(images + noise, 0, 255).astype(np.uint8)
    changed = np.bitwise_count(semantic(images) ^ semantic(noisy)).sum(axis=1)
    others = np.bitwise_count(semantic(images) ^ semantic(images[::-1])).sum(axis=1)
    assert changed.mean() < 2 and others.mean() > 20


@pytest.mark.parametrize("size", [1, 7, 1024, 1500])
def test_a_code_does_not_depend_on_the_batch(semantic, size):
    images = np.concatenate([photographs(1500, seed=4)])
    images[::3] = images[::3] // 200  # nearly flat: many sums close to the threshold
    apart = np.concatenate([semantic(images[i : i + size]) for i in range(0, len(images), size)])
    assert np.array_equal(apart, semantic(images))
    assert np.array_equal(semantic(images[::-1].copy())[::-1], apart)


def test_sums_at_the_limits_are_exact():
    """The largest weights cancel on white; one pixel darker by one level, or one weight smaller by one, decides."""
    weight = np.full((BITS, PIXELS), 2**31 - 1, np.int32)
    weight[:, ::2] *= -1
    white = np.full((1, 32, 32, 3), 255, np.uint8)
    darker = white.copy()
    darker[0, 0, 0, 0] -= 1
    assert not dedup.SemanticHash(weight, QUICK)(white).any()
    assert np.bitwise_count(dedup.SemanticHash(weight, QUICK)(darker)).sum() == BITS
    weight[:, 1001] -= 1
    assert not dedup.SemanticHash(weight, QUICK)(white).any()
    weight[:, 1000] += 2
    assert np.bitwise_count(dedup.SemanticHash(weight, QUICK)(white)).sum() == BITS


def test_brightness_contrast_and_cast_do_not_move_a_code(semantic):
    images = photographs(100, seed=9) // 4
    for altered in (images + 100, images * 3, images * 2 + np.array([0, 7, 50])):
        assert np.array_equal(semantic(altered.astype(np.uint8)), semantic(images))
    assert not semantic(np.full((1, 32, 32, 3), (9, 200, 77), np.uint8)).any()


def test_larger_images_are_cut_and_averaged(semantic):
    large = photographs(20, seed=5, side=64)
    small = (large.reshape(20, 32, 2, 32, 2, 3).astype(int).sum((2, 4)) + 2) // 4
    assert np.array_equal(semantic(large), semantic(small.astype(np.uint8)))
    framed = np.pad(large, ((0, 0), (0, 0), (16, 16), (0, 0)))
    assert np.array_equal(semantic(framed), semantic(large))
    odd = photographs(20, seed=5, side=45)
    assert np.bitwise_count(semantic(odd) ^ semantic(small.astype(np.uint8))).sum(axis=1).mean() < 12
    flat = np.full((1, 47, 50, 3), (9, 200, 77), np.uint8)
    assert np.array_equal(semantic(flat), semantic(flat[:, :32, :32]))  # a mean of equal pixels is that pixel


def test_gray_images_count_as_three_equal_channels(semantic):
    gray = photographs(10, seed=6)[..., :1]
    assert np.array_equal(semantic(gray), semantic(np.repeat(gray, 3, axis=3)))


def test_pillow_images_have_the_codes_of_their_arrays(semantic):
    images = photographs(5, seed=7)
    mixed = [Image.fromarray(i) for i in images] + [Image.fromarray(photographs(1, side=50)[0])]
    assert np.array_equal(semantic(mixed)[:5], semantic(images))
    assert np.array_equal(semantic(mixed)[5:], semantic(photographs(1, side=50)))


def test_training_lowers_the_error_below_that_of_the_means():
    losses = []
    dedup.SemanticHash.fit(photographs(600), QUICK, progress=lambda step, loss: losses.append((step, loss)))
    assert [step for step, _ in losses] == list(range(1, QUICK.steps + 1))
    assert np.mean([loss for _, loss in losses[-10:]]) < 0.95  # 1 is that of the channels' means


def test_the_seed_alone_decides(semantic):
    images = photographs(600)
    state = np.random.get_state()[1].copy()
    assert dedup.SemanticHash.fit(images, QUICK).digest == semantic.digest
    other = dedup.SemanticHash.fit(images, dataclasses.replace(QUICK, seed=1))
    assert other.digest != semantic.digest
    assert not np.array_equal(other(images), semantic(images))
    assert np.array_equal(np.random.get_state()[1], state)


def test_collapse_is_refused(monkeypatch):
    one = np.random.default_rng(0).normal(size=(1, PIXELS)).repeat(BITS, axis=0)  # every unit the same: two codes
    monkeypatch.setattr("dedup.semantic._train", lambda *_: one)
    with pytest.raises(ValueError, match=r"^training collapsed: 200 different images have only [12]\.\d effective"):
        dedup.SemanticHash.fit(photographs(200), QUICK)
    monkeypatch.setattr("dedup.semantic._train", lambda *_: one * np.nan)
    with pytest.raises(ValueError, match="training diverged: weights are no longer finite"):
        dedup.SemanticHash.fit(photographs(200), QUICK)


def test_many_equal_images_are_no_collapse():
    images = np.concatenate([photographs(100), np.repeat(photographs(1, seed=1), 500, axis=0)])
    codes = dedup.SemanticHash.fit(images, QUICK)(images)
    assert len(np.unique(dedup.collision_groups(codes))) == 101


def test_saved_and_loaded(semantic, tmp_path):
    semantic.save(tmp_path / "hash.safetensors")
    loaded = dedup.SemanticHash.load(tmp_path / "hash.safetensors")
    assert loaded.config == semantic.config and loaded.digest == semantic.digest
    images = photographs(100, seed=8)
    assert np.array_equal(loaded(images), semantic(images))
    assert [f.name for f in tmp_path.iterdir()] == ["hash.safetensors"]


def test_the_digest_follows_the_weights(semantic):
    weight = semantic.weight.copy()
    assert dedup.SemanticHash(weight, QUICK).digest == semantic.digest
    weight[3, 5] += 1
    assert dedup.SemanticHash(weight, QUICK).digest != semantic.digest


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def not_safetensors(content: bytes) -> bytes:
    return b"no header at all"


def other_format(content: bytes) -> bytes:
    return content.replace(b"dcgan-eval-semantic-1", b"dcgan-eval-semantic-9")


def unknown_option(content: bytes) -> bytes:
    return content.replace(b"dropout", b"dropped")


@pytest.mark.parametrize("damage", [truncated, not_safetensors, other_format, unknown_option])
def test_other_files_are_refused_in_a_line(semantic, tmp_path, damage):
    file = tmp_path / "hash.safetensors"
    semantic.save(file)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ValueError, match="holds no semantic hash") as error:
        dedup.SemanticHash.load(file)
    assert "\n" not in str(error.value)


def test_no_file_with_a_flipped_bit_is_read_and_one_without_a_digest_is(semantic, tmp_path):
    file = tmp_path / "hash.safetensors"
    semantic.save(file)
    whole, drawn = file.read_bytes(), random.Random(0)
    head = 8 * (8 + int.from_bytes(whole[:8], "little"))
    for at in [*drawn.sample(range(head), 150), *(drawn.randrange(8 * len(whole)) for _ in range(30))]:
        changed = bytearray(whole)
        changed[at // 8] ^= 1 << at % 8
        file.write_bytes(changed)
        with pytest.raises(ValueError, match="holds no semantic hash"):
            dedup.SemanticHash.load(file)
    file.write_bytes(whole)
    with safe_open(file, "numpy") as opened:
        header = {key: value for key, value in opened.metadata().items() if key != "digest"}
    save_file({"weight": semantic.weight}, file, header)  # as earlier versions wrote it
    assert dedup.SemanticHash.load(file).digest == semantic.digest


def test_other_shapes_in_a_file_are_refused(semantic, tmp_path):
    semantic.save(tmp_path / "a")
    with pytest.raises(FileNotFoundError):
        dedup.SemanticHash.load(tmp_path / "b")
    save_file({"weight": np.zeros((4, 4), np.float32)}, tmp_path / "c")
    with pytest.raises(ValueError, match="format is None"):
        dedup.SemanticHash.load(tmp_path / "c")
    with pytest.raises(ValueError, match=r"weight must be int32 \[128, 3072\], got float32 \(4, 4\)"):
        dedup.SemanticHash(np.zeros((4, 4), np.float32), QUICK)


def test_a_folder_that_is_not_there_is_an_os_error(semantic, tmp_path):
    with pytest.raises(OSError, match="choose another folder"):
        semantic.save(tmp_path / "missing" / "hash.safetensors")


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 31, 32, 3), np.uint8),
        np.zeros((2, 32, 32, 4), np.uint8),
        np.zeros((2, 32, 32, 3), np.float32),
        np.zeros((32, 32, 3), np.uint8),
    ],
    ids=lambda images: f"{images.dtype} {images.shape}",
)
def test_other_images_are_refused(semantic, images):
    for use in (semantic, dedup.SemanticHash.fit):
        with pytest.raises(ValueError, match=r"images must be uint8 \[N, H, W, 1 or 3\] of at least 32x32, got"):
            use(images)


def test_unusable_configurations_are_refused():
    for options in ({"steps": 0}, {"batch_size": 0}, {"noise": -1.0}, {"dropout": 1.0}, {"lr": 0.0}):
        with pytest.raises(ValueError, match="got"):
            dedup.SemanticConfig(**options)
    with pytest.raises(ValueError, match="at least two images"):
        dedup.SemanticHash.fit(photographs(1), QUICK)
