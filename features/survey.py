"""What every submodule of a network gives for two images: one pass, used to find layers and for the checks."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from features.errors import contained, one_line
from features.taps import evaluating, split_call

# Names of the dispatcher, so that functions without a module are seen too. A sigmoid is a gate or an output, so it is
# not among them.
ACTIVATIONS = {
    *("relu", "leaky_relu", "_prelu_kernel", "rrelu_with_noise", "elu", "gelu", "silu", "mish", "tanh", "threshold"),
    *("softplus", "softshrink", "hardshrink", "hardtanh", "hardswish", "glu", "log_sigmoid_forward"),
}


@dataclass(frozen=True)
class Call:
    """One run of a submodule.

    name: `layer`, or `layer@k` for the k-th of several runs. shape: (C, h, w) of its maps; None if it gives none.
    unfit: says what its output is instead of maps. enters: (h, w) of its first input; None if that is no maps.
    activated: whether it contains an activation.
    """

    name: str
    shape: tuple[int, int, int] | None
    unfit: str
    enters: tuple[int, int] | None
    activated: bool


@dataclass
class Survey:
    """What happened when two images passed through the network, until the end or an error.

    names: all submodules. calls: in the order in which they end. runs: how often each submodule ran. training: modules
    still in training mode at the end. error: what the pass raised.

    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, 2, 1), torch.nn.ReLU(), torch.nn.Flatten())
    >>> found = features.survey(net, torch.zeros(2, 3, 32, 32))
    >>> found.maps
    {'0': (8, 16, 16), '1': (8, 16, 16)}
    >>> [call.name for call in found.calls if call.activated]
    ['1']
    """

    names: list[str]
    calls: list[Call] = field(default_factory=list)
    runs: dict[str, int] = field(default_factory=dict)
    training: list[str] = field(default_factory=list)
    error: Exception | None = None

    @property
    def maps(self) -> dict[str, tuple[int, int, int]]:
        """Call -> (C, h, w) of its maps, for calls that give maps."""
        return {call.name: call.shape for call in self.calls if call.shape is not None}

    @property
    def unfit(self) -> dict[str, str]:
        """Call -> what it gives instead, for calls that give no maps."""
        return {call.name: call.unfit for call in self.calls if call.shape is None}

    def call(self, layer: str) -> str:
        """Return a layer's name among the calls. A name without @ means the first run."""
        name, number = split_call(layer, self.names)
        return f"{name}@{number}" if self.runs.get(name, 0) > 1 else name if number == 1 else layer

    def ambiguous(self, layer: str) -> list[str]:
        """Return the calls that a name without @ could mean; none if there is at most one."""
        if self.runs.get(layer, 0) < 2:
            return []
        return [f"{layer}@{number}" for number in range(1, self.runs[layer] + 1)]


def as_maps(layer: str, output: Any, to_maps: Callable[[Any], Tensor] | None) -> Tensor:
    """Pass a layer's output through to_maps. Raises ValueError unless the result is float [N, C, h, w]."""
    maps = output if to_maps is None else to_maps(output)
    if not isinstance(maps, Tensor) or maps.ndim != 4 or not maps.is_floating_point():
        got = f"{maps.dtype} {list(maps.shape)}" if isinstance(maps, Tensor) else type(maps).__name__
        raise ValueError(f"layer {layer!r} must give float maps [N, C, h, w], got {got}; pass to_maps to convert")
    return maps


