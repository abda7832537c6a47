"""Answers are for people and for programs: few lines, none too long; one object with --json; nothing else on stdout."""

import dataclasses
import json
from pathlib import Path

import pytest
from PIL import Image

import results
from experiments.commands.answers import as_lines, row_object, standing
from experiments.measure.tables import load_table
from tests.experiments.commands.small import USERS
from tests.experiments.deduplication.made_up import photographs
from tests.workplace import Workplace

COMMITTED = Path(__file__).parents[3] / "results" / "runs"
KEYS = ["method", "protocol", "metric", "value", "interval", "n_test", "C", "run_id", "processes"]
LONG = "a_network_with_quite_a_long_name_that_somebody_has_given_to_a_file"
PRINTS = USERS.replace("import torch\n", "import os, torch\nprint('imported')\n", 1).replace(
    "def make():\n", "def make():\n    print('made')\n"
)


def runs(table: str) -> list[list[results.Record]]:
    """The committed records of each run."""
    found: dict[str, list[results.Record]] = {}
    for record in results.read_records(COMMITTED / f"{table}.jsonl"):
        found.setdefault(record.run_id, []).append(record)
    return list(found.values())


def lines_of(measured: list[results.Record], table: str, known: list[results.Record]) -> list[str]:
    main, *others = measured
    beside = standing(main, load_table(table), known)
    return list(as_lines(main, others, beside, "dcgan-eval eval random:imagenet32"))


@pytest.mark.parametrize("table", ["cifar10", "svhn", "mnist"])
def test_every_committed_run_is_told_in_four_lines(table: str) -> None:
    known = [record for run in runs(table) for record in run]
    for run in runs(table):
        lines = lines_of(run, table, known)
        assert len(lines) <= 4 and max(map(len, lines)) <= 100
        main, found = run[0], row_object(run[0])
        low, high = found["interval"]
        assert low < main.value < high and list(found) == KEYS and json.loads(json.dumps(found)) == found
        figure = f"{main.value:.2f} % (95 % {low:.2f}-{high:.2f}), n {main.n_test:,}, {main.protocol}, "
        assert lines[-1].endswith(f"{figure}run {main.run_id}") and lines[0].startswith(main.method[:30])
        assert lines[1].startswith("also ") == (len(run) > 1)


def test_rows_of_the_same_protocol_are_in_order() -> None:
    known = results.answering(load_table("cifar10"), [r for run in runs("cifar10") for r in run])
    (half,) = [run for run in runs("cifar10") if run[0].run_id == "20261125-f0a13a46"]
    lines = lines_of(half, "cifar10", known)
    assert lines[1:3] == [
        "also without-leaked 76.40 % (n 9,994), without-train-duplicates 75.86 % (n 9,654)",
        "best first: default 84.01, the paper 82.8, k-means 79.09, this 76.39, random-init 65.45",
    ]
    (error,) = [run for run in runs("svhn") if run[0].run_id == "20261124-3908fc8f"]
    assert lines_of(error, "svhn", [r for run in runs("svhn") for r in run])[-2] == (
        "best first: this 30.72, random-init 47.79, k-nn 75.05, raw pixels 79.78"
    )


def test_a_row_of_other_images_is_no_row_beside() -> None:
    """A subset, another protocol and the same protocol on other test images are never set beside each other."""
    known = [r for run in runs("cifar10") for r in run]
    main = dataclasses.replace(known[0], method="mine")
    subset = dataclasses.replace(main, protocol="cifar10/subset-1000")
    other = dataclasses.replace(main, protocol="cifar10/full-mirrored", inputs={**main.inputs, "test": "others"})
    table = load_table("cifar10")
    assert "random-init" in standing(main, table, known)
    assert standing(subset, table, known) == standing(other, table, known) == {}
    assert lines_of([subset], "cifar10", known)[-2] == "compare with a control: dcgan-eval eval random:imagenet32"


def test_figures_of_draws_have_the_interval_of_compare() -> None:
    (run,) = [run for run in runs("svhn") if run[0].run_id == "20261124-3908fc8f"]
    found = row_object(run[0])
    half = (found["interval"][1] - found["interval"][0]) / 2
    assert sum(found["interval"]) / 2 == pytest.approx(run[0].value, abs=1e-3)
    assert half > run[0].error_bar / 10  # more than the standard error over draws: images and shared labels count, too


