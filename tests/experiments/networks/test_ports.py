"""A port's state dict: the features are those of the network that wrote it."""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from experiments.networks.resolve import resolve
from tests.experiments.networks.by_hand import extracted, pooled, tanh_range


def test_a_discriminator_of_pytorch_examples(tmp_path: Path) -> None:
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

    for other in ("netD.safetensors", "netD.of-mine"):  # whatever the file is called
        if other.endswith(".safetensors"):
            save_file(net.state_dict(), tmp_path / other)
        else:
            (tmp_path / other).write_bytes(file.read_bytes())
        again = resolve(str(tmp_path / other))
        assert (again.name, again.weights) == ("DCGAN port netD", contender.weights)
