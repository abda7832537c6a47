"""torchvision imports, whatever torch it stands beside."""

import subprocess
import sys

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
