"""State dicts of others: read without running code, found inside what scripts store, and their arrays checked.

A file holds one state dict, or several in dictionaries and lists (`{"netD": ..., "netG": ...}`), or one with the arrays
of several networks (Lightning's `discriminator.main.0.weight`). So each of these parts may be the network that is
wanted.
"""

import re
import warnings
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load as load_safetensors
from torch import Tensor

Arrays = dict[str, Tensor]  # weight, bias, running_mean ... of one module
Name = tuple[str, ...]  # a module's name, split at its dots
# weight, u and v of torch.nn.utils.spectral_norm, and of torch.nn.utils.parametrizations.spectral_norm
SPECTRAL = (("weight_orig", "weight_u", "weight_v"), ("weight.original", "weight.0._u", "weight.0._v"))
# the array that tells a module's kind: its weight, or what its weight is made of
_TELLING = ("weight", "weight_orig", "weight.original", "weight.original1", "weight_v", "running_mean")
_DEEPEST = 8  # names within names, in which networks are looked for
_DISCRIMINATOR = {"d", "netd", "modeld", "dis", "disc", "discriminator", "critic"}


@dataclass(frozen=True)
class Layer:
    """A module with arrays.

    name: split at its dots. shape: that of its weight. is_spectral: whether its weight has spectral norm.
    """

    name: Name
    arrays: Arrays

    def __str__(self) -> str:
        return ".".join(self.name)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(next(self.arrays[name] for name in _TELLING if name in self.arrays).shape)

    @property
    def is_spectral(self) -> bool:
        return any(weight in self.arrays for weight, _, _ in SPECTRAL)

    def plain(self, shapes: Mapping[str, tuple[int, ...]], optional: str) -> Arrays:
        """Return exactly the arrays that `shapes` names, the `optional` one if it is there; values float32.

        Spectral norm is folded into the weight, as a pass in evaluation mode does. Raises ValueError that names the
        array and the fix.
        """
        arrays = {name: self._checked(name, array) for name, array in self.arrays.items()}
        for weight, u, v in SPECTRAL:
            if {weight, u, v} <= arrays.keys():
                arrays["weight"] = self._folded(arrays.pop(weight), arrays.pop(u), arrays.pop(v))
        if odd := sorted(arrays.keys() - shapes):
            fix = "remove other parametrisations (remove_weight_norm, remove_parametrizations) and save it again"
            raise ValueError(f"{self} holds {', '.join(odd)}, known are {', '.join(shapes)}; {fix}")
        for name, shape in shapes.items():
            if name not in arrays and name != optional:
                raise ValueError(f"{self} lacks its {name}; save the whole state dict")
            if name in arrays and tuple(arrays[name].shape) != shape:
                got = list(arrays[name].shape)
                raise ValueError(f"{self}.{name} has shape {got}, expected {list(shape)}; save the state dict again")
        return arrays

    def _checked(self, name: str, array: Tensor) -> Tensor:
        """Return the array as float32, counts as they are. Raises ValueError unless values are dense, real, finite."""
        told = ""
        if array.is_meta:
            told = "is on the meta device, without values: load the weights, then save"
        elif array.is_quantized:
            told = "is quantised: save the network from before"
        elif array.layout != torch.strided:
            told = f"is not dense, but {array.layout}: save it as .to_dense()"
        elif array.is_complex():
            told = f"is {array.dtype}, expected real numbers: this is no DCGAN"
        elif array.numel() * array.element_size() > array.untyped_storage().nbytes():
            told = "repeats fewer values than its shape says: save it as .contiguous()"
        elif name != "num_batches_tracked":
            if not array.is_floating_point():
                told = f"is {array.dtype}, expected real numbers: save the network in float32"
            elif not torch.isfinite(array := array.detach().float()).all():
                told = "holds NaN or infinity: its training had diverged, take an earlier checkpoint"
            elif name == "running_var" and (array < 0).any():
                told = "holds negative variances: the file is damaged, save it again"
        if told:
            raise ValueError(f"{self}.{name} {told}")
        return array

    def _folded(self, weight: Tensor, u: Tensor, v: Tensor) -> Tensor:
        if weight.ndim < 2 or (*u.shape, *v.shape) != (matrix := weight.flatten(1)).shape:
            shapes = ", ".join(str(list(array.shape)) for array in (weight, u, v))
            raise ValueError(f"the shapes of {self}'s spectral norm do not fit: weight, u and v are {shapes}")
        return self._checked("weight", weight / torch.dot(u, torch.mv(matrix, v)))


