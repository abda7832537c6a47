"""Read TOML files into frozen dataclasses. An unknown key is an error that lists the known ones."""

import dataclasses
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from experiments.run.errors import UserError, closest

PLAIN: dict[str, Any] = {
    "int": int,
    "float": (int, float),
    "str": str,
    "bool": bool,
}  # only these types are checked here


def names(folder: str) -> list[str]:
    """Return the names of the TOML files in a folder of `experiments`, sorted."""
    files = (resources.files("experiments") / folder).iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def file_of(folder: str, name: str) -> Path:
    """Return the TOML file of that name in a folder of `experiments`."""
    return Path(str(resources.files("experiments") / folder / f"{name}.toml"))


def read_toml(path: Path) -> dict[str, Any]:
    """Return the file's table. Raises UserError when the file is missing or not TOML."""
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError as error:
        raise UserError(f"no file {path}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid TOML: {error}") from error


def build(cls: type, values: dict[str, Any], where: str) -> Any:
    """Return `cls(**values)`. Raises ValueError for unknown, missing and wrongly typed keys.

    The message names the known keys. Only the types in `PLAIN` are checked here; `cls` checks the others.
    """
    known = {f.name: f for f in dataclasses.fields(cls)}
    if not isinstance(values, dict):
        raise ValueError(f"{where} must be a table, got {values!r}")
    if unknown := sorted(set(values) - set(known)):
        raise ValueError(
            f"unknown key {unknown[0]!r} in {where}; known: {', '.join(known)}{closest(unknown[0], known)}"
        )
    for key, value in values.items():
        kind = str(getattr(known[key].type, "__name__", known[key].type)).removesuffix(" | None")
        plain = PLAIN.get(kind)
        if plain and (not isinstance(value, plain) or isinstance(value, bool) != (plain is bool)):
            raise ValueError(f"{key} in {where} must be of type {kind}, got {value!r}")
    required = (dataclasses.MISSING, dataclasses.MISSING)
    missing = [k for k, f in known.items() if (f.default, f.default_factory) == required and k not in values]
    if missing:
        raise ValueError(f"{where} lacks {', '.join(missing)}")
    return cls(**values)
