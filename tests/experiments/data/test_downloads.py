"""Downloads: a file appears whole and checked, or not at all; a dead host is given up soon."""

import hashlib
import os
import socket
import time
from pathlib import Path

import pytest

from experiments.data.downloads import FetchError, fetch
from experiments.run.context import Run

DATA = bytes(range(256)) * 10_000
MD5 = hashlib.md5(DATA).hexdigest()
RUN = Run(Path(), Path())


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    (tmp_path / "remote").write_bytes(DATA)
    return tmp_path / "remote"


def test_fetch(remote: Path, tmp_path: Path) -> None:
    seen = []

    def progress(iterable, *, total, desc, unit):
        for item in iterable:
            seen.append((total, desc, unit))
            yield item

    fetch(remote.as_uri(), tmp_path / "new" / "file", Run(tmp_path, tmp_path, progress=progress), md5=MD5)
    assert (tmp_path / "new" / "file").read_bytes() == DATA
    assert seen == [(3, "file", "MiB")] * 3
    assert os.listdir(tmp_path / "new") == ["file"]


def test_a_wrong_checksum_leaves_nothing(remote: Path, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=f"MD5 must be {'0' * 32}, got {MD5}"):
        fetch(remote.as_uri(), tmp_path / "new" / "file", RUN, md5="0" * 32)
    assert os.listdir(tmp_path / "new") == []


def test_a_host_that_refuses(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="refused"):
        fetch("http://127.0.0.1:9/file", tmp_path / "file", RUN, md5=MD5)


def test_a_host_that_never_answers(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        with pytest.raises(FetchError, match="timed out"):
            fetch(f"http://127.0.0.1:{silent.getsockname()[1]}/file", tmp_path / "file", RUN, md5=MD5, timeout=0.2)
    assert time.monotonic() - start < 5
    assert os.listdir(tmp_path) == []
