"""Networks made elsewhere: the features are those that a few lines of plain torch give."""

import io
import json
import pickle
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import features
from experiments import cli
from experiments.networks.backbones import NOTHING, resolve
from experiments.run.errors import UserError
from experiments.run.torchvision import import_torchvision

IMAGES = np.random.default_rng(0).integers(0, 256, (256, 32, 32, 3), dtype=np.uint8)
MEAN, SD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


def extracted(text: str, layers: list[str] | None = None, seed: int = 0) -> np.ndarray:
    contender = resolve(text, layers=layers, seed=seed)
    return features.extract(contender.backbone, IMAGES, pool=contender.pool)


def pooled(maps: list[torch.Tensor]) -> np.ndarray:
    return torch.cat([F.adaptive_max_pool2d(m, 4).flatten(1) for m in maps], 1).numpy()


def tanh_range(size: int = 32) -> torch.Tensor:
    x = torch.from_numpy(IMAGES).float().permute(0, 3, 1, 2)
    return (x if size == 32 else F.interpolate(x, (size, size), mode="bilinear", antialias=True)) / 127.5 - 1


def test_resnet18():
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


def test_timm_where_it_is_installed(monkeypatch):
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
    ("patterns", "layers"),
    [
        (["conv*"], "conv1 conv2 conv3 conv4 conv5 conv6"),
        (["conv[35]", "conv1"], "conv3 conv5 conv1"),
        (["*2", "conv?"], "conv2 conv1 conv3 conv4 conv5 conv6"),
    ],
)
def test_patterns_of_a_network_of_this_project(patterns, layers):
    contender = resolve("random:imagenet32,width=2", layers=patterns)
    assert " ".join(contender.backbone.layers) == layers
    assert contender.name == f"random-init imagenet32 width 2 [{layers.replace(' ', ',')}]"
    for other in ("dec*", "conv1.*", "conv1.norm"):
        with pytest.raises(
            UserError, match=r"no layer .*; the layers are conv1 \[2 x 32 x 32\], conv2 \[2 x 16 x 16\]"
        ):
            resolve("random:imagenet32,width=2", layers=[other])


VIT = """from experiments.run.torchvision import import_torchvision
import torch
def network():
    torch.manual_seed(0)
    net = import_torchvision("torchvision.models").VisionTransformer(32, 8, 2, 2, 16, 32)
    torch.nn.init.normal_(net.encoder.pos_embedding)
    return net
"""


def test_a_vision_transformer_from_a_factory(tmp_path):
    (tmp_path / "vit.py").write_text(VIT)
    target = f"{tmp_path}/vit.py:network"
    net = resolve(target).backbone.model.eval()
    with torch.inference_mode():
        tokens = torch.cat([net.class_token.expand(256, -1, -1), net._process_input(tanh_range())], 1)
        tokens, maps = tokens + net.encoder.pos_embedding, []
        for block in net.encoder.layers:
            tokens = block(tokens)
            maps.append(tokens[:, 1:].reshape(256, 4, 4, 16).permute(0, 3, 1, 2))
    assert resolve(target).backbone.layers == tuple(f"encoder.layers.encoder_layer_{i}" for i in (0, 1))
    np.testing.assert_allclose(extracted(target), pooled(maps), atol=1e-5)
    np.testing.assert_allclose(extracted(target, ["encoder.layers.*_1"]), pooled(maps[1:]), atol=1e-5)


class Net(nn.Module):
    """A row of stages and a shared activation; `maps` returns what it looks like inside."""

    def __init__(self, maps: bool = False):
        super().__init__()
        torch.manual_seed(0)
        self.a = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.LeakyReLU(0.2))
        self.b = nn.Sequential(nn.Conv2d(4, 8, 3, 2, 1), nn.ReLU())
        self.fc, self.maps = nn.Linear(8, 2), maps
        self.a[1].running_mean.uniform_(-1, 1)
        self.eval()

    def forward(self, x):
        a = self.a(x)
        b = self.b(a)
        return (self.fc(b.mean((2, 3))), {"b": b, "a": a}) if self.maps else self.fc(b.mean((2, 3)))


def exported(file: Path, *, maps: bool = False, batch: bool = True) -> Path:
    example = torch.zeros(2, 3, 32, 32)
    sizes = ({0: torch.export.Dim("n")},) if batch else None
    torch.export.save(torch.export.export(Net(maps), (example,), dynamic_shapes=sizes), file)
    return file


