"""The stages that are taken when no layers are named."""

import pytest
import torch
from torch import nn

import gan
from features import default_stages, tokens_to_maps


def conv(i, o, stride=2):
    return nn.Conv2d(i, o, 3, stride, 1)


class Residual(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.a, self.b, self.skip, self.relu = conv(i, o), conv(o, o, 1), conv(i, o), nn.ReLU()

    def forward(self, x):
        return self.relu(self.b(self.relu(self.a(x))) + self.skip(x))


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1, self.relu = conv(3, 4), nn.BatchNorm2d(4), nn.ReLU()
        self.layer1, self.layer2 = nn.Sequential(Residual(4, 4), Residual(4, 6)), nn.Sequential(Residual(6, 8))
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


ROW = nn.Sequential(conv(3, 4), nn.LeakyReLU(0.2), conv(4, 4, 1), nn.BatchNorm2d(4), nn.LeakyReLU(0.2), nn.Sigmoid())


@pytest.mark.parametrize(
    ("model", "stages"),
    [
        (gan.Discriminator(gan.Architecture(2, (1, 2, 4), (2, 2, 2), 3, 4, "normal", (4, 2, 1))), "conv1 conv2 conv3"),
        (ROW, "1 4"),
        (nn.ModuleDict({"net": ROW})["net"], "1 4"),
        (nn.Sequential(nn.Sequential(ROW, nn.Flatten(), nn.Linear(1024, 1))), "0.0.1 0.0.4"),
        (ResNet(), "relu layer1 layer2"),
        (Tokens(), "encoder.1.0 encoder.1.1"),
    ],
)
def test_stages(model, stages):
    training = model.training
    assert " ".join(default_stages(model, (3, 32, 32))) == stages
    assert model.training == training and not any(m._forward_hooks for m in model.modules())


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (Shared(), "no stage is seen that gives maps behind an activation module; name the layers"),
        (nn.Sequential(nn.Flatten(), nn.Linear(3072, 4), nn.ReLU()), "no stage is seen"),
        (conv(5, 4), r"does not run on float32 \[1, 3, 32, 32\]: RuntimeError"),
    ],
)
def test_none(model, text):
    with pytest.raises(ValueError, match=text):
        default_stages(model, (3, 32, 32))


def test_tokens_lie_on_their_grid_row_by_row():
    maps = torch.arange(2 * 3 * 16.0).reshape(2, 3, 4, 4)
    tokens = maps.flatten(2).transpose(1, 2)
    assert torch.equal(tokens_to_maps(tokens), maps)
    for extra in (1, 5):
        assert torch.equal(tokens_to_maps(torch.cat([tokens[:, :extra], tokens], 1)), maps)
    assert tokens_to_maps(maps) is maps and tokens_to_maps(None) is None
    for count in (1, 15, 22):
        with pytest.raises(ValueError, match=f"{count} tokens are no square grid"):
            tokens_to_maps(torch.zeros(1, count, 3))
