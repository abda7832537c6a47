"""ImageNet at 32x32 (Chrabaszcz et al. 2017): 1,281,167 training and 50,000 validation images, 1,000 classes.

The released batches are read as pickles (`train_data_batch_1` to `_10`, `val_data`) or as npz. They are looked for in
DATA_ROOT/imagenet32/, in folders with the archives' own names, and in DATA_ROOT. The folder with the most batches is
taken, and pickles before npz. Labels 1 to 1,000 become 0 to 999. Only one batch is in memory at a time. There may be
fewer than ten training batches: the source in the sidecar says which.
"""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.data.dataset import Dataset
from experiments.data.packed import PackedSet, pack
from experiments.data.sets.pickles import read_batch
from experiments.data.sets.places import file_in, found_instead, places, plain, say_which
from experiments.run.context import Run
from experiments.run.errors import UserError
from experiments.run.reading.arrays import damage_named

CLASSES = 1000
PIXELS = 3072  # of an image: three planes of 32x32
LARGEST = 300_000  # images of a file; the released ones hold up to 128,124
BATCHES = {"train": [f"train_data_batch_{n}" for n in range(1, 11)], "val": ["val_data"]}
FOLDER = "imagenet32"
ARCHIVES = ("Imagenet32_{split}", "Imagenet32_{split}_npz")
ZIPPED = "unpack it where it lies"


@dataclass(frozen=True)
class ImageNet32(Dataset):
    """The training or the validation images ("train" or "val")."""

    split: str
    side = 32

    def build(self, folder: Path, run: Run) -> PackedSet:
        found = self._found(run.data_root)
        if not found:
            names = "train_data_batch_1 to _10" if self.split == "train" else "val_data"
            instead = found_instead(self._places(run.data_root), {f"{name}.zip": ZIPPED for name in self._archives()})
            raise UserError(f"no ImageNet-32: put {names}, pickles or .npz, in {run.data_root / FOLDER}{instead}")
        files = found[0]
        say_which(run, files[0].parent, [batches[0].parent for batches in found])
        most = sum(_most(file) for file in files)
        labels: list[int] = []

        def batches() -> Iterator[np.ndarray]:
            for file in run.progress(files, total=len(files), desc=f"ImageNet-32 {self.split}", unit="file"):
                try:
                    planes, batch_labels = _read(file)
                except (ValueError, OSError, EOFError, MemoryError) as error:
                    raise UserError(f"{file} cannot be used ({error}): replace it with a fresh one") from error
                labels.extend(batch_labels.tolist())
                for start in range(0, len(planes), 4096):
                    yield planes[start : start + 4096].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)

        size = (most, 32, 32, 3)
        packed = pack(folder, batches(), shape=size, labels=labels, source=_source(files), transform="none")
        there = {plain(file.stem if _is_npz(file) else file.name) for file in files}
        if missing := [name for name in BATCHES[self.split] if plain(name) not in there]:
            run.say(f"without {', '.join(missing)}, which {files[0].parent} does not hold")
        return packed

    def source_at(self, data_root: Path) -> str | None:
        found = self._found(data_root)
        return _source(found[0]) if found else None

    def _found(self, data_root: Path) -> list[list[Path]]:
        """Return the batches of each folder and kind, in their order; those with the most batches first."""
        found = []
        for place in self._places(data_root):
            for suffix in ("", ".npz"):
                batches = [file_in(place, f"{name}{suffix}") for name in BATCHES[self.split]]
                found.append([batch for batch in batches if batch])
        return sorted(filter(None, found), key=len, reverse=True)

    def _archives(self) -> list[str]:
        return [name.format(split=self.split) for name in ARCHIVES]

    def _places(self, data_root: Path) -> list[Path]:
        """Return the folders to search. Not any in DATA_ROOT: ImageNet-64's batches have the same names."""
        return [*places(data_root, (FOLDER, *self._archives()), beside=False), data_root]


def _is_npz(file: Path) -> bool:
    return file.suffix.lower() == ".npz"


def _source(files: list[Path]) -> str:
    return f"ImageNet-32: {', '.join(file.name for file in files)}"


def _most(file: Path) -> int:
    """Return the largest number of images that the file can hold, without reading it."""
    if not _is_npz(file):
        return file.stat().st_size // PIXELS
    try:
        with zipfile.ZipFile(file) as archive:
            return min(archive.getinfo("data.npy").file_size // PIXELS, LARGEST)
    except (zipfile.BadZipFile, KeyError, OSError, ValueError, RuntimeError):
        return 0  # reading it gives the reason


def _read(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return uint8 [n, 3072] in plane order and int64 [n] in 0 to 999. Raises ValueError, OSError, EOFError."""
    if _is_npz(file):
        planes, labels = _read_npz(file)
    else:
        if file.stat().st_size > LARGEST * (PIXELS + 16):
            raise ValueError(f"a batch must hold at most {LARGEST:,} images")
        with file.open("rb") as stream:
            planes, labels = read_batch(stream, what="ImageNet-32", first=1)
    if len(labels) and not (labels.min() >= 0 and labels.max() < CLASSES):
        raise ValueError(f"labels must be 1 to {CLASSES}, got {labels.min() + 1} to {labels.max() + 1}")
    return planes, labels


def _read_npz(file: Path) -> tuple[np.ndarray, np.ndarray]:
    with damage_named("npz"):
        with zipfile.ZipFile(file) as archive:
            count = _header(archive, "data", np.uint8, (PIXELS,))
            if _header(archive, "labels", np.integer, ()) != count:
                raise ValueError("there must be as many `labels` as images")
        with np.load(file, allow_pickle=False) as arrays:  # by full name: exactly the members whose headers were read
            return arrays["data.npy"], arrays["labels.npy"].astype(np.int64) - 1


def _header(archive: zipfile.ZipFile, name: str, kind: type, rest: tuple[int, ...]) -> int:
    """Return the length of an array before it is read. Raises ValueError for another kind, shape or size."""
    try:
        info = archive.getinfo(f"{name}.npy")
    except KeyError as error:
        raise ValueError(f"it must hold `{name}`") from error
    with archive.open(info) as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
        size = stream.tell() + int(np.prod(shape, dtype=object)) * dtype.itemsize
    if not np.issubdtype(dtype, kind) or shape[1:] != rest or len(shape) != 1 + len(rest):
        raise ValueError(f"`{name}` must be {kind.__name__} [n{''.join(f', {n}' for n in rest)}], got {dtype} {shape}")
    if shape[0] > LARGEST or size != info.file_size:
        raise ValueError(f"`{name}` must be whole, at most {LARGEST:,} images, got {shape} in {info.file_size:,} bytes")
    return shape[0]
