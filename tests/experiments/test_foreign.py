"""Networks made elsewhere: the features are those that a few lines of plain torch give."""

import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import features
from experiments import cli
from experiments.backbones import NOTHING, resolve
from experiments.datasets.torchvision_shim import import_torchvision
from experiments.errors import UserError

IMAGES = np.random.default_rng(0).integers(0, 256, (256, 32, 32, 3), dtype=np.uint8)
MEAN, SD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


def extracted(text: str, **options) -> np.ndarray:
    contender = resolve(text, **options)
    return features.extract(contender.backbone, IMAGES, pool=contender.pool)


def pooled(maps: list[torch.Tensor]) -> np.ndarray:
    return torch.cat([F.adaptive_max_pool2d(m, 4).flatten(1) for m in maps], 1).numpy()


def normalised(size: int = 32) -> torch.Tensor:
    x = (torch.from_numpy(IMAGES) / 255 - MEAN) / SD
    x = x.permute(0, 3, 1, 2)
    return x if size == 32 else F.interpolate(x, size=(size, size), mode="bilinear", antialias=True)


def test_resnet18():
    torch.manual_seed(7)
    net = import_torchvision().models.resnet18(weights=None).eval()
    with torch.inference_mode():
        maps = [net.relu(net.bn1(net.conv1(normalised())))]
        x = net.maxpool(maps[0])
        for layer in (net.layer1, net.layer2, net.layer3):
            maps.append(x := layer(x))
    contender = resolve("torchvision:resnet18,size=32", seed=7)
    assert contender.backbone.layers == ("relu", "layer1", "layer2", "layer3")  # layer4 gives one place here
    assert (contender.name, contender.trained_on) == ("random-init resnet18 size=32 (torchvision)", NOTHING)
    got = features.extract(contender.backbone, IMAGES, pool=contender.pool)
    np.testing.assert_allclose(got, pooled(maps), atol=1e-5)


VIT = """import torch
from experiments.datasets.torchvision_shim import import_torchvision
def network():
    torch.manual_seed(0)
    net = import_torchvision().models.VisionTransformer(32, 8, 2, 2, 16, 32)
    torch.nn.init.normal_(net.encoder.pos_embedding)
    return net
"""


def test_a_vision_transformer_from_a_factory(tmp_path):
    (tmp_path / "vit.py").write_text(VIT)
    contender = resolve(f"{tmp_path}/vit.py:network")
    got = features.extract(contender.backbone, IMAGES, pool=contender.pool)
    net = contender.backbone.model.eval()
    assert contender.backbone.layers == ("encoder.layers.encoder_layer_0", "encoder.layers.encoder_layer_1")
    x = (torch.from_numpy(IMAGES).float() / 127.5 - 1).permute(0, 3, 1, 2)
    with torch.inference_mode():
        tokens = torch.cat([net.class_token.expand(len(x), -1, -1), net._process_input(x)], 1)
        tokens, maps = tokens + net.encoder.pos_embedding, []
        for block in net.encoder.layers:
            tokens = block(tokens)
            maps.append(tokens[:, 1:].reshape(len(x), 4, 4, 16).permute(0, 3, 1, 2))
    np.testing.assert_allclose(got, pooled(maps), atol=1e-5)


def row() -> nn.Sequential:
    torch.manual_seed(0)
    first = [nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.LeakyReLU(0.2)]
    first[1].running_mean.uniform_(-1, 1)
    return nn.Sequential(*first, nn.Conv2d(4, 8, 3, 2, 1), nn.ReLU()).eval()


def exported(file: Path, *, batch: bool = True) -> Path:
    sizes = ({0: torch.export.Dim("n")},) if batch else None
    torch.export.save(torch.export.export(row(), (torch.zeros(2, 3, 32, 32),), dynamic_shapes=sizes), file)
    return file


