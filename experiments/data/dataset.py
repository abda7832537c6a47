"""What every data set with a name of its own can do."""

from pathlib import Path

from experiments.data.packed import PackedSet
from experiments.run.context import Run

__all__ = ["Dataset", "check_shape"]


class Dataset:
    """A data set: how it is packed, and how a packed one is recognised."""

    def build(self, folder: Path, run: Run) -> PackedSet:
        """Pack the set into `folder`. Raises UserError, with the fix, where no source is at hand or none is right."""
        raise NotImplementedError

    def check(self, packed: PackedSet) -> None:
        """Raise ValueError where a packed set of that name is not this set."""

    def source_at(self, data_root: Path) -> str | None:
        """Name the source of a set that would be packed from `data_root` now, as its sidecar would.

        None where nothing is there, or where it does not matter since the set's digests are published.
        """
        return None


def check_shape(packed: PackedSet, side: int, channels: int = 3) -> None:
    """Raise ValueError unless the images are [N, side, side, channels]."""
    if packed.images.shape[1:] != (side, side, channels):
        raise ValueError(f"images must be [N, {side}, {side}, {channels}], got {list(packed.images.shape)}")
