"""Run ids that depend on the work alone, and descriptions that do not give the machine away."""

import hashlib
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results import git_commit, hardware, portable, run_id, source_digest, utc_now, versions
from results.provenance import machine_paths

STARTED = "2026-11-22T23:59:59Z"
ROOTS = {"$DATA_ROOT": "/srv/data", "$RUNS_ROOT": "/srv/data/runs", ".": Path("/home/someone/clone")}


def test_run_id_is_the_hash_of_the_canonical_text():
    text = b'[{"C":0.0001,"seed":0},{"images":"47af"}]'
    expected = f"20261122-{hashlib.sha256(text).hexdigest()[:8]}"
    assert run_id({"seed": 0, "C": 1e-4}, {"images": "47af"}, STARTED) == expected == "20261122-1495418f"


def test_run_id_depends_on_spec_inputs_and_day_and_not_on_key_order():
    spec, inputs = {"C": 1e-4, "seed": 0}, {"images": "47af", "labels": "2b7c"}
    same = run_id({"seed": 0, "C": 1e-4}, dict(reversed(inputs.items())), "2026-11-22T00:00:00Z")
    assert same == run_id(spec, inputs, STARTED)
    assert same != run_id({**spec, "seed": 1}, inputs, STARTED)
    assert same != run_id(spec, {**inputs, "labels": "0000"}, STARTED)
    assert run_id(spec, inputs, "2026-11-23T00:00:00Z") == "20261123" + same[8:]


def test_utc_now_has_the_form_records_ask_for():
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", utc_now())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/srv/data/svhn", "$DATA_ROOT/svhn"),
        ("/srv/data", "$DATA_ROOT"),
        ("/srv/data/runs/net.safetensors", "$RUNS_ROOT/net.safetensors"),
        ("/srv/database/x", "x"),
        ("theano:imagenet32:/srv/data/models", "theano:imagenet32:$DATA_ROOT/models"),
        ("--out=/home/someone/clone/results", "--out=./results"),
        ("/home/someone/my nets/net.py:factory", "net.py:factory"),
        ("/home/someone/", "someone"),
        ("relative/srv/data/x", "relative/srv/data/x"),
        ("cifar10/full", "cifar10/full"),
        ("arXiv:1511.06434, 50 images / s", "arXiv:1511.06434, 50 images / s"),
        ("https://arxiv.org/abs/1511.06434", "https://arxiv.org/abs/1511.06434"),
    ],
)
def test_portable_replaces_roots_and_shortens_other_paths(text, expected):
    assert portable(text, ROOTS) == expected
    assert portable({text: [text, 1, None]}, ROOTS) == {expected: [expected, 1, None]}
    assert portable(("x", Path("/srv/data/a")), ROOTS) == ["x", "$DATA_ROOT/a"]


@settings(deadline=None)  # the machine may be busy
@given(st.text("/ab:=, "))
def test_what_portable_gives_holds_no_machine_path(text):
    once = portable(text, {"$A": "/a"})
    assert list(machine_paths({once: [once]})) == []


def test_versions_name_the_software_figures_depend_on():
    found = versions()
    assert list(found) == ["python", "torch", "numpy", "scikit-learn", "dcgan-eval"]
    assert all(re.match(r"\d+\.\d+|not installed", text) for text in found.values())


def test_hardware_is_told_in_four_words():
    found = hardware("cpu")
    assert list(found) == ["cpu", "cores", "memory_gib", "accelerator"]
    assert found["cpu"] and found["cores"] >= 1 and found["memory_gib"] > 0 and found["accelerator"] is None
    assert list(machine_paths([found, versions()])) == []
    assert hardware("mps")["accelerator"] == "mps"


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True)


def test_git_commit_tells_dirty_source_and_ignores_recorded_results(tmp_path):
    assert git_commit(tmp_path) is None
    git(tmp_path, "init")
    assert git_commit(tmp_path) is None
    (tmp_path / "a.py").write_text("1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "x")
    clean = git_commit(tmp_path)
    assert clean is not None and re.fullmatch(r"[0-9a-f]{40}", clean)
    for part in ("runs", "tables", "look"):
        (tmp_path / "results" / part).mkdir(parents=True)
        (tmp_path / "results" / part / "written").write_text("{}\n")
    assert git_commit(tmp_path) == clean
    (tmp_path / "b.py").write_text("2\n")
    assert git_commit(tmp_path) == f"{clean}-dirty"
    assert git_commit(tmp_path / "results") is None


def test_source_digest_follows_names_and_text_and_not_the_place(tmp_path):
    for copy in ("one", "two"):
        (tmp_path / copy / "gan").mkdir(parents=True)
        (tmp_path / copy / "gan" / "a.py").write_text("1\n")
    one, two = tmp_path / "one" / "gan", tmp_path / "two" / "gan"
    first = source_digest([one])
    assert first == source_digest([two])
    (two / "notes.txt").write_text("not source")
    assert first == source_digest([two])
    (two / "a.py").write_text("2\n")
    assert first != source_digest([two])
    (one / "a.py").rename(one / "b.py")
    assert first != source_digest([one])
