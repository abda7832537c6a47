"""torchvision can be imported with any torch."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import experiments
from experiments.run.torchvision import declare_operators

SCRIPT = """
from experiments.run.torchvision import _declared, import_torchvision
datasets = import_torchvision("torchvision.datasets")
import torch, torchvision
assert datasets.CIFAR10.url.endswith("cifar-10-python.tar.gz") and len(datasets.CIFAR10.tgz_md5) == 32
assert torchvision.extension._has_ops() == (not _declared), "declared where they load, or not where missing"
assert hasattr(torch.ops.torchvision, "nms")
before = len(_declared)
import_torchvision()
assert len(_declared) == before
"""


def test_import_in_a_fresh_interpreter() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


USERS = """
import torchvision  # fails beside a CPU build of torch, unless its operators were declared
from torchvision import transforms
from torch import nn

def network():
    assert transforms.ToTensor
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU())
"""


def test_a_users_file_that_imports_torchvision_is_checked(tmp_path: Path) -> None:
    (tmp_path / "users.py").write_text(USERS)
    command = [sys.executable, "-m", "experiments", "check", f"{tmp_path}/users.py:network"]
    root = Path(experiments.__file__).parents[1]
    environment = os.environ | {"RUNS_ROOT": str(tmp_path / "runs"), "DEVICE": "cpu"}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.startswith("users.py:network, on cpu\n"), done.stdout + done.stderr


def test_the_line_for_a_script_of_ones_own() -> None:
    script = (
        "from experiments import torchvision\nfrom torchvision import datasets\nassert torchvision.datasets is datasets"
    )
    root = Path(experiments.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_without_torchvision_nothing_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)  # importing it would fail
    declare_operators()
    assert "torchvision" not in sys.modules


def test_nothing_else_imports_it() -> None:
    modules = [path for path in Path(experiments.__file__).parent.rglob("*.py") if path.name != "torchvision.py"]
    wrong = re.compile(r"^\s*(import|from) torchvision|import_module\(.torchvision", re.M)
    assert modules and [path.name for path in modules if wrong.search(path.read_text())] == []
