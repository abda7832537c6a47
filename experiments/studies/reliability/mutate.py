"""Mutations: of bytes, and of values in JSON and TOML. Each returns what it did, for a person."""

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Rng = np.random.Generator
Path_ = tuple[Any, ...]  # keys and indices that lead to a value

DEEP = "[" * 100_000
NUMBERS = ("NaN", "Infinity", "-Infinity", "1e400", "-1", "0", "1" + "0" * 400, "99999999999999999999", "0.5")
OTHERS = ("null", "[]", "{}", '""', '"text"', "true", "[null]", '{"a": 1}', "[[1, 2], [3]]", '"\\ud800"', '"\\u0000"')
RAW = ("", "null", "[]", "{}", "3", '"text"', "NaN", DEEP, '{"a":' * 20_000, "\x00", "{", "[1,]", "\ufeff{}", "// no")
NAMES = {str: "text", bool: "true", int: "number", float: "number", list: "list", dict: "table", type(None): "null"}


def pick(rng: Rng, options: Sequence[Any]) -> Any:
    """Return one of the options."""
    return options[int(rng.integers(len(options)))]


def damage(data: bytes, rng: Rng) -> tuple[bytes, str]:
    """Damage the bytes of a file: flipped, cut short, emptied, filled, swapped, lengthened. They always change."""
    whole, size = bytearray(data), len(data)
    kind = pick(rng, ("flip", "flip", "flips", "cut", "zeros", "swap", "grow", "empty"))
    place = int(rng.integers(max(1, size)))
    if kind == "flip" and size:
        whole[place] ^= 1 << int(rng.integers(8))
    elif kind == "flips" and size:
        for i in rng.integers(size, size=16):
            whole[i] ^= int(rng.integers(1, 256))
    elif kind == "cut":
        whole = whole[:place]
    elif kind == "zeros":
        whole[place : place + 64] = bytes(len(whole[place : place + 64]))
    elif kind == "swap":
        whole = whole[place:] + whole[:place]
    elif kind == "grow":
        whole += rng.bytes(int(rng.integers(1, 64)))
    else:
        kind, whole = "empty", bytearray()
    if bytes(whole) == data:
        kind, whole = "grow", bytearray(data) + b"\xff"
    return bytes(whole), f"{kind} at byte {place:,} of {size:,}"


def damage_file(file: Path, rng: Rng) -> str:
    """Damage a file in place; see `damage`."""
    content, told = damage(file.read_bytes(), rng)
    file.write_bytes(content)
    return told


def flip_bit(file: Path, place: int) -> None:
    """Flip the bit of that number in a file."""
    with open(file, "r+b") as opened:
        opened.seek(place // 8)
        byte = opened.read(1)[0] ^ 1 << place % 8
        opened.seek(place // 8)
        opened.write(bytes([byte]))


def places(value: Any, at: Path_ = ()) -> Iterator[Path_]:
    """Yield where each value within nested lists and dicts is, the whole included; of a list only the first items."""
    yield at
    items = value.items() if isinstance(value, dict) else enumerate(value[:3]) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*at, key))


def retyped(value: Any, rng: Rng, *, keep: Sequence[str] = ()) -> tuple[str, str]:
    """Return JSON text of `value` in which one value has another type or is no finite number, or the whole is no JSON.

    keep: keys of values that stay as they are.
    """
    if rng.random() < 0.1:
        raw = pick(rng, RAW)
        return raw, f"is {raw[:12]!r}"
    where = [at for at in places(value) if not any(key in keep for key in at)]
    at = pick(rng, where)
    old = value
    for key in at:
        old = old[key]
    name = ".".join(map(str, at)) or "all"
    if at and isinstance(at[-1], str) and rng.random() < 0.15:
        changed = copy.deepcopy(value)
        _inner(changed, at[:-1]).pop(at[-1])
        return json.dumps(changed), f"without {name}"
    new = pick(rng, [text for text in (*NUMBERS, *OTHERS) if _kind(text) != NAMES[type(old)] or _odd(text, old)])
    mark = "@@mutated@@"
    changed = copy.deepcopy(value)
    if not at:
        return new, f"is {new[:20]}"
    _inner(changed, at[:-1])[at[-1]] = mark
    return json.dumps(changed).replace(f'"{mark}"', new), f"{name} is {new[:20]}"


def retype_json(file: Path, rng: Rng, *, keep: Sequence[str] = ()) -> str:
    """Change a type in a JSON file; see `retyped`."""
    text, told = retyped(json.loads(file.read_text()), rng, keep=keep)
    file.write_text(text)
    return told


def retype_line(file: Path, rng: Rng, *, keep: Sequence[str] = ()) -> str:
    """Change a type in one line of a JSON Lines file; see `retyped`."""
    lines = file.read_text().splitlines()
    place = int(rng.integers(len(lines)))
    lines[place], told = retyped(json.loads(lines[place]), rng, keep=keep)
    file.write_text("\n".join(lines) + "\n")
    return f"line {place + 1}: {told}"


def edit_csv(file: Path, rng: Rng) -> str:
    """Put something else into one field of a CSV file, or lose a line, a column or the rest."""
    rows = [line.split(",") for line in file.read_text().splitlines()]
    row, kind = int(rng.integers(len(rows))), pick(rng, ("field", "field", "field", "line", "short", "rest", "repeat"))
    column = int(rng.integers(len(rows[row])))
    text = pick(rng, ("", "nan", "inf", "-1", "x", "1e400", "9" * 30, "\x00", "\x1b[31m", '"', "=1+1", "0x10", "²"))
    if kind == "field":
        rows[row][column] = text
    elif kind == "line":
        rows.pop(row)
    elif kind == "short":
        rows[row] = rows[row][:column]
    elif kind == "rest":
        rows = rows[:row]
    else:
        rows.insert(row, rows[row])
    file.write_text("".join(",".join(line) + "\n" for line in rows))
    return f"{kind} {text!r} at line {row + 1}, column {column + 1}"


def on(file: str, change: Callable[..., str], rng: Rng, **how: Any) -> Callable[[Path], str]:
    """Return the preparation of a case that changes this file of its folder."""
    own = np.random.default_rng(int(rng.integers(2**63)))
    return lambda folder: change(folder / file, own, **how)


def _inner(value: Any, at: Path_) -> Any:
    for key in at:
        value = value[key]
    return value


def _kind(text: str) -> str:
    return NAMES[type(json.loads(text))]


def _odd(text: str, old: Any) -> bool:
    """Whether the number, in place of the number `old`, is none that a file of ours can hold there."""
    return text in NUMBERS[:4] or text.startswith("1000") or (text == "0.5" and isinstance(old, int))
