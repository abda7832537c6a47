"""Backbones are validated when made."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import relu

from features import Backbone, BackboneError, feature_width, layer_shapes, max_grid, max_units


def network(*between):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.LeakyReLU(0.2),
        *between,
        nn.Conv2d(8, 12, 3, 2, 1),
        nn.LeakyReLU(0.2),
    )


def backbone(model, layers=("1", "3"), **options):
    return Backbone(model, layers, (3, 16, 16), (-1, 1), **options)


def test_shapes_width_and_units():
    b = backbone(network())
    assert layer_shapes(b) == {"1": (8, 16, 16), "3": (12, 8, 8)}
    assert feature_width(b) == (8 + 12) * 16
    assert feature_width(b, pool=max_grid(2)) == (8 + 12) * 4
    assert max_units(b) == 12
    assert max_units(backbone(network(), layers=("1",))) == 8


def test_fields_become_tuples():
    b = Backbone(network(), ["1"], [3, 16, 16], [0, 1])
    assert (b.layers, b.image_shape, b.value_range) == (("1",), (3, 16, 16), (0, 1))


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"layers": ["conv1"]}, "no layer 'conv1' in this network; it has: 0, 1, 2, 3"),
        ({"image_shape": (3, 16)}, r"image_shape must be three positive sizes \(C, H, W\), got \(3, 16\)"),
        ({"value_range": (1, -1)}, r"value_range must be .* low < high, numbers or 3 of each, got \(1, -1\)"),
        ({"value_range": (0, float("nan"))}, "value_range must be"),
        ({"value_range": ((0, 0), (1, 1))}, "numbers or 3 of each"),
        ({"value_range": ((0, 0, 0), (1, 1, 0))}, "low < high"),
        ({"value_range": 1}, "value_range must be"),
    ],
)
def test_impossible_fields(fields, message):
    good = {"layers": ["1"], "image_shape": (3, 16, 16), "value_range": (0, 1)}
    with pytest.raises(ValueError, match=message):
        Backbone(network(), **{**good, **fields})


def test_a_range_for_each_channel_is_that_of_mean_and_sd():
    mean, sd = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    b = Backbone(network(), ["1"], (3, 16, 16), [list(-mean / sd), (1 - mean) / sd])
    assert b.value_range == (tuple(-mean / sd), tuple((1 - mean) / sd))
    images = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    expected = ((images / 255 - mean) / sd).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(b.prepare(images).numpy(), expected, atol=1e-6)
    assert b.prepare(images).is_contiguous(memory_format=torch.channels_last)
    same = Backbone(network(), ["1"], (3, 16, 16), ((-1, -1, -1), (1, 1, 1)))
    torch.testing.assert_close(same.prepare(images), backbone(network()).prepare(images))


def test_everything_wrong_is_told_at_once_and_the_backbone_kept():
    with pytest.raises(BackboneError, match=r"must be a torch\.nn\.Module, got function; image_shape must be") as told:
        Backbone(relu, ["1"], (3, 0, 16), (0, 1))
    assert told.value.backbone.model is relu


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 1, 1)])
def test_a_network_that_cannot_run_is_told_with_the_shape(shape):
    with pytest.raises(ValueError, match=rf"cannot run on one image of image_shape \({shape[0]}, .*: RuntimeError: "):
        layer_shapes(Backbone(nn.Sequential(nn.Conv2d(3, 8, 3)), ["0"], shape, (0, 1)))


def test_outputs_that_are_not_maps_need_to_maps():
    model = nn.Sequential(nn.Conv2d(3, 6, 4, 4), nn.Flatten(2))  # [N, 6, 16] tokens
    with pytest.raises(
        ValueError, match=r"layer '1' must give float maps .* got torch.float32 \[1, 6, 16\]; pass to_maps"
    ):
        layer_shapes(backbone(model, layers=("1",)))
    converted = backbone(model, layers=("1",), to_maps=lambda tokens: tokens.unflatten(2, (4, 4)))
    assert layer_shapes(converted) == {"1": (6, 4, 4)}


class Odd(nn.Module):
    """Its forward raises whatever it is told."""

    def __init__(self, error):
        super().__init__()
        self.conv, self.act, self.error = nn.Conv2d(3, 8, 3), nn.ReLU(), error

    def forward(self, x):
        raise self.error


def test_from_model_takes_every_stage_after_its_activation():
    found = Backbone.from_model(network())
    assert (found.layers, found.image_shape, found.value_range) == (("1", "3"), (3, 32, 32), (-1, 1))
    found = Backbone.from_model(network(), image_shape=(3, 16, 16), value_range=(0, 1), layers=["3", "[01]"])
    assert (found.layers, found.image_shape, found.value_range) == (("3", "0", "1"), (3, 16, 16), (0, 1))


def test_from_model_lays_tokens_on_their_grid():
    tokens = nn.Sequential(nn.Conv2d(3, 8, 8, 8), nn.Flatten(2), nn.Sequential(nn.GELU(), nn.Identity()))
    tokens[1].register_forward_hook(lambda module, inputs, output: output.transpose(1, 2))
    assert layer_shapes(Backbone.from_model(tokens)) == {"2": (8, 4, 4)}


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()), {}, r"takes 1 channel: image_shape=\(1, 32, 32\)"),
        (nn.Sequential(nn.Flatten(), nn.Linear(7, 4)), {}, "does not run on .*; give the image_shape it was made for"),
        (network(), {"layers": ["conv*"]}, r"no layer fits 'conv\*'; the layers are 0 \[8 x 32 x 32\], 1"),
        (network(), {"layers": "1"}, r"layers must be a sequence of names or patterns, got '1'; write \['1'\]"),
        (network(), {"image_shape": (32, 32)}, "image_shape must be three positive sizes"),
        (network(), {"value_range": (1, -1)}, "value_range must be"),
        (nn.Sequential(nn.Conv2d(3, 4, 3)), {}, "no submodule gives maps after an activation; name the layers: 0"),
        (relu, {}, r"model must be a torch\.nn\.Module, got function"),
        (nn.LazyConv2d(4, 3), {}, "weight"),
        (Odd(SystemExit(3)), {}, "raises SystemExit: 3 .* which would end the program; remove that$"),
    ],
)
def test_from_model_names_the_fix(model, options, message):
    with pytest.raises(ValueError, match=message) as told:
        Backbone.from_model(model, **options)
    assert "\n" not in str(told.value)


def test_a_call_gives_the_maps_of_every_layer():
    net = network()
    b = backbone(net.train(), layers=("3", "1"))
    images = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    maps = b(images)
    assert list(maps) == ["3", "1"] and net.training
    x = torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        torch.testing.assert_close(maps["1"], net[:2](x), rtol=0, atol=1e-6)
        torch.testing.assert_close(maps["3"], net(x), rtol=0, atol=1e-6)
    for same in (torch.from_numpy(images).permute(0, 3, 1, 2), x, x.double().numpy()):
        torch.testing.assert_close(b(same)["3"], maps["3"], rtol=0, atol=1e-6)
    head = nn.Linear(8, 2)
    head(maps["1"].mean((2, 3))).sum().backward()  # maps can be learned from
    assert head.weight.grad is not None and not maps["1"].requires_grad


@pytest.mark.parametrize("images", [torch.zeros(2, 3, 8, 8), torch.zeros(3, 16, 16), np.zeros((2, 16, 16, 3))])
def test_a_call_takes_floats_of_its_own_shape_only(images):
    with pytest.raises(ValueError, match=r"uint8, or floats \[n, 3, 16, 16\] in value_range, got (torch.)?float"):
        backbone(network())(images)


def test_repr_is_a_table():
    assert repr(backbone(network(), layers=("1", "3@1"))).splitlines() == [
        "Backbone of Sequential: 2 layers, 320 features",
        "input  3 x 16 x 16 in [-1, 1]",
        "layer  maps         features",
        "1      8 x 16 x 16       128",
        "3@1    12 x 8 x 8        192",
    ]


def test_repr_runs_the_network_once_and_leaves_random_numbers():
    runs = []
    net = network(nn.Dropout2d(0.5))
    net.register_forward_pre_hook(lambda module, inputs: runs.append(torch.rand(1)))
    b, before = backbone(net, layers=("1", "4")), torch.get_rng_state()
    assert repr(b) == repr(b) and len(runs) == 1 and torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("error", [RuntimeError("no such\nluck"), SystemExit(1)])
def test_repr_never_raises(error):
    text = repr(Backbone(Odd(error), ["act"], (3, 16, 16), (-1, 1)))
    assert text.startswith("Backbone of Odd: 1 layer\ninput  3 x 16 x 16") and type(error).__name__ in text
    assert len(text.splitlines()) == 5
    with pytest.raises(BackboneError) as told:
        Backbone(relu, 3, None, None)
    assert repr(told.value.backbone).startswith("Backbone of function")


def test_repr_of_many_layers_is_short():
    net = nn.Sequential(*[nn.ReLU() for _ in range(100)])
    text = repr(Backbone.from_model(net, layers=["*"]))
    assert len(text.splitlines()) == 28 and text.endswith("... and 76 more")


class Draws(nn.Module):
    """Adds noise to its images, in evaluation mode too."""

    def __init__(self):
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 4, 3), nn.ReLU()

    def forward(self, x):
        return self.relu(self.conv(x + torch.rand_like(x)))


def test_from_model_leaves_the_random_numbers_as_they_were():
    model = Draws()
    before = torch.get_rng_state()
    repr(Backbone.from_model(model))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(3072, 10)), "no submodule of Sequential gives maps .* got .* 3072"),
        (nn.Conv2d(3, 4, 3), "no submodule of Conv2d gives maps .* wrap it in torch.nn.Sequential"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).half(), r"torch.float16: make it float32 with model.float\(\)"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).double(), r"torch.float64: make it float32"),
    ],
)
def test_networks_without_stages_name_the_fix(model, message):
    with pytest.raises(ValueError, match=message):
        Backbone.from_model(model)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_scripted_network_is_refused():
    with pytest.raises(ValueError, match=r"give the nn\.Module that it was made of"):
        Backbone.from_model(torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())))


@pytest.mark.parametrize("layers", [[1], [None], ["1", 1]])
def test_layers_that_are_no_names_are_refused(layers):
    with pytest.raises(ValueError, match="layers are names or patterns, got "):
        Backbone.from_model(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), layers=layers)


@pytest.mark.parametrize("bounds", [torch.tensor([0.0, 1.0]), np.array([0, 1]), torch.tensor([[0.0] * 3, [1.0] * 3])])
def test_a_value_range_may_be_an_array(bounds):
    backbone = Backbone.from_model(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), value_range=bounds)
    assert backbone.value_range in ((0, 1), ((0, 0, 0), (1, 1, 1)))
    assert backbone(np.zeros((1, 32, 32, 3), np.uint8))["1"].shape == (1, 4, 30, 30)


@pytest.mark.parametrize("bounds", ["01", (True, "a"), (0, 1j), torch.tensor([0.0, 1.0], requires_grad=True)])
def test_a_value_range_of_something_else_is_refused(bounds):
    with pytest.raises(ValueError, match="value_range must be"):
        Backbone(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), ["1"], (3, 32, 32), bounds)


@pytest.mark.parametrize("kind", [np.int64, np.bool_, np.complex64])
def test_a_call_refuses_numbers_that_are_no_floats(kind):
    """Whole numbers of 0 to 255 are no floats in value_range."""
    backbone = Backbone.from_model(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()))
    with pytest.raises(ValueError, match="images must be uint8, or floats"):
        backbone(np.zeros((2, 3, 32, 32), kind))


@pytest.mark.parametrize("images", [[1], None, "abc"])
def test_a_call_refuses_what_is_no_batch(images):
    with pytest.raises(ValueError, match="images must be one batch, an array or a tensor"):
        Backbone.from_model(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()))(images)


def test_a_call_takes_floats_however_they_lie_in_memory():
    backbone = Backbone.from_model(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()))
    images = np.random.default_rng(0).random((2, 3, 32, 32), np.float32)
    expected = backbone(images)["1"]
    shown = images[:, :, ::-1].copy()[:, :, ::-1]
    readonly = images.copy()
    readonly.flags.writeable = False
    for given in (shown, readonly, images.astype(">f4"), images.astype(np.longdouble), torch.from_numpy(images)):
        assert torch.equal(backbone(given)["1"], expected)
