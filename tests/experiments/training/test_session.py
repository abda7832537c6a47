"""A recipe run on a few fabricated photographs: what it writes, and that interruptions leave no trace."""

import csv
import dataclasses
import errno
import hashlib
import json
import os
import signal
import threading

import numpy as np
import pytest
import torch
from PIL import Image

import dedup
import gan
from experiments.data.packed import pack
from experiments.deduplication import methods
from experiments.deduplication.spec import DedupSpec
from experiments.run.context import Run
from experiments.run.errors import UserError
from experiments.training import images as images_module
from experiments.training import losses, monitor, session
from experiments.training.images import training_set
from experiments.training.recipe import Recipe
from experiments.training.session import locked, train

STEPS, EVERY = 12, 3  # a checkpoint after every third step, a look after steps 4, 8 and 12
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
def place(tmp_path_factory):
    """A run with an empty DATA_ROOT and the packed set in RUNS_ROOT."""
    data, runs = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("runs")
    put(runs, photographs())
    return Run(data, runs)


@pytest.fixture(scope="module")
def whole(place, tmp_path_factory):
    """The folder of a run that nothing interrupted."""
    return run(tmp_path_factory.mktemp("whole"), place)


def run(out, place, recipe=RECIPE, said=None, **changes):
    if said is not None:
        changes["say"] = said.append
    file = train(recipe, out, dataclasses.replace(place, **changes), checkpoint_images=8 * EVERY, looks=3)
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


def files(out):
    """Path -> content, without the event files that are there if tensorboard is."""
    paths = (p for p in out.rglob("*") if p.is_file() and "tfevents" not in p.name)
    return {str(p.relative_to(out)): p.read_bytes() for p in paths}


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
    seen = {"epochs.csv", "losses.csv", "losses.png", "samples.png", "samples.webp", "neighbours.png"}
    frames = {f"epochs/{images:012d}.png" for images in (32, 64, 96)}
    kept = {"data.json", "removed.csv", "state.safetensors", "training.json", *NETWORKS}
    snapshots = {f"snapshots/{images:012d}.safetensors" for images in (32, 64, 96)}
    assert set(files(whole)) == seen | frames | kept | snapshots | {"generators/epoch-1.safetensors"}
    networks = [gan.load(whole / name) for name in NETWORKS]
    assert [type(n) for n in networks] == [gan.Discriminator, gan.Generator]
    assert {n.arch for n in networks} == {RECIPE.architecture}
    with Image.open(whole / "samples.png") as grid:
        assert (grid.size, grid.mode) == ((256, 256), "RGB")
    summary = json.loads((whole / "training.json").read_text())
    assert summary["images_seen"] == 96 and summary["recipe"] == json.loads(json.dumps(RECIPE.values))
    assert summary["data"] == json.loads((whole / "data.json").read_text())
    assert (summary["data"]["images"], summary["data"]["kept"]) == (40, 35)
    assert summary["data"]["dedup"] == {"method": "phash", "radius": 4}
    removed = (whole / "removed.csv").read_text().split()
    assert removed == ["index,kept", *(f"{35 + i},{i}" for i in range(5))]


def test_the_generator_after_an_early_epoch_is_kept_in_half_precision(tmp_path, place, whole):
    one_epoch = dataclasses.replace(RECIPE, training=dataclasses.replace(RECIPE.training, images=32, decay_from=32))
    kept, expected = (
        tensors(whole / "generators" / "epoch-1.safetensors"),
        tensors(run(tmp_path, place, one_epoch) / NETWORKS[1]),
    )
    assert kept.keys() == expected.keys()
    assert all(torch.equal(kept[name], expected[name].half().float()) for name in kept)
    at_the_end = tensors(whole / NETWORKS[1])
    assert not all(torch.allclose(kept[name], at_the_end[name], atol=1e-3) for name in kept)


