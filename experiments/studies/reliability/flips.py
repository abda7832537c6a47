"""Single bits flipped in every cache and state: each must be refused, made good, or change nothing."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from experiments.studies.reliability import caches
from experiments.studies.reliability.case import Case
from experiments.studies.reliability.mutate import flip_bit, pick


def cases(count: int, seed: int) -> Iterator[tuple[int, Case]]:
    """Yield `count` numbered flips of each cache, in turn."""
    for number in range(count):
        for name in caches.FILES:
            yield number, flip(name, np.random.default_rng([seed, number, *name.encode()]))


def flip(name: str, rng: np.random.Generator) -> Case:
    """Flip one bit of the cache; its files are as likely as one another, whatever their sizes."""
    where = f"cache/{name}"
    in_place = name in caches.MADE_IN_PLACE

    def prepare(folder: Path) -> str:
        if in_place:
            caches.make_in_place(name, folder / where)
        file = pick(rng, caches.files(name, folder / where))
        place = int(rng.integers(8 * file.stat().st_size))
        flip_bit(file, place)
        return f"bit {place % 8} of byte {place // 8:,} of {file.name}"

    return Case(f"flip: {name}", "", (name, "cache"), prepare, "same", name, needs=(where,), call=caches.CALL)
