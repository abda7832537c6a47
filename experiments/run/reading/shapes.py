"""Shapes: Python types that say what a value of JSON or TOML must look like. `build` checks a value against one.

A shape is `int`, `float`, `str`, `bool`, `dict`, `list`, `None`, `Any`, `Literal["a", "b"]`, `list[X]`, `dict[str, X]`,
`tuple[X, ...]`, `tuple[X, Y]`, `X | Y`, `Annotated[X, rule]` with rules of `results.lines`, or a dataclass, whose
fields have shapes. A dataclass may check more in its `__post_init__`.
"""

import dataclasses
import math
import reprlib
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from experiments.run.errors import closest

NOTHING: Mapping[str, Any] = types.MappingProxyType({})
_PLAIN: dict[Any, tuple[type, ...]] = {
    **{kind: (kind,) for kind in (int, str, bool, dict, list, types.NoneType)},
    float: (int, float),
}


def build(shape: Any, value: Any, where: str, *, closed: bool = True, names: Mapping[str, Any] = NOTHING) -> Any:
    """Return `value` in the form that `shape` says: tables become dataclasses, lists of tuples' shapes tuples.

    where: what the value is called in messages. closed: whether a table may have only the fields of its dataclass;
    otherwise other keys are left out. names: modules that annotations name but that are imported for type checkers
    only. Raises ValueError, in one line, for a value of another shape, and for floats that are not finite.
    """
    origin, parts = get_origin(shape), get_args(shape)

    def inner(part: Any, of: Any, called: str) -> Any:
        return build(part, of, called, closed=closed, names=names)

    if shape is Any:
        return value
    if dataclasses.is_dataclass(shape) and isinstance(shape, type):
        return value if type(value) is shape else _table(shape, value, where, closed, names)
    if origin is Annotated:
        found = inner(parts[0], value, where)
        for rule in parts[1:]:
            if not rule.holds(found):
                raise ValueError(f"{where} must {rule.must}, got {_short(value)}")
        return found
    if origin in (Union, types.UnionType):
        return _one_of(parts, value, where, inner)
    if origin is Literal:
        if not any(type(value) is type(part) and value == part for part in parts):
            raise ValueError(f"{where} must be one of {', '.join(map(str, parts))}, got {_short(value)}")
        return value
    if origin in (tuple, list):
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"{where} must be a list, got {_short(value)}")
        if origin is list or parts[1:] == (...,):
            parts = parts[:1] * len(value)
        if len(parts) != len(value):
            raise ValueError(f"{where} must have {len(parts)} entries, got {len(value)}")
        pairs = enumerate(zip(parts, value, strict=True))
        return origin(inner(part, of, f"entry {i} of {where}") for i, (part, of) in pairs)
    if origin is dict:
        _plain(dict, value, where)
        return {key: inner(parts[1], of, f"{key} in {where}") for key, of in value.items()}
    return _plain(shape, value, where)


def _short(value: object) -> str:
    """Return the value as messages show it: of a long or deep one, only the beginning."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = 80
    try:
        return short.repr(value)
    except ValueError:  # an int of thousands of digits
        return "a number of thousands of digits"


def _table(cls: type, value: Any, where: str, closed: bool, names: Mapping[str, Any]) -> Any:
    known = {f.name: f for f in dataclasses.fields(cls)}
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be a table, got {_short(value)}")
    if closed and (unknown := sorted(map(str, set(value) - set(known)))):
        raise ValueError(
            f"unknown key {unknown[0]!r} in {where}; known: {', '.join(known)}{closest(unknown[0], known)}"
        )
    hints = get_type_hints(cls, localns=dict(names), include_extras=True)
    required = (dataclasses.MISSING, dataclasses.MISSING)
    given = {
        key: build(hints[key], value[key], f"{key} in {where}", closed=closed, names=names)
        for key in known
        if key in value
    }
    missing = [k for k, f in known.items() if (f.default, f.default_factory) == required and k not in given]
    if missing:
        raise ValueError(f"{where} lacks {', '.join(missing)}")
    return cls(**given)


def _one_of(parts: tuple[Any, ...], value: Any, where: str, inner: Any) -> Any:
    """Build the first part that the value fits. If there is one part beside None, its own message is raised."""
    if value is None and types.NoneType in parts:
        return None
    parts = tuple(part for part in parts if part is not types.NoneType)
    errors = []
    for part in parts:
        try:
            return inner(part, value, where)
        except ValueError as error:
            errors.append(error)
    if len(parts) == 1:
        raise errors[0]
    kinds = " or ".join(getattr(part, "__name__", str(part)) for part in parts)
    raise ValueError(f"{where} must be of type {kinds}, got {_short(value)}")


def _plain(shape: Any, value: Any, where: str) -> Any:
    """Check a value against a type of `_PLAIN`: a bool is no number, and a float is finite."""
    if type(value) not in _PLAIN[shape]:
        raise ValueError(f"{where} must be of type {shape.__name__}, got {_short(value)}")
    if shape is int and not -(2**63) <= value < 2**64:
        raise ValueError(f"{where} must fit 64 bits, got {_short(value)}")
    if shape is float and not _finite(value):
        raise ValueError(f"{where} must be a finite number, got {_short(value)}")
    return value


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond the range of floats
        return False
