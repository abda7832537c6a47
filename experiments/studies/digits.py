"""Are a network's samples digits? A small classifier of real MNIST judges.

    python -m experiments.studies.digits runs/train/mnist-64/generator.safetensors --out digits.csv

The classifier is a convolutional network of two stages. It is trained on the training digits at 32x32, each image
scaled to mean 0 and sd 1, and is right on 99 % of the test digits. It then classifies 1,000 samples of fixed z. Larger
samples are first reduced to 32x32 by the means of 2x2 blocks. The counts are the samples that it is sure of (over 0.9),
in all and for each digit. The same is counted on 1,000 test digits.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import gan
from experiments.data.load import load
from experiments.data.sets.tiny_imagenet import halve
from experiments.studies.program import new_parser, parse, write_table

SAMPLES, SURE, CHUNK = 1_000, 0.9, 100


def classifier(images: np.ndarray, labels: np.ndarray, *, passes: int = 5, seed: int = 0) -> nn.Module:
    """Train on uint8 [N, 32, 32, 1] and int64 [N]; the network maps what `_scaled` returns to logits [N, 10]."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(
            *(nn.Conv2d(1, 16, 5, 2, 2), nn.BatchNorm2d(16), nn.ReLU()),
            *(nn.Conv2d(16, 32, 5, 2, 2), nn.BatchNorm2d(32), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(32 * 64, 128), nn.ReLU(), nn.Linear(128, 10)),
        )
    adam = torch.optim.Adam(net.parameters(), 1e-3, weight_decay=1e-5)
    order = torch.Generator().manual_seed(seed)
    for _ in range(passes):
        for rows in torch.randperm(len(images), generator=order).split(128):
            loss = cross_entropy(net(_scaled(images[rows.numpy()])), torch.from_numpy(labels[rows.numpy()]))
            adam.zero_grad()
            loss.backward()
            adam.step()
    return net.eval()


def _scaled(images: np.ndarray) -> Tensor:
    """Scale each image to mean 0 and sd 1, so that a digit is judged by its shape, whatever its contrast."""
    pixels = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float()
    deviation, mean = torch.std_mean(pixels, (1, 2, 3), keepdim=True)
    return (pixels - mean) / deviation.clamp_min(1.0)


@torch.no_grad()
def classified(net: nn.Module, images: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return the classifier's probability of its answer for each image, and the answer."""
    return torch.cat([net(_scaled(part)).softmax(1) for part in np.array_split(images, 10)]).max(1)


def judged(net: nn.Module, images: np.ndarray) -> dict[str, float]:
    """Return the percentage that the classifier is sure of, and how many of each digit there are among those."""
    while images.shape[1] > 32:
        images = halve(images)
    sure, digit = classified(net, images)
    found = {f"digit_{d}": int(((digit == d) & (sure > SURE)).sum()) for d in range(10)}
    return {"images": len(images), "sure_percent": 100 * float((sure > SURE).float().mean()), **found}


def samples(generator: gan.Generator, *, n: int = SAMPLES, seed: int = 0) -> np.ndarray:
    """Return samples uint8 [n, H, W, C] of z drawn by `seed`."""
    z = gan.sample_z(generator.arch, n, torch.Generator().manual_seed(seed))
    return np.concatenate([gan.sample(generator, part).numpy() for part in z.split(CHUNK)])


def main(argv: list[str] | None = None) -> None:
    """Print the counts; write them as CSV."""
    parser = new_parser(__doc__)
    parser.add_argument("generator", type=Path, nargs="+", help="generator.safetensors of training runs")
    parser.add_argument("--out", type=Path, required=True)
    arguments, run = parse(parser, argv)
    train, test = (load(name, run) for name in ("mnist-32", "mnist-test-32"))
    assert train.labels is not None and test.labels is not None
    net = classifier(train.images, train.labels)
    right_percent = 100 * float((classified(net, test.images)[1].numpy() == test.labels).mean())
    rows = [{"samples of": "MNIST test set", **judged(net, test.images[:SAMPLES])}]
    for file in arguments.generator:
        network = gan.load(file)
        if not isinstance(network, gan.Generator) or network.arch.channels != 1:
            parser.error(f"{file} is not a generator of single-channel images")
        rows.append({"samples of": file.parent.name, **judged(net, samples(network))})
    table = pd.DataFrame(rows).assign(classifier_right_percent=right_percent)
    print(table.to_string(index=False))
    write_table(table, arguments.out, "%.4g")


if __name__ == "__main__":
    main()
