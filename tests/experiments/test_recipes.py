"""Every recipe that comes with the project: it loads, says what it costs and how it is run, by its own name."""

import re
from importlib import resources

import pytest

import gan
from experiments import datasets, spec


@pytest.mark.parametrize("name", spec.recipe_names())
def test_a_recipe_says_what_it_is(name):
    recipe = spec.load_recipe(name)
    assert recipe.name == name
    assert datasets.is_name(recipe.dataset), recipe.dataset
    arch, side = recipe.architecture, int(re.search(r"\d+$", recipe.dataset.replace("svhn-train", "32")).group())
    assert arch.size == side
    assert arch.channels == (1 if "mnist" in recipe.dataset else 3)
    assert recipe.dedup is not None  # each set goes through the pass first
    text = (resources.files("experiments") / "recipes" / f"{name}.toml").read_text()
    comments = [line for line in text.splitlines() if line.startswith("#")]
    for what in ("Cost", "Expected"):
        assert any(line.startswith(f"# {what}: ") for line in comments)
    assert f"# Command: dcgan-eval train {name}" in comments


def test_the_systems_of_the_paper_and_the_write_ups_are_there():
    wanted = {"imagenet32", "svhn32", "lsun-bedroom-64", "faces-64", "mnist-32", "mnist-64"}
    wanted |= {"fashion-mnist-32", "fashion-mnist-64", "mnist-conditional"}
    assert wanted <= set(spec.recipe_names())
    assert {spec.load_recipe(name).preset for name in wanted} == set(gan.PRESETS | gan.CONDITIONAL_PRESETS)
