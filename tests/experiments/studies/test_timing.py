"""Work is timed in turn, processes included; rates and ratios are medians."""

import subprocess
import sys
import time

import numpy as np

from experiments.studies.timing import alternate, compare, seconds


def test_both_run_in_turn_and_the_first_run_of_each_does_not_count() -> None:
    ran: list[str] = []
    pairs = alternate(lambda: ran.append("theirs"), lambda: ran.append("ours") or time.sleep(0.01), 2)
    assert ran == ["theirs", "ours"] * 3 and pairs.shape == (2, 2, 2)
    assert (pairs[:, 1, 0] >= 0.01).all() and (pairs[:, 1, 0] > pairs[:, 0, 0]).all()  # it slept


def test_processes_count_as_processor_time() -> None:
    code = "import time\nwhile time.process_time() < 0.3: pass"
    _, processor = seconds(lambda: subprocess.run([sys.executable, "-c", code], check=True))
    assert processor >= 0.3


def test_the_line_holds_medians() -> None:
    pairs = np.array([[[2, 4], [1, 1]], [[4, 4], [1, 1]], [[9, 4], [3, 2]]], float)
    line = compare(pairs, 1000, "theirs")
    assert line == "1,000/s, theirs 250/s, ratio 3 (4 in processor time; median of 3 pairs)"
