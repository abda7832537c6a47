"""Small networks for commands, and what was recorded of them."""

import json
from pathlib import Path

RANDOM = ["--backbone", "random:imagenet32,width=4", "--subset", "640"]
USERS = """import torch
import features

def make():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3, padding=1), torch.nn.ReLU())
    return features.Backbone(model, ["1"], (3, 32, 32), (-1, 1))
"""


def records(root: Path) -> list[dict]:
    """Return what was recorded of CIFAR-10 below RUNS_ROOT, oldest first."""
    file = root / "runs" / "records" / "cifar10.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