@pytest.fixture(scope="module")
def p(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(tmp_path_factory.mktemp("exported") / "p.pt2")


def test_an_exported_program(p):
    file, net = p, Net()
    contender = resolve(str(file))
    assert (contender.name, contender.backbone.layers) == ("exported p", ("a", "b"))
    assert contender.backbone.image_shape == (3, 32, 32)
    with torch.inference_mode():
        maps = [net.a(tanh_range()), net.b(net.a(tanh_range()))]
    np.testing.assert_allclose(extracted(str(file)), pooled(maps), atol=1e-5)
    np.testing.assert_allclose(extracted(str(file), ["b.1"]), pooled(maps[1:]), atol=1e-5)


def test_a_programs_outputs_that_are_maps_are_its_layers(tmp_path):
    file, net = exported(tmp_path / "p.pt2", maps=True), Net()
    backbone = resolve(str(file)).backbone
    assert features.layer_shapes(backbone) == {"output1": (8, 8, 8), "output2": (4, 16, 16)}
    with torch.no_grad():
        a = net.a(tanh_range())
        maps = pooled([net.b(a), a])
    np.testing.assert_allclose(extracted(str(file)), maps, atol=1e-5)
    assert resolve(str(file), layers=["a", "b"]).backbone.layers == ("a", "b")


def test_the_key_covers_a_programs_graph(p):
    """The weights are the same, and the modules print the same but for the program's digest."""
    keys = []
    for slope in ("0.2", "0.1"):
        file = altered(p, "models/model.json", ('"as_float": 0.2', f'"as_float": {slope}'))
        backbone = resolve(str(file)).backbone
        keys.append(features.feature_key(backbone, data_digest="d", batchnorm={}))
    assert {name for name in keys[0] if keys[0][name] != keys[1][name]} == {"structure"}


def altered(file: Path, entry: str, change: tuple[str, str] | bytes | None) -> Path:
    """The archive with an entry changed, added or left out."""
    new = file.with_name(f"altered-{file.name}")
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(new, "w") as out:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith(entry):
                if isinstance(change, tuple):
                    assert change[0] in content.decode()
                    out.writestr(name, content.decode().replace(*change))
                continue
            out.writestr(name, content)
        if isinstance(change, bytes):
            out.writestr(f"archive/{entry}", change)
    return new


class Code:
    def __reduce__(self):
        return print, ("executed",)


def pickled() -> bytes:
    written = io.BytesIO()
    torch.save((Code(),), written)
    return written.getvalue()


@pytest.mark.parametrize(
    ("entry", "change", "text"),
    [
        ("models/model.json", ("torch.ops.aten.relu.default", "torch.os.system"), "the operator torch.os.system"),
        ("models/model.json", ("torch.ops.aten.relu.default", "_operator.call"), "the operator _operator.call"),
        ("models/model.json", ("torch.ops.aten.relu.default", "torch.ops.aten.from_file.default"), "the operator"),
        ("models/model.json", ("Symbol('s", "print('s"), "has the size print"),
        ("models/model.json", ("Symbol('s", "Symbol('print(1)"), "has the size Symbol"),
        ("models/model.json", ("builtins.tuple", "\\\\u0062.__enum__"), "containers of other classes"),
        ("models/model.json", None, "no exported program"),
        ("model_weights_config.json", ('"use_pickle": false', '"use_pickle": true'), "has pickled objects"),
        ("data/constants/opaque_obj_0", pickle.dumps(Code()), "holds data/constants/opaque_obj_0, which is not opened"),
        ("data/aotinductor/model/a.so", b"", "holds data/aotinductor/model/a.so, which is not opened"),
        ("data/weights/model.pt", b"", "holds data/weights/model.pt, which is not opened"),
        ("data/sample_inputs/model.pt", pickled(), "example inputs that are no tensors"),
        ("data/weights/weight_0", None, "cannot be read as an exported program"),
        ("code/__torch__.py", b"", "is TorchScript, whose code can write files; export the network instead"),
    ],
)
def test_programs_that_are_refused(p, capfd, entry, change, text):
    with pytest.raises(UserError, match=text) as told:
        resolve(str(altered(p, entry, change)))
    assert "\n" not in str(told.value) and "executed" not in capfd.readouterr().out


def test_a_fixed_batch_is_told_with_the_fix(tmp_path):
    with pytest.raises(UserError, match=r"takes batches of 2 alone; export it for any: torch\.export\.export\(model"):
        resolve(str(exported(tmp_path / "p.pt2", batch=False)))


def test_a_discriminator_of_pytorch_examples(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 4, 2, 1, bias=False), nn.LeakyReLU(0.2),
        nn.Conv2d(4, 8, 4, 2, 1, bias=False), nn.BatchNorm2d(8), nn.LeakyReLU(0.2),
        nn.Conv2d(8, 16, 4, 2, 1, bias=False), nn.BatchNorm2d(16), nn.LeakyReLU(0.2),
        nn.Conv2d(16, 32, 4, 2, 1, bias=False), nn.BatchNorm2d(32), nn.LeakyReLU(0.2),
        nn.Conv2d(32, 1, 4, 1, 0, bias=False), nn.Sigmoid(),
    ).eval()  # fmt: skip
    file = tmp_path / "netD_epoch_24.pth"
    torch.save(nn.ModuleDict({"main": net}).state_dict(), file)
    with torch.inference_mode():
        maps = [net[:end](tanh_range(64)) for end in (2, 5, 8, 11)]
    contender = resolve(str(file))
    assert (contender.name, contender.trained_on) == ("DCGAN port netD_epoch_24", None)
    assert contender.backbone.layers == ("conv1", "conv2", "conv3", "conv4")
    np.testing.assert_allclose(extracted(str(file)), pooled(maps), atol=1e-5)
    np.testing.assert_allclose(extracted(str(file), ["conv[13]"]), pooled(maps[::2]), atol=1e-5)


