"""The variants of an ablation: what each changes, and the pooling whose stored features contain all of theirs."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

import features

PAPER, FINEST = 4, 8
GRIDS = (1, 2, PAPER, FINEST)
CALIBRATED, RUNNING = "calibrated", "running"  # the modes of batch norm in which images of a batch are independent
LIMIT = 16e9  # bytes of stored features above which the finest grid is left out


@dataclass(frozen=True)
class Variant:
    """A row of the table. One choice differs from the protocol; `kind` says which."""

    kind: str
    name: str
    layers: tuple[str, ...]
    grid: int = PAPER
    pooling: str = "max"
    batchnorm: str = CALIBRATED

    @property
    def setting(self) -> str:
        """What decides the figures: rows with the same setting have the same figures."""
        return json.dumps([self.layers, self.grid, self.pooling, self.batchnorm])


def finest_grid(backbone: features.Backbone, images: int) -> tuple[int, str]:
    """Return the finest grid, 8 or 4, and one line that says why 8 is left out; an empty line if it is not.

    It is left out if the features of this many images, stored for all variants, would fill more than LIMIT.
    """
    fine, coarse = (features.feature_width(backbone, pool=features.NestedGrids(size)) for size in (FINEST, PAPER))
    size = images * fine * 4
    if size <= LIMIT or fine == coarse:
        return FINEST, ""
    return PAPER, (
        f"the {FINEST}x{FINEST} grid is left out: its stored features would fill {size / 1e9:.0f} GB, "
        f"the limit is {LIMIT / 1e9:.0f} GB (--subset {int(LIMIT / fine / 4):d} includes it)"
    )


def stored_pool(mode: str, finest: int) -> Callable:
    """Return the pooling of the features that are stored for a mode of batch norm."""
    return features.NestedGrids(finest) if mode == CALIBRATED else features.max_grid(PAPER)


def variants(backbone: features.Backbone, finest: int = FINEST) -> tuple[Variant, ...]:
    """List the rows in order. A kind is left out if the network allows only one variant of it."""
    shapes, layers = features.layer_shapes(backbone), tuple(backbone.layers)
    rows = [Variant("protocol", "protocol", layers)]
    if len(layers) > 1:
        rows += [Variant("layer", name, (name,)) for name in layers]
        rows += [Variant("first layers", layers[0], layers[:1])]
        rows += [Variant("first layers", f"{layers[0]} to {layers[k]}", layers[: k + 1]) for k in range(1, len(layers))]
    smaller = [name for name, (_, *size) in shapes.items() if min(size) < FINEST]
    for grid in (grid for grid in GRIDS if grid <= finest):
        if grid <= PAPER or len(smaller) < len(layers):
            but = f" ({PAPER}x{PAPER} of {', '.join(smaller)})" if grid > PAPER and smaller else ""
            rows.append(Variant("grid", f"{grid}x{grid}{but}", layers, grid=grid))
    rows += [Variant("pooling", kind, layers, pooling=kind) for kind in ("max", "mean")]
    if _has_running_statistics(backbone.model):
        rows += [Variant("batch norm", mode, layers, batchnorm=mode) for mode in (CALIBRATED, RUNNING)]
    return tuple(rows)


def _has_running_statistics(model: nn.Module) -> bool:
    """Return whether training left running statistics, other than the initial mean 0 and variance 1."""
    return any(
        bool(norm.running_mean.any()) or bool((norm.running_var != 1).any())
        for norm in model.modules()
        if isinstance(norm, _BatchNorm) and norm.running_mean is not None and norm.running_var is not None
    )
