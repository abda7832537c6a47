"""Sound networks pass every check and stay as they were; each broken one is caught by its checks, with the fix."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import features
from features import Backbone, check_backbone, examine, parametrize_with_checks, run_checks, weights_digest
from features.checks import CHECKS


def network(*between, channels=3):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, padding=1),
        nn.LeakyReLU(0.2),
        *between,
        nn.Conv2d(8, 12, 3, 2, 1),
        nn.LeakyReLU(0.2),
    )


def backbone(model, layers=("1", "3"), shape=(3, 16, 16), **options):
    return Backbone(model, layers, shape, (-1, 1), **options)


def with_a(fault):
    """A network with a faulty layer, which is read and so is the one behind it."""
    return backbone(network(fault), layers=("1", "2", "4"))


class Does(nn.Module):
    """A layer that is a function of its input."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Around(nn.Module):
    """The network behind a function of its input, and something after it."""

    def __init__(self, before=lambda x: x, after=lambda y: y, body=None):
        super().__init__()
        self.body = network() if body is None else body
        self.before, self.after = before, after

    def forward(self, x):
        return self.after(self.body(self.before(x)))


class WithoutEval(nn.Sequential):
    """A network whose eval() does nothing."""

    def eval(self):
        return self


class WithoutTrain(nn.Dropout):
    """A dropout that train(False) does not reach."""

    def train(self, mode=True):
        return self


