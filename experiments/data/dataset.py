"""The interface of the data sets that are known by name."""

from pathlib import Path

from experiments.data.packed import PackedSet
from experiments.run.context import Run


class Dataset:
    """A data set: how to pack it, and how to recognise it once packed.

    side: height and width of every image in pixels; None if any size is accepted.
    """

    side: int | None
    channels = 3

    def build(self, folder: Path, run: Run) -> PackedSet:
        """Pack the set into `folder`. Raises UserError, with the fix, if no source is available or none is right."""
        raise NotImplementedError

    def check(self, packed: PackedSet) -> None:
        """Raise ValueError if `packed`, which has this set's name, is not this set."""
        found, shape = list(packed.images.shape), [self.side, self.side, self.channels]
        if self.side and found[1:] != shape:
            raise ValueError(f"images must be [N, {', '.join(map(str, shape))}], got {found}")

    def source_at(self, data_root: Path) -> str | None:
        """Name the source from which `build` would pack the set out of `data_root` now, as the sidecar would name it.

        None if there is no source, or if the source does not matter because the set's digests are published.
        """
        return None
