"""Discriminators of PyTorch ports, read by their shapes and the order of their keys, wherever they lie in a file."""

from collections import OrderedDict

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import gan
from gan.ports import EXPECTED


def examples_netD(
    nc: int = 3, ndf: int = 4, stages: int = 4, *, order: str = "na", norm=nn.BatchNorm2d, wrap=lambda conv: conv
) -> nn.Sequential:
    """As pytorch/examples writes it down. order: what follows a convolution: n(orm), a(ctivation), d(ropout)."""
    torch.manual_seed(0)
    parts: list[nn.Module] = [wrap(nn.Conv2d(nc, ndf, 4, 2, 1, bias=False)), nn.LeakyReLU(0.2)]
    for i in range(stages - 1):
        kinds = {"n": norm(ndf << i + 1), "a": nn.LeakyReLU(0.2), "d": nn.Dropout(0.5)}
        parts += [wrap(nn.Conv2d(ndf << i, ndf << i + 1, 4, 2, 1, bias=False)), *(kinds[kind] for kind in order)]
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


def maps_of(net: nn.Sequential, x: torch.Tensor) -> list[torch.Tensor]:
    """The maps after each activation."""
    maps = []
    for module in net:
        x = module(x)
        if isinstance(module, nn.LeakyReLU):
            maps.append(x)
    return maps


def assert_same_maps(port: gan.Port, net: nn.Sequential) -> None:
    x = torch.randn(3, 3, 32, 32)
    with torch.inference_mode():
        expected = maps_of(net, x)
        assert len(port.model) == len(expected)
        assert all(torch.equal(port.model[: i + 1](x), maps) for i, maps in enumerate(expected))


@pytest.mark.parametrize("order", ["na", "nad", "an", "adn"])
def test_indices_tell_whether_batch_norm_is_after_the_activation(tmp_path, order):
    net = examples_netD(stages=3, order=order)
    torch.save(renamed(net, NAMES["examples"]), tmp_path / "netD.pth")
    port = gan.load_port(tmp_path / "netD.pth")
    assert_same_maps(port, net)
    place = "before" if order[0] == "n" else "after"
    assert f"batch norm is {place} its activation, as the keys tell" in port.notes


def test_an_order_that_other_names_do_not_tell_is_assumed_and_said(tmp_path):
    torch.save(renamed(examples_netD(stages=3), NAMES["attributes"]), tmp_path / "netD.pth")
    assert gan.load_port(tmp_path / "netD.pth").notes == (
        "assumed, since a state dict does not tell: batch norm before its activation, stride 2, padding 1, "
        "LeakyReLU(0.2), batch norm's eps 1e-05",
    )


def test_blocks_of_their_own_tell_the_order_too(tmp_path):
    net = examples_netD(stages=3, order="an")
    names = {0: "0.0", 2: "1.0", 4: "1.2", 5: "2.0", 7: "2.2", 8: "3"}
    state = {f"{names[i]}.{k}": v for i, part in enumerate(net) for k, v in part.state_dict().items()}
    torch.save(state, tmp_path / "netD.pth")
    assert_same_maps(gan.load_port(tmp_path / "netD.pth"), net)


@pytest.mark.parametrize(
    ("order", "told"),
    [
        ("n", "leave no place for an activation between 2 and 4"),
        ("dna", "do not tell whether 4 is before or after the activation"),
    ],
)
def test_an_order_that_indices_leave_open_is_refused(tmp_path, order, told):
    torch.save(examples_netD(stages=3, order=order).state_dict(), tmp_path / "netD.pth")
    with pytest.raises(ValueError, match=f"{told}.*file.py:factory"):
        gan.load_port(tmp_path / "netD.pth")


def test_a_norm_with_the_index_of_another_place_is_refused(tmp_path):
    state = {k.replace("3.", "9.", 1): v for k, v in examples_netD(stages=3).state_dict().items()}
    torch.save(state, tmp_path / "netD.pth")
    with pytest.raises(ValueError, match="do not put 9 after 2 and before 5"):
        gan.load_port(tmp_path / "netD.pth")


def test_pytorch_gan_with_batch_norm_first_is_refused_since_its_eps_is_unknown(tmp_path):
    net, adv = pytorch_gan()
    before = [3, 6, 4, 5, 7, 10, 8, 9, 11, 14, 12, 13]  # convolution, batch norm, activation, dropout
    order = nn.Sequential(*(nn.Sequential(*net, nn.Identity())[i] for i in (0, 1, 2, *before) if i < len(net)))
    torch.save(nn.ModuleDict({"model": order, "adv": adv}).state_dict(), tmp_path / "d.pth")
    with pytest.raises(ValueError, match="before the activation, PyTorch-GAN's after it"):
        gan.load_port(tmp_path / "d.pth")