def test_the_curve_holds_every_minibatch_and_each_look_their_means(whole, place):
    data = training_set(RECIPE, place)
    kept = data.images[data.rows]
    assert np.array_equal(kept, photographs()[:35])
    config = RECIPE.training
    steps = list(gan.train(gan.new_state(RECIPE.architecture, config), kept, config))
    with open(whole / "losses.csv", newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [(int(r["step"]), int(r["images_seen"]), r["network"]) for r in rows] == [
        (s.step, s.images_seen, s.network) for s in steps
    ]
    assert [np.float32(r["loss"]) for r in rows] == [s.loss.numpy() for s in steps]  # nine digits: the same float32
    assert [float(r["lr"]) for r in rows] == [pytest.approx(s.lr, rel=1e-5) for s in steps]
    looks = curve(whole)[1]
    assert [(r["epoch"], r["step"], r["images_seen"]) for r in looks] == [
        ("1", "4", "32"),
        ("2", "8", "64"),
        ("3", "12", "96"),
    ]
    for look, stretch in zip(looks, (steps[:4], steps[4:8], steps[8:]), strict=True):
        for network in ("generator", "discriminator"):
            losses = [float(s.loss) for s in stretch if s.network == network]
            assert len(losses) == 2
            assert float(look[f"loss_{network}"]) == pytest.approx(np.mean(losses), rel=1e-5)  # six digits are written


@pytest.mark.parametrize("n, resumed_from", [(2, None), (5, 3), (9, 9), (11, 9)])
def test_an_interrupted_run_goes_on_and_ends_as_if_nothing_had_happened(tmp_path, place, whole, n, resumed_from):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, place, progress=stop_after(n))
    assert not any((tmp_path / name).exists() for name in (*NETWORKS, "training.json"))
    said = []
    run(tmp_path, place, said=said)
    going_on = [text for text in said if "going on" in text]
    assert going_on == (
        [f"going on from step {resumed_from} of 12 ({tmp_path / 'state.safetensors'})"] if resumed_from else []
    )
    assert same_networks(tmp_path, whole) and curve(tmp_path) == curve(whole)
    same = [name for name in files(whole) if name.endswith((".png", ".webp")) or name.startswith("generators/")]
    assert len(same) == 8 and {n: files(tmp_path)[n] for n in same} == {n: files(whole)[n] for n in same}


def test_views_of_a_larger_set_go_on_as_if_nothing_had_happened(tmp_path, place):
    fine = np.random.default_rng(1).integers(0, 256, (40, 64, 64, 3), dtype=np.uint8)
    pack(tmp_path / "packed" / "tiny-imagenet-64", [fine], shape=fine.shape, source="made up", transform="none")
    place = dataclasses.replace(place, runs_root=tmp_path)
    config = dataclasses.replace(RECIPE.training, crop=0.75, mirror=True, rotation=1.0, contrast=1.0)
    views = dataclasses.replace(RECIPE, dataset="tiny-imagenet-64", training=config)
    whole = run(tmp_path / "whole", place, views)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", place, views, progress=stop_after(5))
    run(tmp_path / "stopped", place, views)
    assert same_networks(tmp_path / "stopped", whole) and curve(tmp_path / "stopped") == curve(whole)
    pictures = [name for name in files(whole) if name.endswith((".png", ".webp"))]
    assert all(files(tmp_path / "stopped")[name] == files(whole)[name] for name in pictures)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_loses_nothing(tmp_path, place, whole, monkeypatch, number):
    """The signal arrives in the middle of step 5. That step is finished and saved, though no checkpoint was due."""
    update = torch.optim.Adam.step

    def signalled(*arguments, **options):
        calls.append(1)
        if len(calls) == 5:
            os.kill(os.getpid(), number)
        return update(*arguments, **options)

    calls, said = [], []
    monkeypatch.setattr(torch.optim.Adam, "step", signalled)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, place, said=said)
    assert said[-1] == f"stopped at step 5 of 12, saved in {tmp_path}"
    run(tmp_path, place, said=said)
    assert f"going on from step 5 of 12 ({tmp_path / 'state.safetensors'})" in said and len(calls) == 12
    assert same_networks(tmp_path, whole) and curve(tmp_path) == curve(whole)


