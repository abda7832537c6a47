"""A run that goes on verifies what it reads back; what is damaged is set aside and named, and nothing else is lost."""

import dataclasses
import hashlib
import json
import random
import shutil

import numpy as np
import pytest

import gan
from experiments.data.packed import pack
from experiments.run.context import Run
from experiments.run.errors import UserError
from experiments.training.losses import Losses
from experiments.training.recipe import Recipe
from experiments.training.resume import Notes, notes_of, read_looks, read_notes, read_vouched
from experiments.training.session import train

RECIPE = Recipe(
    name="tiny",
    preset="imagenet32",
    dataset="tiny-imagenet-32",
    training=gan.TrainingConfig(images=96, decay_from=48, batch_size=8, seed=3),
    width=2,
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("place")
    images = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), dtype=np.uint8)
    folder = root / "packed" / "tiny-imagenet-32"
    pack(folder, [images], shape=images.shape, source="made up", transform="none")
    return Run(root / "data", root)


def go(out, place, stop=None):
    """Train in `out`, as far as `stop` minibatches of this session; return what was said."""
    said = []

    def progress(iterable, **_):
        for done, item in enumerate(iterable, start=1):
            if done == stop:
                raise KeyboardInterrupt
            yield item

    changed = {"progress": progress} if stop else {}
    train(RECIPE, out, dataclasses.replace(place, say=said.append, **changed), checkpoint_images=24, looks=3)
    return said


@pytest.fixture(scope="module")
def half(place, tmp_path_factory):
    """A run that was stopped after its checkpoint at step 9, and looks at steps 3, 6 and 9."""
    out = tmp_path_factory.mktemp("half")
    with pytest.raises(KeyboardInterrupt):
        go(out, place, stop=11)
    return out


@pytest.fixture(scope="module")
def whole(half, place, tmp_path_factory):
    out = shutil.copytree(half, tmp_path_factory.mktemp("whole") / "run")
    assert not [line for line in go(out, place) if "warning" in line]
    return out


def contents(out, *patterns):
    return {str(p.relative_to(out)): p.read_bytes() for pattern in patterns for p in out.glob(pattern)}


HARM = {
    "empty": b"",
    "null": b"null",
    "zeros": b"\0" * 500,
    "bytes": b"\xff\xfe" * 20,
    "deep": b"[" * 9999,
    "text": b"a,b\n1",
}


@pytest.mark.parametrize("content", HARM.values(), ids=HARM)
@pytest.mark.parametrize("name", ["losses.csv", "epochs.csv", "data.json", "removed.csv", "samples.png", "first frame"])
def test_no_damaged_file_keeps_a_run_from_its_end(tmp_path, place, half, whole, name, content):
    out = shutil.copytree(half, tmp_path / "run")
    frames = contents(out, "epochs/*.png", "snapshots/*", "generators/*")
    file = min((out / "epochs").glob("*.png")) if name == "first frame" else out / name
    file.write_bytes(content)
    said = go(out, place)
    warned = [line for line in said if line.startswith(f"warning: {file} is damaged (")]
    if name in ("losses.csv", "epochs.csv"):
        assert len(warned) == 1 and f"it lies in {name}.damaged now" in warned[0]
        assert (out / f"{name}.damaged").read_bytes() == content
    elif name == "first frame":
        assert len(warned) == 1 and "samples.webp is made without it" in warned[0]
        frames[str(file.relative_to(out))] = content
    else:
        assert not warned
    assert contents(out, "epochs/*.png", "snapshots/*", "generators/*").items() >= frames.items()
    same = ("discriminator.safetensors", "generator.safetensors", "data.json", "removed.csv", "samples.png")
    assert contents(out, *same) == contents(whole, *same)
    assert ["trained before" in line for line in go(out, place)].count(True) == 1


