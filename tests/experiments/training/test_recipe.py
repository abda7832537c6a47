"""Recipes: the shipped ones, and the messages for what is refused."""

import dataclasses
import re

import pytest

import gan
from experiments.deduplication.spec import DedupSpec
from experiments.measure.tables import load_table
from experiments.run.errors import UserError
from experiments.training.recipe import Recipe, load_recipe

TRAINING = "[training]\nimages = 1_000\ndecay_from = 500\n"
HEAD = 'preset = "svhn32"\ndataset = "tiny-imagenet-32"\n'


def recipe(tmp_path, text):
    (tmp_path / "mine.toml").write_text(text)
    return load_recipe(str(tmp_path / "mine.toml"))


def test_a_recipe_in_a_file(tmp_path):
    text = f'{HEAD}width = 8\nchannels = 1\nkernel = 4\n{TRAINING}lr = 1\n[dedup]\nmethod = "phash"\nradius = 2\n'
    assert recipe(tmp_path, text) == Recipe(
        name="mine",
        preset="svhn32",
        dataset="tiny-imagenet-32",
        training=gan.TrainingConfig(images=1000, decay_from=500, lr=1),
        width=8,
        channels=1,
        kernel=4,
        dedup=DedupSpec("phash", 2),
    )
    changed = dataclasses.replace(gan.PRESETS["svhn32"], width=8, channels=1, kernel=4)
    assert recipe(tmp_path, text).architecture == changed
    assert recipe(tmp_path, HEAD + TRAINING).dedup is None  # no [dedup], no pass


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f'{HEAD}dedup = "near-duplicates"\n{TRAINING}', DedupSpec("near-duplicates")),
        (f'{HEAD}dedup = "dhash"\n{TRAINING}', DedupSpec("dhash", 4)),
        (f'{HEAD}{TRAINING}[dedup]\nmethod = "semantic"\n', DedupSpec("semantic")),
        (f"{HEAD}{TRAINING}[dedup]\n", DedupSpec("near-duplicates")),
    ],
)
def test_a_pass_is_named_short_or_as_a_table(tmp_path, text, expected):
    assert recipe(tmp_path, text).dedup == expected
    assert (expected.radius is None) == (expected.method in ("near-duplicates", "semantic"))


