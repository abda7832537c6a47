"""Unlabelled photographs by name: LSUN's categories (official LMDBs) and CelebA (a folder or zip of images).

`DATA_ROOT/lsun/<category>_train_lmdb/` or `<category>_lmdb/`, of any category; `DATA_ROOT/celeba/` or `faces/`:
`img_align_celeba/`, `img_align_celeba.zip`, the one other zip there, or the images in that folder.
"""

from pathlib import Path

from experiments.data.images.lmdb import is_lmdb
from experiments.data.images.pack import pack_images, plan
from experiments.data.packed import PackedSet
from experiments.run.errors import UserError
from experiments.run.progress import Progress

__all__ = ["build_celeba", "build_lsun", "celeba_at", "lsun_at"]

CELEBA = "img_align_celeba"


def build_lsun(
    category: str, side: int, folder: Path, *, data_root: Path, downloads: Path, progress: Progress | None = None
) -> PackedSet:
    """Pack the category into `folder`, uint8 [N, side, side, 3]. Raises UserError where it is not at hand."""
    found = _lsun(category, data_root)
    if found is None:
        raise UserError(f"no LSUN category {category!r}: put {category}_train_lmdb/ in {data_root / 'lsun'}")
    return _build(found, f"LSUN: {found.name}", side, folder, downloads, progress)


def build_celeba(
    side: int, folder: Path, *, data_root: Path, downloads: Path, progress: Progress | None = None
) -> PackedSet:
    """Pack the faces into `folder`, uint8 [N, side, side, 3]. Raises UserError where there are none."""
    found = _celeba(data_root)
    if found is None:
        raise UserError(f"no CelebA: put {CELEBA}.zip, or the folder {CELEBA}/, in {data_root / 'celeba'}")
    return _build(found, f"CelebA: {found.name}", side, folder, downloads, progress)


def lsun_at(category: str, data_root: Path) -> str | None:
    """What a set packed from `data_root` now would name as its source; None where nothing is there."""
    found = _lsun(category, data_root)
    return None if found is None else f"LSUN: {found.name}"


def celeba_at(data_root: Path) -> str | None:
    """What a set packed from `data_root` now would name as its source; None where nothing is there."""
    found = _celeba(data_root)
    return None if found is None else f"CelebA: {found.name}"


def _build(source: Path, title: str, side: int, folder: Path, downloads: Path, progress: Progress | None) -> PackedSet:
    work = downloads.parent / "packing"
    return pack_images(plan(source), folder, side=side, work=work, source=title, progress=progress)


def _lsun(category: str, data_root: Path) -> Path | None:
    folders = [data_root / "lsun" / f"{category}{end}" for end in ("_train_lmdb", "_lmdb")]
    return next((folder for folder in folders if is_lmdb(folder)), None)


def _celeba(data_root: Path) -> Path | None:
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
