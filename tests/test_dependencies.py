"""The versions that are declared are those that were tested."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins(name: str) -> dict[str, str]:
    """Package -> version of a file of constraints."""
    lines = (ROOT / name).read_text().splitlines()
    return {package.lower(): version for package, _, version in (line.partition("==") for line in lines)}


def bounds() -> dict[str, str]:
    """Package -> lowest version that pyproject.toml declares, of everything but what dev adds."""
    texts = [*DECLARED["dependencies"], *DECLARED["optional-dependencies"]["dask"]]
    return {
        found[1].lower(): found[2] for text in texts if (found := re.fullmatch(r"([\w-]+)(?:\[.*\])?>=([\d.]+)", text))
    }


def test_the_lowest_versions_are_those_that_make_test_lowest_installs() -> None:
    declared, lowest = bounds(), pins("constraints-lowest.txt")
    assert len(declared) == len(DECLARED["dependencies"]) + 1
    wrong = {name: least for name, least in declared.items() if not f"{lowest[name]}.0".startswith(f"{least}.")}
    assert wrong == {}


def test_make_pins_every_package() -> None:
    assert bounds().keys() <= pins("constraints.txt").keys()
