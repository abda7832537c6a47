"""The images of a recipe: its packed set without near-duplicates. Some may be held out from training.

The set's images may be larger than the network's: it then trains on views of them (`gan.train`). Whatever else needs
images of the network's size, the de-duplication pass and all comparisons with samples, takes full views.
"""

import dataclasses
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import gan
from experiments.data.load import load
from experiments.data.names import is_name
from experiments.data.packed import PackedSet, open_packed
from experiments.deduplication.methods import find_removed
from experiments.run.console import counted
from experiments.run.context import Run
from experiments.run.errors import UserError
from experiments.training.files import REMOVED, STATE
from experiments.training.recipe import Recipe
from experiments.training.resume import Notes, read_vouched

BLOCK = 4096  # larger images that are gathered at once


@dataclass(frozen=True)
class TrainingSet:
    """The images that a network is trained on, and the images held out from training."""

    images: Tensor | np.ndarray  # uint8 [N, H, W, C], the whole packed set (see `for_training`)
    labels: Tensor | None  # int64 [N], for class-conditional networks only
    rows: Tensor  # int64 [M], sorted: the images to train on
    held_out: Tensor  # int64 [recipe.held_out], sorted: images held out from training, drawn by the recipe's seed
    removed: np.ndarray  # int64 [R, 2]: (index of the image kept, index of the near-duplicate removed for it)
    summary: dict[str, Any]  # what data.json holds, see `training_set`


def training_set(recipe: Recipe, run: Run) -> TrainingSet:
    """Load the recipe's set, remove near-duplicates as its `[dedup]` says, and hold out `held_out` images.

    The summary holds the set's name and digest, the pass, and numbers of images: all, trained on, held out. If the set
    is larger than the network, `at_network_size` is the digest of the same photographs at the network's size, by which
    audits of that set are found. Raises UserError if the set's images do not fit the network, or if fewer images are
    left than a minibatch needs.
    """
    packed = load(recipe.dataset, run)
    _check_fits(packed, recipe)
    if skipped := packed.meta.get("skipped_files"):
        listed = f"meta.json of the packed set {packed.name}"
        run.say(f"{packed.name}: {counted(len(skipped), 'file')} could not be read: listed in {listed}")
    views = gan.full_view(as_tensor(packed.images), recipe.architecture.size).numpy()
    pairs = find_removed(views, recipe.dedup, run.progress)
    left = _check_left(len(packed.images) - len(np.unique(pairs[:, 1])), recipe)
    rows, held_out = split(len(packed.images), pairs[:, 1], recipe.held_out, recipe.training.seed)
    summary = {
        "name": packed.name,
        "digest": packed.digest,
        **({} if views.shape == packed.images.shape else {"at_network_size": packed.digest_with(views)}),
        "dedup": None if recipe.dedup is None else recipe.dedup.values,
        "images": len(packed.images),
        "kept": left,
    }
    if recipe.held_out:
        summary["held_out"] = recipe.held_out
    images, labels = for_training(packed, recipe, run.device)
    return TrainingSet(images, labels, torch.from_numpy(rows), torch.from_numpy(held_out), pairs, summary)


def check_set(recipe: Recipe, run: Run) -> None:
    """Raise UserError if there is no such set, or if it is packed already and does not fit; it is not packed here."""
    given, built = (root / "packed" / recipe.dataset for root in (run.data_root, run.runs_root))
    if given.exists() or not is_name(recipe.dataset):
        packed = load(recipe.dataset, run)  # such a set is never built
    else:
        try:
            packed = open_packed(built)
        except (ValueError, OSError):  # the run builds it
            return
    _check_fits(packed, recipe)
    _check_left(len(packed.images), recipe)


def _check_left(kept: int, recipe: Recipe) -> int:
    """Return the number of images to train on, of `kept` ones. Raises UserError if they fill no minibatch."""
    left = kept - recipe.held_out
    if left < recipe.training.batch_size:
        raise UserError(
            f"{recipe.dataset} leaves {max(left, 0)} images to train on, fewer than a minibatch of "
            f"{recipe.training.batch_size}; lower held_out or batch_size"
        )
    return left


