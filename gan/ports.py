"""Discriminators of the common PyTorch ports of DCGAN, built from only their state dicts.

A file is recognised by the shapes in it, whatever its modules are called (`main.0`, `module.conv2_bn`, `disc.2.1`).
Each convolution takes the channels that the one before gives; this tells their order, nc and ndf. Two networks are
known:

4x4   pytorch/examples (`netD_epoch_N.pth`), the DCGAN tutorial, soumith's dcgan.torch and those that follow them:
      stride 2, padding 1, down to a 4x4 map, then a 4x4 convolution to the logit; batch norm before LeakyReLU(0.2),
      none in the first stage.
3x3   PyTorch-GAN: stride 2, padding 1, then a linear map of the last map to the logit; batch norm (eps 0.8) after
      LeakyReLU(0.2), none in the first stage.

Shapes do not tell whether batch norm comes before or after the activation. The indices of an nn.Sequential do
(`main.2, main.3` or `main.2, main.4`): that order is built, or the file is refused. Modules with other names are taken
to be in the order of their network above. Strides, padding, slope and eps leave nothing in a state dict and are taken
from there too. `Port.notes` says what was assumed.
"""

import math
import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from gan.architectures import LEAK
from gan.state_dicts import Layer, Part, read_parts

EXPECTED = (
    "expected the state dict of a DCGAN discriminator as in pytorch/examples (4x4 convolutions, the last to 1 channel) "
    "or PyTorch-GAN (3x3 convolutions, then a linear map to 1): the first convolution takes 1 or 3 channels, later "
    "ones take what the one before gives, and all layers but the first and the last have batch norm"
)
_OTHERWISE = "write a function that makes the network and loads its state dict, and name it: file.py:factory"
_AVERAGED = {"ema", "avg", "average", "averaged", "swa", "shadow"}  # words in the names of averaged copies
_WRAPPERS = {"module", "_orig_mod"}  # of DataParallel and torch.compile
_EPS = {4: 1e-5, 3: 0.8}  # of batch norm, by the size of the kernel


@dataclass(frozen=True)
class Port:
    """A discriminator that was read from a port.

    model: conv1 .. convK, each ending in its LeakyReLU; float32, in eval mode. The layer that gives the logit is left
    out. image_shape: (C, H, W) of the input, with values in [-1, 1]. notes: where in the file it was found, what was
    folded, and what is assumed because a state dict does not tell.

    >>> port = gan.Port(torch.nn.Sequential(), image_shape=(3, 64, 64), notes=("read as float32",))
    >>> port.image_shape
    (3, 64, 64)
    """

    model: nn.Sequential
    image_shape: tuple[int, int, int]
    notes: tuple[str, ...] = ()


class _GeneratorError(ValueError):
    """What was read is a generator."""


def load_port(file: str | os.PathLike[str]) -> Port:
    """Load the discriminator in a `.pth` (read with weights_only=True) or `.safetensors` file.

    It may lie beside other networks, under names and wrappers; of a discriminator and its running average (a name with
    ema or avg) the average is left. Spectral norm is folded into the weights. Raises FileNotFoundError, and ValueError
    that says what is wrong and what was expected.

    >>> layers = [torch.nn.Conv2d(3, 8, 4, 2, 1, bias=False), torch.nn.LeakyReLU(0.2)]
    >>> for n in (8, 16, 32):
    ...     layers += [torch.nn.Conv2d(n, 2 * n, 4, 2, 1, bias=False), torch.nn.BatchNorm2d(2 * n)]
    ...     layers += [torch.nn.LeakyReLU(0.2)]
    >>> net = torch.nn.Sequential(*layers, torch.nn.Conv2d(64, 1, 4, bias=False))  # the discriminator of many ports
    >>> torch.save(net.state_dict(), "netD.pth")
    >>> port = gan.load_port("netD.pth")
    >>> port.image_shape, [name for name, _ in port.model.named_children()]
    ((3, 64, 64), ['conv1', 'conv2', 'conv3', 'conv4'])
    """
    tried = [attempt for part in read_parts(Path(file)) for attempt in _attempts(part)]
    found = [(part, port) for part, port in tried if isinstance(port, Port)]
    if len(found) > 1:
        found = [(part, port) for part, port in found if not part.named(_AVERAGED)] or found
    if different := [part.name for part, port in found[1:] if not _equal(port, found[0][1])]:
        names = ", ".join([found[0][0].name, *different])
        raise ValueError(f"{file} holds several discriminators: {names}; save the state dict of one by itself")
    if found:
        return found[0][1]
    if not tried:
        raise ValueError(f"{file} holds no weights under the names of a state dict; {EXPECTED}")
    part, error = min(tried, key=lambda one: (not one[0].is_discriminator(), isinstance(one[1], _GeneratorError)))
    raise ValueError(f"{file}{f' ({part.name})' if part.name else ''}: {error}") from None