def netG() -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(10, 8, 4), nn.BatchNorm2d(8), nn.ReLU(),
        nn.ConvTranspose2d(8, 4, 4, 2, 1), nn.BatchNorm2d(4), nn.ReLU(),
        nn.ConvTranspose2d(4, 3, 4, 2, 1), nn.Tanh(),
    )  # fmt: skip


def under(prefix: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {prefix + name: value for name, value in state.items()}


def other(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value + 1 for name, value in state.items()}


WRAPPED = {  # what a script stores of D and G -> where the discriminator is in it
    "suffixes": (lambda D, G: {"epoch": 3, "netG_state_dict": G, "netD_state_dict": D}, "netD_state_dict"),
    "Lightning": (
        lambda D, G: {"state_dict": under("generator.", G) | under("discriminator.", D), "loops": {"a": [1]}},
        "state_dict.discriminator",
    ),
    "Lightning, a model inside, a loss beside": (
        lambda D, G: {
            "state_dict": under("model.netG.", G) | under("model.netD.module.", D) | {"loss.weight": torch.ones(2, 2)}
        },
        "state_dict.model.netD",
    ),
    "compiled": (lambda D, G: under("_orig_mod.", D), ""),
    "compiled layers": (lambda D, G: {k.replace(".", "._orig_mod.", 1): v for k, v in D.items()}, ""),
    "a list": (lambda D, G: [G, D], "1"),
    "deep": (lambda D, G: {"nets": {"gan": (G, {"model": D})}}, "nets.gan.1.model"),
    "an average beside": (lambda D, G: {"D": D, "D_ema": other(D), "G": G}, "D"),
    "the same twice": (lambda D, G: {"D": D, "best": {k: v.clone() for k, v in D.items()}}, "D"),
}


@pytest.mark.parametrize(("wrap", "where"), WRAPPED.values(), ids=WRAPPED)
def test_a_discriminator_is_found_in_what_scripts_store(tmp_path, wrap, where):
    net = examples_netD(stages=3)
    torch.save(wrap(net.state_dict(), netG().state_dict()), tmp_path / "last.ckpt")
    port = gan.load_port(tmp_path / "last.ckpt")
    assert_same_maps(port, net)
    found = [note for note in port.notes if "in the file" in note]
    assert found == ([f"the discriminator is {where} in the file"] if where else [])
    assert "batch norm is before its activation, as the keys tell" in port.notes


def test_what_holds_itself_ends(tmp_path):
    content = dict(examples_netD(stages=3).state_dict())
    content["self"] = [content]
    torch.save(content, tmp_path / "netD.pth")
    assert len(gan.load_port(tmp_path / "netD.pth").model) == 3


@pytest.mark.parametrize("wrap", [nn.utils.spectral_norm, nn.utils.parametrizations.spectral_norm])
def test_spectral_norm_is_folded(tmp_path, wrap):
    net = examples_netD(stages=3, wrap=wrap).train()
    net(torch.randn(4, 3, 32, 32))  # u and v are no longer the initial ones
    torch.save(net.eval().state_dict(), tmp_path / "netD.pth")
    port = gan.load_port(tmp_path / "netD.pth")
    assert_same_maps(port, net)
    assert "spectral norm is folded into the weights" in port.notes


def test_half_precision_loads_as_float32(tmp_path):
    net = examples_netD(stages=3)
    torch.save({k: v.half() if v.is_floating_point() else v for k, v in net.state_dict().items()}, tmp_path / "d.pth")
    weight = gan.load_port(tmp_path / "d.pth").model[1][0].weight
    assert torch.equal(weight, net[2].weight.half().float())


SPOILED = {  # changes of the state dict -> what is said of them
    "a bias of another length": ({"0.bias": torch.zeros(9)}, r"0.bias has shape \[9\], expected \[4\]"),
    "an array too many": ({"3.weird": torch.zeros(3)}, "3 holds weird, known are weight, bias, running_mean"),
    "a scalar": ({"3.running_mean": torch.tensor(1.0)}, r"3.running_mean has shape \[\], expected \[8\]"),
    "an array too few": ({"3.bias": None}, "3 lacks its bias"),
    "neither weight nor bias": ({"3.bias": None, "3.weight": None}, "3 lacks its weight"),
    "no statistics": ({"3.running_mean": None}, "3 has no running statistics, so it is an instance, group or layer"),
    "negative variances": ({"3.running_var": -torch.ones(8)}, "3.running_var holds negative variances"),
    "sparse": ({"0.weight": torch.ones(4, 3, 4, 4).to_sparse()}, "0.weight is not dense, but torch.sparse_coo"),
    "meta": ({"0.weight": torch.empty(4, 3, 4, 4, device="meta")}, "0.weight is on the meta device"),
    "complex": ({"0.weight": torch.ones(4, 3, 4, 4, dtype=torch.complex64)}, "0.weight is torch.complex64"),
    "integers": ({"0.weight": torch.ones(4, 3, 4, 4, dtype=torch.int8)}, "0.weight is torch.int8"),
    "NaN": ({"2.weight": torch.full((8, 4, 4, 4), torch.nan)}, "2.weight holds NaN or infinity"),
    "one value repeated": ({"0.weight": torch.ones(1).expand(4, 3, 4, 4)}, "0.weight repeats fewer values"),
    "no channels": ({"0.weight": torch.ones(0, 3, 4, 4)}, "0 has no values"),
    "weight norm": (
        {"2.weight": None, "2.weight_g": torch.ones(8, 1, 1, 1), "2.weight_v": torch.ones(8, 4, 4, 4)},
        "2 holds weight_g, weight_v, .*remove_weight_norm",
    ),
    "vectors of another length": (
        {"2.weight": None, "2.weight_orig": torch.ones(8, 4, 4, 4)} | {f"2.weight_{k}": torch.ones(3) for k in "uv"},
        "the shapes of 2's spectral norm do not fit",
    ),
}


@pytest.mark.parametrize(("changes", "told"), SPOILED.values(), ids=SPOILED)
def test_wrong_arrays_are_named(tmp_path, changes, told):
    state = {name: value for name, value in {**examples_netD().state_dict(), **changes}.items() if value is not None}
    torch.save(state, tmp_path / "netD.pth")
    with pytest.raises(ValueError, match=f"^[^\n]*netD.pth: {told}[^\n]*$"):
        gan.load_port(tmp_path / "netD.pth")


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
    "a string": "main.0.weight",
}


