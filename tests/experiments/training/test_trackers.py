"""TensorBoard's event files, read back by its own reader, and trackers that users attach."""

import contextlib
import csv
import dataclasses
import importlib.util
import io
import math
import os
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from experiments.run.errors import UserError
from experiments.training import trackers
from experiments.training.recipe import Recipe
from experiments.training.session import train
from experiments.training.trackers import SUFFIX, EventFiles, load_tracker
from tests.experiments.training.test_session import RECIPE, photographs, put
from tests.workplace import Workplace

SHORT = dataclasses.replace(RECIPE, dedup=None)
DOCS = Path(__file__).parents[3] / "docs" / "training.md"


@pytest.fixture
def trained(workplace: Workplace):
    """A function that trains until a minibatch, or to the end; it returns what was said."""
    put(workplace.run.runs_root, photographs(35, copies=0))  # four minibatches are an epoch

    def trained(out: Path, *, stop: int | None = None, error: type[BaseException] = KeyboardInterrupt, **options):
        def progress(steps, **_):
            for step in steps:
                if stop is not None and step.step > stop:
                    raise error
                yield step

        said: list[str] = []
        run = dataclasses.replace(workplace.run, say=said.append, progress=progress)
        ended = contextlib.nullcontext() if stop is None else pytest.raises(error)
        with ended:
            train(SHORT, out, run, checkpoint_images=8 * 3, looks=3, **options)
        return said

    return trained


def looks(out: Path) -> list[dict[str, str]]:
    with open(out / "epochs.csv", newline="") as opened:
        return list(csv.DictReader(opened))


