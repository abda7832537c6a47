"""Extraction: what the rows are, and everything they must not depend on."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from features import Backbone, FeatureStore, extract, max_grid


def a_backbone(layers=("1", "4"), image_shape=(3, 16, 16)):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(image_shape[0], 8, 3, 2, 1), nn.LeakyReLU(0.2),
        nn.Conv2d(8, 12, 3, 2, 1), nn.BatchNorm2d(12), nn.LeakyReLU(0.2, inplace=True),
        nn.Flatten(), nn.Linear(12 * 16, 1),
    )  # fmt: skip
    return Backbone(model, layers, image_shape, (-1, 1))


@pytest.fixture
def images():
    return np.random.default_rng(5).integers(0, 256, (37, 16, 16, 3), dtype=np.uint8)


def by_hand(backbone, images):
    """The rows by plain calls of the network's parts."""
    model = backbone.model.eval()
    with torch.no_grad():
        x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
        first = model[:2](x)
        second = model[2:5](first)
    return {"1": F.max_pool2d(first, 2).flatten(1).numpy(), "4": second.flatten(1).numpy()}


# Convolution kernels are chosen by batch size and layout, and round differently.
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def test_rows_are_the_pooled_layers_side_by_side_in_the_order_given(images):
    parts = by_hand(a_backbone(), images)
    for layers in (("1", "4"), ("4", "1"), ("4",)):
        features = extract(a_backbone(layers), images)
        assert features.dtype == np.float32
        np.testing.assert_allclose(features, np.hstack([parts[name] for name in layers]), **CLOSE)


@pytest.mark.parametrize("batch_size", [1, 5, 37, 100])
def test_batch_size_does_not_matter(images, batch_size):
    np.testing.assert_allclose(
        extract(a_backbone(), images, batch_size=batch_size), extract(a_backbone(), images), **CLOSE
    )


def test_a_stream_gives_the_same_bits(images):
    expected = extract(a_backbone(), images, batch_size=8)
    stream = iter(np.split(images, [3, 4, 30]))
    assert np.array_equal(extract(a_backbone(), stream, batch_size=8), expected)


def test_order_of_images_is_kept(images):
    order = np.random.default_rng(0).permutation(len(images))
    features = extract(a_backbone(), images, batch_size=8)
    np.testing.assert_allclose(extract(a_backbone(), images[order], batch_size=8), features[order], **CLOSE)


def test_read_only_memory_maps_in_and_memory_maps_out(images, tmp_path):
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    out = np.memmap(tmp_path / "out", np.float32, "w+", shape=(37, 320))
    assert extract(a_backbone(), mapped, out=out) is out
    assert np.array_equal(out, extract(a_backbone(), images))


def test_other_sizes_are_resized_and_gray_repeated():
    small = np.random.default_rng(0).integers(0, 256, (3, 10, 12, 1), dtype=np.uint8)
    floats = torch.from_numpy(small).permute(0, 3, 1, 2).float().expand(-1, 3, -1, -1)
    resized = F.interpolate(floats, (16, 16), mode="bilinear", antialias=True) / 127.5 - 1
    with torch.no_grad():
        expected = F.max_pool2d(a_backbone().model[:2](resized), 2).flatten(1)
    np.testing.assert_allclose(extract(a_backbone(("1",)), small), expected, **CLOSE)


def test_another_pool(images):
    backbone = a_backbone()
    features = extract(backbone, images, pool=max_grid(1))
    assert features.shape == (37, 20)
    np.testing.assert_allclose(features[:, :8], by_hand(backbone, images)["1"].reshape(37, 8, 16).max(axis=2), **CLOSE)


def test_the_network_is_evaluated_and_its_flags_are_kept(images):
    backbone = a_backbone()
    expected = extract(backbone, images)
    backbone.model.train()
    before = backbone.model[3].running_mean.clone()
    assert np.array_equal(extract(backbone, images), expected)
    assert backbone.model.training
    assert torch.equal(backbone.model[3].running_mean, before)


