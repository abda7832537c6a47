"""Data sets by name. Every one ends in the packed form, from whatever the user has of it.

A set is looked for as DATA_ROOT/packed/<name> (the user's: a damaged one is an error), then as
RUNS_ROOT/packed/<name> (built here before: a damaged one, or one of other files than DATA_ROOT now holds, is built
again), then built there from its source.
DATA_ROOT is only ever read.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from experiments.datasets import cifar10, tiny_imagenet
from experiments.datasets.packed import PackedSet, open_packed
from experiments.datasets.progress import Progress
from experiments.errors import UserError

__all__ = ["NAMES", "PackedSet", "Progress", "load"]


class _Build(Protocol):
    def __call__(
        self, folder: Path, *, data_root: Path, downloads: Path, progress: Progress | None = None
    ) -> PackedSet: ...


def _accept(packed: PackedSet) -> None:
    """For a set without published digests: the packed form's own are all there is."""


def _check_cifar10(split: str, packed: PackedSet) -> None:
    cifar10.check(split, packed.meta["sha256"]["images"], packed.labels)


def _anywhere(data_root: Path) -> None:
    """For a set whose digests are published: where it came from does not matter."""


@dataclass(frozen=True)
class _Dataset:
    build: _Build
    check: Callable[[PackedSet], None] = _accept  # raises ValueError for a packed set of that name that is another
    source_at: Callable[[Path], str | None] = _anywhere  # what DATA_ROOT holds of it; None: nothing, or no matter


_DATASETS = {
    "cifar10-train": _Dataset(cifar10.build_train, partial(_check_cifar10, "train")),
    "cifar10-test": _Dataset(cifar10.build_test, partial(_check_cifar10, "test")),
    "tiny-imagenet-32": _Dataset(tiny_imagenet.build_32, source_at=tiny_imagenet.source_at),
    "tiny-imagenet-64": _Dataset(tiny_imagenet.build_64, source_at=tiny_imagenet.source_at),
}
NAMES = tuple(_DATASETS)


def load(name: str, *, data_root: Path | str, runs_root: Path | str, progress: Progress | None = None) -> PackedSet:
    """Open the packed set `name` (one of NAMES), verified; build it first where there is none.

    Raises UserError, with the fix, where the set cannot be had.
    """
    if name not in _DATASETS:
        raise UserError(f"the data set must be one of {', '.join(NAMES)}, got {name!r}")
    dataset, data_root, runs_root = _DATASETS[name], Path(data_root), Path(runs_root)

    given = data_root / "packed" / name
    if given.exists():
        try:
            return _open(given, dataset)
        except (ValueError, OSError) as error:
            raise UserError(f"{given} cannot be used: {error}") from error

    built = runs_root / "packed" / name
    if built.exists():
        try:
            packed = _open(built, dataset)
            source = dataset.source_at(data_root)
            if source in (None, packed.meta["source"]):
                return packed
            warnings.warn(f"building {name} again: {data_root} now holds {source}", stacklevel=2)
        except (ValueError, OSError) as error:
            warnings.warn(f"building {name} again: {error}", stacklevel=2)
    return dataset.build(built, data_root=data_root, downloads=runs_root / "downloads", progress=progress)


def _open(folder: Path, dataset: _Dataset) -> PackedSet:
    packed = open_packed(folder)
    dataset.check(packed)
    return packed
