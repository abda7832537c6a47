"""What lies in results/look: every kind, of networks that come with the project, with a sentence; and repeatable."""

import csv
import hashlib
import json
from pathlib import Path

import pytest
from PIL import Image

import features
import gan
from experiments import cli

RESULTS = Path(__file__).parents[3] / "results"
NETWORKS = ("faces-64", "svhn32-half")
KINDS = ("walk", "arithmetic", "turn", "filters", "forget", "memorised")
PICTURES = {
    "walk": {"walk.png", "walk.webp"},
    "arithmetic": {"arithmetic.png"},
    "turn": {"turn.png"},
    "filters": {"filters.png"},
    "forget": {"boxed.png", "new.png"},
    "memorised": {"samples.png"},
}
LOOKS = [(kind, name) for kind in KINDS for name in NETWORKS]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_shipped_pair_is_what_training_recorded(name: str) -> None:
    folder = RESULTS / "weights" / name
    written = json.loads((folder / "training.json").read_text())
    for network in ("generator", "discriminator"):
        file = folder / f"{network}.safetensors"
        assert hashlib.sha256(file.read_bytes()).hexdigest() == written[network]
        assert file.stat().st_size <= 15_000_000
    assert (folder / "card.md").exists() and (folder / "removed.csv").exists()


@pytest.mark.parametrize(("kind", "name"), LOOKS)
def test_a_look_is_complete_and_of_the_shipped_network(kind: str, name: str) -> None:
    folder = RESULTS / "look" / f"{kind}-{name}"
    record = json.loads((folder / "record.json").read_text())
    assert record["command"][:3] == ["dcgan-eval", "look", "arithmetic" if kind == "turn" else kind]
    assert f"results/weights/{name}" in record["command"] and record["figures"]
    network = gan.load(
        RESULTS / "weights" / name / f"{'discriminator' if kind == 'filters' else 'generator'}.safetensors"
    )
    assert features.weights_digest(network) in record["inputs"].values()
    assert {file.name for file in folder.iterdir() if file.suffix in (".png", ".webp")} == PICTURES[kind]
    for picture in PICTURES[kind]:
        Image.open(folder / picture).load()
    assert (folder / "shows.txt").read_text().strip()


def test_the_worked_example_has_boxes_on_20_samples() -> None:
    boxes = json.loads((RESULTS / "look" / "forget-faces-64" / "boxes.json").read_text())["boxes"]
    assert len([found for found in boxes.values() if found]) >= 20


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["arithmetic", "forget"])
def test_a_shipped_look_can_be_repeated(kind: str, tmp_path: Path) -> None:
    """The recorded command gives the recorded figures: those that depend on the networks alone."""
    folder = RESULTS / "look" / f"{kind}-svhn32-half"
    command = json.loads((folder / "record.json").read_text())["command"][1:]
    command = [str(RESULTS.parent / part) if part.startswith("results/") else part for part in command]
    command[command.index("--out") + 1] = str(tmp_path)
    assert cli.main(command) == 0
    for again, before in zip(rows(tmp_path / "figures.csv"), rows(folder / "figures.csv"), strict=True):
        for column, value in before.items():
            try:
                assert float(again[column]) == pytest.approx(float(value), rel=0.05), column
            except ValueError:
                assert again[column] == value


def rows(file: Path) -> list[dict[str, str]]:
    with open(file, newline="") as opened:
        return list(csv.DictReader(opened))
