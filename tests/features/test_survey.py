"""What a network's submodules give, and which of them names and patterns mean."""

import pytest
import torch
from torch import nn

from features import choose_layers, survey


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv, self.relu = nn.Conv2d(width, width, 3, 1, 1), nn.ReLU()

    def forward(self, x):
        return self.relu(self.conv(self.relu(self.conv(x))))


class Net(nn.Module):
    def __init__(self, broken=False):
        super().__init__()
        self.stem, self.layer1, self.layer2 = nn.Conv2d(3, 4, 3, 2, 1), nn.Sequential(Block(4), Block(4)), Block(4)
        self.unused, self.broken = nn.ReLU(), broken
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        x = self.layer2(self.layer1(self.stem(x)))
        if self.broken:
            raise RuntimeError("no head")
        return self.fc(x.mean((2, 3)))


def found(broken=False):
    return survey(Net(broken), torch.zeros(2, 3, 8, 8))


def test_every_run_of_every_module():
    seen = found()
    assert list(seen.maps)[:5] == ["stem", "layer1.0.conv@1", "layer1.0.relu@1", "layer1.0.conv@2", "layer1.0.relu@2"]
    assert set(seen.maps.values()) == {(4, 4, 4)} and list(seen.unfit) == ["fc"]
    activated = {call.name for call in seen.calls if call.activated}
    assert activated == {name for name in seen.maps if "conv" not in name and name != "stem"}
    assert seen.error is None and "unused" in seen.names and "unused" not in seen.runs
    assert seen.ambiguous("layer2.relu") == ["layer2.relu@1", "layer2.relu@2"] and seen.ambiguous("stem") == []


def test_what_ran_before_an_error_is_told():
    seen = found(broken=True)
    assert str(seen.error) == "no head" and seen.maps == found().maps


@pytest.mark.parametrize(
    ("wanted", "layers"),
    [
        (["layer*"], "layer1 layer2"),  # not what is within
        (["layer?.?", "stem"], "layer1.0 layer1.1 stem"),
        (["layer1.[1].relu*", "layer*.?"], "layer1.1.relu@1 layer1.1.relu@2 layer1.0 layer1.1"),
        (["layer2.relu@2", "layer2", "layer*"], "layer2.relu@2 layer2 layer1"),
        (["unused", "fc"], "unused fc"),  # for the checks to tell
        (["stem@1"], "stem@1"),
    ],
)
def test_names_and_patterns(wanted, layers):
    assert " ".join(choose_layers(found(), wanted)) == layers


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ("layer9", r"no layer 'layer9'; the layers are stem \[4 x 4 x 4\], layer1.0.conv@1 \[4 x 4 x 4\], .*layer2 \["),
        ("stage?", r"no layer fits 'stage\?'; the layers are stem \[4"),
        ("layer2.relu@3", r"no layer 'layer2.relu@3'; 'layer2.relu' runs 2 times, the layers are stem"),
        ("stem@0", "no layer 'stem@0'; 'stem' runs once, the layers are"),
        (
            "layer2.relu",
            r"runs 2 times in a pass; name a run: layer2.relu@1 \[4 x 4 x 4\], layer2.relu@2 \[4 x 4 x 4\]$",
        ),
    ],
)
def test_what_is_not_there(wanted, text):
    with pytest.raises(ValueError, match=text):
        choose_layers(found(), [wanted])


def test_of_those_available_alone():
    assert choose_layers(found(), ["layer*"], ["layer2"]) == ["layer2"]
    with pytest.raises(ValueError, match=r"no layer 'layer1'; the layers are layer2 \[4 x 4 x 4\]$"):
        choose_layers(found(), ["layer1"], ["layer2"])