class SpoilsWhite(nn.Module):
    """NaN for images that are white all over."""

    def forward(self, x):
        return torch.where((x == 1).all(dim=(1, 2, 3), keepdim=True), torch.nan, x)


def test_nan_is_refused_with_its_row_and_layer(images):
    images[[21, 30]] = 255
    backbone = Backbone(nn.Sequential(nn.Identity(), SpoilsWhite()), ["0", "1"], (3, 16, 16), (-1, 1))
    with pytest.raises(ValueError, match="features must be finite, got NaN or infinity in row 21, layer '1'"):
        extract(backbone, images, batch_size=8)


@pytest.mark.parametrize(
    "out, message",
    [
        (np.empty((36, 320), np.float32), r"out must have shape \[37, 320\], got \[36, 320\]"),
        (np.empty((37, 319), np.float32), r"out must have shape \[37, 320\], got \[37, 319\]"),
        (np.empty((37, 320), np.float64), "out must be float32 or float16, got float64"),
        (np.broadcast_to(np.float32(0), (37, 320)), "out must be writable"),
        (torch.empty(37, 320, dtype=torch.int32), "out must be float32 or float16, got torch.int32"),
        (torch.zeros(37, 320).to_sparse(), "out must be dense, got torch.sparse_coo"),
        (torch.zeros(1, 320).expand(37, 320), r"place in memory for each value, got strides \(0, 1\)"),
        (torch.zeros(400).as_strided((37, 320), (1, 1)), "place in memory for each value"),
        (torch.empty(37, 320, device="meta"), "out must be on cpu, where the network runs, got meta"),
    ],
)
def test_out_must_fit(images, out, message):
    with pytest.raises(ValueError, match=message):
        extract(a_backbone(), images, out=out)


def test_a_tensor_that_requires_gradients_may_be_filled(images):
    out = torch.empty(37, 320, requires_grad=True)
    assert extract(a_backbone(), images, out=out) is out
    assert np.array_equal(out.detach().numpy(), extract(a_backbone(), images))


@pytest.mark.parametrize("rows, got", [(36, "at least 37"), (38, "37")])
def test_a_stream_must_fill_out(images, rows, got):
    with pytest.raises(ValueError, match=f"images must number {rows}, the rows of out; got {got}"):
        extract(a_backbone(), iter([images]), out=np.empty((rows, 320), np.float32))


def test_no_images():
    assert extract(a_backbone(), np.empty((0, 16, 16, 3), np.uint8)).shape == (0, 320)
    assert extract(a_backbone(), []).shape == (0, 320)


def test_a_generator_that_was_read_before_is_refused(images):
    stream = iter([images])
    extract(a_backbone(), stream)
    with pytest.raises(ValueError, match="a generator is read once: make it anew"):
        extract(a_backbone(), stream)


def test_progress_counts_the_batches(images):
    calls = []

    def progress(iterable, *, total, desc, unit):
        items = list(iterable)
        calls.append((total, len(items), desc, unit))
        return iter(items)

    extract(a_backbone(), images, batch_size=8, progress=progress)
    assert calls == [(5, 5, "extract", "batch")]


@pytest.mark.parametrize("layers", [("1", "4"), ("0", "1")])
def test_mirrored_is_the_mean_of_an_image_and_its_mirror_image(images, layers, tmp_path):
    backbone, how = a_backbone(layers), {"batch_size": 8}
    there, mirror = (extract(backbone, x, **how) for x in (images, images[:, :, ::-1]))
    mean = (there + mirror) / 2
    assert not np.array_equal(mean, there)
    for given in (images, iter(np.split(images, [3, 4, 30]))):
        assert np.array_equal(extract(backbone, given, mirrored=True, **how), mean)
    assert np.array_equal(extract(backbone, images[:, :, ::-1], mirrored=True, **how), mean)
    store = FeatureStore(tmp_path, {}, rows=37, width=mean.shape[1], chunk_rows=8)
    assert np.array_equal(extract(backbone, images, mirrored=True, out=store, **how), mean)