class Counts(nn.Module):
    """A layer that keeps how often it ran."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x):
        self.calls += 1
        return x


def raising(error):
    def function(x):
        raise error

    return function


def around(**options):
    return backbone(Around(**options), layers=("body.1", "body.3"))


def tokens(**options):
    return backbone(nn.Sequential(nn.Conv2d(3, 6, 4, 4), nn.Flatten(2)), layers=("1",), **options)


def broken_weights():
    model = network()
    nn.init.constant_(model[2].weight, float("nan"))
    return backbone(model)


def forgotten_weights():
    model = network()
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    return backbone(model)


def used_twice():
    relu = nn.ReLU()
    return backbone(nn.Sequential(nn.Conv2d(3, 4, 3), relu, nn.Conv2d(4, 4, 3), relu), layers=("1",))


def unused():
    model = network()
    model.spare = nn.Conv2d(3, 3, 1)
    model.forward = lambda x: model[1](model[0](x))
    return backbone(model, layers=("1", "spare"))


def parametrised():
    model = network()
    nn.utils.parametrizations.spectral_norm(model[2])
    return backbone(model)


def with_a_complex_buffer():
    model = network()
    model.register_buffer("frequencies", torch.ones(2, dtype=torch.complex64))
    return backbone(model)


class Refuses(nn.Sequential):
    """A network whose parameters cannot be listed."""

    def named_parameters(self, *args, **options):
        raise RuntimeError("no parameters here")


SOUND = {
    "parametrised": parametrised,
    "complex buffer": with_a_complex_buffer,
    "plain": lambda: backbone(network()),
    "batch norm and dropout": lambda: backbone(network(nn.BatchNorm2d(8), nn.Dropout(0.5)), layers=("2", "5")),
    "head missing": lambda: around(after=raising(RuntimeError("the head is missing"))),
    "input written to": lambda: around(before=lambda x: x.sub_(0.5)),
    "bfloat16": lambda: around(before=lambda x: x.bfloat16(), body=network().bfloat16()),
    "gray": lambda: backbone(network(channels=1), shape=(1, 16, 16)),
    "tokens": lambda: tokens(to_maps=lambda t: t.unflatten(2, (4, 4))),
}
ON_CUDA = "Expected all tensors to be on the same device, cuda:0 and cpu"
MADE_ON_CUDA = "Torch not compiled with CUDA enabled"
IN_PASS = "a second pass differs by .* of the largest value: 2, 4"
# what is broken -> every check that fails, with what its line must match
BROKEN = {
    "no module": (lambda: backbone(F.relu), {"module": "got function; wrap it in a torch.nn.Module"}),
    "wrong layer": (
        lambda: backbone(network(), layers=("1", "conv9")),
        {"layers": r"no layer 'conv9' in this network; those that give maps: 0 \[8 x 16 x 16\], .*3 \[12 x 8 x 8\]$"},
    ),
    "wrong layer, wrong shape": (
        lambda: backbone(network(), layers=("conv9",), shape=(3, 16)),
        {"layers": "no layer 'conv9' .* it has: 0, 1, 2, 3", "input": "image_shape must be three positive sizes"},
    ),
    "wrong channels": (
        lambda: backbone(network(), shape=(1, 16, 16)),
        {"runs": r"RuntimeError: .*; its first convolution takes 3 channels: image_shape=\(3, 16, 16\)"},
    ),
    "wrong size": (
        lambda: backbone(nn.Sequential(nn.Flatten(), nn.Linear(48, 4), nn.Unflatten(1, (4, 1, 1))), layers=("2",)),
        {"runs": "RuntimeError: .*; give the image_shape it was made for"},
    ),
    "wants cuda": (
        lambda: around(before=raising(RuntimeError(ON_CUDA))),
        {"device": r"cuda:0 and cpu \(test_checks.py:\d+\); make new tensors on the input's device .*--device cuda"},
    ),
    "makes tensors on cuda": (
        lambda: around(before=raising(AssertionError(MADE_ON_CUDA))),
        {"device": r"AssertionError: Torch not .* \(test_checks.py:\d+\); make new tensors"},
    ),
    "exits": (
        lambda: around(before=raising(SystemExit(0))),
        {"runs": "^runs: forward raises SystemExit: 0 .*; remove that$"},
    ),
    "no names": (lambda: backbone(network(), layers=None), {"layers": "names, at least one, got None"}),
    "a number as a name": (lambda: backbone(network(), layers=(1, "3")), {"layers": r"got \(1, '3'\)"}),
    "a number as a shape": (lambda: backbone(network(), shape=16), {"input": "three positive sizes .*, got 16; for"}),
    "exits in to_maps": (lambda: tokens(to_maps=raising(SystemExit(0))), {"maps": "to_maps raises SystemExit: 0"}),
    "meta": (
        lambda: backbone(network().to("meta")),
        {"module": "0.weight is on the meta device, without values; make"},
    ),
    "lazy": (
        lambda: backbone(nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU()), ["1"]),
        {"module": "is not made yet; pass"},
    ),
    "parameters raise": (lambda: backbone(Refuses(*network())), {"module": "RuntimeError: no parameters here.*; keep"}),
    "no maps": (
        tokens,
        {"maps": r"layer '1' must give float maps .*\[2, 6, 16\]; pass to_maps .*to_maps=lambda t: t.transpose"},
    ),
    "not a map an image": (
        lambda: tokens(to_maps=lambda t: t.reshape(-1, 6, 1, 1)),
        {"maps": "layer '1' must give a map for each image, got 32 for 2"},
    ),
    "to_maps raises": (lambda: tokens(to_maps=lambda t: t[9]), {"maps": "layer '1': IndexError: index 9 is out of"}),
    "used twice": (
        used_twice,
        {"once": "runs 2 times in one pass, and only the first run counts: 1; name the run that is meant: 1@1, 1@2"},
    ),
    "unused": (unused, {"once": r"never reached in forward: spare; those that give maps: 0 \["}),
    "functional dropout": (
        lambda: with_a(Does(lambda x: F.dropout(x, 0.5))),
        {"deterministic": rf"{IN_PASS} \(random numbers are drawn by dropout\); .*training=self.training"},
    ),
    "eval overridden": (
        lambda: backbone(WithoutEval(*network(nn.Dropout(0.5))), layers=("1", "2", "4")),
        {"evaluation": "after model.eval.*: the network, 0, 1, 2, 3, 4; override neither", "deterministic": IN_PASS},
    ),
    "train overridden": (
        lambda: with_a(WithoutTrain(0.5)),
        {"evaluation": r"in training mode after model.eval\(\): 2; override neither", "deterministic": IN_PASS},
    ),
    "batch norm in training mode": (
        lambda: backbone(WithoutEval(*network(nn.BatchNorm2d(8))), layers=("1", "2", "4")),
        {
            "evaluation": "override neither",
            "batch": "an image alone, or beside others, differs by .*: 2, 4; keep batch norm in evaluation mode: 2",
            "weights": "a pass changes 2.running_mean, 2.running_var, 2.num_batches_tracked; keep batch norm",
        },
    ),
    "batch norm without statistics": (
        lambda: with_a(nn.BatchNorm2d(8, track_running_stats=False)),
        {"batch": r"differs by .*: 2, 4; give batch norm running statistics \(features.calibrate_batchnorm.*: 2"},
    ),
    "centred over the batch": (
        lambda: with_a(Does(lambda x: x - x.mean(0, keepdim=True))),
        {"batch": r"differs by .*: 2, 4; take no means, maxima or sorts over the batch"},
    ),
    "leaks to a neighbour": (
        lambda: with_a(Does(lambda x: x + 0.1 * x.roll(1, 0))),
        {"batch": "differs by .*: 2, 4"},
    ),
    "random noise": (
        lambda: with_a(Does(lambda x: x + torch.rand_like(x))),
        {"deterministic": rf"{IN_PASS} \(random numbers are drawn by rand_like\); draw none in evaluation: use nn"},
    ),
    "NaN weights": (broken_weights, {"finite": "on black, white, random images: 3; load other weights, .*: 2.weight"}),
    "NaN on black": (
        lambda: backbone(nn.Sequential(Does(lambda x: (x + 1) / (x + 1).amax((1, 2, 3), keepdim=True))), ("0",)),
        {"finite": "NaN or infinity on black images: 0; guard divisions"},
    ),
    "forgotten weights": (forgotten_weights, {"distinct": "the same for every image: 1, 3; load the network's"}),
    "counts": (lambda: with_a(Counts()), {"weights": "a pass changes 2.calls"}),
    "raises on some images": (
        lambda: with_a(Does(lambda x: x if len(x.unique()) < 1000 else 1 / 0)),
        {
            name: "ZeroDivisionError: division by zero"
            for name in ("finite", "range", "deterministic", "batch", "distinct")
        }
        | {"weights": "ZeroDivisionError"},
    ),
}


@pytest.mark.parametrize("make", SOUND.values(), ids=SOUND)
def test_sound_networks_pass_every_check(make):
    found = list(run_checks(make))
    assert [str(finding) for finding in found if not finding.ok] == []
    assert [finding.check for finding in found] == list(CHECKS)
    assert check_backbone(make) is None


@pytest.mark.parametrize(("make", "expected"), BROKEN.values(), ids=BROKEN)
def test_every_fault_is_told_with_its_fix_and_nothing_else(make, expected):
    failed = {found.check: str(found) for found in run_checks(make) if found.ok is False}
    assert failed.keys() == expected.keys(), failed
    assert [line for check, line in failed.items() if not re.search(expected[check], line)] == []
    assert all("\n" not in line for line in failed.values())
    with pytest.raises(ValueError) as told:
        check_backbone(make)
    assert [line.partition(":")[0] for line in str(told.value).splitlines()] == list(failed)


def test_what_waits_for_another_check_is_neither_passed_nor_failed():
    found = {finding.check: finding.ok for finding in run_checks(lambda: backbone(F.relu))}
    assert found.pop("module") is False and found.pop("input") is True
    assert set(found.values()) == {None}


def test_a_layer_that_is_no_map_does_not_hide_what_the_others_do():
    model = nn.Sequential(Does(torch.zeros_like), nn.Flatten())
    failed = {found.check: found.seen for found in run_checks(backbone(model, ("0", "1"))) if found.ok is False}
    assert failed.keys() == {"maps", "distinct"} and failed["distinct"].endswith(": 0")


def test_of_many_layers_those_least_deep_are_listed():
    deep = nn.Sequential(*(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU()) for _ in range(20)))
    (line,) = (found.fix for found in run_checks(lambda: backbone(deep, ("no",))) if found.check == "layers")
    assert line.count("[3 x 16 x 16]") == 24 and "19 [" in line and "5.0" not in line


def test_a_check_leaves_the_network_as_it_was():
    model = network(nn.BatchNorm2d(8), nn.Dropout(0.5))
    model[2].eval()  # as someone froze it
    given = backbone(model, layers=("2", "5"))
    before = weights_digest(model), [m.training for m in model.modules()], [p.requires_grad for p in model.parameters()]
    state = torch.get_rng_state()
    check_backbone(given)
    features.measure_costs(given, repeats=1)
    after = weights_digest(model), [m.training for m in model.modules()], [p.requires_grad for p in model.parameters()]
    assert after == before and torch.equal(torch.get_rng_state(), state)
    assert not any(m._forward_hooks or m._forward_pre_hooks or "forward" in vars(m) for m in model.modules())
    model(torch.zeros(2, 3, 16, 16)).sum().backward()  # no inference tensor stays behind


@pytest.mark.parametrize(("factor", "warned"), [(1, []), (1e6, ["range"])])
def test_large_features_are_warned_of(factor, warned):
    found = list(run_checks(with_a(Does(lambda x: x * factor))))
    assert all(finding.ok for finding in found)
    assert [finding.check for finding in found if finding.fix] == warned
    line = str(next(finding for finding in found if finding.check == "range"))
    assert bool(re.search("beyond 1,000, .*: 2, 4; scale the features, or normalise", line)) == bool(warned)


def test_giant_features_are_told_with_their_size(monkeypatch):
    giant = backbone(nn.Sequential(nn.AdaptiveAvgPool2d(1), Does(lambda x: x.repeat(1, 10**3, 1, 1))), layers=("1",))
    failed = {found.check: str(found) for found in run_checks(giant, rows=10**10) if found.ok is False}
    line = r"48,000 features, 1,920,000.0 GB for 10,000,000,000 images; there are only .* GB .*memory; name fewer"
    assert failed.keys() == {"width"} and re.search(line, failed["width"])
    monkeypatch.setattr(examine, "memory", lambda: 2**20)
    assert {f.check for f in run_checks(giant) if f.ok is None} == {
        "finite",
        "range",
        "deterministic",
        "batch",
        "distinct",
        "weights",
    }


def test_the_pool_and_the_place_of_the_features_are_the_callers(tmp_path):
    found = {f.check: f for f in run_checks(backbone(network()), pool=features.max_grid(1), rows=10, folder=tmp_path)}
    assert found["width"].seen == "20 features, 0.0 GB for 10 images"


@parametrize_with_checks([SOUND["batch norm and dropout"], backbone(network())])
def test_each_check_is_a_test_of_its_own(check):
    check()


def test_the_tests_of_a_broken_network_fail_or_are_skipped():
    made = []

    def mine():
        made.append(1)
        return backbone(network(), layers=("conv9",), shape=(1, 16, 16))

    cases = parametrize_with_checks([mine]).args[1]
    assert made == [] and [case.id for case in cases] == [f"mine-{name}" for name in CHECKS]
    ended = {}
    for case in cases:
        try:
            case.values[0]()
        except AssertionError as error:
            ended[case.id] = str(error)
        except pytest.skip.Exception:
            continue
        else:
            ended[case.id] = "passed"
    assert ended.pop("mine-module") == ended.pop("mine-input") == "passed"
    assert ended.keys() == {"mine-layers", "mine-runs"} and len(made) == 1
    assert "image_shape=(3, 16, 16)" in ended["mine-runs"]


def test_what_makes_no_backbone_is_refused():
    with pytest.raises(ValueError, match=r"backbone must be a features.Backbone or make one, got Sequential"):
        check_backbone(network)
