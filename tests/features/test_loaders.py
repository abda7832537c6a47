"""Features and labels from what people have: float images, DataLoaders, pairs of images and labels."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from features import Backbone, FeatureStore, calibrate_batchnorm, extract, extract_labelled, feature_width

MEAN, SD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
NORMALISED = (-MEAN / SD, (1 - MEAN) / SD)


@pytest.fixture
def images():
    return np.random.default_rng(5).integers(0, 256, (37, 16, 16, 3), dtype=np.uint8)


@pytest.fixture
def labels():
    return np.random.default_rng(6).integers(0, 10, 37)


def a_backbone(size=16):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.LeakyReLU(0.2))
    return Backbone(model, ["2"], (3, size, size), (-1, 1))


def to_tensor(images):
    """As torchvision's ToTensor does it."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().float().div(255)


def loader(images, labels=None, batch_size=10, **options):
    """The last batch is smaller."""
    tensors = [to_tensor(images)] + ([] if labels is None else [torch.from_numpy(labels)])
    return DataLoader(TensorDataset(*tensors), batch_size=batch_size, **options)


@pytest.mark.parametrize("size", [16, 12])
def test_a_loader_of_to_tensor_gives_the_features_of_uint8_to_the_last_bit(images, labels, size):
    expected = extract(a_backbone(size), images)
    for given in (loader(images), loader(images, labels), to_tensor(images), to_tensor(images).numpy()):
        assert np.array_equal(extract(a_backbone(size), given, given_range=(0, 1)), expected)
    assert np.array_equal(extract(a_backbone(size), torch.from_numpy(images).permute(0, 3, 1, 2)), expected)
    pairs = ((images[i : i + 9], labels[i : i + 9]) for i in range(0, 37, 9))
    assert np.array_equal(extract(a_backbone(size), pairs), expected)


def test_normalised_images_give_them_within_rounding(images):
    given = (to_tensor(images) - MEAN[:, None, None]) / SD[:, None, None]
    found = extract(a_backbone(), given, given_range=NORMALISED)
    # inputs in [-1, 1] differ by a few float32 roundings, and 27 of them are added with weights below 0.2
    np.testing.assert_allclose(found, extract(a_backbone(), images), rtol=0, atol=5e-6)


@pytest.mark.parametrize("batch_size", [1, 10, 64])
def test_the_loaders_batches_do_not_matter(images, labels, batch_size):
    X, y = extract_labelled(a_backbone(), loader(images, labels, batch_size), given_range=(0, 1))
    assert np.array_equal(X, extract(a_backbone(), images)) and X.dtype == np.float32
    assert np.array_equal(y, labels) and y.dtype == np.int64


def test_labels_stay_with_their_images_where_they_are_shuffled(images, labels):
    shuffled = loader(images, labels, shuffle=True, generator=torch.Generator().manual_seed(1))
    X, y = extract_labelled(a_backbone(), shuffled, given_range=(0, 1), batch_size=16)
    assert not np.array_equal(y, labels)
    rows = extract(a_backbone(), images)
    where = [int(np.abs(rows - x).sum(1).argmin()) for x in X]
    assert sorted(where) == list(range(37)) and np.array_equal(labels[where], y)


@pytest.mark.parametrize("given", [list, tuple, np.uint8, torch.tensor, lambda y: torch.tensor(y, dtype=torch.int16)])
def test_labels_of_any_integer_type(images, given):
    _, y = extract_labelled(a_backbone(), [(images[:3], given([2, 0, 1])), (images[3:5], given([1, 1]))])
    assert y.tolist() == [2, 0, 1, 1, 1] and y.dtype == np.int64


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (lambda x: x, r"batches must be \(images, labels\), got images without labels; take features.extract"),
        (lambda x: (x, {"class": [0], "box": [1]}), "labels must be integers .* a dictionary of 'class', 'box'; pick"),
        (lambda x: (x, torch.eye(5)), r"got float32 \[5, 5\] for 5 images; of one-hot take argmax\(1\)"),
        (lambda x: (x, [0, 1]), r"got int64 \[2\] for 5 images"),
        (lambda x: (x, list("abcde")), r"got <U1 \[5\] for 5 images"),
        (lambda x: {"image": x, "label": [0]}, r"must be images or \(images, labels\), .* got dict"),
    ],
)
def test_labels_that_are_refused(images, batch, message):
    with pytest.raises(ValueError, match=message) as told:
        extract_labelled(a_backbone(), [batch(images[:5])])
    assert "\n" not in str(told.value)


