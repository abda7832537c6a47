"""The copy descriptor: what training must do, and what its file must hold."""

import dataclasses

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from dedup.descriptor import WIDTH, CopyDescriptor, DescriptorConfig

CONFIG = DescriptorConfig(steps=30, seeds=4, neighbours=3)


def photographs(n: int, seed: int = 0, side: int = 32) -> np.ndarray:
    """uint8 [n, side, side, 3], smooth, none like another."""
    coarse = np.random.default_rng(seed).integers(0, 256, (n, 6, 6, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(c).resize((side, side), Image.Resampling.BICUBIC)) for c in coarse])


@pytest.fixture(scope="module")
def fitted() -> tuple[CopyDescriptor, list[float]]:
    losses: list[float] = []
    sets = [photographs(80), photographs(40, seed=1, side=64)]
    return CopyDescriptor.fit(sets, CONFIG, progress=lambda step, loss, found: losses.append(loss)), losses


def test_training_lowers_the_loss(fitted: tuple[CopyDescriptor, list[float]]) -> None:
    _, losses = fitted
    assert len(losses) == CONFIG.steps
    assert np.mean(losses[-6:]) < 0.5 * np.mean(losses[:6])


def test_descriptors_are_unit_vectors_whatever_the_batch(fitted: tuple[CopyDescriptor, list[float]]) -> None:
    describe, images = fitted[0], photographs(9, seed=2)
    found = describe(images)
    assert found.shape == (9, WIDTH) and found.dtype == np.float32
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    one_by_one = np.concatenate([describe(image[None]) for image in images])
    assert np.allclose(found, one_by_one, atol=1e-5)  # float32 sums in another order
    assert describe(images[:0]).shape == (0, WIDTH)
    gray = images[..., :1]
    assert np.allclose(describe(gray), describe(gray.repeat(3, axis=3)), atol=1e-5)


def test_the_same_seed_gives_the_same_weights_and_another_others() -> None:
    def digest(seed: int) -> str:
        return CopyDescriptor.fit([photographs(40)], dataclasses.replace(CONFIG, steps=2, seed=seed)).digest

    assert digest(0) == digest(0) != digest(1)


def test_a_saved_one_describes_as_before(fitted: tuple[CopyDescriptor, list[float]], tmp_path) -> None:
    describe, file = fitted[0], tmp_path / "copies.safetensors"
    describe.save(file)
    loaded, images = CopyDescriptor.load(file), photographs(20, seed=3)
    assert loaded.config == CONFIG
    cosine = (describe(images) * loaded(images)).sum(axis=1)
    assert cosine.min() > 0.999  # weights are kept in float16
    loaded.save(file)
    assert CopyDescriptor.load(file).digest == loaded.digest


def test_other_files_are_refused(fitted: tuple[CopyDescriptor, list[float]], tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="no copy descriptor at"):
        CopyDescriptor.load(tmp_path / "none")
    file = tmp_path / "foreign.safetensors"
    save_file({"a": np.zeros(2)}, file)
    with pytest.raises(ValueError, match="holds no copy descriptor: its format is None"):
        CopyDescriptor.load(file)
    whole = tmp_path / "whole.safetensors"
    fitted[0].save(whole)
    (tmp_path / "cut").write_bytes(whole.read_bytes()[:5000])
    with pytest.raises(ValueError, match="holds no copy descriptor"):
        CopyDescriptor.load(tmp_path / "cut")


def test_weights_of_other_shapes_and_too_few_images_are_refused(fitted: tuple[CopyDescriptor, list[float]]) -> None:
    weights = {**fitted[0].weights, "linear.bias": np.zeros(3, np.float32)}
    with pytest.raises(ValueError, match=r"weights must be .*, got .*'linear.bias': \[3\]"):
        CopyDescriptor(weights, CONFIG)
    with pytest.raises(ValueError, match=r"every set must have at least 32 images, got \[40, 31\]"):
        CopyDescriptor.fit([photographs(40), photographs(31)], CONFIG)
