"""Values are checked against shapes: every kind of annotation in use, by one mechanism."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest

from experiments.run.reading.shapes import build
from results.lines import whole


@dataclass(frozen=True)
class Inner:
    sides: tuple[int, ...] = ()
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True)
class Outer:
    rate: float
    inner: Inner = Inner()
    scores: dict[str, float] | None = None
    count: Annotated[int, whole(1)] = 1
    pair: tuple[str, int] = ("", 0)


def test_tables_become_dataclasses_and_lists_tuples():
    given = {"rate": 1, "inner": {"sides": [1, 2], "kind": "b"}, "scores": {"x": 0.5}, "pair": ["a", 3]}
    assert build(Outer, given, "it") == Outer(1, Inner((1, 2), "b"), {"x": 0.5}, 1, ("a", 3))
    assert build(Outer, {"rate": 0.5, "scores": None}, "it") == Outer(0.5)
    assert build(Outer, {"rate": 0.5, "more": 1}, "it", closed=False) == Outer(0.5)
    assert build(list[Any], (1, "a"), "it") == [1, "a"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "it must be a table, got None"),
        ([], "it must be a table, got []"),
        ({}, "it lacks rate"),
        ({"rate": 1, "rats": 2}, "unknown key 'rats' in it; known: rate, inner, scores, count, pair; did you mean"),
        ({"rate": True}, "rate in it must be of type float, got True"),
        ({"rate": "1"}, "rate in it must be of type float, got '1'"),
        ({"rate": float("nan")}, "rate in it must be a finite number, got nan"),
        ({"rate": 10**400}, "rate in it must be a finite number, got 1000"),
        ({"rate": 10**5000}, "rate in it must be a finite number, got a number of thousands of digits"),
        ({"rate": 1, "inner": 3}, "inner in it must be a table, got 3"),
        ({"rate": 1, "inner": {"sides": 3}}, "sides in inner in it must be a list, got 3"),
        ({"rate": 1, "inner": {"sides": [1, True]}}, "entry 1 of sides in inner in it must be of type int, got True"),
        ({"rate": 1, "inner": {"kind": "c"}}, "kind in inner in it must be one of a, b, got 'c'"),
        ({"rate": 1, "inner": {"kind": ["a"]}}, "kind in inner in it must be one of a, b, got ['a']"),
        ({"rate": 1, "scores": {"x": "y"}}, "x in scores in it must be of type float, got 'y'"),
        ({"rate": 1, "count": 0}, "count in it must be a whole number >= 1, got 0"),
        ({"rate": 1, "count": 2**64}, "count in it must fit 64 bits, got 18446744073709551616"),
        ({"rate": 1, "count": 1.0}, "count in it must be of type int, got 1.0"),
        ({"rate": 1, "pair": ["a"]}, "pair in it must have 2 entries, got 1"),
    ],
)
def test_other_values_are_refused(given, said):
    with pytest.raises(ValueError) as caught:
        build(Outer, given, "it")
    assert str(caught.value).startswith(said) and "\n" not in str(caught.value)
