"""Tiny-ImageNet: the 100,000 training photographs (500 of each of 200 ImageNet classes), JPEG, 64x64.

Found below DATA_ROOT as the folder `tiny-imagenet-200/train/`, as zips inside `tiny-imagenet-200/`, or as
`tiny-imagenet-200.zip`; the inner paths are the official `tiny-imagenet-200/train/<wnid>/images/*.JPEG`.
Images come in the order of those paths. A label is the index of its wnid among the sorted wnids at hand.
"""

import re
from pathlib import Path

import numpy as np

from experiments.data.images.listing import File, file_at, list_images, members, zips
from experiments.data.images.pack import pack_images, plan_of
from experiments.data.packed import PackedSet
from experiments.run.errors import UserError
from experiments.run.progress import Progress

__all__ = ["build_32", "build_64", "halve", "source_at"]

NAME = "tiny-imagenet-200"
SIDE = 64
MEMBER = re.compile(rf"(?:(?:[^/]+/)?{NAME}/)?train/(n\d{{8}})/images/[^/]+\.JPEG")


def halve(images: np.ndarray) -> np.ndarray:
    """The mean of each 2x2 block, rounded half up: uint8 [N, H, W, C] -> uint8 [N, H/2, W/2, C].

    At this ratio it equals the authors' unfiltered bilinear resize, whose samples fall on the block centres.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] % 2 or images.shape[2] % 2:
        raise ValueError(f"images must be uint8 [N, H, W, C] with even H and W, got {images.dtype} {images.shape}")
    total = images[:, ::2, ::2].astype(np.uint16)  # four strided additions: ten times faster than sum() over two axes
    total += images[:, ::2, 1::2]
    total += images[:, 1::2, ::2]
    total += images[:, 1::2, 1::2]
    return ((total + 2) // 4).astype(np.uint8)


def build_64(folder: Path, *, data_root: Path, downloads: Path, progress: Progress | None = None) -> PackedSet:
    """Pack the photographs as they are into `folder`. Raises UserError where there are none."""
    return _build(folder, data_root, downloads, progress, side=SIDE, transform="none")


def build_32(folder: Path, *, data_root: Path, downloads: Path, progress: Progress | None = None) -> PackedSet:
    """Pack the photographs at half size into `folder`. Raises UserError where there are none."""
    transform = "mean of each 2x2 block, rounded half up"
    return _build(folder, data_root, downloads, progress, side=SIDE // 2, transform=transform)


def source_at(data_root: Path) -> str | None:
    """What a set packed from `data_root` now would name as its source; None where nothing is there."""
    try:
        return _source(_at_hand(data_root)[1])
    except UserError:
        return None


def _source(names: list[str]) -> str:
    return f"{NAME}: {', '.join(names)}"


def _build(
    folder: Path, data_root: Path, downloads: Path, progress: Progress | None, *, side: int, transform: str
) -> PackedSet:
    source, names = _at_hand(data_root)
    wnid_of = {file: found[1] for file in _files(source) if (found := MEMBER.fullmatch(file.path))}
    if not wnid_of:
        raise UserError(
            f"no Tiny-ImageNet photographs in {data_root}: they must be named like "
            f"{NAME}/train/n01443537/images/n01443537_0.JPEG"
        )
    wnids = sorted(set(wnid_of.values()))
    index = {wnid: label for label, wnid in enumerate(wnids)}
    return pack_images(
        plan_of(source, list(wnid_of), []),
        folder,
        side=side,
        exact=SIDE,
        labels=[index[wnid] for wnid in wnid_of.values()],
        work=downloads.parent / "packing",
        source=_source(names),
        made=f"RGB; {transform}",
        details={"class_names": wnids},
        progress=progress,
    )


def _at_hand(data_root: Path) -> tuple[Path, list[str]]:
    """The folder or zip with the photographs, and what it is called in the sidecar."""
    folder, archive = data_root / NAME, data_root / f"{NAME}.zip"
    if (folder / "train").is_dir():
        return folder, ["folder"]
    if archives := zips(folder):
        return folder, [path.name for path in archives]
    if not archive.exists():
        raise UserError(
            f"no Tiny-ImageNet in {data_root}: put the folder {NAME}/, or {NAME}.zip, there, or set DATA_ROOT"
        )
    return archive, [archive.name]


def _files(source: Path) -> list[File]:
    """In the order of the paths inside; of what two zips hold, the first one's."""
    if (source / "train").is_dir():
        paths = sorted(path.relative_to(source).as_posix() for path in source.glob("train/n*/images/*.JPEG"))
        return [file_at(source, path) for path in paths]
    if not source.is_dir():
        return list_images(source)[0]
    first: dict[str, File] = {}
    for file in members(source):
        first.setdefault(file.path.partition("/")[2], file)
    return list(first.values())
