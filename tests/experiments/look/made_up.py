"""A made-up set, and what the tests of looks read and write."""

import csv
import json

import numpy as np
import torch
from PIL import Image

import features
import gan
from experiments import cli
from experiments.look.subject import NUMBERED
from experiments.training.images import split

SIZE, N, HELD_OUT = 16, 120, 40
NETWORKS = ("generator", "discriminator")


def scenes(n, seed):
    """uint8 [n, 16, 16, 3]: smooth random pictures."""
    coarse = torch.rand(n, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    fine = torch.nn.functional.interpolate(coarse, size=(SIZE, SIZE), mode="bilinear")
    return fine.mul(255).to(torch.uint8).permute(0, 2, 3, 1).numpy()


IMAGES = scenes(N + HELD_OUT, 0)
TRAINED_ON = split(len(IMAGES), np.empty(0, int), HELD_OUT, 3)[0]  # rows of IMAGES


def frozen(root, seed=0):
    """The run's generator as looks draw from it, the numbered z of the seed, and the noise behind them."""
    generator = gan.freeze(gan.load(root / "run" / "generator.safetensors"))
    noise = torch.Generator().manual_seed(seed)
    return generator, gan.sample_z(generator.arch, NUMBERED, noise), noise


def looked(*command):
    """Run a look that succeeds."""
    assert cli.main(["look", *map(str, command)]) == 0


def refused(capsys, *command):
    """The one line that a mistake gives."""
    assert cli.main(["look", *map(str, command)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def rows(file):
    with open(file, newline="") as opened:
        return list(csv.DictReader(opened))


def record(folder, root):
    text = (folder / "record.json").read_text()
    assert str(root) not in text
    written = json.loads(text)
    assert (
        written["command"][:2] == ["dcgan-eval", "look"] and written["versions"]["torch"] and written["hardware"]["cpu"]
    )
    return written


def size(file):
    with Image.open(file) as opened:
        return opened.size


def weights(root, name="run"):
    return features.weights_digest(gan.load(root / name / "generator.safetensors"))


def rewritten(file, **changes):
    file.write_text(json.dumps(changes))
    return file
