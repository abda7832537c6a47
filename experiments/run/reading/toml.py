"""Read TOML files into frozen dataclasses. An unknown key is an error that lists the known ones."""

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from experiments.run.errors import UserError, one_line
from experiments.run.reading.documents import MAX_DEPTH, read_text


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
        return parse_toml(read_text(path))
    except FileNotFoundError as error:
        raise UserError(f"no file {path}") from error
    except ValueError as error:
        raise UserError(f"{path} is not valid TOML: {one_line(error)}") from error


def parse_toml(text: str) -> dict[str, Any]:
    """Return the table of a TOML text. Raises ValueError for anything else."""
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep") from error