def survey(model: nn.Module, images: Tensor, to_maps: Callable[[Any], Tensor] | None = None) -> Survey:
    """Pass two images [2, C, H, W] through the network in evaluation mode. to_maps: as in a Backbone.

    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, 2, 1), torch.nn.ReLU(), torch.nn.Flatten())
    >>> found = features.survey(net, torch.zeros(2, 3, 32, 32))
    >>> found.unfit
    {'2': "layer '2' must give float maps [N, C, h, w], got torch.float32 [2, 2048]; pass to_maps to convert"}
    """
    named = {name: module for name, module in model.named_modules(remove_duplicate=False) if name}
    found = Survey(list(named))
    watch = _Activations()
    ended: list[tuple[str, Call]] = []
    begun: dict[str, list[int]] = {}

    def begin(name: str) -> Callable[..., None]:
        return lambda module, inputs: begun.setdefault(name, []).append(watch.count)

    def end(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            shape, unfit = _shape(name, output, to_maps, len(images))
            enters, _ = _shape(name, inputs[0] if inputs else None, to_maps, len(images))
            activated = watch.count > begun[name].pop()
            ended.append((name, Call(name, shape, unfit, enters and enters[1:], activated)))

        return hook

    hooks = [module.register_forward_pre_hook(begin(name)) for name, module in named.items()]
    hooks += [module.register_forward_hook(end(name)) for name, module in named.items()]
    try:
        with evaluating(model), torch.inference_mode():
            try:
                with watch, contained("forward"):
                    model(images)
            finally:
                found.training = [name or "the network" for name, m in model.named_modules() if m.training]
    except Exception as error:  # the network may raise anything; it is reported
        found.error = error
    finally:
        for hook in hooks:
            hook.remove()
    for name, _ in ended:
        found.runs[name] = found.runs.get(name, 0) + 1
    numbers = dict.fromkeys(found.runs, 0)
    for name, call in ended:
        numbers[name] += 1
        label = f"{name}@{numbers[name]}" if found.runs[name] > 1 else name
        found.calls.append(Call(label, call.shape, call.unfit, call.enters, call.activated))
    return found


def shape_fix(model: nn.Module, image_shape: tuple[int, int, int]) -> str:
    """Say what image_shape to give for a network that does not run on this one."""
    channels, height, width = image_shape
    if other := {p.dtype for p in model.parameters() if p.is_floating_point()} - {torch.float32}:
        return f"its weights are {', '.join(map(str, other))}: make it float32 with model.float()"
    first = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
    if first is None or first.in_channels == channels:
        return "give the image_shape it was made for; forward takes only that batch, in float32"
    takes = f"{first.in_channels} channel{'s' * (first.in_channels > 1)}"
    return f"its first convolution takes {takes}: image_shape=({first.in_channels}, {height}, {width})"


def choose_layers(found: Survey, wanted: Sequence[str], available: Sequence[str] | None = None) -> list[str]:
    """Turn names and patterns into layers, in the order given; layers of one pattern in the order in which they end.

    In a pattern, `*`, `?` and `[...]` stand for text between two dots of a name: `layer*` means layer1 .. layer4, not
    their submodules. available: the layers to choose from; by default all submodules, and patterns match only those
    with maps. Raises ValueError for a name or pattern that fits no layer, with the layers and their maps. Raises it
    also for a name without @ of a layer that runs several times, with its runs.

    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, 2, 1), torch.nn.ReLU())
    >>> features.choose_layers(features.survey(net, torch.zeros(2, 3, 32, 32)), ["*"])
    ['0', '1']
    """
    shapes = {name: shape for name, shape in found.maps.items() if available is None or name in available}
    chosen: dict[str, None] = {}
    for text in wanted:
        if not isinstance(text, str):
            raise ValueError(f"layers are names or patterns, got {text!r}; the layers are {listed(shapes)}")
        if re.search(r"[*?\[]", text):
            fitting = [name for name in shapes if _fits(name, text)]
            if not fitting:
                raise ValueError(f"no layer fits {text!r}; the layers are {listed(shapes)}")
            chosen |= dict.fromkeys(fitting)
            continue
        name, number = split_call(text, found.names)
        if name not in (found.names if available is None else available) or not 0 < number <= found.runs.get(name, 1):
            times = "once" if found.runs.get(name) == 1 else f"{found.runs.get(name)} times"
            calls = f"{name!r} runs {times}, " if name in found.runs and name != text else ""
            raise ValueError(f"no layer {text!r}; {calls}the layers are {listed(shapes)}")
        if several := found.ambiguous(text):
            here = {call: found.maps[call] for call in several if call in found.maps}
            raise ValueError(f"layer {text!r} runs {len(several)} times in a pass; name a run: {listed(here)}")
        chosen[text] = None
    return list(chosen)


def listed(maps: dict[str, tuple[int, int, int]], most: int = 24) -> str:
    """Join names with shapes. If there are more than `most`, the least deeply nested ones are shown."""
    shallow = sorted(maps, key=lambda name: name.count("."))[:most]
    more = f" and {len(maps) - most} more" if len(maps) > most else ""
    parts = [f"{name} [{' x '.join(map(str, maps[name]))}]" for name in maps if name in shallow]
    return (", ".join(parts) + more) or "none"


def _fits(name: str, pattern: str) -> bool:
    parts, patterns = name.split("."), pattern.split(".")
    return len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns))


def _shape(
    name: str, output: Any, to_maps: Callable[[Any], Tensor] | None, images: int
) -> tuple[tuple[int, int, int] | None, str]:
    """Return ((C, h, w), "") for maps, or (None, what it is instead)."""
    try:
        with contained("to_maps"):
            count, *shape = as_maps(name, output, to_maps).shape
    except Exception as error:  # to_maps is the user's code
        text = str(error)
        return None, text if text.startswith("layer ") else f"layer {name!r}: {one_line(error)}"
    if count != images:
        return None, f"layer {name!r} must give a map for each image, got {count} for {images}"
    return (shape[0], shape[1], shape[2]), ""


class _Activations(TorchDispatchMode):
    """Count activations, in modules and outside."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func.__name__.partition(".")[0].rstrip("_") in ACTIVATIONS
        return func(*args, **(kwargs or {}))
