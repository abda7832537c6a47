"""torchvision can be imported with any torch."""

import re
import subprocess
import sys
from pathlib import Path

import experiments

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


def test_nothing_else_imports_it() -> None:
    modules = [path for path in Path(experiments.__file__).parent.rglob("*.py") if path.name != "torchvision.py"]
    wrong = re.compile(r"^\s*(import|from) torchvision|import_module\(.torchvision", re.M)
    assert modules and [path.name for path in modules if wrong.search(path.read_text())] == []
