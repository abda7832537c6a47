"""Made-up photographs, their copies, and the images that a pass removes."""

import csv
import io
from pathlib import Path

import numpy as np
from PIL import Image


def photographs(n: int, seed: int = 0, side: int = 32) -> np.ndarray:
    """uint8 [n, side, side, 3], smooth, none like another."""
    coarse = np.random.default_rng(seed).integers(0, 256, (n, 6, 6, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(c).resize((side, side), Image.Resampling.BICUBIC)) for c in coarse])


def recompressed(image: np.ndarray, quality: int = 60) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def rows(file: Path) -> list[dict[str, str]]:
    with open(file, newline="", encoding="utf-8", errors="surrogateescape") as opened:
        return list(csv.DictReader(opened))


def removed(out: Path) -> list[int]:
    """Indices of the images that are not kept."""
    return np.flatnonzero(~np.load(out / "keep.npy", allow_pickle=False)).tolist()
