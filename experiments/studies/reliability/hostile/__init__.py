"""Generators of hostile inputs: a function for each reader, from a random generator to a case."""

from collections.abc import Callable, Iterator

import numpy as np

from experiments.studies.reliability.case import Case
from experiments.studies.reliability.hostile import (
    command_lines,
    images,
    networks,
    own_files,
    planted,
    recipes,
    sets,
    user_files,
)

GENERATORS: dict[str, tuple[Callable[[np.random.Generator], Case], int]] = {  # name -> the generator, its share
    "recipe": (recipes.recipe, 6),
    "checkpoint": (networks.checkpoint, 6),
    "state": (networks.state, 4),
    "port": (networks.port, 8),
    "arrays": (networks.arrays, 3),
    "network": (networks.name, 6),
    "weights": (networks.damaged_weights, 1),
    "factory": (user_files.factory, 8),
    "pickle": (sets.pickles, 4),
    "npz": (sets.npz, 2),
    "mat": (sets.matrices, 3),
    "idx": (sets.idx, 3),
    "archive": (sets.archives, 2),
    "lmdb": (sets.lmdbs, 1),
    "packed": (sets.packed, 4),
    "images": (images.image_files, 8),
    "zip": (images.zips, 6),
    "records": (own_files.records, 4),
    "own-records": (own_files.own_records, 2),
    "costs": (own_files.costs, 1),
    "ablations": (own_files.ablations, 1),
    "audit": (own_files.audits, 1),
    "report": (own_files.report, 3),
    "run": (own_files.run_folder, 3),
    "beside": (own_files.beside, 4),
    "marks": (own_files.marks, 4),
    "features": (own_files.features, 2),
    "kept": (own_files.kept_files, 2),
    "command": (command_lines.command_line, 12),
    "planted": (planted.module, 1),
}


def case(name: str, number: int, seed: int) -> Case:
    """Make the case of that number of a generator."""
    return GENERATORS[name][0](np.random.default_rng([seed, number, *name.encode()]))


def cases(count: int, seed: int) -> Iterator[tuple[int, Case]]:
    """Yield at least `count` numbered cases, from all generators by their shares, mixed."""
    whole = sum(share for _, share in GENERATORS.values())
    numbers = {name: -(-count * share // whole) for name, (_, share) in GENERATORS.items()}
    order = [(name, number) for name, n in numbers.items() for number in range(n)]
    for i in np.random.default_rng(seed).permutation(len(order)):
        name, number = order[i]
        yield number, case(name, number, seed)
