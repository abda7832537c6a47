"""Which layers of a network to take when none are named: every stage after its activation.

A stage is a block (a submodule with others inside) or an activation that gives maps, or tokens that are laid on their
grid; blocks that only hold all others, or shrink the map more than once, are looked into. Beside blocks an activation
alone, such as that of a ResNet's stem, is none: of a ResNet there remain layer1 .. layer4, of a row of convolutions
every activation, of a vision transformer every block.
"""

import math
from typing import Any

from torch import Tensor, nn

from features.survey import Call, Survey, listed, one_line

EXTRA_TOKENS = 5  # of a class and registers, ahead of those of the grid


def tokens_to_maps(output: Any) -> Any:
    """What other networks have in place of maps [N, C, h, w] -> such maps; anything else as it is.

    Tokens [N, T, D] of a square grid, row by row: [N, D, g, g] of the last g x g; those ahead of it (of a class,
    registers: at most 5) are left. Channels last [N, g, g, D]: recognised by sides that are equal there alone.
    ValueError where T is no square and a few.
    """
    if not isinstance(output, Tensor) or output.ndim not in (3, 4):
        return output
    if output.ndim == 4:
        last = output.shape[1] == output.shape[2] != output.shape[3]
        return output.permute(0, 3, 1, 2) if last else output
    side = math.isqrt(output.shape[1])
    extra = output.shape[1] - side * side
    if side < 2 or extra > EXTRA_TOKENS:
        raise ValueError(f"{output.shape[1]} tokens are no square grid with at most {EXTRA_TOKENS} ahead; pass to_maps")
    return output[:, extra:].transpose(1, 2).unflatten(2, (side, side))


def default_stages(model: nn.Module, found: Survey) -> list[str]:
    """Names of the stages in the order in which they end, from the survey of the model.

    ValueError where the network did not run, or has none.
    """
    if found.error is not None:
        raise ValueError(f"the network does not run: {one_line(found.error)}") from found.error
    calls: dict[str, list[Call]] = {}
    for call in found.calls:
        calls.setdefault(call.name.rpartition("@")[0] or call.name, []).append(call)
    order = {call.name: place for place, call in enumerate(found.calls)}
    names = {call.name for call in _stages(model, "", calls)}
    if not names:
        raise ValueError(f"no submodule gives maps after an activation; name the layers: {listed(found.maps)}")
    return sorted(names, key=order.__getitem__)


def _stages(module: nn.Module, prefix: str, calls: dict[str, list[Call]]) -> list[Call]:
    """The calls of stages within a module: blocks, or where there are none, activations."""
    blocks: list[tuple[Call, list[Call]]] = []  # with the stages inside
    alone: list[Call] = []
    deeper: list[Call] = []
    for name, child in module.named_children():
        ran, leaf = calls.get(prefix + name, []), next(child.children(), None) is None
        stages = [call for call in ran if call.activated and call.shape is not None]
        if leaf:
            alone += stages
            continue
        inside = _stages(child, f"{prefix}{name}.", calls) if stages or not ran or ran[0].activated else []
        blocks += [(call, inside) for call in stages]
        deeper += [] if stages else inside  # gives no maps itself
    only = len(blocks) == 1 and not deeper
    opened = [inside if len(inside) > 1 and (only or _shrinks(call)) else [call] for call, inside in blocks]
    return [call for part in opened for call in part] + deeper or alone


def _shrinks(call: Call) -> bool:
    """By more than twice a side; an unpadded convolution of stride 2 by a little more."""
    assert call.shape is not None
    return call.enters is not None and call.enters[0] > 3 * call.shape[1]
