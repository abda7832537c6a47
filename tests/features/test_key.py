"""The key changes with everything that changes features, and with nothing else."""

import importlib.util
import json
from functools import partial

import torch
from torch import nn

from features import Backbone, feature_key, max_grid, weights_digest


def network(slope=0.2):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.LeakyReLU(slope))


def a_key(model=None, layers=("2",), value_range=(-1, 1), to_maps=None, **options):
    backbone = Backbone(model or network(), layers, (3, 8, 8), value_range, to_maps)
    return feature_key(backbone, **{"data_digest": "d", "batchnorm": {"mode": "running"}, **options})


def test_equal_networks_have_equal_digests_whatever_their_memory_layout():
    assert weights_digest(network()) == weights_digest(network().to(memory_format=torch.channels_last))
    assert len(weights_digest(network())) == 64


def test_digest_sees_values_names_dtypes_shapes_and_statistics():
    digests = {weights_digest(network())}
    changed = [network() for _ in range(5)]
    changed[0][0].weight.data[0, 0, 0, 0] += 1e-3
    changed[1][1].running_var[2] = 1.5
    changed[2] = nn.Sequential(*changed[2], nn.BatchNorm2d(4))
    changed[3] = changed[3].to(torch.bfloat16)
    changed[4][0].weight.data = changed[4][0].weight.data.reshape(4, 3, 1, 9)
    digests |= {weights_digest(model) for model in changed}
    assert len(digests) == 6


def first_half(maps):
    return maps[:, :2]


def first(n, maps):
    return maps[:, :n]


def test_key_is_json_and_differs_where_features_would():
    spoiled = network()
    spoiled[0].weight.data *= 2
    keys = [
        a_key(),
        a_key(spoiled),
        a_key(network(slope=0.1)),  # the same weights, another function
        a_key(layers=("1", "2")),
        a_key(layers=("2", "1")),
        a_key(value_range=(0, 1)),
        a_key(to_maps=first_half),
        a_key(to_maps=partial(first, 2)),
        a_key(to_maps=partial(first, 3)),
        a_key(device="meta"),
        a_key(pool=max_grid(2)),
        a_key(data_digest="e"),
        a_key(batchnorm={"mode": "batch", "batch_size": 128}),
        a_key(mirrored=True),
    ]
    assert len({json.dumps(key, sort_keys=True) for key in keys}) == len(keys)
    assert a_key() == a_key()


NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.act = nn.ReLU()

    def forward(self, x):
        return helper(self.act(x))

def helper(x):
    return x

to_maps = lambda x: x
"""


def test_key_follows_the_source_of_the_network(tmp_path):
    """A changed forward pass with unchanged weights and structure must not find the old features."""

    def key(source):
        (tmp_path / "net.py").write_text(source)
        spec = importlib.util.spec_from_file_location("net", tmp_path / "net.py")
        net = importlib.util.module_from_spec(spec)
        exec(compile(source, tmp_path / "net.py", "exec"), net.__dict__)
        return a_key(net.Net(), layers=("act",), to_maps=net.to_maps)

    first, again, changed = key(NET), key(NET), key(NET.replace("return x", "return -x"))
    assert first == again
    assert {name for name in first if first[name] != changed[name]} == {"code"}


def test_key_follows_the_source_behind_a_partial(tmp_path):
    def key(source):
        (tmp_path / "maps.py").write_text(source)
        namespace = {}
        exec(compile(source, tmp_path / "maps.py", "exec"), namespace)
        return a_key(to_maps=partial(namespace["f"], 2))

    assert key("def f(n, x):\n    return x\n")["code"] != key("def f(n, x):\n    return -x\n")["code"]


def test_only_keys_of_mirrored_features_say_so():
    """Features that were stored before there were mirrored ones are found: their keys have these names."""
    names = ["version", "weights", "structure", "code", "layers", "image_shape", "value_range", "pool", "to_maps"]
    names += ["batchnorm", "data", "torch", "device"]
    assert list(a_key()) == list(a_key(mirrored=False)) == names
    assert a_key(mirrored=True) == {**a_key(), "mirrored": True}
