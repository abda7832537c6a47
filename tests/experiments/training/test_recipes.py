"""Every recipe that comes with the project: it loads, says what it costs and how it is run, by its own name."""

import dataclasses
import re
from importlib import resources

import pytest

import gan
from experiments.data.names import is_name
from experiments.run.context import ROOT
from experiments.training.recipe import load_recipe, recipe_names


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_says_what_it_is(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert is_name(recipe.dataset), recipe.dataset
    arch, side = (
        recipe.architecture,
        int(re.search(r"\d+$", recipe.dataset.replace("svhn-train", "32").removesuffix("-train")).group()),
    )
    views = ("imagenet32-views", "imagenet32-contrast", "imagenet32-half-without-gan")  # of photographs twice as large
    assert arch.size == (side // 2 if name in views else side)
    assert arch.channels == (1 if "mnist" in recipe.dataset else 3)
    assert recipe.dedup is not None  # each set goes through the pass first
    text = (resources.files("experiments") / "recipes" / f"{name}.toml").read_text()
    comments = [line for line in text.splitlines() if line.startswith("#")]
    for what in ("Cost", "Expected"):
        assert any(line.startswith(f"# {what}: ") for line in comments)
    assert f"# Command: dcgan-eval train {name}" in comments
    assert all((ROOT / path).exists() for path in re.findall(r"(?:results|docs)/[\w/.-]+\w", "".join(comments)))


def test_the_systems_of_the_paper_and_the_write_ups_are_there():
    wanted = {"imagenet32", "svhn32", "lsun-bedroom-64", "faces-64", "mnist-32", "mnist-64"}
    wanted |= {"fashion-mnist-32", "fashion-mnist-64", "mnist-conditional"}
    assert wanted <= set(recipe_names())
    assert {load_recipe(name).preset for name in wanted} == set(gan.PRESETS | gan.CONDITIONAL_PRESETS)


# rate, weight decay, minibatch: the authors' code where it has the system, what trains where it does not
SETTINGS = {
    "imagenet32": (2e-4, 0.0, 128),
    "imagenet32-official": (2e-4, 0.0, 128),
    "imagenet32-half": (2e-4, 0.0, 16),
    "imagenet32-views": (2e-4, 0.0, 128),
    "imagenet32-contrast": (4e-4, 0.0, 128),
    "imagenet32-half-without-gan": (4e-4, 0.0, 64),
    "svhn32": (5e-4, 0.0, 64),
    "svhn32-without-gan": (5e-4, 0.0, 64),
    "faces-64": (2e-4, 1e-5, 128),
    "lsun-bedroom-64": (2e-4, 0.0, 128),
    "mnist-conditional": (2e-4, 2.5e-5, 128),
    "mnist-32": (2e-4, 0.0, 128),
    "mnist-64": (1e-3, 0.0, 32),
    "fashion-mnist-32": (2e-4, 0.0, 128),
    "fashion-mnist-64": (2e-4, 0.0, 128),
}


@pytest.mark.parametrize("name", recipe_names())
def test_settings_are_the_authors_where_they_have_some(name):
    config = load_recipe(name).training
    assert (config.lr, config.weight_decay, config.batch_size) == SETTINGS[name]
    assert config.beta1 == 0.5 and 0 < config.decay_from <= config.images  # equal: no decay
    assert (config.r1, config.augment) == (1.0 if name == "mnist-64" else 0.0, ())
    plain = gan.TrainingConfig(config.images, config.decay_from)
    later = {"rotation", "crop", "mirror", "contrast", "temperature", "contrast_crop", "precision", "adversarial"}
    later |= {"contrast_color", "contrast_gray"}
    own = {field for field in later if getattr(config, field) != getattr(plain, field)}
    views = {"crop", "mirror", "precision"}
    added = {
        "imagenet32-views": views,
        "imagenet32-contrast": views | {"rotation", "contrast"},
        "imagenet32-half-without-gan": {"mirror", "precision", "contrast", "adversarial"},
        "svhn32-without-gan": {"crop", "precision", "rotation", "contrast", "contrast_crop", "adversarial"},
    }
    assert own == added.get(name, set())


def test_the_papers_imagenet_network_whole_and_at_half_width():
    whole = gan.PRESETS["imagenet32"]
    assert load_recipe("imagenet32").architecture == load_recipe("imagenet32-official").architecture == whole
    for name in ("imagenet32-half", "imagenet32-half-without-gan"):
        assert load_recipe(name).architecture == dataclasses.replace(whole, width=64)


@pytest.mark.parametrize(("name", "pairs"), [("imagenet32-views", 17_500), ("imagenet32-contrast", 40_000)])
def test_the_full_width_networks_of_a_gpu(name, pairs):
    recipe = load_recipe(name)
    assert recipe.architecture == gan.PRESETS["imagenet32"] and recipe.dedup == load_recipe("imagenet32").dedup
    config = recipe.training
    assert config.steps == 2 * pairs and config.decay_from == config.images // 2
    assert (config.crop, config.mirror, config.precision) == (0.75, True, "bfloat16")
