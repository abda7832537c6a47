"""Exemplars and boxes chosen with mouse and keyboard arrive in the file that the browser saves, and `look` takes it."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import features
import gan
from experiments import cli

Opener = Callable[[Path], Any]
SIDE = 64  # pixels of an image


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `dcgan64`, freshly initialised, with contrast."""
    network = gan.Generator(dataclasses.replace(gan.PRESETS["dcgan64"], width=4))
    gan.initialise(network, torch.Generator().manual_seed(0))
    network.deconv4.conv.weight.data *= 50
    file = tmp_path_factory.mktemp("run") / "generator.safetensors"
    gan.save(file, network)
    return file


@pytest.fixture
def sheet(generator: Path, tmp_path: Path, page: Opener) -> Callable[[str], Any]:
    """Opens the page that `look KIND --sheet` writes, of 30 samples."""

    def opened(kind: str) -> Any:
        asked = ["look", kind, str(generator), "--sheet", "--samples", "30", "--out", str(tmp_path)]
        assert cli.main(asked) == 0
        (file,) = tmp_path.glob("*.html")
        tab = page(file)
        tab.run("localStorage.clear()")
        tab.open(file)
        assert tab.run("document.querySelectorAll('#samples > *').length") == 30
        return tab

    return opened


def check_whole(tab: Any) -> None:
    """No error, nothing asked for but the file, every picture there."""
    assert tab.errors() == [] and [url for url in tab.requests() if not url.startswith(("file:", "data:"))] == []
    assert tab.run("[...document.images].filter(i => !(i.complete && i.naturalWidth)).length") == 0


def concept(tab: Any, name: str, *indices: int) -> None:
    tab.run("document.getElementById('concept-name').value = ''")
    tab.focus("#concept-name")
    tab.type(name)
    tab.press("Enter")
    for index in indices:
        tab.click(f"#sample-{index}")


def test_exemplars_by_click(generator: Path, sheet: Callable[[str], Any], tmp_path: Path) -> None:
    tab = sheet("arithmetic")
    concept(tab, "smiling woman", 3, 14, 5)
    concept(tab, "woman", 9, 29, 8, 0)
    tab.click("#sample-8")  # once more: not one of them
    concept(tab, "man", 1, 2)
    assert tab.run("document.getElementById('status').textContent") == "Fewer than three: man."
    tab.focus("#sample-3")
    tab.press("ArrowRight")
    tab.press(" ")  # the sample beside it, which is one of none
    tab.click("#concept-0")
    assert tab.run("document.querySelectorAll('.sample[aria-pressed=true]').length") == 3
    file = tab.saved("#export", tmp_path)
    chosen = json.loads(file.read_text())
    expected = {"smiling woman": [3, 14, 5], "woman": [9, 29, 0], "man": [1, 2, 4]}
    assert file.name == "concepts.json" and chosen["concepts"] == expected and chosen["seed"] == 0
    assert chosen["weights"] == features.weights_digest(gan.load(generator))
    check_whole(tab)

    out = tmp_path / "out"
    assert cli.main(["look", "arithmetic", str(generator), "--exemplars", str(file), "--out", str(out)]) == 0
    assert json.loads((out / "record.json").read_text())["settings"]["concepts"] == [
        {"name": k, "indices": v} for k, v in expected.items()
    ]


def test_boxes_by_mouse(generator: Path, sheet: Callable[[str], Any], tmp_path: Path) -> None:
    tab = sheet("forget")
    side = tab.run("document.getElementById('canvas-0').getBoundingClientRect().width")

    def drag(index: int, *corners: float) -> None:
        tab.drag(f"#canvas-{index}", *(round(corner * side / SIDE) for corner in corners))

    drag(12, 5, 10, 30, 41)
    drag(0, 50, 60, 20, 30)  # from the lower right corner to the upper left
    drag(0, 2, 2, 9, 8)
    drag(29, 40, 40, 500, 300)  # beyond the image, and of the window
    drag(7, 1, 1, 20, 20)
    drag(7, 10, 10, 10, 10)  # a click in a box deletes it
    file = tab.saved("#export", tmp_path)
    drawn = json.loads(file.read_text())
    expected = {"0": [[20, 30, 50, 60], [2, 2, 9, 8]], "12": [[5, 10, 30, 41]], "29": [[40, 40, 64, 64]]}
    assert file.name == "boxes.json" and drawn["boxes"] == expected
    assert tab.run("document.getElementById('status').textContent") == "4 boxes on 3 samples."
    check_whole(tab)

    out, command = tmp_path / "out", ["look", "forget", str(generator), "--boxes", str(file)]
    assert cli.main([*command, "--draws", "1", "--out", str(out)]) == 0
    assert json.loads((out / "record.json").read_text())["settings"]["boxes"] == expected

    tab.open(tmp_path / "boxes.html")  # the browser keeps what was drawn
    assert tab.run("document.getElementById('status').textContent") == "4 boxes on 3 samples."
    tab.focus("#canvas-0")
    tab.press("Delete")
    tab.click("#delete-12")
    assert json.loads(tab.run("document.getElementById('json').textContent"))["boxes"] == {
        "0": [[20, 30, 50, 60]],
        "29": [[40, 40, 64, 64]],
    }


@pytest.mark.parametrize("kind", ["arithmetic", "forget"])
def test_a_phone_is_wide_enough_and_both_schemes_have_their_ground(kind: str, sheet: Callable[[str], Any]) -> None:
    tab = sheet(kind)
    tab.width(390)
    assert tab.run("document.documentElement.scrollWidth") <= 390
    grounds = []
    for scheme in ("light", "dark"):
        tab.scheme(scheme)
        grounds.append(tab.run("getComputedStyle(document.querySelector('nav')).backgroundColor"))
    assert grounds == ["rgb(255, 255, 255)", "rgb(18, 18, 18)"]