def _attempts(part: Part) -> Iterator[tuple[Part, Port | ValueError]]:
    """Yield the port in this part; else why there is none, and the same for the networks that lie in it."""
    try:
        yield part, _build(part)
    except ValueError as error:
        yield part, error
        for inner in part.parts():
            yield from _attempts(inner)


def _build(part: Part) -> Port:
    convs, linears = ([layer for layer in part.layers if len(layer.shape) == dims] for dims in (4, 2))
    norms = [layer for layer in part.layers if len(layer.shape) == 1 or "running_mean" in layer.arrays]
    chain, by_width = _chain(convs), {norm.shape[:1]: norm for norm in norms}
    _refuse_others(convs, linears, norms)
    widths = [conv.shape[0] for conv in chain]
    kernel, stages, side = _layout(convs, linears, widths)
    if len(chain) != len(convs) or sorted((w,) for w in widths[1:stages]) != sorted(norm.shape[:1] for norm in norms):
        stages = 0
    if not stages or len(by_width) != len(norms):
        seen = ", ".join("x".join(map(str, conv.shape)) for conv in convs) or "none"
        raise ValueError(f"its convolutions are {seen}, with {len(norms)} batch norms; {EXPECTED}")
    ordered = [by_width.get((width,)) for width in widths[:stages]]
    after, proven = _activations_first(chain, ordered[:stages], kernel)
    made: OrderedDict[str, nn.Module] = OrderedDict()
    waiting: list[nn.Module] = []  # the batch norm after the activation of the stage before
    for i, (conv, norm) in enumerate(zip(chain[:stages], ordered, strict=True)):
        parts, waiting = [*waiting, _conv(conv)], []
        if norm is not None:
            (waiting if after[i] else parts).append(_norm(norm, _EPS[kernel]))
        made[f"conv{i + 1}"] = nn.Sequential(*parts, nn.LeakyReLU(LEAK))
    size = side * 2**stages
    notes = _notes(part, any(layer.is_spectral for layer in part.layers), after[1:], proven, _EPS[kernel])
    return Port(nn.Sequential(made).eval(), (chain[0].shape[1], size, size), notes)


def _refuse_others(convs: Sequence[Layer], linears: Sequence[Layer], norms: Sequence[Layer]) -> None:
    """Raise ValueError for what can be named: a generator, arrays without values, norms that are no batch norm."""
    if empty := next((conv for conv in [*convs, *linears] if 0 in conv.shape), None):
        raise ValueError(f"{empty} has no values: shape {list(empty.shape)}; {EXPECTED}")
    outputs = {layer.shape[0] for layer in [*convs, *linears]}
    widths = {norm.shape[:1] for norm in norms}
    transposed = any(conv.shape[1] in (1, 3) and conv.shape[:1] in widths for conv in convs) and 1 not in outputs
    upwards = 3 in outputs and not any(conv.shape[1] in (1, 3) for conv in convs)
    if transposed or upwards:
        raise _GeneratorError("this is a generator, and features are those of the discriminator; name its file (netD)")
    if other := next((norm for norm in norms if "running_mean" not in norm.arrays), None):
        what = "is an instance, group or layer norm, or a batch norm that keeps none"
        what = what if "bias" in other.arrays else "may be a PReLU"
        raise ValueError(f"{other} has no running statistics, so it {what}: no known port has it; {_OTHERWISE}")
    if len(convs) > 2 and not norms:
        kinds = "an instance norm leaves nothing in a state dict"
        raise ValueError(f"it has no batch norm ({kinds}): no known port is like that; {_OTHERWISE}; {EXPECTED}")