PLAIN = """import features, torch
def network():
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2, 1), torch.nn.ReLU())
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = torch.nn.Conv2d(3, 4, 3, 2, 1), torch.nn.Conv2d(4, 4, 3, 2, 1)
        self.relu = torch.nn.ReLU()
    def forward(self, x):
        return self.relu(self.b(self.relu(self.a(x))))
class Functional(Net):
    def forward(self, x):
        return self.a(x).relu()
class Gray(Net):
    def forward(self, x):
        return self.a(x[:, :1])
def shared():
    torch.manual_seed(0)
    return features.Backbone(Net(), ["relu"], (3, 32, 32), (0, 1))
"""


@pytest.fixture
def plain(tmp_path: Path) -> str:
    (tmp_path / "net.py").write_text(PLAIN)
    return f"{tmp_path}/net.py"


def test_a_factory_of_a_bare_module(plain):
    backbone = resolve(f"{plain}:network").backbone
    assert (backbone.layers, backbone.image_shape, backbone.value_range) == (("1",), (3, 32, 32), (-1.0, 1.0))
    assert resolve(f"{plain}:Net").backbone.layers == ("relu@1", "relu@2")
    assert resolve(f"{plain}:Functional", layers=["a"]).backbone.layers == ("a",)


def test_a_layer_that_runs_several_times_is_named_by_run(plain, capsys):
    net = resolve(f"{plain}:shared", layers=["relu@1"]).backbone.model
    x = torch.from_numpy(IMAGES).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        first = net.relu(net.a(x))
        maps = [net.relu(net.b(first)), first]
    np.testing.assert_allclose(extracted(f"{plain}:shared", ["relu@2", "relu@1"]), pooled(maps), atol=1e-5)
    with pytest.raises(UserError, match="layer 'relu' runs 2 times in a pass; name a run: relu@1, relu@2"):
        resolve(f"{plain}:shared")
    assert cli.main(["check", f"{plain}:shared", "--device", "cpu"]) == 1
    assert "FAIL   once           runs 2 times in one pass" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("torchvision:nosuchnet", "torchvision has no classifier 'nosuchnet'; it has mnasnet"),
        ("torchvision:resnet18,width=3", "settings are size=PIXELS and weights=DEFAULT, got 'width=3'"),
        ("torchvision:resnet18,size=big", "settings are size=PIXELS and weights=DEFAULT, got 'size=big'"),
        ("torchvision:resnet18,size=32,weights=NO", "no weights 'NO'; there are DEFAULT, IMAGENET1K_V1"),
        ("torchvision:vit_b_32,size=33", "torchvision cannot make it at size=33: "),
        ("torchvision:alexnet,size=8", "it does not run on float32 [2, 3, 8, 8]: RuntimeError: "),
        ("timm:resnet18", "timm is not installed: pip install timm"),
        ("none.pth", "no file none.pth"),
        ("none.pt2", "no file none.pt2"),
        ("BROKEN.pt2", "is no exported program (torch.export.save): BadZipFile"),
        (
            "BROKEN.pth",
            "cannot be read without running code in it, or is damaged; save netD.state_dict(): expected",
        ),
        ("BROKEN.safetensors", "is not a whole safetensors file"),
        ("NET:Functional", "no submodule gives maps after an activation; name the layers: a [4 x 16 x 16]"),
        ("NET:Gray", "it does not run on float32 [2, 3, 32, 32]: RuntimeError"),
        ("NET:nothing", "cannot make it: AttributeError"),
        ("NET:PATH", "cannot make it: AttributeError"),
        ("nonsense", "is none of: a .safetensors, .pth or .pt2 file"),
    ],
)
def test_mistakes_are_one_line(target, text, tmp_path, plain, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    for suffix in ("pt2", "pth", "safetensors"):
        (tmp_path / f"BROKEN.{suffix}").write_bytes(b"PK\x03\x04 broken")
    target = target.replace("NET", plain).replace("BROKEN", f"{tmp_path}/BROKEN")
    assert cli.main(["eval", target, "--runs-root", str(tmp_path), "--device", "cpu", "--dry-run"]) == 2
    error = capsys.readouterr().err
    assert text in error and error.count("\n") == 1, error
