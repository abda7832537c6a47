"""The table of kinds: what help, errors and the docs say is what `resolve` takes."""

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from experiments import cli
from experiments.networks.kinds import KINDS, PREFIXES, SHIPPED, WEIGHTS, listing, markdown_table, parse_layers

ROOT = Path(__file__).parents[3]


def test_the_readme_shows_this_table() -> None:
    assert markdown_table() in (ROOT / "docs/commands.md").read_text()


@pytest.mark.parametrize("command", ["check", "extract", "eval", "ablate"])
def test_help_lists_every_kind(command: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    shown = capsys.readouterr().out
    assert listing() in shown
    for kind in KINDS:
        assert f"\n  {kind.written}\n" in shown


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.written)
def test_a_kinds_resolver_is_there_and_takes_what_is_written(kind) -> None:
    if kind.resolver is not None:
        module, _, function = kind.resolver.partition(":")
        assert callable(getattr(import_module(module), function))
    written = [re.sub(r"\[.*", "", kind.written)] if kind.written != "NAME" else SHIPPED
    for name in written:
        assert next(other for other in KINDS if re.fullmatch(other.pattern, name)) is kind


def test_prefixes() -> None:
    assert PREFIXES == ("random", "theano", "kmeans", "torchvision", "timm", "supervised")


def test_networks_that_come_with_the_project_lie_alike() -> None:
    assert SHIPPED == (
        "faces-64",
        "imagenet32-contrast",
        "imagenet32-half",
        "imagenet32-half-without-gan",
        "imagenet32-views",
        "svhn32",
        "svhn32-half",
        "svhn32-without-gan",
    )
    assert sorted(path.name for path in WEIGHTS.iterdir()) == list(SHIPPED)
    for name in SHIPPED:
        for file in ("discriminator.safetensors", "training.json", "card.md"):
            assert (WEIGHTS / name / file).is_file()


def test_links_of_cards_lead_somewhere() -> None:
    for card in WEIGHTS.glob("*/card.md"):
        for link in re.findall(r"\]\(([^)#]+)", card.read_text()):
            assert (card.parent / link).exists(), (card, link)


@pytest.mark.parametrize(
    ("text", "layers"),
    [(None, None), ("", None), ("conv1", ("conv1",)), ("conv1, layer*,relu@2", ("conv1", "layer*", "relu@2"))],
)
def test_layers(text: str | None, layers: tuple[str, ...] | None) -> None:
    assert parse_layers(text) == layers


@pytest.mark.parametrize("module", ["experiments.networks.kinds", "experiments.commands.check"])
def test_neither_table_nor_help_brings_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
