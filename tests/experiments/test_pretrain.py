"""A recipe run on a few fabricated photographs: what it writes, and that interruptions leave no trace."""

import csv
import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image

import gan
from experiments import pretrain as module
from experiments.datasets.packed import pack
from experiments.errors import UserError
from experiments.pretrain import pretrain
from experiments.spec import DedupSpec, Recipe

STEPS, EVERY = 12, 4  # a checkpoint after steps 4, 8 and 12
RECIPE = Recipe(
    name="tiny",
    preset="imagenet32",
    dataset="tiny-imagenet-32",
    training=gan.TrainingConfig(images=8 * STEPS, decay_from=48, batch_size=8, seed=3),
    width=2,
    dedup=DedupSpec("phash"),
)
NETWORKS = ("discriminator.safetensors", "generator.safetensors")


def photographs(n=40, copies=5):
    images = np.random.default_rng(0).integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
    images[n - copies :] = images[:copies] // 2 + 50  # the same pictures with less contrast: equal hashes
    return images


def put(root, images):
    pack(root / "packed" / "tiny-imagenet-32", [images], shape=images.shape, source="made up", transform="none")


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """DATA_ROOT, empty, and RUNS_ROOT with the packed set."""
    data, runs = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("runs")
    put(runs, photographs())
    return {"data_root": data, "runs_root": runs}


@pytest.fixture(scope="module")
def whole(roots, tmp_path_factory):
    """The folder of a run that nothing interrupted."""
    return run(tmp_path_factory.mktemp("whole"), roots)


def run(out, roots, recipe=RECIPE, said=None, **options):
    say = [].append if said is None else said.append
    file = pretrain(recipe, out, **roots, device="cpu", say=say, checkpoint_images=8 * EVERY, **options)
    assert file == out / "discriminator.safetensors"
    return out


def stop_after(n):
    """A `progress` that raises when training comes to its n-th minibatch."""

    def progress(iterable, *, total, desc, unit, step, done, postfix):
        assert (desc, unit, total, step) == ("train tiny", "image", 8 * STEPS, 8) and done % 8 == 0
        for done, item in enumerate(iterable, start=1):
            if done > n:
                raise KeyboardInterrupt
            yield item

    return progress


def tensors(file):
    return gan.load(file).state_dict()


def same_networks(a, b):
    pairs = [(tensors(a / name), tensors(b / name)) for name in NETWORKS]
    return all(torch.equal(x[key], y[key]) for x, y in pairs for key in x | y)


def curve(out):
    """losses.csv as it is, and the rows of epochs.csv without the times that differ from run to run."""
    with open(out / "epochs.csv", newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [float(r["seconds"]) for r in rows] == sorted(float(r["seconds"]) for r in rows)
    looks = [{k: v for k, v in r.items() if k not in ("seconds", "images_per_second")} for r in rows]
    return (out / "losses.csv").read_text(), looks


def test_a_run_writes_its_files(whole):
    written = {"data.json", "losses.csv", "removed.csv", "samples.png", "state.safetensors", "training.json", *NETWORKS}
    assert {p.name for p in whole.iterdir()} == written
    networks = [gan.load(whole / name) for name in NETWORKS]
    assert [type(n) for n in networks] == [gan.Discriminator, gan.Generator]
    assert {n.arch for n in networks} == {RECIPE.architecture}
    with Image.open(whole / "samples.png") as grid:
        assert (grid.size, grid.mode) == ((256, 256), "RGB")
    summary = json.loads((whole / "training.json").read_text())
    assert summary["images_seen"] == 96 and summary["recipe"] == json.loads(json.dumps(dataclasses.asdict(RECIPE)))
    assert summary["data"] == json.loads((whole / "data.json").read_text())
    assert (summary["data"]["images"], summary["data"]["kept"]) == (40, 35)
    assert summary["data"]["dedup"] == {"method": "phash", "radius": 4}
    removed = (whole / "removed.csv").read_text().split()
    assert removed == ["index,kept", *(f"{35 + i},{i}" for i in range(5))]


def test_the_curve_holds_mean_losses_of_each_stretch(whole, roots):
    kept = module.training_set(RECIPE, **roots).images
    assert np.array_equal(kept, photographs()[:35])
    config = RECIPE.training
    steps = list(gan.train(gan.new_state(RECIPE.architecture, config), torch.from_numpy(kept), config))
    rows = curve(whole)
    assert [row["step"] for row in rows] == ["4", "8", "12"]
    assert [row["images_seen"] for row in rows] == ["32", "64", "96"]
    for i, row in enumerate(rows):
        stretch = steps[i * EVERY : (i + 1) * EVERY]
        for network in ("generator", "discriminator"):
            losses = [float(s.loss) for s in stretch if s.network == network]
            assert len(losses) == 2
            assert float(row[f"loss_{network}"]) == pytest.approx(np.mean(losses), rel=1e-5)  # six digits are written
        assert float(row["lr"]) == pytest.approx(stretch[-1].lr, rel=1e-5)


@pytest.mark.parametrize("n, resumed_from", [(2, None), (5, 4), (9, 8)])
def test_an_interrupted_run_goes_on_and_ends_as_if_nothing_had_happened(tmp_path, roots, whole, n, resumed_from):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, roots, progress=stop_after(n))
    assert not any((tmp_path / name).exists() for name in (*NETWORKS, "training.json"))
    said = []
    run(tmp_path, roots, said=said)
    going_on = [text for text in said if "going on" in text]
    assert going_on == (
        [f"going on from step {resumed_from} of 12 ({tmp_path / 'state.safetensors'})"] if resumed_from else []
    )
    assert same_networks(tmp_path, whole) and curve(tmp_path) == curve(whole)
    assert (tmp_path / "samples.png").read_bytes() == (whole / "samples.png").read_bytes()


