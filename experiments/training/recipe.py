"""A recipe: how one network is trained, read from TOML."""

import dataclasses
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gan
from experiments.deduplication.spec import DedupSpec
from experiments.run.errors import UserError
from experiments.run.toml import build, file_of, names, read_toml


@dataclass(frozen=True)
class Recipe:
    """How one DCGAN is trained: the network, the images, the pass over them, the optimisation."""

    name: str
    preset: str
    dataset: str  # name of an unlabelled packed set (see experiments.data)
    training: gan.TrainingConfig
    width: int | None = None  # channels of the first stage; the preset's when absent
    channels: int | None = None
    kernel: int | None = None
    spectral_norm: bool | None = None
    dedup: DedupSpec | None = None  # absent: no pass
    discriminator: str | None = None  # file of the networks to start from; initialised where absent
    generator: str | None = None
    held_out: int = 0  # images kept from training, beside which samples are judged for memorisation

    def __post_init__(self) -> None:
        if self.held_out < 0:
            raise ValueError(f"held_out must be 0 or more images, got {self.held_out}")

    @property
    def architecture(self) -> gan.Architecture | gan.ConditionalArchitecture:
        """The preset with this recipe's changes; ValueError for one that it has no place for."""
        presets = gan.PRESETS | gan.CONDITIONAL_PRESETS
        if self.preset not in presets:
            raise ValueError(f"unknown preset {self.preset!r}; the presets are {', '.join(presets)}")
        preset = presets[self.preset]
        keys = ("width", "channels", "kernel", "spectral_norm")
        changes = {key: getattr(self, key) for key in keys if getattr(self, key) is not None}
        if unknown := [key for key in changes if not hasattr(preset, key)]:
            raise ValueError(f"{self.preset} has no {unknown[0]}; leave it out")
        return dataclasses.replace(preset, **changes)

    @property
    def conditional(self) -> bool:
        """Whether the networks are given the labels."""
        return self.preset in gan.CONDITIONAL_PRESETS


def recipe_names() -> list[str]:
    """Names of the recipes that come with the project."""
    return names("recipes")


def load_recipe(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of that name, or in the TOML file at that path, with `overrides` ("training.images=1000") applied.

    Raises UserError naming what is wrong and allowed.
    """
    if name.endswith(".toml"):
        source, stem = Path(name), Path(name).stem
    elif name in recipe_names():
        source, stem = file_of("recipes", name), name
    else:
        raise UserError(f"unknown recipe {name!r}; the recipes are {', '.join(recipe_names())}, or give a .toml file")
    values = read_toml(source)
    try:
        for override in overrides:
            _override(values, override)
        training = build(gan.TrainingConfig, values.pop("training", {}), f"{source.name} [training]")
        dedup = values.pop("dedup", None)
        if dedup is not None:  # `dedup = "semantic"` is short for a table of that method
            table = {"method": dedup} if isinstance(dedup, str) else dedup
            dedup = build(DedupSpec, table, f"{source.name} [dedup]")
        recipe: Recipe = build(Recipe, {"name": stem, "training": training, "dedup": dedup} | values, source.name)
        recipe.architecture  # noqa: B018  raises for impossible networks
    except ValueError as error:
        raise UserError(f"{source.name}: {error}") from error
    return recipe


def _override(values: dict[str, Any], override: str) -> None:
    """Sets `key=value` in a recipe's table; a dot leads into a table, and a word that is no TOML value is a string."""
    key, equals, text = (part.strip() for part in override.partition("="))
    table, _, last = key.rpartition(".")
    if not (equals and key and text) or "." in table:
        raise ValueError(f"an override must be key=value or table.key=value, got {override!r}")
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        parsed = {"value": text}
    if list(parsed) != ["value"]:  # a line break in it
        raise ValueError(f"an override must be one value, got {override!r}")
    if table:
        inner = values.setdefault(table, {})
        if table == "dedup" and isinstance(inner, str):  # short for a table of that method
            inner = values[table] = {"method": inner}
        if not isinstance(inner, dict):
            raise ValueError(f"{table} holds {inner!r} and no keys, in {override!r}")
        inner[last] = parsed["value"]
    else:
        values[key] = parsed["value"]
