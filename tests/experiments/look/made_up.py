"""A made-up set, and what the tests of looks read and write."""

import csv
import json

import torch
from PIL import Image

import features
import gan
from experiments import cli

SIZE, N, HELD_OUT = 16, 120, 40
NETWORKS = ("generator", "discriminator")


def scenes(n, seed):
    """uint8 [n, 16, 16, 3]: smooth random pictures."""
    coarse = torch.rand(n, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    fine = torch.nn.functional.interpolate(coarse, size=(SIZE, SIZE), mode="bilinear")
    return fine.mul(255).to(torch.uint8).permute(0, 2, 3, 1).numpy()


IMAGES = scenes(N + HELD_OUT, 0)


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


def refused(capsys, *command):
    """The one line that a mistake gives."""
    assert cli.main(["look", *map(str, command)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def rewritten(file, **changes):
    file.write_text(json.dumps(changes))
    return file