def test_a_data_set_without_a_loader_is_refused(images, labels):
    single = TensorDataset(to_tensor(images), torch.from_numpy(labels))
    with pytest.raises(ValueError, match=r"got float32 \[3, 16, 16\]; .* torch.utils.data.DataLoader"):
        extract(a_backbone(), single, given_range=(0, 1))


def test_no_batches_at_all():
    X, y = extract_labelled(a_backbone(), [])
    assert X.shape == (0, feature_width(a_backbone())) and y.shape == (0,) and y.dtype == np.int64


def test_a_store_takes_a_loader(images, labels, tmp_path):
    backbone = a_backbone()
    store = FeatureStore(tmp_path, {}, rows=37, width=feature_width(backbone), chunk_rows=16)
    rows = extract(backbone, loader(images, labels), out=store, batch_size=8, given_range=(0, 1))
    assert np.array_equal(rows, extract(backbone, images, batch_size=8))


def test_calibration_takes_the_same(images, labels):
    expected, found = a_backbone(), a_backbone()
    assert calibrate_batchnorm(expected, images, batch_size=16) == 2
    assert calibrate_batchnorm(found, loader(images, labels), batch_size=16, given_range=(0, 1)) == 2
    assert torch.equal(found.model[1].running_mean, expected.model[1].running_mean)
    assert torch.equal(found.model[1].running_var, expected.model[1].running_var)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.zeros(37, 10), r"float32 \[37, 10\] for 37 images; of one-hot take argmax\(1\)"),
        (["cat"] * 37, r"<U3 \[37\] .* number classes from 0: np.unique"),
        (torch.zeros(37, requires_grad=True), r"float32 \[37\] .* number classes"),
        (torch.zeros(37, dtype=torch.bfloat16), r"bfloat16 \[37\] .* number classes"),
        (np.full(37, 2**63, np.uint64), r"below 2\*\*63, .* got uint64"),
        ([[1], [1, 2]], "got lists of different lengths"),
    ],
)
def test_labels_of_other_types_are_refused(images, labels, message):
    with pytest.raises(ValueError, match=message):
        extract_labelled(a_backbone(), [(images, labels)])


@pytest.mark.parametrize("labels", [[True] * 37, [torch.tensor(1)] * 37, torch.ones(37, dtype=torch.uint8)])
def test_labels_of_any_whole_type(images, labels):
    _, y = extract_labelled(a_backbone(), [(images, labels)])
    assert y.dtype == np.int64
    assert y.tolist() == [1] * 37


@pytest.mark.parametrize("use", [extract, calibrate_batchnorm, extract_labelled])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 8.0}, "batch_size must be at least 1, a whole number"),
        ({"batch_size": "8"}, "batch_size must be at least 1, a whole number"),
        ({"device": "gpu"}, "device 'gpu' cannot be used, 'cpu' can"),
        ({"device": "meta:7"}, "device 'meta:7' cannot be used"),
    ],
)
def test_options_that_are_refused(images, labels, use, options, message):
    given = [(images, labels)] if use is extract_labelled else images
    with pytest.raises(ValueError, match=message):
        use(a_backbone(), given, **options)


@pytest.mark.parametrize("use", [extract, calibrate_batchnorm, extract_labelled])
def test_a_network_in_place_of_a_backbone_names_the_fix(images, use):
    with pytest.raises(ValueError, match=r"got BatchNorm2d; features\.Backbone\.from_model makes one"):
        use(nn.BatchNorm2d(3), images)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (None, "an iterable of batches, got NoneType"),
        (5, "an iterable of batches, got int"),
        ("folder", "an iterable of batches, got str"),
        ({"image": 1}, "an iterable of batches, got dict"),
        ([(torch.zeros(2, 3, 16, 16), 0, 1)], r"pass a generator: \(\(batch\[0\], batch\[1\]\) for batch in loader\)"),
        ([object()], "make a batch with np.stack"),
    ],
)
def test_things_that_are_no_images_name_the_fix(images, message):
    with pytest.raises(ValueError, match=message):
        extract(a_backbone(), images)
