"""Linear evaluation along training: how accuracy grows with the images that a network has seen.

    python -m experiments.studies.accuracy_along_training runs/train/imagenet32-half --out curve.csv

Every snapshot of the run's discriminator, and a random initialisation of it, is measured by
`measure.quick_accuracy`. It uses only training images of CIFAR-10, so recipes and lengths may be chosen by
these figures.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch

import gan
from experiments.data.load import load
from experiments.measure.quick_accuracy import Part, accuracy, part, random_init
from experiments.studies.program import new_parser, parse, write_table
from experiments.training.files import SNAPSHOTS


def curve(folder: Path, images: Part, *, points: int, device: torch.device) -> Iterator[dict[str, Any]]:
    """Yield a row for the initialisation, then for each of `points` snapshots in the run's folder, evenly chosen.

    Raises ValueError if there are none.
    """
    files = sorted((folder / SNAPSHOTS).glob("*.safetensors"))
    if not files:
        raise ValueError(f"no snapshots in {folder / SNAPSHOTS}: train a recipe there first")
    files = [files[i] for i in sorted({round((k + 1) * len(files) / points) - 1 for k in range(points)} - {-1})]
    first = gan.load(files[0])
    if not isinstance(first, gan.Discriminator):
        raise ValueError(f"{files[0]} is class-conditional: its features need labels")
    yield {"run": folder.name, "images_seen": 0, **accuracy(random_init(first), images, device=device).numbers}
    for file in files:
        network = gan.load(file)
        assert isinstance(network, gan.Discriminator)
        yield {"run": folder.name, "images_seen": int(file.stem), **accuracy(network, images, device=device).numbers}


def main(argv: list[str] | None = None) -> None:
    """Print the rows as they come; write them as CSV."""
    parser = new_parser(__doc__)
    parser.add_argument("folder", type=Path, nargs="+", help="folders of training runs")
    parser.add_argument("--points", type=int, default=20, help="snapshots of each run, the last one included")
    parser.add_argument("--out", type=Path, required=True)
    arguments, run = parse(parser, argv, device=True)
    images = part(load("cifar10-train", run))
    rows = []
    try:
        for folder in arguments.folder:
            for row in curve(folder, images, points=arguments.points, device=run.device):
                rows.append(row)
                print(f"{row['run']} {row['images_seen']:>9,} images: {row['accuracy_percent']:.2f} %", flush=True)
                write_table(pd.DataFrame(rows), arguments.out, "%.6g")
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
