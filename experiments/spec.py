"""TOML -> frozen dataclasses: recipes and tables. Unknown keys are refused with the known ones named."""

import dataclasses
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import dedup
import gan
import results
from experiments.errors import UserError

HASHES = {"phash": dedup.phash, "dhash": dedup.dhash, "ahash": dedup.ahash}


@dataclass(frozen=True)
class DedupSpec:
    """The de-duplication pass before training: images whose hashes lie within `radius` are grouped, one stays."""

    hash: str = "phash"
    radius: int = 4  # bits of 64

    def __post_init__(self) -> None:
        if self.hash not in HASHES:
            raise ValueError(f"unknown hash {self.hash!r}; the hashes are {', '.join(HASHES)}")
        if not 0 <= self.radius < 64:
            raise ValueError(f"radius must lie in [0, 63], got {self.radius}")


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
    dedup: DedupSpec | None = None  # absent: no pass

    @property
    def architecture(self) -> gan.Architecture:
        """The preset with this recipe's changes."""
        changes = {k: getattr(self, k) for k in ("width", "channels", "kernel") if getattr(self, k) is not None}
        return dataclasses.replace(gan.architecture(self.preset), **changes)


def recipe_names() -> list[str]:
    """Names of the recipes that come with the project."""
    folder = resources.files("experiments") / "recipes"
    return sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml"))


def load_recipe(name: str) -> Recipe:
    """The recipe of that name, or in the TOML file at that path. Raises UserError naming what is wrong and allowed."""
    if name.endswith(".toml"):
        source, stem = Path(name), Path(name).stem
    elif name in recipe_names():
        source, stem = Path(str(resources.files("experiments") / "recipes" / f"{name}.toml")), name
    else:
        raise UserError(f"unknown recipe {name!r}; the recipes are {', '.join(recipe_names())}, or give a .toml file")
    values = read_toml(source)
    try:
        training = build(gan.TrainingConfig, values.pop("training", {}), f"{source.name} [training]")
        dedup = values.pop("dedup", None)
        dedup = build(DedupSpec, dedup, f"{source.name} [dedup]") if dedup is not None else None
        recipe: Recipe = build(Recipe, {"name": stem, "training": training, "dedup": dedup} | values, source.name)
        recipe.architecture  # noqa: B018  raises for impossible networks
    except ValueError as error:
        raise UserError(f"{source.name}: {error}") from error
    return recipe


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
