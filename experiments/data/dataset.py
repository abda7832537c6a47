"""What every data set with a name of its own can do."""

from pathlib import Path

from experiments.data.packed import PackedSet
from experiments.run.context import Run


class Dataset:
    """A data set: how it is packed, and how a packed one is recognised.

    side: of an image, in pixels; None where any image will do.
    """

    side: int | None
    channels = 3

    def build(self, folder: Path, run: Run) -> PackedSet:
        """Pack the set into `folder`. Raises UserError, with the fix, where no source is at hand or none is right."""
        raise NotImplementedError

    def check(self, packed: PackedSet) -> None:
        """Raise ValueError where a packed set of that name is not this set."""
        found, shape = list(packed.images.shape), [self.side, self.side, self.channels]
        if self.side and found[1:] != shape:
            raise ValueError(f"images must be [N, {', '.join(map(str, shape))}], got {found}")

    def source_at(self, data_root: Path) -> str | None:
        """Name the source of a set that would be packed from `data_root` now, as its sidecar would.

        None where nothing is there, or where it does not matter since the set's digests are published.
        """
        return None