def _layout(convs: Sequence[Layer], linears: Sequence[Layer], widths: list[int]) -> tuple[int, int, int]:
    """Return (kernel, stages, side of the last map); stages is 0 for neither network."""
    kernels = {conv.shape[2:] for conv in convs}
    if kernels == {(4, 4)} and not linears and len(widths) > 2 and widths[-1] == 1:
        return 4, len(widths) - 1, 4
    if kernels == {(3, 3)} and len(widths) > 1 and len(linears) == 1:
        outputs, inputs = linears[0].shape
        side = math.isqrt(inputs // widths[-1])
        return 3, len(widths) if outputs == 1 and inputs == widths[-1] * side**2 else 0, side
    return 0, 0, 0


def _chain(convs: Sequence[Layer]) -> list[Layer]:
    """Put the convolutions in order, from an image of 1 or 3 channels on; those that do not fit are left out."""
    by_input = {conv.shape[1]: conv for conv in convs}
    channels = next((c for c in (1, 3) if c in by_input), 0)
    chain: list[Layer] = []
    while channels in by_input and len(chain) < len(convs):
        chain.append(by_input[channels])
        channels = chain[-1].shape[0]
        if channels == 1:
            break
    return chain


def _activations_first(chain: Sequence[Layer], norms: Sequence[Layer | None], kernel: int) -> tuple[list[bool], bool]:
    """Return for each stage whether its batch norm comes after the activation, and whether keys prove it for all.

    chain: the convolutions, that of the logit too. norms: of each stage. Raises ValueError for keys that contradict the
    structure, and for those that leave the order open.
    """
    told: list[bool | None] = []
    for i, norm in enumerate(norms):
        following = chain[i + 1] if i + 1 < len(chain) else None
        told.append(None if norm is None else _told(chain[i], norm, following))
    proven = [first for first in told if first is not None]
    if proven and (apart := _apart(chain[0], chain[1])) is not None and apart < 2:
        raise ValueError(f"its keys leave no place for an activation between {chain[0]} and {chain[1]}; {_OTHERWISE}")
    if kernel == 3 and False in proven:
        raise ValueError(f"its batch norm comes before the activation, PyTorch-GAN's after it; {_OTHERWISE}")
    usual = proven[0] if len(set(proven)) == 1 else kernel == 3
    return [usual if first is None else first for first in told], len(proven) == sum(norm is not None for norm in norms)


def _told(conv: Layer, norm: Layer, following: Layer | None) -> bool | None:
    """Return whether the activation is between the convolution and the batch norm; None if the keys do not tell."""
    before, behind = _apart(conv, norm), None if following is None else _apart(norm, following)
    if (before is not None and before < 1) or (behind is not None and behind < 1):
        raise ValueError(f"its keys do not put {norm} after {conv} and before {following or 'the end'}; {_OTHERWISE}")
    if before is None:
        return None
    if before == 1 and behind == 1:
        raise ValueError(f"its keys leave no place for an activation between {conv} and {following}; {_OTHERWISE}")
    if before > 1 and behind is not None and behind > 1:
        raise ValueError(f"its keys do not tell whether {norm} is before or after the activation; {_OTHERWISE}")
    return before > 1


def _apart(first: Layer, second: Layer) -> int | None:
    """Return how far apart two modules of one nn.Sequential are; None for modules with other names."""
    (*where, index), (*there, other) = (
        [n for n in layer.name if n not in _WRAPPERS] or [""] for layer in (first, second)
    )
    return int(other) - int(index) if where == there and index.isdecimal() and other.isdecimal() else None


def _notes(part: Part, spectral: bool, after: Sequence[bool], proven: bool, eps: float) -> tuple[str, ...]:
    place = " or ".join(sorted({"after" if last else "before" for last in after}, reverse=True)) + " its activation"
    known, guessed = (f"batch norm is {place}, as the keys tell", "") if proven else ("", f"batch norm {place}, ")
    assumed = f"{guessed}stride 2, padding 1, LeakyReLU({LEAK:g}), batch norm's eps {eps:g}"
    notes = (
        part.name and f"the discriminator is {part.name} in the file",
        "spectral norm is folded into the weights" if spectral else "",
        known,
        f"assumed, since a state dict does not tell: {assumed}",
    )
    return tuple(note for note in notes if note)


def _equal(one: Port, other: Port) -> bool:
    mine, theirs = one.model.state_dict(), other.model.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def _conv(layer: Layer) -> nn.Conv2d:
    out, inputs, kernel, _ = layer.shape
    conv = nn.Conv2d(inputs, out, kernel, 2, 1, bias="bias" in layer.arrays)
    conv.load_state_dict(layer.plain({"weight": layer.shape, "bias": (out,)}, "bias"))
    return conv


def _norm(layer: Layer, eps: float) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(layer.shape[0], eps)
    shapes = {name: layer.shape for name in ("weight", "bias", "running_mean", "running_var")}
    arrays = layer.plain({**shapes, "num_batches_tracked": ()}, "num_batches_tracked")
    norm.load_state_dict({"num_batches_tracked": torch.tensor(0), **arrays})
    return norm
