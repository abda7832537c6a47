"""Load data sets by name. Whatever form the user has of a set, it is converted to the packed form.

A set is looked for in three places:

1. DATA_ROOT/packed/<name>: the user's own packed set. If it is damaged, that is an error.
2. RUNS_ROOT/packed/<name>: the set as it was built before. It is built again if it is damaged, or if DATA_ROOT now
   holds other files of it.
3. The set's source, from which it is built into RUNS_ROOT/packed/<name>.

DATA_ROOT is only read, never written.
"""

import importlib
import re
import warnings
from pathlib import Path

from experiments.data.dataset import Dataset
from experiments.data.names import FAMILIES, KNOWN, NAMES
from experiments.data.packed import PackedSet, open_packed
from experiments.run.context import Run
from experiments.run.errors import UserError, closest


def is_packed(name: str, run: Run) -> bool:
    """Whether there is a packed set of that name. A name that leads out of the folder of packed sets never counts."""
    is_plain = name != "" and name == Path(name).name and not name.startswith(".")
    return is_plain and any((root / "packed" / name).is_dir() for root in (run.data_root, run.runs_root))


def load(name: str, run: Run) -> PackedSet:
    """Open and verify the packed set `name` (of a kind in NAMES, or packed before); build it if there is none.

    Raises UserError, with the fix, if the set cannot be loaded.
    """
    dataset = _dataset(name, run)
    given, built = (root / "packed" / name for root in (run.data_root, run.runs_root))
    if given.exists():
        try:
            return _open(given, dataset)
        except (ValueError, OSError) as error:
            raise UserError(f"{given} cannot be used: {error}") from error
    if built.exists():
        try:
            packed = _open(built, dataset)
            source = dataset.source_at(run.data_root)
            if source in (None, packed.meta["source"]):
                return packed
            why = f"{run.data_root} now holds {source}"
        except (ValueError, OSError) as error:
            why = str(error)
        warnings.warn(f"building {name} again: {why}", stacklevel=2)
    return dataset.build(built, run)


def _dataset(name: str, run: Run) -> Dataset:
    for family in FAMILIES:
        if match := re.fullmatch(family.pattern, name):
            module, _, function = family.made_by.partition(":")
            return getattr(importlib.import_module(module), function)(*match.groups())
    if is_packed(name, run):
        return _PackedBefore()
    packed = [folder.name for root in (run.data_root, run.runs_root) for folder in (root / "packed").glob("[!.]*")]
    raise UserError(
        f"the data set must be one of {', '.join(NAMES)}, or one packed before with `dcgan-eval data pack`, "
        f"got {name!r}{closest(name, [*KNOWN, *packed])}"
    )


class _PackedBefore(Dataset):
    """A set that the user packed: it may hold any images, and cannot be built again without its source."""

    side = None

    def build(self, folder: Path, run: Run) -> PackedSet:
        raise UserError(
            f"{folder} cannot be used: pack it again with `dcgan-eval data pack SOURCE --name {folder.name}`"
        )


def _open(folder: Path, dataset: Dataset) -> PackedSet:
    packed = open_packed(folder)
    dataset.check(packed)
    return packed
