"""TOML -> frozen dataclasses. Unknown keys are refused with the known ones named."""

import dataclasses
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from experiments.run.errors import UserError


def names(folder: str) -> list[str]:
    """Names of the TOML files in a folder of `experiments`, sorted."""
    files = (resources.files("experiments") / folder).iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def file_of(folder: str, name: str) -> Path:
    """The TOML file of that name in a folder of `experiments`."""
    return Path(str(resources.files("experiments") / folder / f"{name}.toml"))


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
