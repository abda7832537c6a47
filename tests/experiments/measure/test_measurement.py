"""What is at hand and what is measured anew: only source that can change a figure enters its identity."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from experiments.measure import measurement
from experiments.measure.measurement import SOURCE, Figure, Measurement, recorded
from experiments.measure.records import keep_record
from experiments.run.context import ROOT, Run

PACKAGES = ("gan", "features", "evaluation", "dedup", "results", "experiments")


@dataclass(frozen=True)
class Spec:
    value: float = 50.0


@dataclass(frozen=True)
class Counted(Measurement):
    """A measurement of two protocols that counts how often it is made."""

    spec: Spec = Spec()
    calls: list[Run] = field(default_factory=list)
    protocols: tuple[str, ...] = ("p", "q")
    table: str = "t"
    seed: int | None = 3

    @property
    def inputs(self) -> dict[str, str]:
        return {"train": "digest"}

    def measure(self, run: Run) -> list[Figure]:
        self.calls.append(run)
        shared = {"method": "m", "metric": "accuracy_percent", "value": self.spec.value, "n_test": 10}
        return [Figure(protocol=protocol, seconds={"all": 1.26}, **shared) for protocol in self.protocols]


@pytest.fixture
def run(workplace) -> Run:
    return replace(workplace.run, command=("dcgan-eval", "x", str(workplace.run.runs_root / "file")))


def kept(run: Run, counted: Counted, **how: bool) -> list:
    records = recorded(counted, run, **how)
    for record in records:
        keep_record(run.own_records / "t.jsonl", record, run)
    return records


def test_a_record_says_where_its_figure_comes_from(run: Run) -> None:
    first, second = recorded(Counted(), run)
    assert (first.protocol, second.protocol) == ("p", "q") and first.run_id == second.run_id
    assert first.command == ["dcgan-eval", "x", "$RUNS_ROOT/file"] and (first.spec, first.seed) == ({"value": 50.0}, 3)
    assert first.inputs.keys() == {"train", "source"} and first.seconds == {"all": 1.3}
    assert first.versions["commit"] is None or len(first.versions["commit"]) >= 40


def test_what_is_at_hand_is_not_measured_again_unless_asked_for(run: Run) -> None:
    counted, said = Counted(), []
    run = replace(run, say=said.append)
    first = kept(run, counted)
    assert kept(run, counted) == first and len(counted.calls) == 1 and "measured before, as run" in said[0]
    kept(run, counted, fresh=True)
    assert len(counted.calls) == 2
    kept(run, replace(counted, spec=Spec(60.0)))
    assert len(counted.calls) == 3


def test_a_run_that_was_stopped_while_writing_is_measured_again(run: Run) -> None:
    counted = Counted()
    keep_record(run.own_records / "t.jsonl", recorded(counted, run)[0], run)
    kept(run, counted)
    assert len(counted.calls) == 2


def only_python(folder: str, names: list[str]) -> list[str]:
    """What is not copied: files of other kinds."""
    return [name for name in names if (Path(folder) / name).is_file() and not name.endswith(".py")]


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Edits a file of a copy of the source, which stands for the checkout."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / "checkout" / package, ignore=only_python)
    monkeypatch.setattr(measurement, "ROOT", tmp_path / "checkout")

    def edit(name: str) -> None:
        file = tmp_path / "checkout" / name
        file.write_text(file.read_text() + "\n# a typo mended\n")

    return edit


@pytest.mark.parametrize("file", ["report/page.py", "look/walk.py", "commands/eval.py", "cli.py", "training/loop.py"])
def test_an_edit_that_changes_no_figure_measures_nothing_anew(run: Run, source, file: str) -> None:
    counted = Counted()
    kept(run, counted)
    source(f"experiments/{file}")
    kept(run, counted)
    assert len(counted.calls) == 1


@pytest.mark.parametrize("file", ["evaluation/l2svm.py", "experiments/measure/classify.py", "experiments/data/load.py"])
def test_an_edit_that_can_change_a_figure_measures_anew(run: Run, source, file: str) -> None:
    counted = Counted()
    kept(run, counted)
    source(file)
    kept(run, counted)
    assert len(counted.calls) == 2


def test_the_source_is_of_packages_that_exist() -> None:
    assert [package for package in SOURCE if not (ROOT / package / "__init__.py").is_file()] == []
