"""Calibrated batch norm against a computation by hand, and what it must leave alone."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from features import Backbone, batch_statistics, calibrate_batchnorm, extract, feature_width

EPS = 1e-8


class Net(nn.Module):
    """conv - bn - lrelu, twice; the second layer sees the first one normalised."""

    def __init__(self, norm=nn.BatchNorm2d):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 6, 3, 2, 1, bias=False), norm(6, eps=EPS)
        self.conv2, self.bn2 = nn.Conv2d(6, 4, 3, 2, 1, bias=False), norm(4, eps=EPS)
        self.act1, self.act2 = nn.LeakyReLU(0.2), nn.LeakyReLU(0.2)

    def forward(self, x):
        x = self.act1(self.bn1(self.conv1(x)))
        return self.act2(self.bn2(self.conv2(x)))


def a_backbone(layers=("act1", "act2"), norm=nn.BatchNorm2d):
    torch.manual_seed(1)
    model = Net(norm)
    for bn in (model.bn1, model.bn2):
        if bn.affine:
            nn.init.normal_(bn.weight, 1, 0.3)
            nn.init.normal_(bn.bias, 0, 0.3)
    return Backbone(model, layers, (3, 16, 16), (-1, 1))


@pytest.fixture
def images():
    rng = np.random.default_rng(3)
    # Brightness differs from image to image, so that batches differ in their statistics.
    base = rng.integers(0, 128, (70, 1, 1, 1)) + rng.integers(0, 128, (70, 16, 16, 3))
    return base.astype(np.uint8)


def by_hand(model, images, batch_size):
    """Mean over batches of the mean and biased variance before each bn, batches normalised by their own."""
    means, variances = [[], []], [[], []]
    whole = len(images) - len(images) % batch_size
    for batch in np.split(images[:whole], whole // batch_size):
        x = torch.from_numpy(batch).permute(0, 3, 1, 2).double() / 127.5 - 1
        for i, (conv, bn) in enumerate([(model.conv1, model.bn1), (model.conv2, model.bn2)]):
            x = F.conv2d(x, conv.weight.double(), stride=2, padding=1)
            mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
            means[i].append(mean)
            variances[i].append(variance)
            x = (x - mean[:, None, None]) / (variance[:, None, None] + EPS).sqrt()
            x = F.leaky_relu(x * bn.weight[:, None, None] + bn.bias[:, None, None], 0.2)
    return [torch.stack(m).mean(0) for m in means], [torch.stack(v).mean(0) for v in variances]


@torch.no_grad()
def test_equals_the_computation_by_hand(images):
    backbone = a_backbone()
    means, variances = by_hand(backbone.model, images, 16)
    assert calibrate_batchnorm(backbone, images, batch_size=16) == 4
    for bn, mean, variance in zip((backbone.model.bn1, backbone.model.bn2), means, variances, strict=True):
        # float32 convolutions and statistics against float64 ones
        torch.testing.assert_close(bn.running_mean.double(), mean, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(bn.running_var.double(), variance, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_differs_from_statistics_of_all_images_at_once(images):
    """Guards the test above: averaging over batches is not the same as pooling all images."""
    model = a_backbone().model
    per_batch, pooled = by_hand(model, images, 16), by_hand(model, images[:64], 64)
    assert (per_batch[1][0] - pooled[1][0]).abs().max() > 1e-3


def test_features_then_do_not_depend_on_the_batch(images):
    backbone = a_backbone()
    calibrate_batchnorm(backbone, images, batch_size=16)
    one, all_at_once = (extract(backbone, images[:9], batch_size=size) for size in (1, 9))
    np.testing.assert_allclose(one, all_at_once, rtol=1e-5, atol=1e-5)


def test_a_stream_gives_the_same_statistics(images):
    a, b = a_backbone(), a_backbone()
    calibrate_batchnorm(a, images, batch_size=16)
    calibrate_batchnorm(b, iter(np.split(images, [3, 40])), batch_size=16)
    assert torch.equal(a.model.bn2.running_var, b.model.bn2.running_var)


def test_flags_counters_weights_and_layers_behind_the_last_tap_are_kept(images):
    backbone = a_backbone(layers=("act1",))
    model = backbone.model.train()
    model.bn2.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    calibrate_batchnorm(backbone, images, batch_size=16)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"bn1.running_mean", "bn1.running_var"}
    assert (model.training, model.bn1.training, model.bn2.training) == (True, True, False)
    assert (model.bn1.momentum, model.bn1.track_running_stats) == (0.1, True)
    assert not model.bn1.running_mean.requires_grad
    assert "forward" not in vars(model.bn1)


def test_old_statistics_do_not_matter_not_even_nan(images):
    a, b = a_backbone(), a_backbone()
    a.model.bn1.running_var.fill_(torch.nan)
    for backbone in (a, b):
        calibrate_batchnorm(backbone, images, batch_size=16)
    assert torch.equal(a.model.bn1.running_var, b.model.bn1.running_var)


def test_layers_without_running_statistics_get_them(images):
    backbone = a_backbone(norm=lambda c, eps: nn.BatchNorm2d(c, eps=eps, affine=False, track_running_stats=False))
    calibrate_batchnorm(backbone, images, batch_size=16)
    assert backbone.model.bn1.running_mean.shape == (6,)
    one, all_at_once = (extract(backbone, images[:9], batch_size=size) for size in (1, 9))
    np.testing.assert_allclose(one, all_at_once, rtol=1e-5, atol=1e-5)


def test_subclasses_keep_what_else_they_do(images):
    class NormAct(nn.BatchNorm2d):
        def forward(self, x):
            return super().forward(x).clamp(min=0)

    backbone = Backbone(nn.Sequential(NormAct(3)), ["0"], (3, 16, 16), (0, 1))
    assert calibrate_batchnorm(backbone, images, batch_size=16) == 4
    x = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    torch.testing.assert_close(backbone.model[0].running_mean, x[:64].mean((0, 2, 3)))
    assert extract(backbone, images).min() == 0


def test_batchnorm_1d_and_synchronised(images):
    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.bn, self.sync = nn.Linear(3, 5), nn.BatchNorm1d(5), nn.SyncBatchNorm(5)
            self.maps = nn.Unflatten(1, (5, 1, 1))

        def forward(self, x):
            return self.maps(self.sync(self.bn(self.fc(x.mean((2, 3))))))

    torch.manual_seed(0)
    backbone = Backbone(Head(), ["maps"], (3, 16, 16), (-1, 1))
    assert calibrate_batchnorm(backbone, images, batch_size=16) == 4
    # what bn hands on is normalised batch by batch: mean 0, biased variance 1 (short of it by eps)
    torch.testing.assert_close(backbone.model.sync.running_mean, torch.zeros(5), rtol=0, atol=1e-5)
    assert (backbone.model.sync.running_var < 1.0001).all()


def test_without_batch_norm_nothing_happens(images):
    backbone = Backbone(nn.Sequential(nn.Conv2d(3, 2, 1)), ["0"], (3, 16, 16), (-1, 1))
    assert calibrate_batchnorm(backbone, images) == 0


def test_too_few_images():
    with pytest.raises(ValueError, match="at least one batch of 128 images"):
        calibrate_batchnorm(a_backbone(), np.zeros((127, 16, 16, 3), np.uint8))


@torch.no_grad()
def test_batch_mode_normalises_each_batch_by_itself_and_restores_the_model(images):
    backbone = a_backbone()
    before = {name: value.clone() for name, value in backbone.model.state_dict().items()}
    with batch_statistics(backbone.model):
        features = extract(backbone, images[:32], batch_size=16)
    backbone.model.train()
    x = backbone.prepare(images[:16])
    act1 = backbone.model.act1(backbone.model.bn1(backbone.model.conv1(x)))
    expected = F.max_pool2d(act1, 2).flatten(1)
    np.testing.assert_allclose(features[:16, : expected.shape[1]], expected, rtol=1e-5, atol=1e-6)
    backbone.model.load_state_dict(before)  # the expectation above ran in training mode
    with batch_statistics(backbone.model):
        other_batches = extract(backbone, images[:32], batch_size=32)
    assert np.abs(features - other_batches).max() > 1e-3
    assert all(torch.equal(value, before[name]) for name, value in backbone.model.state_dict().items())


def test_progress_counts_the_batches(images):
    calls = []

    def progress(iterable, *, total, desc, unit):
        calls.append((total, desc, unit))
        return iter(iterable)

    calibrate_batchnorm(a_backbone(), images, batch_size=16, progress=progress)
    assert calls == [(4, "calibrate batch norm", "batch")]


def test_sums_stay_in_float64_where_the_layer_is(images, monkeypatch):
    """A copy to the host would make a GPU's host wait for every batch."""
    backbone = a_backbone()

    def refused(*_):
        raise AssertionError("copied to the host")

    monkeypatch.setattr(torch.Tensor, "cpu", refused)
    with batch_statistics(backbone.model) as seen:
        extract(backbone, images, out=torch.empty(len(images), feature_width(backbone)))
    for statistics in seen.values():
        assert statistics.mean_sum.dtype == statistics.variance_sum.dtype == torch.float64
    assert seen and calibrate_batchnorm(backbone, images, batch_size=8)