@pytest.mark.parametrize(
    "text, error",
    [
        (f"{HEAD}widht = 8\n{TRAINING}", "unknown key 'widht' in mine.toml; known: name, preset, dataset, training, w"),
        (f"{HEAD}{TRAINING}beta2 = 0.9\n", "unknown key 'beta2' in mine.toml [training]; known: images, decay_from, b"),
        (f"{HEAD}{TRAINING}beta2 = 0.9\n", "; did you mean 'beta1'?"),
        (f"{HEAD}{TRAINING}[dedup]\nbits = 4\n", "unknown key 'bits' in mine.toml [dedup]; known: method, radius"),
        (f'{HEAD}{TRAINING}lr = "fast"\n', "lr in mine.toml [training] must be of type float, got 'fast'"),
        (f"{HEAD}{TRAINING}seed = 1.0\n", "seed in mine.toml [training] must be of type int, got 1.0"),
        (f"{HEAD}{TRAINING}seed = true\n", "seed in mine.toml [training] must be of type int, got True"),
        (f"{HEAD}{TRAINING}[dedup]\nmethod = 4\n", "method in mine.toml [dedup] must be of type str, got 4"),
        (
            f'{HEAD}{TRAINING}[dedup]\nmethod = "md5"\n',
            "unknown method 'md5'; the methods are near-duplicates, phash, dhash, ahash, semantic",
        ),
        (
            f"{HEAD}{TRAINING}[dedup]\nradius = 4\n",
            "near-duplicates takes no radius; leave it out, or name one of phash, dhash, ahash",
        ),
        (f'{HEAD}{TRAINING}[dedup]\nmethod = "semantic"\nradius = 0\n', "semantic takes no radius"),
        (f'{HEAD}{TRAINING}[dedup]\nmethod = "phash"\nradius = 64\n', "radius must be an integer in [0, 63], got 64"),
        (
            f'{HEAD}{TRAINING}[dedup]\nmethod = "phash"\nradius = "4"\n',
            "radius in mine.toml [dedup] must be of type int, got '4'",
        ),
        (f'{HEAD}width = "8"\n{TRAINING}', "width in mine.toml must be of type int, got '8'"),
        (f"{HEAD}width = true\n{TRAINING}", "width in mine.toml must be of type int, got True"),
        (f"{HEAD}spectral_norm = 1\n{TRAINING}", "spectral_norm in mine.toml must be of type bool, got 1"),
        (f"{HEAD}{TRAINING}mirror = 1\n", "mirror in mine.toml [training] must be of type bool, got 1"),
        (f"{HEAD}{TRAINING}augment = 1\n", "augment in mine.toml [training] must be a list, got 1"),
        (f"{HEAD}{TRAINING}seed = -1\n", "seed must lie in [0, 2**40), got -1"),
        (
            HEAD.replace("svhn32", "conditional28") + f"{TRAINING}contrast = 1\n",
            "mine.toml: contrast must be 0 for class-conditional networks, got 1",
        ),
        (f"{HEAD}training = 3\n", "mine.toml [training] must be a table, got 3"),
        (f"{HEAD}dedup = true\n{TRAINING}", "mine.toml [dedup] must be a table, got True"),
        (f"{HEAD}[training]\nimages = 1000\n", "mine.toml [training] lacks decay_from"),
        (TRAINING, "mine.toml lacks preset, dataset"),
        (f"{HEAD}{TRAINING}batch_size = 1\n", "batch_size must be at least 2"),
        (HEAD.replace("svhn32", "vgg") + TRAINING, "unknown preset 'vgg'; the presets are imagenet32, svhn32, dcgan64"),
        (HEAD.replace("svhn32", "imagenet32") + f"kernel = 4\n{TRAINING}", "strides must be at least 2 with kernel 4"),
        (f"{HEAD}{TRAINING}augment = nan\n", "augment in mine.toml [training] must be a list, got nan"),
        (f"{HEAD}{TRAINING}augment = [1]\n", "entry 0 of augment in mine.toml [training] must be of type str, got 1"),
        (f"{HEAD}{TRAINING}lr = inf\n", "lr in mine.toml [training] must be a finite number, got inf"),
        (f"{HEAD}{TRAINING}lr = 1e400\n", "lr in mine.toml [training] must be a finite number, got inf"),
        (f"{HEAD}width = {2**31}\n{TRAINING}", "weights, and values of an image, must be at most 2,147,483,648, got"),
        (
            f"{HEAD}width = 99999999999999999999999\n{TRAINING}",
            "width in mine.toml must fit 64 bits, got 999999999999",
        ),
        (f"{HEAD}width = 1{'0' * 5000}\n{TRAINING}", "mine.toml is not valid TOML"),
        (f"{HEAD}discriminator = 1\n{TRAINING}", "discriminator in mine.toml must be of type str, got 1"),
        (f"{HEAD}generator = []\n{TRAINING}", "generator in mine.toml must be of type str, got []"),
        (f"{HEAD}kernel = 1\n{TRAINING}", "kernel must be at least 2, the largest stride"),
        (f"{HEAD}kernel = 1979-05-27\n{TRAINING}", "kernel in mine.toml must be of type int, got datetime.date("),
        (f"a = {'[' * 5000}{']' * 5000}\n", "mine.toml is not valid TOML: it is nested more than 32 levels deep"),
        ("preset = \n", "mine.toml is not valid TOML"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_allowed(tmp_path, text, error):
    with pytest.raises(UserError, match=re.escape(error)):
        recipe(tmp_path, text)


def test_unknown_recipes_and_absent_files(tmp_path):
    with pytest.raises(
        UserError, match=r"unknown recipe 'lsun'; the recipes are faces-64, .*svhn32-without-gan, or give a .toml"
    ):
        load_recipe("lsun")
    with pytest.raises(UserError, match=r"or give a .toml file; did you mean 'imagenet32-half'\?"):
        load_recipe("imagenet-half")
    with pytest.raises(UserError, match=r"no file .*absent.toml"):
        load_recipe(str(tmp_path / "absent.toml"))


def test_tables_load():
    assert load_table("cifar10").rows
    with pytest.raises(UserError, match=r"no file .*imagenet.toml"):
        load_table("imagenet")


def test_overrides_change_keys_and_tables(tmp_path):
    (tmp_path / "mine.toml").write_text(f'{HEAD}width = 8\ndedup = "phash"\n{TRAINING}')
    loaded = load_recipe(
        str(tmp_path / "mine.toml"),
        ["width=16", "training.batch_size = 1_00", "training.lr=1e-3", "dataset=cifar10-train", "dedup.radius=2"],
    )
    assert (loaded.name, loaded.width, loaded.dataset) == ("mine", 16, "cifar10-train")
    assert loaded.training == gan.TrainingConfig(images=1000, decay_from=500, batch_size=100, lr=1e-3)
    assert loaded.dedup == DedupSpec("phash", 2)
    assert (
        load_recipe(str(tmp_path / "mine.toml"), ['dataset="a b"', "width=2", "width=4"]).width == 4
    )  # the last holds


@pytest.mark.parametrize(
    ("overrides", "images", "decay_from"),
    [
        (["training.images=100_000"], 100_000, 75_000),  # the recipe: 800,000 and 600,000
        (["training.images=1_600_000"], 1_600_000, 1_200_000),
        (["training.images=101"], 101, 75),
        (["training.images=800_000"], 800_000, 600_000),
        (["training.images=100_000", "training.decay_from=90_000"], 100_000, 90_000),
        (["training.decay_from=600_000", "training.images=1_600_000"], 1_600_000, 600_000),
        (["training.decay_from=90_000"], 800_000, 90_000),
        (["training.images=5_000", "training.images=100_000"], 100_000, 75_000),  # the last holds
        (["width=16", "training.lr=1e-3"], 800_000, 600_000),
    ],
)
def test_a_run_of_another_length_decays_from_the_same_share_of_it(overrides, images, decay_from):
    config = load_recipe("imagenet32-half", overrides).training
    assert (config.images, config.decay_from) == (images, decay_from)


def test_a_run_without_decay_has_none_at_another_length():
    own = load_recipe("faces-64").training
    assert own.decay_from == own.images
    config = load_recipe("faces-64", ["training.images=99_999"]).training
    assert config == dataclasses.replace(own, images=99_999, decay_from=99_999)


def test_overrides_of_a_shipped_recipe_make_a_table_that_is_not_there():
    assert load_recipe("imagenet32", ["dedup.method=dhash", "held_out=100"]) == dataclasses.replace(
        load_recipe("imagenet32"), dedup=DedupSpec("dhash", 4), held_out=100
    )


@pytest.mark.parametrize(
    ("override", "error"),
    [
        ("widht=8", "unknown key 'widht' in imagenet32.toml; known: name, preset"),
        ("training.image=8", "unknown key 'image' in imagenet32.toml [training]; known: images"),
        ("trainign.images=8", "held_out; did you mean 'training'?"),
        ("training.beta=0.9", "; did you mean 'beta1'?"),
        ("preset=imagnet32", "the presets are imagenet32, svhn32, dcgan64, dcgan32, conditional28; did you mean 'im"),
        ("training.images=-8", "images must be at least one batch of 128, got -8"),
        ("training.crop=0", "imagenet32.toml: crop must lie in (0, 1], got 0"),
        ("training.crop=1.5", "imagenet32.toml: crop must lie in (0, 1], got 1.5"),
        ("training.contrast=-1", "imagenet32.toml: contrast must be 0 or more, got -1"),
        ("training.mirror=1", "imagenet32.toml: mirror in imagenet32.toml [training] must be of type bool, got 1"),
        ("training.images=true", "images in imagenet32.toml [training] must be of type int, got True"),
        ("training.images=many", "images in imagenet32.toml [training] must be of type int, got 'many'"),
        ("held_out=-1", "held_out must be 0 or more images, got -1"),
        ("width", "an override must be key=value or table.key=value, got 'width'"),
        ("width=", "an override must be key=value or table.key=value, got 'width='"),
        ("a.b.c=1", "an override must be key=value or table.key=value, got 'a.b.c=1'"),
        ("width=1\nchannels=1", "an override must be one value, got"),
        ("preset.x=1", "preset is 'imagenet32' and has no keys, in 'preset.x=1'"),
    ],
)
def test_overrides_that_cannot_be_are_refused(override, error):
    with pytest.raises(UserError, match=re.escape(error)):
        load_recipe("imagenet32", [override])
