"""CelebA (Liu et al. 2015): unlabelled photographs of faces, from a folder or zip of images.

`DATA_ROOT/celeba/` or `faces/` holds `img_align_celeba/`, `img_align_celeba.zip`, one other zip, or the images.
"""

from dataclasses import dataclass
from pathlib import Path

from experiments.data.dataset import Dataset, check_shape
from experiments.data.images.pack import PackSpec, pack_images, plan
from experiments.data.packed import PackedSet
from experiments.run.context import Run
from experiments.run.errors import UserError

__all__ = ["CelebA"]

OFFICIAL = "img_align_celeba"


@dataclass(frozen=True)
class CelebA(Dataset):
    """The faces, `side` x `side` pixels."""

    side: str

    def build(self, folder: Path, run: Run) -> PackedSet:
        found = _at_hand(run.data_root)
        if found is None:
            put = f"put {OFFICIAL}.zip, or the folder {OFFICIAL}/, in {run.data_root / 'celeba'}"
            raise UserError(f"no CelebA: {put}")
        return pack_images(plan(found), folder, PackSpec(int(self.side), source=f"CelebA: {found.name}"), run)

    def check(self, packed: PackedSet) -> None:
        check_shape(packed, int(self.side))

    def source_at(self, data_root: Path) -> str | None:
        found = _at_hand(data_root)
        return None if found is None else f"CelebA: {found.name}"


def _at_hand(data_root: Path) -> Path | None:
    for root in (data_root / "celeba", data_root / "faces"):
        if not root.is_dir() or not any(root.iterdir()):
            continue
        for official in (root / OFFICIAL, root / f"{OFFICIAL}.zip"):
            if official.exists():
                return official
        zips = sorted(root.glob("*.zip"))
        if len(zips) > 1:
            raise UserError(f"{root} holds {len(zips)} zips: leave one of them, or name one {OFFICIAL}.zip")
        return zips[0] if zips else root
    return None