def points(out: Path):
    """Tag -> (step, value) of all points in the folder, as TensorBoard shows them; the images are PNG files."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(out), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    tags = events.Tags()
    found = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in tags["scalars"]}
    return found | {tag: [(e.step, e.encoded_image_string) for e in events.Images(tag)] for tag in tags["images"]}


def event_files(out: Path) -> list[Path]:
    return list(out.glob("events.out.tfevents.*"))


def test_event_files_hold_what_epochs_csv_and_the_grids_hold(trained, tmp_path):
    assert not [line for line in trained(tmp_path) if "warning: no event" in line]
    shown, rows = points(tmp_path), looks(tmp_path)
    assert [step for step, _ in shown["diversity"]] == [int(row["step"]) for row in rows] == [4, 8, 12]
    for name in set(rows[0]) - {"step", "warning"}:
        expected = [(int(r["step"]), float(r[name])) for r in rows if math.isfinite(float(r[name]))]
        assert shown.get(name, []) == [(step, pytest.approx(value)) for step, value in expected]
    for step, png in shown["samples"]:
        with Image.open(io.BytesIO(png)) as one, Image.open(tmp_path / "epochs" / f"{8 * step:012d}.png") as other:
            assert np.array_equal(np.asarray(one), np.asarray(other))


@pytest.mark.parametrize("stop", [5, 11])  # the checkpoint before: steps 3 and 9; looks after 4, 8 and 12
def test_a_run_that_goes_on_has_every_point_once(trained, tmp_path, stop):
    pytest.importorskip("tensorboard")
    trained(tmp_path, stop=stop)
    before = event_files(tmp_path)
    with open(before[0], "r+b") as opened:
        opened.truncate(before[0].stat().st_size - 7)  # as a kill may leave it
    mine = tmp_path / "events.out.tfevents.1.mine"
    mine.write_bytes(b"")
    trained(tmp_path)
    mine.unlink()  # left alone
    assert len(event_files(tmp_path)) == 1 and event_files(tmp_path) != before
    shown, rows = points(tmp_path), looks(tmp_path)
    assert {tag: [step for step, _ in of_tag] for tag, of_tag in shown.items() if tag in ("epoch", "samples")} == {
        "epoch": [4, 8, 12],
        "samples": [4, 8, 12],
    }
    assert shown["loss_generator"] == [(int(r["step"]), pytest.approx(float(r["loss_generator"]))) for r in rows]


def test_without_tensorboard_nothing_is_written_or_said(trained, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "tensorboard" else find(name, *a))
    said = trained(tmp_path)
    assert event_files(tmp_path) == [] and not any("ensor" in line for line in said)


def test_a_broken_tensorboard_is_a_warning(trained, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")

    def broken(out):
        raise TypeError("Descriptors cannot be created directly.\nregenerate")

    monkeypatch.setattr(trackers, "EventFiles", broken)
    said = trained(tmp_path)
    assert (
        "warning: no event files for TensorBoard are written (Descriptors cannot be created directly. regenerate)"
        in said
    )
    assert (tmp_path / "training.json").exists()


def test_event_files_of_gray_samples(tmp_path):
    pytest.importorskip("tensorboard")
    gray = np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)
    Image.fromarray(gray).save(tmp_path / "grid.png")
    events = EventFiles(tmp_path)
    events(3, {"step": 3.0, "epoch": 0.5, "nearest_ratio": math.nan}, tmp_path / "grid.png")
    events(4, {"step": 4.0, "epoch": 1.0}, None)
    shown = points(tmp_path)  # before it is closed
    assert shown["epoch"] == [(3, 0.5), (4, 1.0)] and set(shown) == {"epoch", "samples"}
    with Image.open(io.BytesIO(shown["samples"][0][1])) as picture:
        assert np.array_equal(np.asarray(picture.convert("L")), gray)
    events.close()
    assert event_files(tmp_path)[0].name.endswith(SUFFIX)


def test_a_tracker_is_told_of_every_look_once_and_with_its_files_written(trained, tmp_path):
    told, begun = [], []

    def tracker(folder, recipe):
        begun.append((folder, recipe))

        def track(step, row, grid):
            assert int(looks(folder)[-1]["step"]) == step == row["step"] and grid.stem == f"{8 * step:012d}"
            row["epoch"] = "spoilt"  # its own copy
            told.append(step)

        return track

    trained(tmp_path, stop=9, tracker=tracker)
    assert told == [4, 8]
    trained(tmp_path, tracker=tracker)
    assert told == [4, 8, 12]
    assert begun[0] == begun[1] and begun[0][0] == tmp_path and begun[0][1]["training"]["batch_size"] == 8
    assert Recipe(**begun[0][1] | {"training": SHORT.training}) == SHORT
    assert [row["epoch"] for row in looks(tmp_path)] == ["1", "2", "3"]
    trained(tmp_path, tracker=tracker)  # trained before
    assert len(begun) == 2


def test_a_tracker_that_fails_is_left_out_with_one_warning(trained, tmp_path):
    calls = []

    def track(step, row, grid):
        calls.append(step)
        raise ConnectionError("no route\nto host")

    said = trained(tmp_path, tracker=lambda folder, recipe: track)
    warnings = [line for line in said if "tracker" in line]
    assert warnings == ["warning: the tracker failed at step 4 (no route to host); training goes on without it"]
    assert calls == [4] and (tmp_path / "training.json").exists() and len(looks(tmp_path)) == 3


def test_a_tracker_that_cannot_begin_stops_the_run_before_it_starts(trained, tmp_path):
    def tracker(folder, recipe):
        raise RuntimeError("log in first")

    with pytest.raises(UserError, match=r"the tracker cannot begin: log in first; mend it, or leave --tracker out"):
        trained(tmp_path, tracker=tracker)
    with pytest.raises(UserError, match=r"must return a function track\(step, row, grid\), got NoneType"):
        trained(tmp_path, tracker=lambda folder, recipe: None)
    assert not (tmp_path / "state.safetensors").exists()


@pytest.mark.parametrize("ends", [SystemExit(0), GeneratorExit()])
def test_a_tracker_that_would_end_the_program_is_a_failure_like_others(trained, tmp_path, ends):
    def raises(*_):
        raise ends

    with pytest.raises(UserError, match=r"the tracker cannot begin: its code raises .* which would end the program"):
        trained(tmp_path, tracker=raises)
    said = trained(tmp_path, tracker=lambda folder, recipe: raises)
    assert len([line for line in said if line.startswith("warning: the tracker failed at step 4")]) == 1
    assert (tmp_path / "training.json").exists()
    (tmp_path / "ends.py").write_text("import sys\nsys.exit(0)\n")
    with pytest.raises(UserError, match=r"cannot load the tracker .* which would end the program"):
        load_tracker(f"{tmp_path}/ends.py:tracker")


def test_a_tracker_may_change_the_folder_stop_gradients_and_delete_the_grid(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def tracker(folder, recipe):
        os.chdir("/")

        def track(step, row, grid):
            (tmp_path / grid).unlink()
            os.chdir("/")
            torch.set_grad_enabled(False)

        return track

    said = trained(Path("out"), tracker=tracker)
    assert not [line for line in said if line.startswith("warning")]
    assert Path.cwd() == tmp_path and Path("out/training.json").exists()


def test_a_tracker_is_named_by_file_or_module(tmp_path, monkeypatch):
    (tmp_path / "own_tracker.py").write_text("def tracker(folder, recipe):\n    return print\n\nVALUE = 3\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for where in (str(tmp_path / "own_tracker.py"), "own_tracker.py", "own_tracker"):
        assert load_tracker(f"{where}:tracker")(tmp_path, {}) is print
    for text, line in (
        ("tracker", "takes file.py:function or module:function, got 'tracker'"),
        ("own_tracker.py:", "takes file.py:function"),
        ("none.py:tracker", "cannot load the tracker none.py:tracker: No such file"),
        ("own_tracker.py:other", "cannot load the tracker own_tracker.py:other: .*has no attribute 'other'"),
        ("own_tracker.py:VALUE", "the tracker own_tracker.py:VALUE must be a function, got int"),
    ):
        with pytest.raises(UserError, match=line):
            load_tracker(text)


class Wandb(types.ModuleType):
    """A stand-in: `init`, `Run.log` and `Image` take what Weights & Biases takes here, by the same names."""

    def __init__(self):
        super().__init__("wandb")
        self.runs, self.logged = [], []

    def init(self, *, project, name, id, resume, config):
        assert resume in ("allow", "must", "never", "auto") and not set(id) & set("/\\#?%:")
        self.runs.append((project, name, id, config))
        return types.SimpleNamespace(log=self.log)

    def log(self, data, step=None, commit=None):
        assert not self.logged or step > self.logged[-1][0]
        self.logged.append((step, data))

    class Image:
        def __init__(self, data_or_path, mode=None, caption=None):
            with Image.open(data_or_path) as picture:
                self.size = picture.size


class Mlflow(types.ModuleType):
    """A stand-in: functions take what MLflow's take here, by the same names."""

    def __init__(self):
        super().__init__("mlflow")
        self.runs, self.logged = [], []

    def start_run(self, run_id=None, experiment_id=None, run_name=None):
        self.runs.append((run_id, run_name))
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id=run_id or "0a1b"))

    def log_dict(self, dictionary, artifact_file, run_id=None):
        assert dictionary["name"] == "tiny" and artifact_file.endswith(".json")

    def log_metrics(self, metrics, step=None):
        assert all(math.isfinite(value) for value in metrics.values())
        self.logged.append((step, metrics))

    def log_artifact(self, local_path, artifact_path=None, run_id=None):
        assert isinstance(local_path, str) and Path(local_path).is_file() and artifact_path == "samples"


