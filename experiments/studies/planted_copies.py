"""Planted near-duplicates: the share of altered copies that each method finds, and its false pairs.

    python -m experiments.studies.planted_copies --out results/dedup/planted.csv

Photographs are altered at 64x64 and then halved, as a re-encoded file would reach a 32x32 set; the shift is by one
pixel of 32x32. A method is a function of originals and copies; to measure another one, add it to METHODS.
"""

import io
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

import dedup
from experiments.data.load import load
from experiments.data.sets.tiny_imagenet import halve
from experiments.deduplication.methods import equal_pairs
from experiments.run.context import Run
from experiments.studies.program import new_parser, parse, write_table

Images = NDArray[np.uint8]  # [N, H, W, C]
Method = Callable[[Images, Images], NDArray[np.int64]]
"""(originals, copies) -> int64 [M, 2]: every (index in originals, index in copies) that the method calls the same."""


def _each(alter: Callable[[Image.Image], Image.Image], images: Images) -> Images:
    return np.stack([np.asarray(alter(Image.fromarray(image))) for image in images])


def _jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def _rescaled(image: Image.Image) -> Image.Image:
    width, height = image.size
    smaller = image.resize((width * 3 // 4, height * 3 // 4), Image.Resampling.LANCZOS)
    return smaller.resize((width, height), Image.Resampling.LANCZOS)


def _brightness(images: Images, factor: float) -> Images:
    return np.clip(np.rint(images * factor), 0, 255).astype(np.uint8)


def _shifted(images: Images) -> Images:
    """Shift by two pixels to the right, which is one at half size; the left columns stay."""
    return np.concatenate([images[:, :, :2], images[:, :, :-2]], axis=2)


TRANSFORMS: dict[str, Callable[[Images], Images]] = {  # at 64x64, before they are halved
    "JPEG quality 75": partial(_each, partial(_jpeg, quality=75)),
    "JPEG quality 50": partial(_each, partial(_jpeg, quality=50)),
    "rescaled by 3/4 and back": partial(_each, _rescaled),
    "shifted by one pixel": _shifted,
    "brightness +10 %": partial(_brightness, factor=1.1),
    "brightness -10 %": partial(_brightness, factor=0.9),
    "mirrored": lambda images: images[:, :, ::-1],
}


def within_radius(codes: Callable[[Images], NDArray[np.uint64]], radius: int) -> Method:
    """Return the method that pairs images if their 64-bit codes differ in at most `radius` bits."""
    return lambda originals, copies: dedup.radius_pairs_between(codes(originals), codes(copies), radius)


def colliding(codes: Callable[[Images], NDArray[np.uint64]]) -> Method:
    """Return the method that pairs images with equal codes; codes may have any number of words."""
    return lambda originals, copies: equal_pairs(codes(originals), codes(copies))


METHODS: dict[str, Method] = {
    "near-duplicates": dedup.near_duplicates,
    "phash, radius 4": within_radius(dedup.phash, 4),
    "phash, radius 8": within_radius(dedup.phash, 8),
    "phash, radius 12": within_radius(dedup.phash, 12),
    "dhash, radius 4": within_radius(dedup.dhash, 4),
    "ahash, radius 4": within_radius(dedup.ahash, 4),
}


def planted(images: Images, methods: Mapping[str, Method]) -> Iterator[dict[str, str | float]]:
    """Yield a row for each transform and method. images: uint8 [N, 64, 64, 3], no two alike.

    found_percent: copies paired with their own original. false_pairs_per_1000_images: pairs of a copy with another
    original.
    """
    originals = halve(images)
    n = len(originals)
    for transform, alter in TRANSFORMS.items():
        copies = halve(alter(images))
        for name, method in methods.items():
            pairs = method(originals, copies)
            own = pairs[:, 0] == pairs[:, 1]
            yield {
                "method": name,
                "transform": transform,
                "found_percent": 100 * len(np.unique(pairs[own, 0])) / n,
                "false_pairs_per_1000_images": 1000 * int((~own).sum()) / n,
                "n": n,
            }


def measure(name: str, methods: Mapping[str, Method], run: Run, *, n: int = 5000, seed: int = 0) -> pd.DataFrame:
    """Measure `n` images of the set `name` (64x64), drawn by `seed`, with `planted`; return its rows as a table.

    Raises UserError if the set cannot be loaded, and ValueError if it has fewer images.
    """
    images = load(name, run).images
    if not 1 <= n <= len(images):
        raise ValueError(f"n must lie in [1, {len(images)}], the images of {name}, got {n}")
    drawn = np.sort(np.random.default_rng(seed).choice(len(images), n, replace=False))
    return pd.DataFrame(planted(np.asarray(images[drawn]), methods)).assign(set=name, seed=seed)


def main(argv: list[str] | None = None) -> None:
    """Fit the semantic hash on the set at 32x32, measure all methods, write and print the table."""
    parser = new_parser(__doc__)
    parser.add_argument("--n", type=int, default=5000, help="images drawn (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="for the draw and the semantic hash (default: %(default)s)")
    steps = dedup.SemanticConfig.steps
    parser.add_argument("--steps", type=int, default=steps, help="steps of the semantic hash (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="CSV file to write")
    arguments, run = parse(parser, argv)
    config = dedup.SemanticConfig(steps=arguments.steps, seed=arguments.seed)
    semantic = dedup.SemanticHash.fit(load("tiny-imagenet-32", run).images, config)
    methods = METHODS | {"semantic, exact collision": colliding(semantic)}
    table = measure("tiny-imagenet-64", methods, run, n=arguments.n, seed=arguments.seed)
    write_table(table.round(2), arguments.out)
    print(table.pivot(index="method", columns="transform", values="found_percent").round(1).to_string())
    print(table.groupby("method")["false_pairs_per_1000_images"].mean().round(1).to_string())


if __name__ == "__main__":
    main()