@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG)
def test_what_it_is_not_is_refused_with_what_was_expected(tmp_path, content, capsys):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ValueError) as told:
        gan.load_port(tmp_path / "x.pth")
    assert str(told.value).endswith(EXPECTED) and "\n" not in str(told.value) and "x.pth" in str(told.value)
    assert capsys.readouterr().out == ""


NAMED = {
    "code": ({"main.0.weight": Code()}, "holds an object of .*print, .*without running code; save only the arrays"),
    "a whole module": (nn.Sequential(nn.Conv2d(3, 4, 4)), r"an object of torch\.nn\.\S+Sequential, .*netD.state_dict"),
    "a generator": (netG().state_dict(), "this is a generator, .*name its file"),
    "an instance norm": (
        examples_netD(norm=lambda width: nn.InstanceNorm2d(width, affine=True)).state_dict(),
        "3 has no running statistics, so it is an instance, group or layer norm.*file.py:factory",
    ),
    "a bare instance norm": (
        examples_netD(norm=nn.InstanceNorm2d).state_dict(),
        "it has no batch norm .an instance norm leaves nothing in a state dict",
    ),
    "two discriminators": (
        {"D": examples_netD().state_dict(), "D2": other(examples_netD().state_dict())},
        "several discriminators: D, D2; save the state dict of one",
    ),
    "a wrong one beside a generator": (
        {"G": netG().state_dict(), "D": {**examples_netD().state_dict(), "0.bias": torch.ones(9)}},
        r"x.pth \(D\): 0.bias has shape \[9\]",
    ),
}


@pytest.mark.parametrize(("content", "told"), NAMED.values(), ids=NAMED)
def test_what_it_is_instead_is_named_with_the_fix(tmp_path, content, told, capsys):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=f"^[^\n]*{told}[^\n]*$"):
        gan.load_port(tmp_path / "x.pth")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "name", ["netD.pt", "netD.pth.tar", "netD.bin", "netD.pkl", "netD_epoch_24", "netD.safetensors"]
)
def test_the_content_counts_and_not_the_suffix(tmp_path, name):
    net = examples_netD(stages=3)
    for write in (torch.save, save_file):
        write(dict(net.state_dict()), tmp_path / name)
        assert_same_maps(gan.load_port(tmp_path / name), net)


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError):
        gan.load_port(tmp_path / "none.pth")
    for name in ("a.pth", "a.safetensors"):
        (tmp_path / name).write_bytes(b"PK\x03\x04 broken")
        with pytest.raises(ValueError, match="is no PyTorch or safetensors file, or is damaged"):
            gan.load_port(tmp_path / name)