@pytest.mark.parametrize("made", [Wandb, Mlflow])
def test_the_examples_of_the_docs_log_every_look_of_a_run_that_goes_on(trained, tmp_path, monkeypatch, made):
    stand_in = made()
    name = stand_in.__name__
    (code,) = re.findall(rf"```python\n(# {name}_tracker\.py\n.*?)```", DOCS.read_text(), re.DOTALL)
    (tmp_path / f"{name}_tracker.py").write_text(code)
    monkeypatch.setitem(sys.modules, name, stand_in)
    out = tmp_path / "mnist-run"
    for stop in (9, None):
        tracker = load_tracker(f"{tmp_path / name}_tracker.py:tracker")
        assert not [line for line in trained(out, stop=stop, tracker=tracker) if "tracker" in line]
    assert [step for step, _ in stand_in.logged] == [4, 8, 12]
    assert stand_in.logged[-1][1]["diversity"] == float(looks(out)[-1]["diversity"])
    if made is Wandb:
        assert stand_in.runs[0] == stand_in.runs[1] and stand_in.runs[0][:3] == ("dcgan", "mnist-run", "mnist-run")
        assert stand_in.logged[0][1]["samples"].size == (256, 256)
    else:
        assert stand_in.runs == [(None, "mnist-run"), ("0a1b", "mnist-run")]
