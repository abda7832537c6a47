"""CelebA (Liu et al. 2015), photographs of faces, and LSUN (Yu et al. 2015), photographs of one category; no labels.

CelebA: `img_align_celeba/` or `img_align_celeba.zip` in DATA_ROOT or in its folder `celeba/` or `faces/`, which may
also hold one other zip, or the images. LSUN: the official LMDB of a category, `<category>_train_lmdb/` or
`<category>_lmdb/`, in DATA_ROOT or in `lsun/`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from experiments.data.dataset import Dataset
from experiments.data.images.listing import zips
from experiments.data.images.pack import PackSpec, pack_images, plan
from experiments.data.packed import PackedSet
from experiments.data.sets.places import archives_in, file_in, found_instead, places, plain, say_which
from experiments.run.context import Run
from experiments.run.errors import UserError

CELEBA = "img_align_celeba"
HOMES = ("celeba", "faces")


@dataclass(frozen=True)
class Photographs(Dataset):
    """Photographs from a folder, a zip or an LMDB, `side` x `side` pixels.

    find: returns the sources below DATA_ROOT, the one to take first. missing: returns the message if there is none.
    """

    title: str
    side: int
    find: Callable[[Path], list[Path]]
    missing: Callable[[Path], str]

    def build(self, folder: Path, run: Run) -> PackedSet:
        found = self.find(run.data_root)
        if not found:
            raise UserError(self.missing(run.data_root))
        say_which(run, found[0], found)
        return pack_images(plan(found[0]), folder, PackSpec(self.side, source=f"{self.title}: {found[0].name}"), run)

    def source_at(self, data_root: Path) -> str | None:
        found = self.find(data_root)
        return f"{self.title}: {found[0].name}" if found else None


def celeba(side: str) -> Photographs:
    """Return the set of CelebA's faces."""
    return Photographs("CelebA", int(side), _find_celeba, _missing_celeba)


def lsun(category: str, side: str) -> Photographs:
    """Return the set of LSUN's photographs of a category."""
    return Photographs("LSUN", int(side), partial(_find_lsun, category), partial(_missing_lsun, category))


def _find_celeba(data_root: Path) -> list[Path]:
    searched = [*places(data_root, HOMES, beside=False), *places(data_root, [CELEBA], beside=True)]
    folders = [folder for folder in searched if plain(folder.name) == plain(CELEBA) and _holds_something(folder)]
    # the images of CELEBA/CELEBA/ are those of CELEBA/
    outermost = [folder for folder in folders if not any(outer in folder.parents for outer in folders)]
    found = [*outermost, *(archive for folder in searched for archive in archives_in(folder, [CELEBA]))]
    return list(dict.fromkeys(found)) or _other_faces(data_root)


def _other_faces(data_root: Path) -> list[Path]:
    """Return the one zip in a folder called like the set, or the folder, which holds the images."""
    for home in places(data_root, HOMES, beside=False):
        if home.parent != data_root or not _holds_something(home):
            continue
        zipped = zips(home)
        if len(zipped) > 1:
            raise UserError(f"{home} holds {len(zipped)} zips: leave one of them, or name one {CELEBA}.zip")
        return zipped or [home]
    return []


def _holds_something(folder: Path) -> bool:
    return next(folder.iterdir(), None) is not None


def _missing_celeba(data_root: Path) -> str:
    advice = dict.fromkeys(("img_align_celeba_png.7z", "img_celeba.7z"), f"{CELEBA}.zip is needed")
    instead = found_instead(places(data_root, HOMES, beside=True), advice)
    return f"no CelebA: put {CELEBA}.zip, or the folder {CELEBA}/, in {data_root / 'celeba'}{instead}"


def _lmdbs(category: str) -> tuple[str, str]:
    return f"{category}_train_lmdb", f"{category}_lmdb"


def _find_lsun(category: str, data_root: Path) -> list[Path]:
    searched = places(data_root, ("lsun", *_lmdbs(category)), beside=False)
    named = [folder for name in _lmdbs(category) for folder in searched if plain(folder.name) == plain(name)]
    return [folder for folder in named if file_in(folder, "data.mdb")]


def _missing_lsun(category: str, data_root: Path) -> str:
    names = _lmdbs(category)
    advice = {f"{name}.zip": "unpack it where it lies" for name in names}
    instead = found_instead(places(data_root, ("lsun", *names), beside=True), advice)
    return f"no LSUN category {category!r}: put {names[0]}/ in {data_root / 'lsun'}{instead}"