@pytest.fixture
def place(roots: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small CIFAR-10, two networks that print, an album with a damaged file; paths are short as people's are."""
    monkeypatch.chdir(roots)
    monkeypatch.setenv("RUNS_ROOT", "runs")
    (roots / f"{LONG}.py").write_text(PRINTS)
    (roots / "mine.py").write_text(PRINTS.replace("(-1, 1)", "(0, 1)"))
    (roots / "album").mkdir()
    for i, image in enumerate(photographs(3)):
        Image.fromarray(image).save(roots / "album" / f"{i}.png")
    (roots / "album" / "empty.jpg").touch()
    return roots


COMMANDS = [
    ["eval", f"{LONG}.py:make", "--subset", "640"],
    ["eval", "mine.py:make", "--subset", "640", "--mirrored"],
    ["eval", "mine.py:make", "--subset", "640", "--dry-run"],
    ["check", f"{LONG}.py:make"],
    ["extract", "mine.py:make", "--subset", "640", "--dry-run"],
    ["dedup", "album", "--method", "phash"],
    ["dedup", "album", "--method", "phash", "--dry-run"],
    ["data", "cifar10-test"],
    ["data", "pack", "album", "--size", "32"],
    ["data", "pack", "album", "--size", "32", "--dry-run"],
    ["train", "mnist-64", "--dry-run"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_line_of_an_answer_is_too_long(command: list[str], place: Path, workplace: Workplace, capsys) -> None:
    assert workplace.main(*command) in (0, 1)
    told = capsys.readouterr()
    lines = told.out.splitlines()
    assert lines and all(len(line) <= 100 for line in lines), [line for line in lines if len(line) > 100]
    assert "imported" not in told.out and "made" not in told.out.split()
    if command[0] == "eval" and "--dry-run" not in command:
        assert len(lines) == 3 and "imported\nmade\n" in told.err and "written to" in told.err


@pytest.mark.parametrize("command", [c for c in COMMANDS if c[0] not in ("extract", "train")], ids=" ".join)
def test_json_is_one_object_on_one_line(command: list[str], place: Path, workplace: Workplace, capsys) -> None:
    for file in (f"{LONG}.py", "mine.py"):
        (place / file).write_text((place / file).read_text().replace("print(", "str("))
    code = workplace.main(*command, "--json", "--quiet")
    told = capsys.readouterr()
    assert code == ("album" in command and "--dry-run" not in command)
    (line,) = told.out.splitlines()
    found = json.loads(line)
    assert isinstance(found, dict) and all(text.startswith("warning: ") for text in told.err.splitlines())
    if command[0] == "eval":
        assert list(found) == (["plan"] if "--dry-run" in command else KEYS)


def test_two_networks_that_were_just_measured_are_compared(place: Path, workplace: Workplace, capsys) -> None:
    """Neither sets a seed: what a factory draws is the same in each process."""
    networks = [f"{LONG}.py:make", "mine.py:make"]
    for name in networks:
        file = place / name.partition(":")[0]
        file.write_text(file.read_text().replace("torch.manual_seed(0)", "pass"))
        assert workplace.main("eval", name, "--subset", "640") == 0
    capsys.readouterr()
    assert workplace.main("compare", *networks) in (0, 1)
    lines = capsys.readouterr().out.splitlines()
    assert "on          cifar10/subset-640: 128 test images" in lines and all(len(line) <= 100 for line in lines)
    assert lines[-1].startswith("B is ")


def test_the_table_is_printed_where_it_is_wanted(place: Path, workplace: Workplace, capsys) -> None:
    command = ["eval", "pixels", "--subset", "640"]
    assert workplace.main(*command, "--show-table") == 0
    told = capsys.readouterr().out
    assert "| method " in told and told.splitlines()[-1].startswith("raw pixels")
    assert workplace.main(*command, "--show-table", "--json") == 2
    assert "leave out --show-table" in capsys.readouterr().err


def test_only_the_first_process_prints(place: Path, workplace: Workplace, capsys, monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        assert workplace.main("data", "cifar10-test") == 0
        assert bool(capsys.readouterr().out) == (rank == "0")