@pytest.mark.parametrize("full_for", ["losses.csv", "epochs.csv", "samples.png", "losses.png", "state"])
def test_a_full_disk_keeps_the_last_checkpoint(tmp_path, place, whole, monkeypatch, full_for):
    """Any of the writes may find no room."""
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, place, progress=stop_after(6))
    state = (tmp_path / "state.safetensors").read_bytes()

    def no_room(file, *_):
        raise OSError(errno.ENOSPC, "No space left on device", str(file))

    def torn(file, content):  # a part of it is there
        if file.name != full_for:
            return append(file, content)
        append(file, content[: len(content) // 2 + 3])
        return no_room(file)

    def write(file, content):
        return no_room(file) if file.name == full_for else original(file, content)

    append, original = losses.append_bytes, monitor.write_bytes
    with monkeypatch.context() as patch:
        patch.setattr(losses, "append_bytes", torn)
        patch.setattr(monitor, "write_bytes", write)
        patch.setattr(monitor, "DRAWING", 0.0)  # the slow pictures are drawn at once
        if full_for == "state":
            patch.setattr(gan, "save_state", no_room)
        with pytest.raises(OSError, match="No space left on device"):
            run(tmp_path, place)
    assert (tmp_path / "state.safetensors").read_bytes() == state
    run(tmp_path, place)
    assert same_networks(tmp_path, whole) and curve(tmp_path) == curve(whole)


def test_a_curve_of_another_form_is_refused(tmp_path, place):
    (tmp_path / "losses.csv").write_text("step,loss\n")
    with pytest.raises(UserError, match=r"losses.csv does not begin with step,images_seen,.*; move it away"):
        run(tmp_path, place)


def test_the_summary_says_what_was_run(tmp_path, place):
    run(tmp_path, place, command=("dcgan-eval", "train", "tiny"))
    summary = json.loads((tmp_path / "training.json").read_text())
    assert (summary["command"], summary["seed"]) == (["dcgan-eval", "train", "tiny"], 3)
    assert summary["images_per_second"] > 0
    for network in ("discriminator", "generator"):
        assert summary[network] == hashlib.sha256((tmp_path / f"{network}.safetensors").read_bytes()).hexdigest()


def test_a_kill_between_curve_and_state_leaves_no_row_out(tmp_path, place, whole, monkeypatch):
    def killed(file, state, config):
        if state.step == 9:
            raise KeyboardInterrupt
        save_state(file, state, config)

    save_state = gan.save_state
    monkeypatch.setattr(gan, "save_state", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, place)
    monkeypatch.undo()
    run(tmp_path, place)
    assert curve(tmp_path) == curve(whole) and same_networks(tmp_path, whole)


def test_a_finished_run_is_not_trained_again(tmp_path, place, whole):
    run(tmp_path, place)
    state = (tmp_path / "state.safetensors").read_bytes()
    said = []
    run(tmp_path, place, said=said)
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
            "holds a run on .*'kept': 35.* but this run is on .*'kept': 40.*; choose another folder with --out",
        ),
        ({"dedup": DedupSpec("phash", 3)}, "holds a run on .*'radius': 4.*'radius': 3"),
    ],
)
def test_the_folder_of_another_recipe_is_refused(tmp_path, place, changes, text):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, place, progress=stop_after(5))
    before = files(tmp_path)
    with pytest.raises(UserError, match=text):
        run(tmp_path, place, dataclasses.replace(RECIPE, **changes))
    assert files(tmp_path) == before


def test_the_folder_of_a_run_on_other_photographs_is_refused(tmp_path, place):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", place, progress=stop_after(5))
    put(tmp_path, photographs()[::-1])
    with pytest.raises(UserError, match=r"holds a run on .*choose another folder with --out"):
        run(tmp_path / "out", dataclasses.replace(place, runs_root=tmp_path))


def test_a_run_that_is_stopped_reads_nothing_ahead(tmp_path, place):
    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt) as stopped:
        run(tmp_path, place, progress=stop_after(5))
    assert stopped.tb is not None  # it holds what the run had in its hands
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("read-ahead")]


