"""What every test may ask for."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data, DATA_ROOT; the test is skipped where there is none."""
    root = os.environ.get("DATA_ROOT")
    if not root:
        pytest.skip("DATA_ROOT is not set: no real data to test on")
    if not Path(root).is_dir():
        pytest.skip(f"DATA_ROOT={root} is no folder: no real data to test on")
    return Path(root)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny networks gain nothing from a second thread, and on a busy machine wait for it: 60 times slower, measured."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
