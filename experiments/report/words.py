"""Settings of a training run in words."""

from collections.abc import Mapping
from typing import Any

AUGMENTATIONS = ("color", "translation", "cutout")  # all three are what the paper of DiffAugment applies


def settings_text(recipe: Mapping[str, Any]) -> str:
    """Return what a recipe sets beside its network and data, e.g. `rate 5e-4, DiffAugment, R1 penalty 0.1`."""
    chosen = recipe["training"]
    words = [f"rate {chosen['lr']:.0e}".replace("e-0", "e-")]
    if augment := chosen["augment"]:
        every = set(augment) == set(AUGMENTATIONS)
        words.append("DiffAugment" if every else f"DiffAugment of {' and '.join(augment)}")
    if chosen["r1"]:
        words.append(f"R1 penalty {chosen['r1']:g}")
    if recipe["spectral_norm"]:
        words.append("spectral norm")
    if chosen["rotation"]:
        words.append("learns rotations")
    if chosen.get("contrast"):
        words.append("learns contrast")
    return ", ".join(words)