def test_no_flipped_bit_of_what_a_run_reads_back_is_accepted(half):
    state = gan.load_state(half / "state.safetensors", RECIPE.architecture, RECIPE.training)
    notes = read_notes(state.notes, half, Run(half, half))
    drawn = random.Random(0)
    for name in ("losses.csv", "epochs.csv", "removed.csv"):
        whole = (half / name).read_bytes()
        held, _ = notes.files[name]
        assert read_vouched(half / name, notes) == whole[:held]
        copy = half / "copies" / name
        copy.parent.mkdir(exist_ok=True)
        for at in (drawn.randrange(8 * held) for _ in range(150)):
            changed = bytearray(whole)
            changed[at // 8] ^= 1 << at % 8
            copy.write_bytes(changed)
            with pytest.raises(ValueError, match="not what it was at the checkpoint"):
                read_vouched(copy, notes)


@pytest.mark.parametrize("name", ["discriminator.safetensors", "generator.safetensors", "training.json"])
def test_damaged_results_are_written_again_from_the_checkpoint(tmp_path, place, whole, name):
    out = shutil.copytree(whole, tmp_path / "run")
    changed = bytearray((out / name).read_bytes())
    changed[len(changed) // 2] ^= 4
    (out / name).write_bytes(changed)
    assert not [line for line in go(out, place) if "trained before" in line]
    for network in ("discriminator", "generator"):
        file = out / f"{network}.safetensors"
        assert file.read_bytes() == (whole / file.name).read_bytes()
        assert json.loads((out / "training.json").read_text())[network] == hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_run_of_before_is_read_from_the_files_beside_its_checkpoint(tmp_path, capsys):
    said = []
    place = Run(tmp_path, tmp_path, say=said.append)
    assert read_notes({}, tmp_path, place) == Notes()
    (tmp_path / "clock.json").write_text('{"seconds": 1.5}')
    (tmp_path / "data.json").write_text('{"name": "x"}')
    assert read_notes({}, tmp_path, place) == Notes(1.5, {"name": "x"})
    for content in ("", "null", '{"seconds": "1"}', '{"seconds": NaN}', '{"seconds": -1}', '{"seconds": 1e999}', "{}"):
        (tmp_path / "clock.json").write_text(content)
        assert read_notes({}, tmp_path, place) == Notes(0.0, {"name": "x"})
        assert said.pop().startswith(f"warning: {tmp_path / 'clock.json'} is damaged (")
    (tmp_path / "data.json").write_text("[]")
    with pytest.raises(UserError, match=r"data.json is damaged .*; restore it from a copy; if the images are the same"):
        read_notes({}, tmp_path, place)


@pytest.mark.parametrize(
    "noted", [{"seconds": "1"}, {"seconds": -1}, {"data": []}, {"files": {"a": [1]}}, {"files": 3}, {"other": 1}]
)
def test_notes_of_another_shape_are_refused(tmp_path, noted):
    with pytest.raises(ValueError, match="its notes"):
        read_notes(noted, tmp_path, Run(tmp_path, tmp_path))


def test_notes_vouch_for_the_beginning_of_growing_files(tmp_path):
    (tmp_path / "losses.csv").write_bytes(b"first")
    notes = read_notes(notes_of(tmp_path, 1.23456, {"name": "x"}), tmp_path, Run(tmp_path, tmp_path))
    assert notes.seconds == 1.235 and notes.data == {"name": "x"} and list(notes.files) == ["losses.csv"]
    (tmp_path / "losses.csv").write_bytes(b"first, later")
    assert read_vouched(tmp_path / "losses.csv", notes) == b"first"
    (tmp_path / "losses.csv").unlink()
    with pytest.raises(ValueError, match="not what it was"):
        read_vouched(tmp_path / "losses.csv", notes)


LOOK = "epoch,step,seconds,diversity,loss_generator,loss_discriminator,warning\n"


@pytest.mark.parametrize(
    "rows", ["1,2\n", "1,x,1,1,1,1,\n", "1,2,1,1,1,1,,\n", "1,2,1,1,1,1,\n1,2,1,1,1,1,\n", '1,2,1,1,1,1,"a\n', "\0\n"]
)
def test_looks_of_another_form_are_refused(rows):
    assert len(read_looks(f'{LOOK}1,2,1,nan,1,1,"a | b"\n1,4,1,1,1,1,\n'.encode(), 3)) == 1
    with pytest.raises(ValueError):
        read_looks((LOOK + rows).encode(), 9)


@pytest.mark.parametrize(
    "line", ["x,8,generator,0.5,0.1", "1,8,critic,0.5,0.1", "1,8,generator,nan,0.1", "1,8,generator"]
)
def test_losses_of_another_form_are_refused(tmp_path, line):
    file = tmp_path / "losses.csv"
    file.write_text(f"step,images_seen,network,loss,lr\n{line}\n")
    with pytest.raises(UserError, match=r"losses.csv holds a line of another form \(.*\); move it away"):
        Losses(file, 5)


def test_the_first_number_that_is_not_finite_does_not_name_a_checkpoint_that_is_not_there(tmp_path, place, monkeypatch):
    trained = gan.train

    def broken(state, images, config, **given):
        return (dataclasses.replace(s, loss=s.loss * float("nan")) for s in trained(state, images, config, **given))

    monkeypatch.setattr(gan, "train", broken)
    with pytest.raises(FloatingPointError, match="not finite at step 3; no checkpoint was saved"):
        go(tmp_path / "run", place)
