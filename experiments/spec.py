"""TOML -> frozen dataclasses: recipes and tables. Unknown keys are refused with the known ones named."""

import dataclasses
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import dedup
import gan
import results
from experiments.errors import UserError

HASHES = {"phash": dedup.phash, "dhash": dedup.dhash, "ahash": dedup.ahash}


METHODS = ("near-duplicates", *HASHES, "semantic")
COSTS = {  # in words, of 100,000 images of 32x32 on two cores
    "near-duplicates": "takes a minute or two for 100,000 images, and grows with the product of the sets' sizes",
    **dict.fromkeys(HASHES, "takes seconds for 100,000 images"),
    "semantic": "learns a code first, in about a minute whatever the number of images",
}


@dataclass(frozen=True)
class DedupSpec:
    """The de-duplication pass: what makes two images the same; of each group of such images one stays.

    method: "near-duplicates", the calibrated pass (`dedup.near_duplicates`); a perceptual hash ("phash", "dhash",
    "ahash") within `radius`; or "semantic", the paper's code, learnt from the images and equal.
    """

    method: str = "near-duplicates"
    radius: int | None = None  # bits of 64, of the hashes alone; 4 where none is given

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"unknown method {self.method!r}; the methods are {', '.join(METHODS)}")
        if self.method not in HASHES:
            if self.radius is not None:
                raise ValueError(f"{self.method} takes no radius; leave it out, or name one of {', '.join(HASHES)}")
            return
        if self.radius is None:
            object.__setattr__(self, "radius", 4)
        elif not isinstance(self.radius, int) or isinstance(self.radius, bool) or not 0 <= self.radius < 64:
            raise ValueError(f"radius must be an integer in [0, 63], got {self.radius!r}")

    def __str__(self) -> str:
        return self.method if self.radius is None else f"{self.method} at radius {self.radius}"


@dataclass(frozen=True)
class Recipe:
    """How one DCGAN is trained: the network, the images, the pass over them, the optimisation."""

    name: str
    preset: str
    dataset: str  # name of an unlabelled packed set (see experiments.datasets)
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
    return _names("recipes")


def table_names() -> list[str]:
    """Names of the committed tables."""
    return _names("tables")


def _names(folder: str) -> list[str]:
    files = (resources.files("experiments") / folder).iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def load_recipe(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of that name, or in the TOML file at that path, with `overrides` ("training.images=1000") applied.

    Raises UserError naming what is wrong and allowed.
    """
    if name.endswith(".toml"):
        source, stem = Path(name), Path(name).stem
    elif name in recipe_names():
        source, stem = Path(str(resources.files("experiments") / "recipes" / f"{name}.toml")), name
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


def read_toml(path: Path) -> dict[str, Any]:
    """The file's table; UserError when it is missing or not TOML."""
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError as error:
        raise UserError(f"no file {path}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid TOML: {error}") from error


def build(cls: type, values: dict[str, Any], where: str) -> Any:
    """`cls(**values)`, refusing unknown, missing and wrongly typed keys with a ValueError that names the known ones."""
    known = {f.name: f for f in dataclasses.fields(cls)}
    if not isinstance(values, dict):
        raise ValueError(f"{where} must be a table, got {values!r}")
    if unknown := sorted(set(values) - set(known)):
        raise ValueError(f"unknown key {unknown[0]!r} in {where}; known: {', '.join(known)}")
    for key, value in values.items():
        plain: Any = {"int": int, "float": (int, float), "str": str}.get(str(getattr(known[key].type, "__name__", "")))
        if plain and (not isinstance(value, plain) or isinstance(value, bool)):
            raise ValueError(f"{key} in {where} must be of type {known[key].type.__name__}, got {value!r}")  # type: ignore[union-attr]
    required = (dataclasses.MISSING, dataclasses.MISSING)
    missing = [k for k, f in known.items() if (f.default, f.default_factory) == required and k not in values]
    if missing:
        raise ValueError(f"{where} lacks {', '.join(missing)}")
    return cls(**values)


def load_table(name: str) -> results.Table:
    """The table of that name. Raises UserError for unknown names and for a TOML that does not describe a table."""
    file = Path(str(resources.files("experiments") / "tables" / f"{name}.toml"))
    try:
        return results.table_from_dict(read_toml(file))
    except ValueError as error:
        raise UserError(f"{file.name}: {error}") from error