def test_a_damaged_state_is_an_error_that_names_the_fix(tmp_path, place):
    (tmp_path / "state.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"not a whole safetensors file.*; delete .*state.safetensors to start over"):
        run(tmp_path, place)


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_checkpoint(tmp_path, place, monkeypatch):
    train = gan.train

    def broken(state, images, config, **given):
        for step in train(state, images, config, **given):
            yield dataclasses.replace(step, loss=step.loss * torch.nan) if step.step == 7 else step

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, place, progress=stop_after(6))
    before = files(tmp_path)
    monkeypatch.setattr(gan, "train", broken)
    with pytest.raises(
        FloatingPointError, match="a loss or a weight is not finite at step 8; the checkpoint before it is kept in"
    ):
        run(tmp_path, place)
    assert files(tmp_path) == before
    assert gan.load_state(tmp_path / "state.safetensors", RECIPE.architecture, RECIPE.training).step == 6


@pytest.mark.parametrize("at", [8, 9, 12])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda state: state.discriminator.logit.weight.data[0].fill_(torch.nan),
        lambda state: state.generator.get_buffer(next(n for n, _ in state.generator.named_buffers())).fill_(torch.inf),
        lambda state: next(iter(state.discriminator_optimizer.state.values()))["exp_avg_sq"].fill_(torch.inf),
    ],
    ids=["weight", "batch norm", "Adam"],
)
def test_what_is_no_number_is_never_saved(tmp_path, place, monkeypatch, spoil, at):
    """The step that spoils them has a finite loss itself; it is the last before a look, a checkpoint or the end."""
    train = gan.train

    def broken(state, images, config, **given):
        for step in train(state, images, config, **given):
            if step.step == at:
                spoil(state)
            yield step

    monkeypatch.setattr(gan, "train", broken)
    with pytest.raises(FloatingPointError, match=f"at step {at}; the checkpoint before it is kept"):
        run(tmp_path, place)
    last = (at - 1) // EVERY * EVERY
    assert gan.load_state(tmp_path / "state.safetensors", RECIPE.architecture, RECIPE.training).step == last
    assert not (tmp_path / "discriminator.safetensors").exists()
    assert f"\n{at}," not in (tmp_path / "losses.csv").read_text()


def test_a_finished_run_stays_as_it_is(whole, place):
    def times():
        rewritten = ("data.json", "removed.csv")  # as they were
        return {p: p.stat().st_mtime_ns for p in whole.rglob("*") if p.name not in rewritten and p.is_file()}

    before, content, said = times(), files(whole), []
    run(whole, place, said=said)
    assert "trained before" in said[-1] and times() == before and files(whole) == content


def by_groups(images, spec, progress):
    """The rule of removal until it asked for an image that stays: each group keeps its first image."""
    codes = dedup.phash(images)
    groups = dedup.radius_groups(codes, spec.radius)
    assert not np.array_equal(groups, dedup.radius_representatives(codes, spec.radius))
    return methods.removals(groups)


@pytest.fixture
def fading(tmp_path):
    """A run with a set whose photographs 30 to 39 fade, step by step, from the first to the second."""
    images = photographs().astype(int)
    images[30:] = [images[0] + (images[1] - images[0]) * k // 11 for k in range(1, 11)]
    runs = tmp_path / "runs"
    put(runs, images.astype(np.uint8))
    return Run(tmp_path / "data", runs)


def test_a_run_that_was_begun_with_the_rule_of_groups_keeps_its_images(tmp_path, fading, monkeypatch):
    recipe = dataclasses.replace(RECIPE, dedup=DedupSpec("phash", 12), held_out=2)
    with monkeypatch.context() as before:
        before.setattr(images_module, "find_removed", by_groups)
        old = training_set(recipe, fading)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, fading, recipe, progress=stop_after(7))
    begun = {name: (tmp_path / name).read_bytes() for name in ("data.json", "removed.csv")}
    trained, step = [], gan.train
    monkeypatch.setattr(gan, "train", lambda *a, rows, **b: trained.append(rows) or step(*a, rows=rows, **b))
    for _ in range(2):  # the second time it is finished
        run(tmp_path, fading, recipe)
        assert {name: (tmp_path / name).read_bytes() for name in begun} == begun
    assert torch.equal(torch.stack(trained), old.rows[None])
    assert len(old.rows) < len(training_set(recipe, fading).rows)


