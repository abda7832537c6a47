"""torchvision's and timm's networks: the features equal those from a few lines of plain torch."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import features
from experiments.networks.contender import NOTHING
from experiments.networks.resolve import resolve
from experiments.run.errors import UserError
from experiments.run.torchvision import import_torchvision
from tests.experiments.networks.by_hand import IMAGES, pooled

MEAN, SD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


def test_resnet18() -> None:
    torch.manual_seed(7)
    net = import_torchvision("torchvision.models").resnet18(weights=None).eval()
    with torch.inference_mode():
        x = ((torch.from_numpy(IMAGES) / 255 - MEAN) / SD).permute(0, 3, 1, 2)
        x = net.maxpool(net.relu(net.bn1(net.conv1(x))))
        maps = [x := layer(x) for layer in (net.layer1, net.layer2, net.layer3, net.layer4)]
    contender = resolve("torchvision:resnet18,size=32", seed=7)
    assert contender.backbone.layers == ("layer1", "layer2", "layer3", "layer4")
    assert (contender.name, contender.trained_on) == ("random-init torchvision resnet18 size 32", NOTHING)
    got = features.extract(contender.backbone, IMAGES, pool=contender.pool)
    np.testing.assert_allclose(got, pooled(maps), atol=1e-5)
    json.dumps(features.feature_key(contender.backbone, data_digest="d", batchnorm={}))


class Timm(nn.Sequential):
    """Stands in for a network of timm."""

    @property
    def pretrained_cfg(self):
        return {"input_size": (3, 48, 48), "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.5, 0.5)}


def test_timm_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def create_model(name, *, pretrained, **options):
        asked.append((name, pretrained, options))
        if options and name == "conv":
            raise TypeError("no img_size")
        return Timm(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU())

    monkeypatch.setitem(sys.modules, "timm", SimpleNamespace(create_model=create_model))
    conv, trained = resolve("timm:conv,size=32", seed=3), resolve("timm:vit,weights=DEFAULT")
    assert asked == [("conv", False, {"img_size": 32}), ("conv", False, {}), ("vit", True, {})]
    assert (conv.name, conv.trained_on) == ("random-init timm conv size 32", NOTHING)
    assert (trained.name, trained.trained_on) == ("timm vit weights DEFAULT", None)
    assert conv.weights == resolve("timm:conv", seed=3).weights != resolve("timm:conv", seed=4).weights
    assert (conv.backbone.image_shape, trained.backbone.image_shape) == ((3, 32, 32), (3, 48, 48))
    assert conv.backbone.value_range == ((-2.0, -1.0, -1.0), (2.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("torchvision:nosuchnet", "torchvision has no classifier 'nosuchnet'; torchvision.models.list_models() names"),
        ("torchvision:resnet81", "; did you mean 'resnet18'?"),
        ("torchvision:resnet18,width=3", "settings are size=PIXELS (at most 9999) and weights=DEFAULT, got 'width=3'"),
        (
            "torchvision:resnet18,size=big",
            "settings are size=PIXELS (at most 9999) and weights=DEFAULT, got 'size=big'",
        ),
        ("torchvision:resnet18,size=32,weights=NO", "no weights 'NO'; there are DEFAULT, IMAGENET1K_V1"),
        ("torchvision:vit_b_32,size=33", "torchvision cannot make it at size=33: "),
        ("torchvision:alexnet,size=8", "the network does not run on float32 [2, 3, 8, 8]: RuntimeError: "),
        ("timm:resnet18", "timm is not installed: pip install timm"),
    ],
)
def test_mistakes_are_one_line(target: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UserError) as told:
        resolve(target)
    assert text in str(told.value) and "\n" not in str(told.value)
