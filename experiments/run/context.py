"""Where a run happens: the checkout, its device."""

import argparse
from pathlib import Path

import torch

from experiments.run.errors import UserError, one_line

ROOT = Path(__file__).resolve().parents[2]


def device_of(name: str) -> torch.device:
    """The device of that name; UserError where it cannot be used."""
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device {name!r} cannot be used; set DEVICE=cpu ({one_line(error)[:120]})") from error
    return device


def named_roots(arguments: argparse.Namespace) -> dict[str, Path]:
    """How records write paths below the roots, which differ between machines."""
    return {"$DATA_ROOT": arguments.data_root, "$RUNS_ROOT": arguments.runs_root, ".": ROOT}