@pytest.mark.parametrize("damage", ["", "index,kept\n", "index,kept\n31,0\n99,0\n", "index,kept\n31,x\n"])
def test_a_damaged_list_of_removed_images_is_not_believed(tmp_path, fading, monkeypatch, damage):
    recipe = dataclasses.replace(RECIPE, dedup=DedupSpec("phash", 12))
    with monkeypatch.context() as before:
        before.setattr(images_module, "find_removed", by_groups)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "out", fading, recipe, progress=stop_after(7))
    (tmp_path / "out" / "removed.csv").write_text(damage)
    with pytest.raises(UserError, match=r"holds a run on .*'kept'"):
        run(tmp_path / "out", fading, recipe)


def test_two_processes_never_train_in_one_folder(tmp_path, place):
    with (
        locked(tmp_path),
        pytest.raises(UserError, match=r"another process trains in .*; choose another folder"),
    ):
        run(tmp_path, place)
    assert list(tmp_path.iterdir()) == []
    run(tmp_path, place)


def test_a_last_stretch_of_one_minibatch_takes_the_one_before_it_too(tmp_path, place):
    nine = dataclasses.replace(RECIPE, training=dataclasses.replace(RECIPE.training, images=72))
    text, looks = curve(run(tmp_path, place, nine))
    discriminator, generator = (float(line.split(",")[3]) for line in text.splitlines()[-2:])
    last = looks[-1]
    assert (last["step"], last["epoch"]) == ("9", "2.25") and (tmp_path / "epochs" / "000000000072.png").exists()
    assert float(last["loss_discriminator"]) == pytest.approx(discriminator, rel=1e-5)
    assert float(last["loss_generator"]) == pytest.approx(generator, rel=1e-5)


def test_held_out_images_are_not_trained_on(place, tmp_path):
    some = dataclasses.replace(RECIPE, held_out=10)
    split, all_of_them = training_set(some, place), training_set(RECIPE, place)
    assert (len(split.rows), len(split.held_out), len(all_of_them.held_out)) == (25, 10, 0)
    assert sorted([*split.rows, *split.held_out]) == all_of_them.rows.tolist()
    assert torch.equal(training_set(some, place).held_out, split.held_out)
    other = dataclasses.replace(some, training=dataclasses.replace(RECIPE.training, seed=4))
    assert not torch.equal(training_set(other, place).held_out, split.held_out)
    assert split.summary["held_out"] == 10 and "held_out" not in all_of_them.summary
    with pytest.raises(UserError, match="leaves 5 images to train on, fewer than a minibatch of 8; lower held_out"):
        training_set(dataclasses.replace(RECIPE, held_out=30), place)
    looks = curve(run(tmp_path, place, some))[1]
    assert all(float(r["nearest_held_out"]) > 0 for r in looks)
    assert [float(r["nearest_ratio"]) for r in looks] == [
        pytest.approx(float(r["nearest_training"]) / float(r["nearest_held_out"]), rel=1e-4) for r in looks
    ]


def test_what_cannot_be_done_is_said_at_once(tmp_path, place):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write to .*file.*; choose another folder with --out"):
        run(tmp_path / "file", place)
    with pytest.raises(UserError, match=r"data set must be one of .*tiny-imagenet-32.* got 'imagenet'"):
        run(tmp_path / "b", place, dataclasses.replace(RECIPE, dataset="imagenet"))


@pytest.mark.parametrize("name", ["discriminator.safetensors", "training.json", "epochs/000000000001.png"])
def test_files_of_somebody_else_are_not_replaced(tmp_path, place, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("precious")
    for call in (train, session.check):
        with pytest.raises(UserError, match=rf"{name.split('/')[0]} would be replaced, .*choose another folder"):
            call(RECIPE, tmp_path, place)
    assert (tmp_path / name).read_text() == "precious"
