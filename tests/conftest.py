"""What every test may ask for."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data, DATA_ROOT; the test is skipped where there is none."""
    root = os.environ.get("DATA_ROOT")
    if not root:
        pytest.skip("DATA_ROOT is not set: no real data to test on")
    if not Path(root).is_dir():
        pytest.skip(f"DATA_ROOT={root} is no folder: no real data to test on")
    return Path(root)