def test_a_kill_between_curve_and_state_leaves_no_row_out(tmp_path, roots, whole, monkeypatch):
    def killed(file, state, config):
        if state.step == 8:
            raise KeyboardInterrupt
        save_state(file, state, config)

    save_state = gan.save_state
    monkeypatch.setattr(gan, "save_state", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, roots)
    monkeypatch.undo()
    run(tmp_path, roots)
    assert curve(tmp_path) == curve(whole) and same_networks(tmp_path, whole)


def test_a_finished_run_is_not_trained_again(tmp_path, roots, whole):
    run(tmp_path, roots)
    state = (tmp_path / "state.safetensors").read_bytes()
    said = []
    run(tmp_path, roots, said=said)
    assert said[0].startswith("going on from step 12 of 12")
    assert (tmp_path / "state.safetensors").read_bytes() == state and same_networks(tmp_path, whole)
    assert curve(tmp_path) == curve(whole)


@pytest.mark.parametrize(
    "changes, text",
    [
        ({"training": dataclasses.replace(RECIPE.training, seed=4)}, "belongs to another run: its config"),
        ({"width": 4}, "belongs to another run: its architecture"),
        (
            {"dedup": None},
            "holds a run on .*'kept': 35.* this one's are .*'kept': 40.*; choose another folder with --out",
        ),
        ({"dedup": DedupSpec("phash", 3)}, "holds a run on .*'radius': 4.*'radius': 3"),
    ],
)
def test_the_folder_of_another_recipe_is_refused(tmp_path, roots, changes, text):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, roots, progress=stop_after(5))
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(UserError, match=text):
        run(tmp_path, roots, dataclasses.replace(RECIPE, **changes))
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_the_folder_of_a_run_on_other_photographs_is_refused(tmp_path, roots):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", roots, progress=stop_after(5))
    put(tmp_path, photographs()[::-1])
    with pytest.raises(UserError, match=r"holds a run on .*choose another folder with --out"):
        run(tmp_path / "out", roots | {"runs_root": tmp_path})


def test_a_damaged_state_is_an_error_that_names_the_fix(tmp_path, roots):
    (tmp_path / "state.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"not a whole safetensors file.*; delete .*state.safetensors to start over"):
        run(tmp_path, roots)


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_checkpoint(tmp_path, roots, monkeypatch):
    train = gan.train

    def broken(state, images, config):
        for step in train(state, images, config):
            yield dataclasses.replace(step, loss=step.loss * torch.nan) if step.step == 7 else step

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, roots, progress=stop_after(4))
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    monkeypatch.setattr(gan, "train", broken)
    with pytest.raises(
        FloatingPointError, match="a loss or a weight is not finite at step 8; the checkpoint before it is kept in"
    ):
        run(tmp_path, roots)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    assert gan.load_state(tmp_path / "state.safetensors", RECIPE.architecture, RECIPE.training).step == 4


def test_weights_that_are_no_numbers_are_never_saved(tmp_path, roots, monkeypatch):
    train = gan.train

    def broken(state, images, config):
        for step in train(state, images, config):
            if step.step == 8:  # its loss was finite, its update is not
                state.discriminator.logit.weight.data[0] = torch.nan
            yield step

    monkeypatch.setattr(gan, "train", broken)
    with pytest.raises(FloatingPointError, match="at step 8"):
        run(tmp_path, roots)
    assert gan.load_state(tmp_path / "state.safetensors", RECIPE.architecture, RECIPE.training).step == 4


def test_a_finished_run_stays_as_it_is(whole, roots):
    before = {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in whole.iterdir()}
    said, rewritten = [], ("data.json", "removed.csv")  # as they were
    run(whole, roots, said=said)
    assert "trained before" in said[-1] and {p: before[p][0] for p in before if p not in rewritten} == {
        p.name: p.stat().st_mtime_ns for p in whole.iterdir() if p.name not in rewritten
    }


def test_two_processes_never_train_in_one_folder(tmp_path, roots):
    with (
        module._alone(tmp_path),
        pytest.raises(UserError, match=r"another process trains in .*; choose another folder"),
    ):
        run(tmp_path, roots)
    assert list(tmp_path.iterdir()) == []
    run(tmp_path, roots)


def test_a_last_stretch_of_one_minibatch_has_no_discriminator_loss(tmp_path, roots):
    nine = dataclasses.replace(RECIPE, training=dataclasses.replace(RECIPE.training, images=72))
    last = curve(run(tmp_path, roots, nine))[-1]
    assert (last["step"], last["loss_discriminator"]) == ("9", "nan") and float(last["loss_generator"]) > 0


def test_counts_in_the_curve_are_exact_however_long_the_run(tmp_path):
    row = {"step": 46_876, "images_seen": 6_000_128, "lr": 2e-4, "seconds": 1.5}
    module._write_curve(tmp_path / "losses.csv", [row | {"step": 46_875, "images_seen": 6_000_000}, row])
    assert module._curve(tmp_path / "losses.csv", 46_876)[1] == row


def test_what_cannot_be_done_is_said_at_once(tmp_path, roots):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write to .*file.*; choose another folder with --out"):
        run(tmp_path / "file", roots)
    with pytest.raises(UserError, match=r"data set must be one of .*tiny-imagenet-32.* got 'imagenet'"):
        run(tmp_path / "b", roots, dataclasses.replace(RECIPE, dataset="imagenet"))
