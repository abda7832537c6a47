"""Discriminators of PyTorch ports, read by their shapes whatever their modules are called."""

from collections import OrderedDict

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import gan
from gan.ports import EXPECTED


def examples_netD(nc: int = 3, ndf: int = 4, stages: int = 4) -> nn.Sequential:
    """As pytorch/examples writes it down."""
    torch.manual_seed(0)
    parts: list[nn.Module] = [nn.Conv2d(nc, ndf, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
    for i in range(stages - 1):
        parts += [
            nn.Conv2d(ndf << i, ndf << i + 1, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ndf << i + 1),
            nn.LeakyReLU(0.2),
        ]
    parts += [nn.Conv2d(ndf << stages - 1, 1, 4, 1, 0, bias=False), nn.Sigmoid()]
    net = nn.Sequential(*parts)
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.weight.data.uniform_(0.5, 1.5)
            m.running_mean.uniform_(-1, 1)
            m.running_var.uniform_(0.5, 2)
    return net.eval()


NAMES = {
    "examples": lambda i, part: f"main.{i}",
    "several GPUs": lambda i, part: f"module.main.{i}",
    "by kind": lambda i, part: f"main.pyramid-{i}-{type(part).__name__}",
    "attributes": lambda i, part: f"{type(part).__name__.lower()}{i}",
}


def renamed(net: nn.Sequential, rule) -> dict[str, torch.Tensor]:
    return {f"{rule(i, part)}.{k}": v for i, part in enumerate(net) for k, v in part.state_dict().items()}


@pytest.mark.parametrize("rule", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_every_layout_gives_the_maps_of_the_network_itself(tmp_path, rule, suffix):
    net, file = examples_netD(), tmp_path / f"netD{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(renamed(net, rule), file)
    port = gan.load_port(file)
    assert port.image_shape == (3, 64, 64) and [name for name, _ in port.model.named_children()] == [
        "conv1",
        "conv2",
        "conv3",
        "conv4",
    ]
    x = torch.randn(5, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(port.model(x), net[:-2](x))


def test_other_sizes_channels_and_wrappings(tmp_path):
    torch.save({"epoch": 3, "netD": examples_netD(1, 2, 3).state_dict()}, tmp_path / "a.pth")
    port = gan.load_port(tmp_path / "a.pth")
    assert port.image_shape == (1, 32, 32) and len(port.model) == 3


def pytorch_gan(nc: int = 3, size: int = 32) -> tuple[nn.Sequential, nn.Linear]:
    """As PyTorch-GAN writes it down, narrower."""
    torch.manual_seed(0)
    parts: list[nn.Module] = []
    for i, (inputs, outputs) in enumerate([(nc, 4), (4, 6), (6, 8), (8, 12)]):
        parts += [nn.Conv2d(inputs, outputs, 3, 2, 1), nn.LeakyReLU(0.2), nn.Dropout2d(0.25)]
        parts += [nn.BatchNorm2d(outputs, 0.8)] if i else []
    for m in parts:
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.uniform_(-1, 1)
    return nn.Sequential(*parts).eval(), nn.Linear(12 * (size // 16) ** 2, 1)


@pytest.mark.parametrize("size", [32, 64])
def test_the_network_of_pytorch_gan(tmp_path, size):
    net, adv = pytorch_gan(size=size)
    torch.save(nn.ModuleDict({"model": net, "adv_layer": nn.Sequential(adv)}).state_dict(), tmp_path / "d.pth")
    port = gan.load_port(tmp_path / "d.pth")
    assert port.image_shape == (3, size, size)
    x = torch.randn(5, 3, size, size)
    with torch.inference_mode():
        for stage, end in enumerate([2, 5, 9, 13], 1):
            assert torch.equal(port.model[:stage](x), net[:end](x))


class Code:
    def __reduce__(self):
        return print, ("executed",)


WRONG = {
    "another network": nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 1, 3)).state_dict(),
    "a generator": nn.Sequential(nn.ConvTranspose2d(100, 8, 4), nn.ConvTranspose2d(8, 3, 4)).state_dict(),
    "a gap": OrderedDict((k, v) for k, v in examples_netD().state_dict().items() if not k.startswith("2.")),
    "patches": nn.Sequential(*(m for m in examples_netD() if not isinstance(m, nn.BatchNorm2d))).state_dict(),
    "3x3 without its linear map": pytorch_gan()[0].state_dict(),
    "no tensors": {"epoch": 3},
    "a list": [1, 2],
    "code": {"main.0.weight": Code()},
}


@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG)
def test_what_it_is_not_is_refused_with_what_was_expected(tmp_path, content, capsys):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ValueError) as told:
        gan.load_port(tmp_path / "x.pth")
    assert str(told.value).endswith(EXPECTED) and "\n" not in str(told.value) and "x.pth" in str(told.value)
    assert capsys.readouterr().out == ""


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError):
        gan.load_port(tmp_path / "none.pth")
    for name in ("a.pth", "a.safetensors"):
        (tmp_path / name).write_bytes(b"PK\x03\x04 broken")
        with pytest.raises(ValueError, match="cannot be read without running code"):
            gan.load_port(tmp_path / name)
