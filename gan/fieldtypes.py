"""Checks the fields of a frozen dataclass against its annotations: whoever builds one may have read it from a file."""

import math
from dataclasses import fields
from numbers import Integral, Real
from typing import Any, get_args, get_origin, get_type_hints

_KINDS: dict[Any, tuple[type, str]] = {
    bool: (bool, "true or false"),
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    str: (str, "text"),
}


def check_fields(thing: Any) -> None:
    """Raise ValueError for a field of another type than annotated: bool, int, float, str, or a tuple of one of them.

    A list in place of a tuple becomes one, because JSON and TOML have only lists. A bool is no number, and a number is
    finite and fits 64 bits.
    """
    hints = get_type_hints(type(thing))
    for name in (field.name for field in fields(thing)):
        kind, value = hints[name], getattr(thing, name)
        if get_origin(kind) is not tuple:
            _check(kind, value, name)
            continue
        if not isinstance(value, list | tuple):
            raise ValueError(f"{name} must be a list, got {_short(value)}")
        for item in value:
            _check(get_args(kind)[0], item, f"an entry of {name}")
        object.__setattr__(thing, name, tuple(value))


def _check(kind: Any, value: object, name: str) -> None:
    wanted, words = _KINDS[kind]
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{name} must be {words}, got {_short(value)}")
    if isinstance(value, Integral) and not -(2**63) <= int(value) < 2**63:
        raise ValueError(f"{name} must fit 64 bits, got {_short(value)}")
    if isinstance(value, Real) and not math.isfinite(value):
        raise ValueError(f"{name} must be finite, got {value}")


def _short(value: object) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an int of thousands of digits, a list of thousands of levels
        return f"a {type(value).__name__}"
    return text if len(text) < 100 else f"{text[:100]}..."
