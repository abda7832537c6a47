"""Load the authors' released arrays (Newmu/dcgan_code `models/`, one .npy file per array) into this project's networks.

The files are numbered in the order of the network: `*_discrim_params.jl_01.npy`, ... Every kernel is flipped in both
spatial axes, because Theano convolves and PyTorch correlates. The arrays hold no batch-norm statistics: the authors
normalise by minibatch statistics or by calibrated ones (see `features.calibrate_batchnorm`).
"""

import os
import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from gan.architectures import Architecture, Discriminator, Generator, architecture

_FILES = {"discriminator": "discrim_params", "generator": "gen_params"}


def load_theano(
    folder: str | os.PathLike[str], preset: str | Architecture, network: str = "discriminator"
) -> Discriminator | Generator:
    """Load the network whose arrays lie in `folder`: float32, on the CPU, in eval mode.

    When arrays are missing, the discriminator ends before its first incomplete stage. Later stages and the logit are
    removed, so that they cannot be used by mistake; `complete_stages` lists the stages that are left. A generator must
    be complete. Raises FileNotFoundError when nothing usable is there, and ValueError for damaged files and for arrays
    of other shapes.

    >>> import os
    >>> os.mkdir("models")
    >>> np.save("models/30_discrim_params.jl_01.npy", np.zeros((128, 3, 3, 3), np.float32))  # the others are missing
    >>> net = gan.load_theano("models", "imagenet32")
    >>> [name for name, _ in net.named_children()]
    ['conv1']
    """
    if network not in _FILES:
        raise ValueError(f"network must be discriminator or generator, got {network!r}")
    arch = architecture(preset)
    arrays = _arrays(Path(folder), _FILES[network])
    if network == "generator":
        return _generator(arch, arrays, Path(folder))
    return _discriminator(arch, arrays, Path(folder))


def complete_stages(network: nn.Module) -> tuple[str, ...]:
    """Name the stages that a discriminator loaded by `load_theano` has."""
    return tuple(name for name, _ in network.named_children() if name.startswith("conv"))


def _arrays(folder: Path, kind: str) -> dict[int, Path]:
    """Map each file number to its path."""
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}")
    found: dict[int, Path] = {}
    for path in sorted(folder.glob("*.npy")):
        if not path.is_file():
            continue
        if match := re.fullmatch(rf".*_{kind}\.jl_(\d+)\.npy", path.name):
            if int(match[1]) in found:
                raise ValueError(
                    f"{folder} holds the arrays of several networks: {found[int(match[1])].name}, {path.name}"
                )
            found[int(match[1])] = path
    if not found:
        raise FileNotFoundError(f"no *_{kind}.jl_NN.npy in {folder}")
    return found


def _assign(target: Tensor, path: Path, *, flip: bool = False, transpose: bool = False) -> None:
    """Copy one array of finite numbers into a parameter of the same shape."""
    try:
        with np.errstate(over="ignore"):  # a shape too large for the file is found, and nothing is allocated for it
            array: np.ndarray = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # damaged headers raise errors of many types
        raise ValueError(f"{path} is not a whole .npy array ({' '.join(str(error).split())})") from error
    if transpose:
        array = array.T
    if array.shape != tuple(target.shape):
        raise ValueError(f"{path} has shape {array.shape}, the network wants {tuple(target.shape)}")
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{path} holds {array.dtype}, the network wants real numbers")
    if flip:
        array = array[..., ::-1, ::-1]
    values = np.array(array, np.float32, order="C")
    if not np.isfinite(values).all():
        raise ValueError(f"{path} holds NaN or infinity; fetch the file again")
    with torch.no_grad():
        target.copy_(torch.from_numpy(values))


def _norm(module: nn.Module, gain: Path, shift: Path) -> None:
    _assign(module.weight, gain)  # type: ignore[arg-type]
    _assign(module.bias, shift)  # type: ignore[arg-type]


def _discriminator(arch: Architecture, arrays: dict[int, Path], folder: Path) -> Discriminator:
    """Fill a discriminator. The files' order is: conv1 weight; conv2 weight, gain, shift; ...; logit weight."""
    net = Discriminator(arch)
    complete = True
    for i, name in enumerate(arch.stage_names):
        numbers = [1] if i == 0 else [3 * i - 1, 3 * i, 3 * i + 1]
        complete = complete and all(n in arrays for n in numbers)
        if not complete:
            delattr(net, name)
            continue
        stage = net.get_submodule(name)
        _assign(stage.conv.weight, arrays[numbers[0]], flip=True)  # type: ignore[arg-type, union-attr]
        if i > 0:
            _norm(stage.norm, arrays[numbers[1]], arrays[numbers[2]])  # type: ignore[arg-type]
    if not complete_stages(net):
        raise FileNotFoundError(f"the first convolution's array is missing in {folder}")
    last = 3 * len(arch.strides) - 1
    if complete and last in arrays:
        _assign(net.logit.weight, arrays[last], transpose=True)
    else:
        del net.logit
    return net.eval()


def _generator(arch: Architecture, arrays: dict[int, Path], folder: Path) -> Generator:
    """Fill a generator.

    The files' order is: linear weight, gain, shift; deconv1 weight, gain, shift; ...; last deconv weight.
    """
    net = Generator(arch)
    wanted = 3 * len(arch.strides) + 1
    if missing := [n for n in range(1, wanted + 1) if n not in arrays]:
        raise FileNotFoundError(f"{folder} lacks the generator's arrays {missing}")
    _assign(net.project.weight, arrays[1], transpose=True)
    _norm(net.project_norm, arrays[2], arrays[3])
    for i, name in enumerate(net.stage_names, start=1):
        stage = net.get_submodule(name)
        _assign(stage.conv.weight, arrays[3 * i + 1], flip=True)  # type: ignore[arg-type, union-attr]
        if i < len(net.stage_names):
            _norm(stage.norm, arrays[3 * i + 2], arrays[3 * i + 3])  # type: ignore[arg-type]
    return net.eval()