@pytest.mark.filterwarnings("ignore")
def test_an_exported_program(tmp_path):
    net, file = row(), exported(tmp_path / "p.pt2")
    contender = resolve(str(file))
    assert (contender.name, contender.backbone.layers) == ("exported p", ("2", "4"))
    x = (torch.from_numpy(IMAGES).float() / 127.5 - 1).permute(0, 3, 1, 2)
    with torch.inference_mode():
        maps = [net[:3](x), net(x)]
    np.testing.assert_allclose(extracted(str(file)), pooled(maps), atol=1e-5)
    np.testing.assert_allclose(extracted(str(file), layers=["4"]), pooled(maps[1:]), atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_programs_that_are_refused(tmp_path):
    fixed = exported(tmp_path / "fixed.pt2", batch=False)
    with pytest.raises(UserError, match=r"batches of 2 alone; export it with dynamic_shapes=\({0: torch"):
        resolve(str(fixed))
    good = exported(tmp_path / "good.pt2")
    for name, change, text in (
        ("calls.pt2", ('"torch.ops.aten.relu.default"', '"torch.hub.load"'), "calls torch.hub.load, which is no oper"),
        ("sizes.pt2", ("Symbol('s", "eval('s"), "which is no formula"),
        ("text.pt2", ("Symbol('s", "Symbol('print(1)"), "which is no formula"),
        ("models.pt2", None, "is no exported program"),
    ):
        with zipfile.ZipFile(good) as old, zipfile.ZipFile(tmp_path / name, "w") as new:
            for entry in old.namelist():
                content = old.read(entry)
                if change and entry.endswith("models/model.json"):
                    assert change[0] in content.decode()
                    content = content.decode().replace(*change).encode()
                if change or "models/" not in entry:
                    new.writestr(entry, content)
        with pytest.raises(UserError, match=text):
            resolve(str(tmp_path / name))
    (tmp_path / "scripted.pt2").write_bytes(b"not a zip")
    with pytest.raises(UserError, match="is no exported program"):
        resolve(str(tmp_path / "scripted.pt2"))


def test_a_discriminator_of_pytorch_examples(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 4, 2, 1, bias=False), nn.LeakyReLU(0.2),
        nn.Conv2d(4, 8, 4, 2, 1, bias=False), nn.BatchNorm2d(8), nn.LeakyReLU(0.2),
        nn.Conv2d(8, 16, 4, 2, 1, bias=False), nn.BatchNorm2d(16), nn.LeakyReLU(0.2),
        nn.Conv2d(16, 32, 4, 2, 1, bias=False), nn.BatchNorm2d(32), nn.LeakyReLU(0.2),
        nn.Conv2d(32, 1, 4, 1, 0, bias=False), nn.Sigmoid(),
    ).eval()  # fmt: skip
    torch.save(nn.ModuleDict({"main": net}).state_dict(), tmp_path / "netD_epoch_24.pth")
    x = torch.from_numpy(IMAGES).float().permute(0, 3, 1, 2)
    x = F.interpolate(x, size=(64, 64), mode="bilinear", antialias=True) / 127.5 - 1
    with torch.inference_mode():
        maps = [net[:end](x) for end in (2, 5, 8, 11)]
    contender = resolve(str(tmp_path / "netD_epoch_24.pth"))
    assert (contender.name, contender.backbone.layers) == (
        "DCGAN port netD_epoch_24",
        ("conv1", "conv2", "conv3", "conv4"),
    )
    np.testing.assert_allclose(extracted(str(tmp_path / "netD_epoch_24.pth")), pooled(maps), atol=1e-5)


PLAIN = """import torch
def network():
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2, 1), torch.nn.ReLU())
def functional():
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 4, 3, 2, 1)
        def forward(self, x):
            return self.conv(x).relu()
    return Net()
"""


def test_a_factory_of_a_bare_module(tmp_path):
    (tmp_path / "net.py").write_text(PLAIN)
    backbone = resolve(f"{tmp_path}/net.py:network").backbone
    assert (backbone.layers, backbone.image_shape, backbone.value_range) == (("1",), (3, 32, 32), (-1.0, 1.0))
    assert resolve(f"{tmp_path}/net.py:functional", layers=["conv"]).backbone.layers == ("conv",)


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("torchvision:nosuchnet", "torchvision has no classifier 'nosuchnet'; it has alexnet, "),
        ("torchvision:resnet18,width=3", "settings are size=... and weights=..., got 'width=3'"),
        ("torchvision:resnet18,size=big", "size must be a number of pixels, got 'big'"),
        ("torchvision:resnet18,size=32,weights=NONE", "cannot have the weights NONE of resnet18"),
        ("timm:resnet18", "timm is not installed: pip install timm"),
        ("none.pth", "no file"),
        ("none.pt2", "is no exported program"),
        ("NET:functional", "no stage is seen that gives maps behind an activation module; name the layers"),
        ("NET:nothing", "cannot make it: AttributeError"),
    ],
)
def test_mistakes_are_one_line(target, text, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    (tmp_path / "net.py").write_text(PLAIN)
    target = target.replace("NET", f"{tmp_path}/net.py")
    assert cli.main(["eval", target, "--runs-root", str(tmp_path), "--device", "cpu", "--dry-run"]) == 2
    error = capsys.readouterr().err
    assert text in error and error.count("\n") == 1, error


@pytest.mark.parametrize(
    ("patterns", "layers"),
    [
        (["conv*"], "conv1 conv2 conv3 conv4 conv5 conv6"),
        (["conv[35]", "conv1"], "conv3 conv5 conv1"),
        (["*2", "conv?"], "conv2 conv1 conv3 conv4 conv5 conv6"),
    ],
)
def test_patterns_of_layers(patterns, layers):
    assert " ".join(resolve("random:imagenet32,width=2", layers=patterns).backbone.layers) == layers
    with pytest.raises(UserError, match=r"no layer 'dec\*'; the layers are conv1, conv2"):
        resolve("random:imagenet32,width=2", layers=["dec*"])