def test_a_network_that_changes_its_input_in_place_is_mirrored_all_the_same(images):
    def backbone(inplace):
        return Backbone(nn.Sequential(nn.ReLU(inplace), nn.Conv2d(3, 4, 3)), ["1"], (3, 16, 16), (-1, 1))

    torch.manual_seed(0)
    model = backbone(inplace=False)
    changing = backbone(inplace=True)
    changing.model.load_state_dict(model.model.state_dict())
    assert np.array_equal(extract(changing, images, mirrored=True), extract(model, images, mirrored=True))


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_every_out_holds_the_rounded_rows(images, dtype, mirrored, tmp_path):
    how = {"batch_size": 8, "mirrored": mirrored}
    expected = extract(a_backbone(), images, **how).astype(dtype)
    array, tensor = np.empty(expected.shape, dtype), torch.from_numpy(np.empty(expected.shape, dtype))
    assert extract(a_backbone(), images, out=array, **how) is array
    assert extract(a_backbone(), iter([images]), out=tensor, **how) is tensor
    store = FeatureStore(tmp_path, {}, rows=37, width=320, chunk_rows=8, dtype=np.dtype(dtype).name)
    for found in (array, tensor.numpy(), extract(a_backbone(), images, out=store, **how)):
        assert found.dtype == dtype
        assert np.array_equal(found, expected)


def test_features_in_a_tensor_never_go_through_the_host(images, monkeypatch):
    """A copy to the host would make the host wait; the check at the end needs the only ones."""
    out, copies = torch.empty(37, 320), []
    for name in ("cpu", "item", "tolist", "numpy", "__bool__", "__float__"):
        real = getattr(torch.Tensor, name)

        def counted(tensor, *arguments, real=real, name=name, **options):
            if tensor.is_floating_point():
                copies.append(name)
            return real(tensor, *arguments, **options)

        monkeypatch.setattr(torch.Tensor, name, counted)
    extract(a_backbone(), images, batch_size=8, out=out)
    assert copies == []
    extract(a_backbone(), images, batch_size=8)
    assert copies


class Bright(nn.Module):
    """Puts a value in place of images that are white all over."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, x):
        return torch.where((x == 1).all(dim=(1, 2, 3), keepdim=True), self.value, x)


def outs(kind, dtype, root):
    if kind == "store":
        return FeatureStore(root, {}, rows=37, width=96, chunk_rows=8, dtype=dtype)
    array = np.empty((37, 96), dtype)
    return array if kind == "array" else torch.from_numpy(array)


@pytest.mark.parametrize("kind", ["array", "tensor", "store"])
def test_values_beyond_float16_are_refused_with_row_layer_and_fix(images, kind, tmp_path):
    images[[21, 30]] = 255
    how = {"batch_size": 8}

    def backbone(value):
        return Backbone(nn.Sequential(nn.Identity(), Bright(value)), ["0", "1"], (3, 16, 16), (-1, 1))

    text = r"within \+-65,504 to be stored as float16, got a larger one in row 21, layer '1'; use .*--store float32"
    with pytest.raises(ValueError, match=text):
        extract(backbone(7e4), images, out=outs(kind, "float16", tmp_path), **how)
    for value, dtype in ((7e4, "float32"), (6e4, "float16"), (3e38, "float32")):  # row 21's sum overflows in the last
        rows = np.asarray(extract(backbone(value), images, out=outs(kind, dtype, tmp_path / f"{value}"), **how))
        np.testing.assert_allclose(rows[21, -1], value, rtol=1e-3)
    with pytest.raises(ValueError, match="features must be finite, got NaN or infinity in row 21, layer '1'"):
        extract(backbone(np.nan), images, out=outs(kind, "float16", tmp_path / "nan"), **how)