def as_begun(data: TrainingSet, out: Path, recipe: Recipe, notes: Notes) -> TrainingSet:
    """Return the training set of the run in `out`; it is `data` unless the run was begun with another rule of removal.

    That rule kept one image of each connected group. It removed all images that `data` lacks, and perhaps more. Such a
    run goes on without the images in its list. A list that says something else is not believed, nor one that `notes` of
    the checkpoint do not vouch for.
    """
    if recipe.dedup is None or not (out / STATE).exists():
        return data
    try:
        lines = [line.split(",") for line in read_vouched(out / REMOVED, notes).decode().split()[1:]]
        pairs = np.array([(int(stays), int(index)) for index, stays in lines], np.int64).reshape(-1, 2)
    except (OSError, ValueError, OverflowError):
        return data
    removed, there = pairs[:, 1], (pairs >= 0) & (pairs < len(data.images))
    believed = there.all() and len(np.unique(removed)) == len(removed) and np.isin(data.removed[:, 1], removed).all()
    if not believed or len(removed) == len(data.removed):
        return data
    rows, held_out = split(len(data.images), removed, recipe.held_out, recipe.training.seed)
    return dataclasses.replace(
        data,
        rows=torch.from_numpy(rows),
        held_out=torch.from_numpy(held_out),
        removed=pairs,
        summary={**data.summary, "kept": len(rows)},
    )


def _check_fits(packed: PackedSet, recipe: Recipe) -> None:
    """Raise UserError unless the set holds squares of the network's size or larger, with the network's channels."""
    arch, (height, width, channels) = recipe.architecture, packed.images.shape[1:]
    if height != width or height < arch.size or channels != arch.channels:
        fix = f", or --set channels={channels}" if height == width >= arch.size and not recipe.conditional else ""
        raise UserError(
            f"{recipe.dataset} holds images of {height}x{width} with {channels} channels, but {recipe.name} needs "
            f"squares of {arch.size}x{arch.size} or larger with {arch.channels}; name another dataset or preset{fix}"
        )


def split(images: int, dropped: np.ndarray, held_out: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split `images` images without the `dropped` ones (int64 indices) into training and held-out images.

    Returns both as sorted int64 indices. `seed` draws the `held_out` images.
    """
    keep = np.ones(images, bool)
    keep[dropped] = False
    drawn = np.sort(np.random.default_rng(seed).choice(np.flatnonzero(keep), held_out, replace=False))
    keep[drawn] = False
    return np.flatnonzero(keep), drawn


def full_views(images: Tensor | np.ndarray, rows: Tensor, size: int) -> Tensor:
    """Return whole images at the network's size, uint8 [M, size, size, C], on their own device.

    images: uint8 [N, S, S, C] with S >= size. rows: int64 [M], the indices of those wanted.
    """
    images = images if isinstance(images, Tensor) else as_tensor(images)
    rows = rows.to(images.device)
    if images.shape[1] == size:
        return images[rows]
    return torch.cat([gan.full_view(images[part], size) for part in rows.split(BLOCK)])


def for_training(packed: PackedSet, recipe: Recipe, device: torch.device) -> tuple[Tensor | np.ndarray, Tensor | None]:
    """Return the images, uint8 [N, H, W, C], and the labels, int64 [N], or None if the networks take no labels.

    The images are copied to a GPU if they fill at most half of its memory. Otherwise they stay a memory map, whose file
    is read as the steps come (`gan.train`).
    """
    labels = torch.from_numpy(packed.labels.copy()) if recipe.conditional and packed.labels is not None else None
    if device.type == "cuda" and packed.images.nbytes <= torch.cuda.get_device_properties(device).total_memory // 2:
        return as_tensor(packed.images).to(device), labels
    return packed.images, labels


def as_tensor(images: np.ndarray) -> Tensor:
    """Return a tensor that shares the memory of `images`. Never write to it: `images` may be a read-only map."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(images)
