"""Agreement with human labels, counted over only the judged images."""

from pathlib import Path

import numpy as np
import pytest

from experiments.run.errors import UserError
from experiments.studies import copy_descriptor


def write_labels(folder: Path, judged: list[int], pairs: list[tuple[int, int]]) -> None:
    folder.mkdir()
    (folder / "test_index_dev.csv").write_text("TestID\n" + "".join(f"{i}\n" for i in judged))
    rows = "".join(f"{i},{j},0.1,1\n" for i, j in pairs)
    (folder / "duplicates_cifar10_dev.csv").write_text("TestID,TrainID,Distance,Judgment\n" + rows)


def test_flagged_and_listed_are_compared_image_by_image(tmp_path: Path) -> None:
    write_labels(tmp_path / "cifair", [1, 3, 5, 7], [(1, 0), (3, 2), (3, 4)])
    judged, listed = copy_descriptor.labelled(tmp_path / "cifair")
    assert (judged.tolist(), listed.tolist()) == ([1, 3, 5, 7], [1, 3])
    test, train = np.zeros((9, 32, 32, 3), np.uint8), np.ones((5, 32, 32, 3), np.uint8)
    test[:, 0, 0, 0] = np.arange(9)

    def method(originals: np.ndarray, others: np.ndarray) -> np.ndarray:
        assert originals[:, 0, 0, 0].tolist() == [1, 3, 5, 7] and others is train  # no other test image is looked at
        return np.array([[1, 0], [1, 3], [2, 0], [3, 1]], np.int64)  # images 3, twice, 5 and 7

    (row,) = copy_descriptor.measure(train, test, judged, listed, {"mine": method})
    assert row == {
        "method": "mine",
        "judged": 4,
        "listed": 2,
        "flagged": 3,
        "found": 1,
        "precision": pytest.approx(1 / 3),
        "recall": 0.5,
        "f1": pytest.approx(2 / 5),
    }


def test_missing_labels_are_told_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no human labels in .*cifair .*: set DATA_ROOT to the folder of cifair/"):
        copy_descriptor.labelled(tmp_path / "cifair")
