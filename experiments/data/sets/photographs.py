"""CelebA (Liu et al. 2015), photographs of faces, and LSUN (Yu et al. 2015), photographs of one category; no labels.

CelebA: `DATA_ROOT/celeba/` or `faces/` holds `img_align_celeba/`, `img_align_celeba.zip`, one other zip, or the images.
LSUN: the official LMDB of a category is in `DATA_ROOT/lsun/<category>_train_lmdb/` or `<category>_lmdb/`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from experiments.data.dataset import Dataset
from experiments.data.images.lmdb import is_lmdb
from experiments.data.images.pack import PackSpec, pack_images, plan
from experiments.data.packed import PackedSet
from experiments.run.context import Run
from experiments.run.errors import UserError

CELEBA = "img_align_celeba"


@dataclass(frozen=True)
class Photographs(Dataset):
    """Photographs from a folder, a zip or an LMDB, `side` x `side` pixels.

    find: returns the source below DATA_ROOT, or None. missing: message if there is none; `{}` stands for DATA_ROOT.
    """

    title: str
    side: int
    find: Callable[[Path], Path | None]
    missing: str

    def build(self, folder: Path, run: Run) -> PackedSet:
        found = self.find(run.data_root)
        if found is None:
            raise UserError(self.missing.format(run.data_root))
        return pack_images(plan(found), folder, PackSpec(self.side, source=f"{self.title}: {found.name}"), run)

    def source_at(self, data_root: Path) -> str | None:
        found = self.find(data_root)
        return None if found is None else f"{self.title}: {found.name}"


def celeba(side: str) -> Photographs:
    """Return the set of CelebA's faces."""
    missing = f"no CelebA: put {CELEBA}.zip, or the folder {CELEBA}/, in {{}}/celeba"
    return Photographs("CelebA", int(side), _find_celeba, missing)


def lsun(category: str, side: str) -> Photographs:
    """Return the set of LSUN's photographs of a category."""
    missing = f"no LSUN category {category!r}: put {category}_train_lmdb/ in {{}}/lsun"
    return Photographs("LSUN", int(side), partial(_find_lsun, category), missing)


def _find_celeba(data_root: Path) -> Path | None:
    for root in (data_root / "celeba", data_root / "faces"):
        if not root.is_dir() or not any(root.iterdir()):
            continue
        for official in (root / CELEBA, root / f"{CELEBA}.zip"):
            if official.exists():
                return official
        zips = sorted(root.glob("*.zip"))
        if len(zips) > 1:
            raise UserError(f"{root} holds {len(zips)} zips: leave one of them, or name one {CELEBA}.zip")
        return zips[0] if zips else root
    return None


def _find_lsun(category: str, data_root: Path) -> Path | None:
    folders = [data_root / "lsun" / f"{category}{end}" for end in ("_train_lmdb", "_lmdb")]
    return next((folder for folder in folders if is_lmdb(folder)), None)
