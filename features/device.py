"""The device that a backbone runs on."""

from typing import Any

import torch
from torch import nn

from features.backbone import Backbone
from features.errors import one_line


def moved(backbone: Any, device: torch.device | str | None) -> None:
    """Move the model, unless device is None. Raises ValueError for no Backbone and for a device that is not there."""
    if not isinstance(backbone, Backbone):
        name = type(backbone).__name__
        fix = "; features.Backbone.from_model makes one" if isinstance(backbone, nn.Module) else ""
        raise ValueError(f"backbone must be a features.Backbone, got {name}{fix}")
    if device is None:
        return
    try:
        there = torch.zeros((), device=device).device
        if there.type == "meta":
            raise TypeError("it holds no values")
        backbone.model.to(there)
    except (AssertionError, RuntimeError, TypeError) as error:
        raise ValueError(f"device {device!r} cannot be used, 'cpu' can: {one_line(error)}") from error
