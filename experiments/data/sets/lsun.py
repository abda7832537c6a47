"""LSUN (Yu et al. 2015): unlabelled photographs of one category, from the official LMDBs, of any category.

`DATA_ROOT/lsun/<category>_train_lmdb/` or `<category>_lmdb/`.
"""

from dataclasses import dataclass
from pathlib import Path

from experiments.data.dataset import Dataset, check_shape
from experiments.data.images.lmdb import is_lmdb
from experiments.data.images.pack import PackSpec, pack_images, plan
from experiments.data.packed import PackedSet
from experiments.run.context import Run
from experiments.run.errors import UserError

__all__ = ["Lsun"]


@dataclass(frozen=True)
class Lsun(Dataset):
    """A category's photographs, `side` x `side` pixels."""

    category: str
    side: str

    def build(self, folder: Path, run: Run) -> PackedSet:
        found = self._at_hand(run.data_root)
        if found is None:
            put = f"put {self.category}_train_lmdb/ in {run.data_root / 'lsun'}"
            raise UserError(f"no LSUN category {self.category!r}: {put}")
        return pack_images(plan(found), folder, PackSpec(int(self.side), source=f"LSUN: {found.name}"), run)

    def check(self, packed: PackedSet) -> None:
        check_shape(packed, int(self.side))

    def source_at(self, data_root: Path) -> str | None:
        found = self._at_hand(data_root)
        return None if found is None else f"LSUN: {found.name}"

    def _at_hand(self, data_root: Path) -> Path | None:
        folders = [data_root / "lsun" / f"{self.category}{end}" for end in ("_train_lmdb", "_lmdb")]
        return next((folder for folder in folders if is_lmdb(folder)), None)
