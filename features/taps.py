"""Activations of named layers of any nn.Module, read by forward hooks and reduced on the spot.

The forward pass ends as soon as the last named layer has run: what lies behind it (a classifier, or stages
whose weights are missing) is never computed.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class _AllTapped(Exception):
    """Ends a forward pass once every named layer has given its output."""


def find_layers(model: nn.Module, layers: Sequence[str]) -> dict[str, nn.Module]:
    """Name -> submodule, in the order given; ValueError for no, repeated or unknown names."""
    there = {name: module for name, module in model.named_modules(remove_duplicate=False) if name}
    if not layers or isinstance(layers, str) or len(set(layers)) != len(layers):
        raise ValueError(f"layers must be a sequence of distinct module names, at least one, got {layers!r}")
    if unknown := [name for name in layers if name not in there]:
        raise ValueError(f"no layer {', '.join(map(repr, unknown))} in this network; it has: {', '.join(there)}")
    return {name: there[name] for name in layers}


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode; every submodule's own training flag is put back on leaving."""
    flags = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in flags:
            module.training = training


@contextmanager
def tapped(
    model: nn.Module, layers: Sequence[str], reduce: Callable[[str, Any], Tensor]
) -> Iterator[Callable[[Tensor], list[Tensor]]]:
    """Within: a function, input batch -> [reduce(name, output of the layer), in the order of layers].

    reduce runs while the layer returns, so large maps are freed at once and in-place operations behind the
    layer change nothing. A layer that runs several times in one pass counts with its first output. The model
    is in evaluation mode within; no gradient is recorded. ValueError for unknown names and for layers the
    pass never reaches.
    """
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if name in found:
                return
            found[name] = reduce(name, output).clone()  # a view of the output could still be overwritten in place
            if len(found) == len(layers):
                raise _AllTapped

        return hook

    def forward(batch: Tensor) -> list[Tensor]:
        found.clear()
        try:
            with torch.inference_mode():
                model(batch)
        except _AllTapped:
            return [found.pop(name) for name in layers]
        missed = [name for name in layers if name not in found]
        raise ValueError(f"layers must run in the forward pass; never reached: {', '.join(missed)}")

    modules = find_layers(model, layers)
    hooks = [module.register_forward_hook(keep(name)) for name, module in modules.items()]
    try:
        with evaluating(model):
            yield forward
    finally:
        found.clear()
        for hook in hooks:
            hook.remove()