@dataclass(frozen=True)
class Part:
    """What may be a network: the layers under one name.

    name: where in the file; empty if that is the whole file. state_dict: where the state dict is that holds it.
    """

    name: str
    state_dict: str
    layers: tuple[Layer, ...]

    def named(self, words: set[str]) -> bool:
        """Tell whether one of the words, in lower case, is in the name."""
        return bool(words & _words(self.name))

    def is_discriminator(self) -> bool:
        """Tell whether it is named like a discriminator."""
        return self.named(_DISCRIMINATOR)

    def parts(self) -> list["Part"]:
        """Return the networks that lie side by side in this part; none if it is not divided into networks.

        It is if there are several names with convolutions under each, or if a name in it is a discriminator's. Other
        layers beside convolutions belong to the same network.
        """
        for depth in range(_DEEPEST):
            if any(len(layer.name) <= depth for layer in self.layers):
                return []
            groups: dict[str, list[Layer]] = {}
            for layer in self.layers:
                groups.setdefault(layer.name[depth], []).append(layer)
            if len(groups) == 1:
                continue
            whole = [any(len(layer.shape) == 4 for layer in group) for group in groups.values()]
            if not all(whole) and not any(_words(_join(*layer.name[depth:])) & _DISCRIMINATOR for layer in self.layers):
                return []
            prefix = _join(self.state_dict, *self.layers[0].name[:depth])
            return [Part(_join(prefix, name), self.state_dict, tuple(group)) for name, group in groups.items()]
        return []


def read_parts(path: Path) -> list[Part]:
    """Read the state dicts in a `.pth` (with weights_only=True) or `.safetensors` file, whatever it is called.

    Raises FileNotFoundError, and ValueError for files that hold none, or objects that only code can read.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    return list(_state_dicts(_read(path)))


def _read(path: Path) -> object:
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            start = file.read(9)
            file.seek(0)
            if start[8:] == b"{":
                return load_safetensors(file.read())
            warnings.simplefilter("ignore")  # about archives of TorchScript, and about rare kinds of tensors
            return torch.load(file, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # damaged archives raise errors of many types
        if held := re.search(r"GLOBAL (\S+)", str(error)):
            what = f"holds an object of {held[1]}, which cannot be read without running code"
        elif "TorchScript" in str(error):
            what = "is a TorchScript program, which cannot be read without running code"
        else:
            raise ValueError(f"{path} is no PyTorch or safetensors file, or is damaged; save it again") from error
        save = "save only the arrays, in the program that made it: torch.save(netD.state_dict(), 'netD.pth')"
        raise ValueError(f"{path} {what}; {save}") from error


def _state_dicts(content: object) -> Iterator[Part]:
    """Yield a part for each dictionary that holds weights itself; the same object only once."""
    waiting, seen = deque([("", content)]), set()
    while waiting:
        where, thing = waiting.popleft()
        items = dict(enumerate(thing)) if isinstance(thing, list | tuple) else thing
        if id(thing) in seen or not isinstance(items, Mapping):
            continue
        seen.add(id(thing))
        modules: dict[Name, Arrays] = {}
        for key, value in items.items():
            if isinstance(value, Tensor):
                name, array = _split(str(key))
                modules.setdefault(name, {})[array] = value
            elif isinstance(value, Mapping | list | tuple):
                waiting.append((_join(where, str(key)), value))
        if layers := [
            Layer(name, arrays) for name, arrays in modules.items() if not arrays.keys().isdisjoint(_TELLING)
        ]:
            yield Part(where, where, tuple(layers))


def _split(key: str) -> tuple[Name, str]:
    """Split `main.2.weight` into the module's name and the array's; what a parametrisation holds is the module's."""
    *name, array = key.split(".")
    if "parametrizations" in name:
        at = name.index("parametrizations")
        return tuple(name[:at]), ".".join([*name[at + 1 :], array])
    return tuple(name), array


def _join(*names: str) -> str:
    return ".".join(name for name in names if name)


def _words(name: str) -> set[str]:
    return set(re.findall("[a-z]+", name.lower()))
