"""The stages that are taken when no layers are named."""

import pytest
import torch
from torch import nn

import gan
from features import default_stages, survey, tokens_to_maps


def conv(i, o, stride=2):
    return nn.Conv2d(i, o, 3, stride, 1)


class Residual(nn.Module):
    def __init__(self, i, o, stride=2):
        super().__init__()
        self.a, self.b, self.skip, self.relu = conv(i, o, stride), conv(o, o, 1), conv(i, o, stride), nn.ReLU()

    def forward(self, x):
        return self.relu(self.b(self.relu(self.a(x))) + self.skip(x))


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1, self.relu = conv(3, 4), nn.BatchNorm2d(4), nn.ReLU()
        self.layer1, self.layer2 = nn.Sequential(Residual(4, 4), Residual(4, 6, 1)), nn.Sequential(Residual(6, 8))
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Sequential(nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 2))

    def forward(self, x):
        x = self.layer2(self.layer1(self.relu(self.bn1(self.conv1(x)))))
        return self.fc(self.pool(x).flatten(1))


class Tokens(nn.Module):
    """A vision transformer's shape: patches, a class token, blocks inside a container inside another."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 8, 8)
        block = [nn.TransformerEncoderLayer(8, 2, 16, batch_first=True) for _ in range(2)]
        for b in block:
            b.activation = nn.GELU()
            b.add_module("gelu", b.activation)
        self.encoder = nn.Sequential(nn.Identity(), nn.Sequential(*block))

    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        return self.encoder(torch.cat([tokens[:, :1], tokens], 1))[:, 0]


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.relu = conv(3, 4), conv(4, 4), nn.ReLU()

    def forward(self, x):
        return self.relu(self.b(self.relu(self.a(x))))


class Functional(nn.Module):
    """Without a single module of an activation, as many write a residual block."""

    def __init__(self, i, o):
        super().__init__()
        self.a, self.b, self.skip = conv(i, o), conv(o, o, 1), conv(i, o)

    def forward(self, x):
        return torch.relu(self.b(torch.relu(self.a(x))) + self.skip(x))


class Stem(nn.Sequential):
    """A stem, and a trunk that holds all blocks: looked into, since it shrinks the map eight times."""

    def __init__(self):
        super().__init__(nn.Sequential(conv(3, 4), nn.ReLU()), nn.Sequential(*(Residual(4, 4) for _ in range(3))))


def stages_of(model):
    found = survey(model, torch.zeros(2, 3, 32, 32), tokens_to_maps)
    return default_stages(model, found)


ROW = nn.Sequential(
    *(conv(3, 4), nn.LeakyReLU(0.2)),
    *(conv(4, 4), nn.BatchNorm2d(4), nn.LeakyReLU(0.2)),
    *(conv(4, 6, 1), nn.ReLU(), conv(6, 6), nn.BatchNorm2d(6), nn.ReLU(), nn.Sigmoid()),
)


@pytest.mark.parametrize(
    ("model", "stages"),
    [
        (gan.Discriminator(gan.Architecture(2, (1, 2, 4), (2, 2, 2), 3, 4, "normal", (4, 2, 1))), "conv1 conv2 conv3"),
        (ROW, "1 4 6 9"),
        (nn.Sequential(nn.Sequential(ROW, nn.Flatten(), nn.Linear(96, 1))), "0.0.1 0.0.4 0.0.6 0.0.9"),
        (ResNet(), "layer1 layer2"),
        (Tokens(), "encoder.1.0 encoder.1.1"),
        (Shared(), "relu@1 relu@2"),
        (nn.Sequential(Functional(3, 4), Functional(4, 6), Functional(6, 8)), "0 1 2"),
        (Stem(), "0 1.0 1.1 1.2"),
    ],
)
def test_stages(model, stages):
    training = model.training
    assert " ".join(stages_of(model)) == stages
    assert model.training == training and not any(m._forward_hooks for m in model.modules())


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (
            nn.Sequential(conv(3, 4), nn.Sigmoid()),
            r"no submodule gives maps after an activation; name the layers: 0 \[4 x 16 x 16\], 1",
        ),
        (nn.Sequential(nn.Flatten(), nn.Linear(3072, 4), nn.ReLU()), "no submodule gives maps after"),
        (conv(5, 4), "the network does not run: RuntimeError"),
    ],
)
def test_none(model, text):
    with pytest.raises(ValueError, match=text):
        stages_of(model)


def test_tokens_lie_on_their_grid_row_by_row():
    maps = torch.arange(2 * 3 * 16.0).reshape(2, 3, 4, 4)
    tokens = maps.flatten(2).transpose(1, 2)
    assert torch.equal(tokens_to_maps(tokens), maps)
    for extra in (1, 5):
        assert torch.equal(tokens_to_maps(torch.cat([tokens[:, :extra], tokens], 1)), maps)
    assert torch.equal(tokens_to_maps(maps.permute(0, 2, 3, 1)), maps)
    assert tokens_to_maps(maps) is maps and tokens_to_maps(None) is None
    for count in (1, 15, 22):
        with pytest.raises(ValueError, match=f"{count} tokens are no square grid"):
            tokens_to_maps(torch.zeros(1, count, 3))
