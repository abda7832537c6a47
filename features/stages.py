"""Which layers of a network to take when none are named: every stage after its activation.

A stage is a submodule that computes with weights, ends behind a nonlinearity and gives maps (or tokens, laid on their
grid): in a row of layers each activation, in a network of blocks each block, in a ResNet its stem and layer1 .. layer4.
Networks that are one container inside another are looked into until there are several.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from features.taps import evaluating

EXTRA_TOKENS = 5  # of a class and registers, ahead of those of the grid
_BOUNDED = ("MultiheadAttention", "Softmax", "Softmax2d", "Softmin", "LogSoftmax", "Sigmoid", "Tanh")  # of outputs
_NAMES = frozenset(nn.modules.activation.__all__) - set(_BOUNDED)
_ACTIVATIONS = tuple(getattr(nn, name) for name in sorted(_NAMES))


def tokens_to_maps(output: Any) -> Any:
    """Tokens [N, T, D] -> maps [N, D, g, g], row by row, of the last g x g tokens; anything else as it is.

    The tokens ahead of the grid (of a class, registers: at most 5) are left. ValueError where T is no square and a few.
    """
    if not isinstance(output, Tensor) or output.ndim != 3:
        return output
    side = math.isqrt(output.shape[1])
    extra = output.shape[1] - side * side
    if side < 2 or extra > EXTRA_TOKENS:
        raise ValueError(f"{output.shape[1]} tokens are no square grid with at most {EXTRA_TOKENS} ahead; pass to_maps")
    return output[:, extra:].transpose(1, 2).unflatten(2, (side, side))


def default_stages(model: nn.Module, image_shape: tuple[int, int, int]) -> list[str]:
    """Names of the stages, in the order in which they end, for an input of `image_shape`; one blank image is run.

    Maps of a single place (after global pooling) are none, nor is a module that runs several times. Raises ValueError
    where there is no stage or the network does not run.
    """
    places = _places(model, image_shape)
    found = _stages(model, "", places)
    if not found:
        raise ValueError("no stage is seen that gives maps behind an activation module; name the layers")
    return sorted(found, key=list(places).index)


def _stages(module: nn.Module, prefix: str, places: dict[str, int]) -> list[str]:
    found: list[str] = []
    blocks: dict[str, nn.Module] = {}
    for name, child in module.named_children():
        whole = prefix + name
        if _is_activation(child):
            found += [whole] * (places.get(whole, 0) > 1)
        elif not any(_is_activation(inner) for inner in child.modules()):
            continue
        elif places.get(whole, 0) > 1 and any(parameter.ndim > 1 for parameter in child.parameters()):
            found.append(whole)
            blocks[whole] = child
        else:  # gives no maps itself
            found += _stages(child, f"{whole}.", places)
    if len(found) == 1 and (inside := blocks.get(found[0])) is not None:
        return _stages(inside, f"{found[0]}.", places) or found
    return found


def _is_activation(module: nn.Module) -> bool:
    """A module of an exported program tells by name what it was."""
    return isinstance(module, _ACTIVATIONS) or str(getattr(module, "_ty", "")).rpartition(".")[2] in _NAMES


def _places(model: nn.Module, image_shape: tuple[int, int, int]) -> dict[str, int]:
    """Module that ran -> h * w of the maps that it gave, 0 where it gave none or ran again; in the order of ending."""
    ended: dict[str, int] = {}

    def hook_for(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            try:
                maps = tokens_to_maps(output)
            except ValueError:
                maps = None
            fits = isinstance(maps, Tensor) and maps.ndim == 4 and maps.is_floating_point() and name not in ended
            ended[name] = maps.shape[2] * maps.shape[3] if fits else 0

        return hook

    hooks = [m.register_forward_hook(hook_for(n)) for n, m in model.named_modules(remove_duplicate=False) if n]
    try:
        with evaluating(model), torch.inference_mode():
            model(torch.zeros(1, *image_shape, device=next(model.parameters(), torch.empty(0)).device))
    except Exception as error:  # whatever the network raises
        shape = ", ".join(map(str, image_shape))
        raise ValueError(f"it does not run on float32 [1, {shape}]: {type(error).__name__}: {error}") from error
    finally:
        for hook in hooks:
            hook.remove()
    return ended
