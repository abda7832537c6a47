"""JSON that is read back. `read_json` is the only reader: it knows how the content must look, and names file and fix.

JSON here is stricter than Python's: no NaN, no infinities, no number beyond 64 bits, no key twice, at most `MAX_DEPTH`
levels. What `write_json` writes ends with the entry `seal`, the SHA-256 of the others, so that a changed bit is found.
Files without a seal, as users and earlier versions wrote them, are read as well.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from experiments.run.errors import UserError, one_line
from experiments.run.files import write_bytes
from experiments.run.reading.shapes import build

MAX_BYTES = 256 * 2**20
MAX_DEPTH = 32
SEAL = "seal"
RESTORE = "restore it from a copy, or delete it"


class DamagedError(UserError, ValueError):
    """A file that does not hold what it should; the message names the file and the fix."""


def read_json(file: Path, shape: Any = dict, *, what: str = "damaged", fix: str = RESTORE) -> Any:
    """Return the content of a JSON file in the form of `shape` (see `shapes.build`); other keys are left out.

    Raises FileNotFoundError if there is no file, and DamagedError, "FILE is WHAT (...); FIX", for any other content.
    """
    try:
        value = unsealed(parse(read_text(file)))
        if shape is not Any and not isinstance(value, dict):
            raise ValueError(f"it holds a {type(value).__name__}, not a table")
        return build(shape, value, "it", closed=False)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise DamagedError(f"{file} is {what} ({one_line(error)}); {fix}") from error


def write_json(file: Path, value: Mapping[str, Any]) -> None:
    """Write a table of JSON values, sealed, whole or not at all."""
    write_bytes(file, (json.dumps({**value, SEAL: seal_of(value)}, indent=2, allow_nan=False) + "\n").encode())


def unsealed(value: Any) -> Any:
    """Return what `write_json` was given. Raises ValueError if the content does not match its seal."""
    if not isinstance(value, dict) or not value:
        return value
    last = next(reversed(value))
    rest = {key: of for key, of in value.items() if key != last}
    matches = isinstance(value[last], str) and len(value[last]) == 64 and value[last] == seal_of(rest)
    if last == SEAL and matches:
        return rest
    if SEAL in value or matches:  # the seal matches, but is called otherwise: its name was changed
        raise ValueError("its content does not match its seal")
    return value


def read_text(file: Path) -> str:
    """Return the text of a regular file of at most `MAX_BYTES` in UTF-8. Raises OSError, and ValueError otherwise."""
    if file.exists() and not file.is_file():
        raise ValueError("it is not a regular file")
    if (size := file.stat().st_size) > MAX_BYTES:
        raise ValueError(f"it has {size:,} bytes, at most {MAX_BYTES:,} are read")
    return file.read_text(encoding="utf-8")


def parse(text: str) -> Any:
    """Return the value of a JSON text. Raises ValueError for anything that is not strict JSON (see the module)."""
    try:
        value = json.loads(text, parse_constant=_constant, object_pairs_hook=_once)
    except RecursionError as error:
        raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep") from error
    _check_plain(value)
    return value


def _check_plain(value: Any) -> None:
    """Raise ValueError if there is an infinite float, an int beyond 64 bits, or too deep a level in lists and dicts."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH + 1):
        deeper: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                deeper += item.values()
            elif isinstance(item, list):
                deeper += item
            elif isinstance(item, float) and not math.isfinite(item):
                raise ValueError(f"it holds a number that is not finite ({item})")
            elif type(item) is int and not -(2**63) <= item < 2**64:
                raise ValueError("it holds a number of more than 64 bits")
        if not deeper:
            return
        level = deeper
    raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")


def seal_of(value: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) of JSON values: the entry `SEAL` of a sealed file, which must be its last."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _constant(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}, which is no JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"it has the key {next(key for key in keys if keys.count(key) > 1)!r} twice")
    return found
