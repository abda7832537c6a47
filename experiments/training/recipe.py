"""A recipe: how one network is trained, read from TOML. Importing it brings no torch; loading a recipe does."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.deduplication.spec import DedupSpec
from experiments.run.errors import UserError, closest
from experiments.run.reading.shapes import build
from experiments.run.reading.toml import file_of, names, parse_toml, read_toml

if TYPE_CHECKING:
    import gan

MOST_IMAGES = 10**12  # shown in a run: years at any rate


@dataclass(frozen=True)
class Recipe:
    """How one DCGAN is trained: the network, the images, the de-duplication pass, the optimisation."""

    name: str
    preset: str
    dataset: str  # name of a packed set (see experiments.data.load)
    training: gan.TrainingConfig
    width: int | None = None  # channels of the first stage; the preset's when absent
    channels: int | None = None
    kernel: int | None = None
    spectral_norm: bool | None = None
    dedup: DedupSpec | None = None  # absent: no pass
    discriminator: str | None = None  # file of the network to start from; if absent, it is initialised
    generator: str | None = None
    held_out: int = 0  # images held out from training; samples' distances to them help to judge memorisation

    def __post_init__(self) -> None:
        if self.held_out < 0:
            raise ValueError(f"held_out must be 0 or more images, got {self.held_out}")
        if self.training.images > MOST_IMAGES:
            raise ValueError(f"images in [training] must be at most {MOST_IMAGES:,}, got {self.training.images:,}")

    @property
    def architecture(self) -> gan.Architecture | gan.ConditionalArchitecture:
        """The preset with this recipe's changes. Raises ValueError for a setting that the preset does not have."""
        import gan

        presets = gan.PRESETS | gan.CONDITIONAL_PRESETS
        if self.preset not in presets:
            known = ", ".join(presets)
            raise ValueError(f"unknown preset {self.preset!r}; the presets are {known}{closest(self.preset, presets)}")
        preset = presets[self.preset]
        keys = ("width", "channels", "kernel", "spectral_norm")
        changes = {key: getattr(self, key) for key in keys if getattr(self, key) is not None}
        if unknown := [key for key in changes if not hasattr(preset, key)]:
            raise ValueError(f"{self.preset} has no {unknown[0]}; leave it out")
        return dataclasses.replace(preset, **changes)

    @property
    def values(self) -> dict[str, Any]:
        """The recipe as JSON values."""
        return dataclasses.asdict(self) | {"dedup": None if self.dedup is None else self.dedup.values}

    @property
    def conditional(self) -> bool:
        """Whether the networks are given the labels."""
        import gan

        return self.preset in gan.CONDITIONAL_PRESETS


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with the project."""
    return names("recipes")


def load_recipe(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """Return the recipe of that name, or in the TOML file at that path, with `overrides` applied.

    An override is "key=value" or "training.key=value". If an override changes `training.images` but not
    `training.decay_from`, `decay_from` is scaled to stay at the same fraction of the run. Raises UserError, which says
    what is wrong and what is allowed.
    """
    import gan

    known = recipe_names()
    if not (name.endswith(".toml") or name in known):
        raise UserError(
            f"unknown recipe {name!r}; the recipes are {', '.join(known)}, or give a .toml file{closest(name, known)}"
        )
    source = file_of("recipes", name) if name in known else Path(name)
    values = read_toml(source)
    try:
        _apply(values, overrides)
        values["training"] = build(gan.TrainingConfig, values.get("training", {}), f"{source.name} [training]")
        if isinstance(values.get("dedup"), str):  # `dedup = "semantic"` is short for a table of that method
            values["dedup"] = {"method": values["dedup"]}
        if "dedup" in values:
            values["dedup"] = build(DedupSpec, values["dedup"], f"{source.name} [dedup]")
        recipe: Recipe = build(Recipe, {"name": source.stem} | values, source.name, names={"gan": gan})
        recipe.training.check_fits(recipe.architecture)  # raises for impossible networks, too
    except ValueError as error:
        raise UserError(f"{source.name}: {error}") from error
    return recipe


def _apply(values: dict[str, Any], overrides: Sequence[str]) -> None:
    """Apply overrides to a recipe's table; then scale `decay_from` if they changed only the length of the run."""
    own = copy.copy(values.get("training"))
    changed = {_override(values, override) for override in overrides}
    match own, values.get("training"):
        case {"images": int(before), "decay_from": int(point)}, {"images": int(after)} if before > 0:
            if "training.decay_from" not in changed:
                values["training"]["decay_from"] = point * after // before


def _override(values: dict[str, Any], override: str) -> str:
    """Set `key=value` in a recipe's table; return the key.

    A dot leads into a table. A value that is not TOML is a string.
    """
    key, equals, text = (part.strip() for part in override.partition("="))
    table, _, last = key.rpartition(".")
    if not (equals and last and text) or "." in table or key.startswith("."):
        raise ValueError(f"an override must be key=value or table.key=value, got {override!r}")
    try:
        parsed = parse_toml(f"value = {text}")
    except ValueError:
        parsed = {"value": text}
    if list(parsed) != ["value"]:  # the text contains a line break
        raise ValueError(f"an override must be one value, got {override!r}")
    inner = values.setdefault(table, {}) if table else values
    if table == "dedup" and isinstance(inner, str):  # short for a table of that method
        inner = values[table] = {"method": inner}
    if not isinstance(inner, dict):
        raise ValueError(f"{table} is {inner!r} and has no keys, in {override!r}")
    inner[last] = parsed["value"]
    return key
