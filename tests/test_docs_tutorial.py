"""docs/tutorial.ipynb runs on made-up images, and holds the outputs of a run on real ones."""

import json
import re

import numpy as np
import pytest

from docs.tools.notebook import TUTORIAL, executed, notebook_markdown
from tests.workplace import learnable

CELLS = [cell for cell in json.loads(TUTORIAL.read_text())["cells"] if cell["cell_type"] == "code"]


def kinds(cell: dict) -> list[str]:
    """What a cell shows: printed text, pictures, values."""
    return [kind for output in cell["outputs"] for kind in sorted(output.get("data", {"printed": 0}))]


def test_outputs_are_those_of_one_run_and_name_no_machine() -> None:
    assert [cell["execution_count"] for cell in CELLS] == list(range(1, len(CELLS) + 1))
    page = notebook_markdown(TUTORIAL)
    assert page.count("data:image/png") >= 5
    assert not re.search(r"Traceback|/(work|home|tmp|root|Users)/|site-packages", re.sub(r"base64,[^\"]+", "", page))


@pytest.mark.slow
def test_it_runs(workplace) -> None:
    rng = np.random.default_rng(0)
    for split, n in (("train", 1010), ("test", 310)):
        workplace.pack(f"cifar10-{split}", *learnable(n, rng))
    ran = [cell for cell in json.loads(executed(TUTORIAL, workplace.root))["cells"] if cell["cell_type"] == "code"]
    assert [kinds(cell) for cell in ran] == [kinds(cell) for cell in CELLS]
