"""Data sets by name. Every one ends in the packed form, from whatever the user has of it.

A set is looked for as DATA_ROOT/packed/<name> (the user's: a damaged one is an error), then as
RUNS_ROOT/packed/<name> (built here before: a damaged one, or one of other files than DATA_ROOT now holds, is built
again), then built there from its source.
DATA_ROOT is only ever read.
"""

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from experiments.data.packed import PackedSet, open_packed
from experiments.data.sets import cifar10, imagenet32, mnist, photographs, svhn, tiny_imagenet
from experiments.run.context import Run
from experiments.run.errors import UserError
from experiments.run.progress import Progress

__all__ = ["NAMES", "PackedSet", "Progress", "is_name", "is_packed", "load"]


class _Build(Protocol):
    def __call__(
        self, folder: Path, *, data_root: Path, downloads: Path, progress: Progress | None = None
    ) -> PackedSet: ...


def _accept(packed: PackedSet) -> None:
    """For a set of any images."""


def _check_side(side: int, packed: PackedSet) -> None:
    """For a set of colour images without published digests: the packed form's own are all there is."""
    if packed.images.shape[1:] != (side, side, 3):
        raise ValueError(f"images must be [N, {side}, {side}, 3], got {list(packed.images.shape)}")


def _check_cifar10(split: str, packed: PackedSet) -> None:
    cifar10.check(split, packed.meta["sha256"]["images"], packed.labels)


def _anywhere(data_root: Path) -> None:
    """For a set whose digests are published: where it came from does not matter."""


@dataclass(frozen=True)
class _Dataset:
    build: _Build
    check: Callable[[PackedSet], None] = _accept  # raises ValueError for a packed set of that name that is another
    source_at: Callable[[Path], str | None] = _anywhere  # what DATA_ROOT holds of it; None: nothing, or no matter


@dataclass(frozen=True)
class _Family:
    """Sets of one kind: how their names are shown, the pattern they match, and its groups -> the set."""

    shown: str
    pattern: str
    dataset: Callable[..., _Dataset]


def _cifar10(split: str) -> _Dataset:
    return _Dataset(cifar10.build_train if split == "train" else cifar10.build_test, partial(_check_cifar10, split))


def _tiny_imagenet(side: str) -> _Dataset:
    build = tiny_imagenet.build_32 if side == "32" else tiny_imagenet.build_64
    return _Dataset(build, partial(_check_side, int(side)), tiny_imagenet.source_at)


def _mnist(fashion: str | None, test: str | None, side: str) -> _Dataset:
    which = (mnist.FASHION if fashion else mnist.MNIST, "test" if test else "train", int(side))
    return _Dataset(partial(mnist.build, *which), partial(mnist.check, *which))


def _svhn(split: str) -> _Dataset:
    return _Dataset(partial(svhn.build, split), partial(_check_side, 32), partial(svhn.source_at, split))


def _imagenet32(split: str) -> _Dataset:
    return _Dataset(partial(imagenet32.build, split), partial(_check_side, 32), partial(imagenet32.source_at, split))


def _celeba(side: str) -> _Dataset:
    build = partial(photographs.build_celeba, int(side))
    return _Dataset(build, partial(_check_side, int(side)), photographs.celeba_at)


def _lsun(category: str, side: str) -> _Dataset:
    build = partial(photographs.build_lsun, category, int(side))
    return _Dataset(build, partial(_check_side, int(side)), partial(photographs.lsun_at, category))


_FAMILIES = (
    _Family("cifar10-train|test", "cifar10-(train|test)", _cifar10),
    _Family("svhn-train|test", "svhn-(train|test)", _svhn),
    _Family("[fashion-]mnist[-test]-28|32|64", "(fashion-)?mnist-(test-)?(28|32|64)", _mnist),
    _Family("imagenet32-train|val", "imagenet32-(train|val)", _imagenet32),
    _Family("celeba-32|64", "celeba-(32|64)", _celeba),
    _Family("lsun-CATEGORY-32|64", "lsun-([a-z0-9_]+)-(32|64)", _lsun),
    _Family("tiny-imagenet-32|64", "tiny-imagenet-(32|64)", _tiny_imagenet),
)
NAMES = tuple(family.shown for family in _FAMILIES)
"""The names, one text a kind; any folder in DATA_ROOT/packed or RUNS_ROOT/packed is a set too."""


def is_name(name: str) -> bool:
    """Whether `name` is one of a known kind, at hand or not."""
    return _dataset(name) is not None


def is_packed(name: str, *, data_root: Path, runs_root: Path) -> bool:
    """Whether a packed set of that name is at hand."""
    return _is_plain(name) and any((root / "packed" / name).is_dir() for root in (data_root, runs_root))


def _is_plain(name: str) -> bool:
    """Whether it names a folder itself, and none elsewhere."""
    return name != "" and name == Path(name).name and not name.startswith(".")


def _dataset(name: str) -> _Dataset | None:
    for family in _FAMILIES:
        if match := re.fullmatch(family.pattern, name):
            return family.dataset(*match.groups())
    return None


def load(name: str, run: Run) -> PackedSet:
    """Open the packed set `name` (of a kind in NAMES, or packed before), verified; build it where there is none.

    Raises UserError, with the fix, where the set cannot be had.
    """
    dataset, data_root, runs_root = _dataset(name), run.data_root, run.runs_root
    if dataset is None:
        if not is_packed(name, data_root=data_root, runs_root=runs_root):
            raise UserError(f"the data set must be one of {', '.join(NAMES)}, or one packed before, got {name!r}")
        dataset = _Dataset(_packed_before)

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
    return dataset.build(built, data_root=data_root, downloads=runs_root / "downloads", progress=run.progress)


def _packed_before(folder: Path, *, data_root: Path, downloads: Path, progress: Progress | None = None) -> PackedSet:
    raise UserError(f"{folder} cannot be used: pack it again with `dcgan-eval data pack SOURCE --name {folder.name}`")


def _open(folder: Path, dataset: _Dataset) -> PackedSet:
    packed = open_packed(folder)
    dataset.check(packed)
    return packed
