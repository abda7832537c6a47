"""The one place that writes looks: what it writes, says and prints, and what a look that fails leaves."""

import dataclasses
import json
import math
from functools import partial

import pandas as pd
import pytest

from experiments.look.result import LookResult, carry_out, look_folder
from experiments.run.errors import UserError

TABLE = pd.DataFrame({"n": [1, 2], "share": [1 / 3, math.nan], "name": ["a,b", ""]})


def look(**found):
    """A look that finds this."""
    return LookResult(3, {"generator": "ab"}, {"path": "straight"}, **found)


def test_a_result_is_written_recorded_said_and_printed(workplace, capsys):
    folder, said = workplace.root / "new" / "look", []
    command = ("dcgan-eval", "look", "walk", str(workplace.run.runs_root / "train"))
    run = dataclasses.replace(workplace.run, say=said.append, command=command)
    figures = {"one": math.nan, "two": [1.5, {"three": -math.inf}]}
    kept = {"pictures": {"a.png": b"png"}, "tables": {"a.csv": TABLE}, "figures": figures, "seconds": {"draw": 1.26}}
    carry_out(partial(look, **kept, says=["what was seen"], answers=["the answer"]), folder, run)
    assert (folder / "a.png").read_bytes() == b"png"
    assert (folder / "a.csv").read_text() == 'n,share,name\n1,0.333333,"a,b"\n2,,\n'
    assert said == [f"written to {folder}", "what was seen"] and capsys.readouterr().out == "the answer\n"
    record = json.loads((folder / "record.json").read_text())
    assert list(record) == [
        *("command", "seed", "inputs", "settings", "figures", "written", "versions", "hardware", "seconds")
    ]
    assert record["command"] == ["dcgan-eval", "look", "walk", "$RUNS_ROOT/train"] and record["seed"] == 3
    assert (record["inputs"], record["settings"]) == ({"generator": "ab"}, {"path": "straight"})
    assert record["figures"] == {"one": None, "two": [1.5, {"three": None}]} and record["seconds"] == {"draw": 1.3}


def test_a_record_comes_last_and_an_earlier_one_goes_first(workplace):
    folder = workplace.root / "look"
    folder.mkdir()
    for name in ("record.json", "nearest.png", "nearest-run-pixels.png", "shows.txt"):
        (folder / name).write_text("earlier")
    with pytest.raises(FileNotFoundError):
        carry_out(partial(look, tables={"no-folder/a.csv": TABLE}), folder, workplace.run)
    assert [file.name for file in folder.iterdir()] == ["shows.txt"]


def test_a_look_that_fails_leaves_no_folder_and_an_earlier_look_as_it_was(workplace):
    def fails():
        raise ValueError("a mistake")

    with pytest.raises(ValueError, match="a mistake"):
        carry_out(fails, workplace.root / "new", workplace.run)
    assert not (workplace.root / "new").exists()
    (workplace.root / "nearest.png").touch()
    with pytest.raises(ValueError, match="a mistake"):
        carry_out(fails, workplace.root, workplace.run)
    assert (workplace.root / "nearest.png").exists()


def test_a_folder_that_cannot_be_written_to_is_named_before_the_look(workplace):
    run, file = workplace.run, workplace.root / "file"
    assert look_folder("walk", "random:imagenet32", run, None) == run.runs_root / "look" / "walk-random-imagenet32"
    assert not run.runs_root.exists()
    file.touch()
    for out in (file, file / "below"):
        with pytest.raises(UserError, match=f"cannot write to {file}"):
            look_folder("walk", "x", run, out)


@pytest.mark.parametrize("content", ["", "[1]", '{"settings": {}, "figures": 3}', '{"my": "own"}'])
def test_the_record_of_another_program_is_not_replaced(workplace, content):
    folder = workplace.root / "look"
    folder.mkdir()
    (folder / "record.json").write_text(content)
    with pytest.raises(
        UserError, match=r"record\.json is not the record of a look .*; choose another folder with --out"
    ):
        look_folder("walk", "x", workplace.run, folder)
    carry_out(look, folder, workplace.run)  # writes one of its own
    assert look_folder("walk", "x", workplace.run, folder) == folder
