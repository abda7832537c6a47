"""Packages through their clients: checked, whole or not at all."""

import base64
import hashlib
import os
import time
from pathlib import Path

import pytest

from experiments.data.downloads import FetchError
from experiments.data.packages import npm_pack
from experiments.run.context import Run

DATA = bytes(range(256)) * 10_000
INTEGRITY = "sha512-" + base64.b64encode(hashlib.sha512(DATA).digest()).decode()
RUN = Run(Path(), Path())


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    (tmp_path / "remote").write_bytes(DATA)
    return tmp_path / "remote"


def test_npm_pack(remote: Path, tmp_path: Path, fake_npm) -> None:
    fake_npm(f'echo "$1 $2" >> {tmp_path}/calls; [ "$1" = view ] || /bin/cp {remote} thing-1.0.tgz')
    npm_pack("thing@1.0", tmp_path / "new" / "thing.tgz", RUN, integrity=INTEGRITY)
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
def test_npm_failures(tmp_path: Path, fake_npm, script: str, message: str) -> None:
    fake_npm(script)
    start = time.monotonic()
    with pytest.raises(FetchError, match=message) as caught:
        patience = 0.1 if "sleep" in script else 20.0
        npm_pack("thing@1.0", tmp_path / "new" / "thing.tgz", RUN, integrity=INTEGRITY, probe_timeout=patience)
    assert "\n" not in str(caught.value) and time.monotonic() - start < 20
    assert os.listdir(tmp_path / "new") == []


def test_npm_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FetchError, match="there is no npm client on this machine"):
        npm_pack("thing@1.0", tmp_path / "thing.tgz", RUN, integrity=INTEGRITY)
