"""The user's own factories: bare modules, Backbones, layers that run several times, mistakes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.networks.resolve import resolve
from experiments.run.errors import UserError
from tests.experiments.networks.by_hand import IMAGES, extracted, pooled, tanh_range
from tests.workplace import Workplace

VIT = """from experiments.run.torchvision import import_torchvision
import torch
def network():
    torch.manual_seed(0)
    net = import_torchvision("torchvision.models").VisionTransformer(32, 8, 2, 2, 16, 32)
    torch.nn.init.normal_(net.encoder.pos_embedding)
    return net
"""


def test_a_vision_transformer(tmp_path: Path) -> None:
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
def number():
    return 3
def exits():
    raise SystemExit(0)
def interrupted():
    raise KeyboardInterrupt
class Exits(Net):
    def forward(self, x):
        exits()
class Unmovable(Net):
    def to(self, *args, **options):
        raise RuntimeError("it stays")
class Nameless(Net):
    def __repr__(self):
        raise RuntimeError("no name")
def meta():
    return network().to("meta")
"""


@pytest.fixture
def plain(tmp_path: Path) -> str:
    """The path of a file with several factories."""
    (tmp_path / "net.py").write_text(PLAIN)
    return f"{tmp_path}/net.py"


def test_a_bare_module(plain: str) -> None:
    contender = resolve(f"{plain}:network")
    backbone = contender.backbone
    assert (contender.name, contender.trained_on) == ("net.py:network", None)
    assert (backbone.layers, backbone.image_shape, backbone.value_range) == (("1",), (3, 32, 32), (-1.0, 1.0))
    assert resolve(f"{plain}:Net").backbone.layers == ("relu@1", "relu@2")
    assert resolve(f"{plain}:Functional", layers=["a"]).backbone.layers == ("a",)


def test_a_folder_with_colons(plain: str, tmp_path: Path) -> None:
    folder = tmp_path / "run 12:30:00"
    folder.mkdir()
    (folder / "net.py").write_text(PLAIN)
    assert resolve(f"{folder}/net.py:network").name == "net.py:network"
    torch.save({"epoch": 1}, folder / "netD.ckpt")
    with pytest.raises(UserError, match=r"netD\.ckpt holds no weights under the names of a state dict"):
        resolve(f"{folder}/netD.ckpt")


@pytest.mark.parametrize("command", ["check", "extract", "eval"])
def test_a_file_that_exits_is_a_mistake_and_not_success(
    command: str, workplace: Workplace, capsys: pytest.CaptureFixture
) -> None:
    file = workplace.root / "mine.py"
    file.write_text("raise SystemExit(0)\n")
    assert workplace.main(command, f"{file}:make") == 2
    told = "its code raises SystemExit: 0 (mine.py:1), which would end the program; remove that\n"
    assert capsys.readouterr().err.endswith(told)
    file.write_text("raise KeyboardInterrupt\n")
    assert workplace.main(command, f"{file}:make") == 130


def test_a_network_that_cannot_be_moved(plain: str, workplace: Workplace, capsys: pytest.CaptureFixture) -> None:
    for command in ("check", "extract"):
        assert workplace.main(command, f"{plain}:Unmovable") == 2
        assert "cannot be moved to cpu: RuntimeError: it stays (net.py:31)\n" in capsys.readouterr().err


def test_a_module_in_the_present_folder(plain: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.py").rename(tmp_path / "net_of_a_test.py")
    monkeypatch.setattr("sys.path", ["elsewhere"])
    monkeypatch.chdir(tmp_path)
    assert resolve("net_of_a_test:network").name == "net_of_a_test:network"


def test_a_layer_that_runs_several_times_is_named_by_run(
    plain: str, workplace: Workplace, capsys: pytest.CaptureFixture
) -> None:
    net = resolve(f"{plain}:shared", layers=["relu@1"]).backbone.model
    x = torch.from_numpy(IMAGES).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        first = net.relu(net.a(x))
        maps = [net.relu(net.b(first)), first]
    np.testing.assert_allclose(extracted(f"{plain}:shared", ["relu@2", "relu@1"]), pooled(maps), atol=1e-5)
    with pytest.raises(UserError, match="layer 'relu' runs 2 times in a pass; name a run: relu@1, relu@2"):
        resolve(f"{plain}:shared")
    assert workplace.main("check", f"{plain}:shared") == 1
    assert "FAIL   once           runs 2 times in one pass" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("NET:Functional", "no submodule gives maps after an activation; name the layers: a [4 x 16 x 16]"),
        ("NET:Gray", "the network does not run on float32 [2, 3, 32, 32]: RuntimeError"),
        ("NET:nothing", "cannot make it: AttributeError"),
        ("NET:number", "the factory must return a features.Backbone or a torch.nn.Module, got int"),
        ("NET:exits", "its code raises SystemExit: 0 (net.py:23), which would end the program; remove that"),
        ("NET:Exits", "forward raises SystemExit: 0 (net.py:23), which would end the program; remove that"),
        ("NET:Nameless", "reading its weights raises RuntimeError: no name (net.py:34); keep nn.Module's own methods"),
        ("NET:meta", "is on the meta device, without values; make the network on the CPU, or load weights"),
        ("no.py:such name", "no file is named like that, and 'such name' names no function: write file.py:factory"),
        ("none.py:make", "cannot make it: FileNotFoundError"),
        ("nomodule:make", "cannot make it: ModuleNotFoundError: No module named 'nomodule'"),
        ("randm:imagenet32", "No module named 'randm'; did you mean 'random'?"),
    ],
)
def test_mistakes_are_one_line(plain: str, target: str, text: str) -> None:
    with pytest.raises(UserError) as told:
        resolve(target.replace("NET", plain))
    assert text in str(told.value) and "\n" not in str(told.value)


def test_a_file_that_changes_the_folder_moves_no_path_of_the_command(
    plain: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "moves.py").write_text(
        f"import os\n{PLAIN}\nos.chdir('/')\ndef moved():\n    os.chdir('/')\n    return network()\n"
    )
    monkeypatch.chdir(tmp_path)
    assert resolve("moves.py:moved").backbone.layers and Path.cwd() == tmp_path
