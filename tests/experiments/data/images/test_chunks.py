"""Work on chunks: outcomes come in order and are kept while they are useful; the death of a process is clear."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from experiments.data.images.chunks import Outcome, work_through
from experiments.run.context import Run
from experiments.run.errors import UserError


class Numbers(NamedTuple):
    """A chunk whose images are numbers."""

    size: int
    key: object


CHUNKS = [Numbers(2, "a"), Numbers(3, "b"), Numbers(1, "c")]


def counted(chunk: Numbers) -> Outcome:
    return Outcome({"ones": np.ones(chunk.size, np.uint8)}, {"key": chunk.key}, final=chunk.key != "b")


def killed(chunk: Numbers) -> Outcome:
    os.kill(os.getpid(), 9)
    return counted(chunk)


def results(folder: Path, work=counted, chunks=CHUNKS, made_by: object = 1, workers: int = 1) -> list[tuple]:
    worked = work_through(work, chunks, folder, Run(folder, folder), made_by=made_by, title="counting", workers=workers)
    return [(chunk.key, outcome.header["key"], outcome.arrays["ones"].tolist()) for chunk, outcome in worked]


ALL = [("a", "a", [1, 1]), ("b", "b", [1, 1, 1]), ("c", "c", [1])]


def test_outcomes_are_kept_unless_they_may_pass(tmp_path: Path) -> None:
    done: list[object] = []

    def noted(chunk: Numbers) -> Outcome:
        done.append(chunk.key)
        return counted(chunk)

    assert results(tmp_path, noted) == results(tmp_path, noted) == ALL
    assert done == ["a", "b", "c", "b"]
    results(tmp_path, noted, made_by=2)
    assert done[4:] == ["a", "b", "c"]


def test_files_of_other_chunks_go_at_the_end(tmp_path: Path) -> None:
    results(tmp_path)
    before = {file.name for file in tmp_path.iterdir()}
    results(tmp_path, chunks=[CHUNKS[0], Numbers(1, "d")])
    after = {file.name for file in tmp_path.iterdir()}
    assert len(before) == len(after) == 2 and len(before & after) == 1


def test_processes_give_the_same(tmp_path: Path) -> None:
    assert results(tmp_path, workers=2) == ALL
    assert len(list(tmp_path.iterdir())) == 2


def test_a_killed_worker_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"ended by signal 9 \(SIGKILL\), because memory ran out or .*: free memory"
    ) as caught:
        results(tmp_path, killed, workers=2)
    assert "\n" not in str(caught.value)
