"""Read the outputs of named layers of any nn.Module by forward hooks, and reduce them at once.

The forward pass ends as soon as the last named layer has run. What comes after it (a classifier, or stages whose
weights are missing) is never computed.
"""

from collections.abc import Callable, Collection, Container, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from features.errors import contained


class _AllTapped(Exception):
    """Ends a forward pass once every named layer has given its output."""


def split_call(layer: str, names: Container[str]) -> tuple[str, int]:
    """Split `relu@2` into ("relu", 2) and `relu` into ("relu", 1): a module's name and the number of its run.

    A text that is itself among `names` is not split.
    """
    name, _, number = layer.rpartition("@")
    return (name, int(number)) if name and number.isdecimal() and layer not in names else (layer, 1)


def find_layers(model: nn.Module, layers: Sequence[str]) -> dict[str, tuple[str, int]]:
    """Return layer -> (submodule, number of its run), in the order given.

    Raises ValueError for no names, for repeated names and for unknown names.
    """
    there = [name for name, _ in model.named_modules(remove_duplicate=False) if name]
    names = not isinstance(layers, str) and isinstance(layers, Collection) and all(isinstance(n, str) for n in layers)
    if not names or not layers:
        raise ValueError(f"layers must be a sequence of distinct module names, at least one, got {layers!r}")
    found = {layer: split_call(layer, there) for layer in layers}
    if len(set(found.values())) != len(layers):
        raise ValueError(f"layers must be a sequence of distinct module names, at least one, got {layers!r}")
    if unknown := [layer for layer, (name, number) in found.items() if name not in there or number < 1]:
        raise ValueError(f"no layer {', '.join(map(repr, unknown))} in this network; it has: {', '.join(there)}")
    return found


def kept_random(device: torch.device) -> AbstractContextManager[None]:
    """Within the block a network may draw random numbers; afterwards those of the CPU and of device go on as before."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put the model in evaluation mode within the block; afterwards every submodule gets its own training flag back."""
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
    """Yield a function that takes an input batch and returns [reduce(name, output) for each of `layers`, in order].

    reduce runs while the layer returns. So large maps are freed at once, and in-place operations after the layer change
    nothing. For a layer that runs several times in one pass, the first output counts; for `layer@k`, the k-th. Within
    the block the model is in evaluation mode, and no gradient is recorded. Raises ValueError for unknown names and for
    layers that the pass never reaches.

    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, 2, 1), torch.nn.ReLU(), torch.nn.Flatten())
    >>> with features.tapped(net, ["1"], lambda layer, maps: maps.mean((2, 3))) as forward:
    ...     [means] = forward(torch.zeros(5, 3, 32, 32))
    >>> means.shape
    torch.Size([5, 8])
    """
    found: dict[str, Tensor] = {}
    wanted: dict[str, dict[int, str]] = {}  # submodule -> which run -> layer
    for layer, (name, number) in find_layers(model, layers).items():
        wanted.setdefault(name, {})[number] = layer
    runs = dict.fromkeys(wanted, 0)

    def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            runs[name] += 1
            layer = wanted[name].get(runs[name])
            if layer is None:
                return
            found[layer] = reduce(layer, output).clone()  # a view of the output could still be overwritten in place
            if len(found) == len(layers):
                raise _AllTapped

        return hook

    def forward(batch: Tensor) -> list[Tensor]:
        found.clear()
        runs.update(dict.fromkeys(runs, 0))
        with suppress(_AllTapped), torch.inference_mode(), contained("forward"):
            model(batch)
        if missed := [layer for layer in layers if layer not in found]:
            raise ValueError(f"layers must run in the forward pass; never reached: {', '.join(missed)}")
        return [found.pop(layer) for layer in layers]

    hooks = [model.get_submodule(name).register_forward_hook(keep(name)) for name in wanted]
    try:
        with evaluating(model):
            yield forward
    finally:
        found.clear()
        for hook in hooks:
            hook.remove()
