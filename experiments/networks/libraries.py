"""Networks made elsewhere: torchvision's and timm's, exported programs, state dicts of DCGAN ports, the user's own."""

import dataclasses
import importlib
import importlib.util
import os
import sys
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

import features
import gan
from experiments.networks.programs import load_program
from experiments.run.torchvision import import_torchvision

__all__ = ["LIBRARIES", "Network", "is_port", "is_program", "made", "own", "port", "program"]

TANH_RANGE = (-1.0, 1.0)  # what DCGANs are trained on: x / 127.5 - 1


@dataclass(frozen=True)
class Network:
    """A network whose layers are still to be chosen.

    stages: the layers by default; None: those of features.default_stages. closed: whether there are no others to choose
    from. image_shape, value_range, to_maps: as of features.Backbone.
    """

    model: nn.Module
    image_shape: tuple[int, int, int] = (3, 32, 32)
    value_range: features.ValueRange = TANH_RANGE
    stages: Sequence[str] | None = None
    closed: bool = False
    to_maps: Callable[[Any], Tensor] | None = features.tokens_to_maps

    def backbone(self, layers: Sequence[str] | None) -> features.Backbone:
        """With `layers`, names or patterns; the stages when None. Raises ValueError that lists what there is."""
        names = self.stages
        if layers is not None or names is None:
            device = next(self.model.parameters(), torch.empty(0)).device
            found = features.survey(self.model, torch.zeros(2, *self.image_shape, device=device), self.to_maps)
            if found.error is not None and (layers is None or not found.maps):
                shape = ", ".join(map(str, self.image_shape))
                raise ValueError(f"it does not run on float32 [2, {shape}]: {_line(found.error)}") from found.error
            if layers is not None:
                names = features.choose_layers(found, layers, self.stages if self.closed else None)
            else:
                names = features.default_stages(self.model, found)
        return features.Backbone(self.model, names, self.image_shape, self.value_range, self.to_maps)


def own(
    model: nn.Module, stages: Sequence[str], image_shape: tuple[int, int, int], value_range: features.ValueRange
) -> Network:
    """A network of this project, of which only the stages are layers."""
    return Network(model, image_shape, value_range, stages, closed=True, to_maps=None)


def _torchvision(text: str, seed: int) -> Network:
    """`resnet18[,size=64][,weights=DEFAULT]`: random weights from `seed`, or trained ones by their name there.

    size: pixels a side of the input (a vision transformer is made for it); unless given, that of the trained weights,
    whose mean and sd the images are normalised by in any case. Raises ValueError.
    """
    name, options = _options(text, ("size", "weights"))
    models = import_torchvision("torchvision.models")
    known = models.list_models(module=models)
    if name not in known:
        near = get_close_matches(name, known, 8, 0.3) or known[:8]
        raise ValueError(f"torchvision has no classifier {name!r}; it has {', '.join(near)} and others")
    weights = models.get_model_weights(name)
    usual = weights.DEFAULT.transforms()
    size = int(options.get("size", usual.crop_size[0]))
    made_for: dict[str, dict[str, Any]] = {"vit_": {"image_size": size}, "maxvit_": {"input_size": (size, size)}}
    sized = next((argument for start, argument in made_for.items() if name.startswith(start)), {})
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of initialisations that will change
        torch.manual_seed(seed)
        try:
            model = models.get_model(name, weights=None, **sized)
        except (AssertionError, RuntimeError, ValueError) as error:
            raise ValueError(f"torchvision cannot make it at size={size}: {_line(error)}") from error
    if "weights" in options:
        try:
            url = getattr(weights, options["weights"]).url
            state = torch.hub.load_state_dict_from_url(url, map_location="cpu", check_hash=True, weights_only=True)
            model.load_state_dict(state)
        except AttributeError as error:
            known = [name for name in weights.__members__ if name != "DEFAULT"]
            raise ValueError(f"no weights {options['weights']!r}; there are DEFAULT, {', '.join(known)}") from error
        except (OSError, RuntimeError) as error:  # no network, a full disk, another size
            raise ValueError(f"cannot have the weights of {name}: {_line(error)}") from error
        if hasattr(model, "transform_input"):  # of weights that were trained on images normalised otherwise
            model.transform_input = True
    return _normalised(model, (3, size, size), usual.mean, usual.std)


def _timm(text: str, seed: int) -> Network:
    """`NAME[,size=64][,weights=DEFAULT]` of timm, where that is installed; see _torchvision."""
    name, options = _options(text, ("size", "weights"))
    import_torchvision()  # which timm imports
    try:
        timm: Any = importlib.import_module("timm")
    except ImportError as error:
        raise ValueError("timm is not installed: pip install timm") from error
    wanted: dict[str, Any] = {"pretrained": "weights" in options}
    if options.get("weights", "DEFAULT") != "DEFAULT":
        name = f"{name}.{options['weights']}"  # timm's own way to name them
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            if "size" not in options:
                model = timm.create_model(name, **wanted)
            else:
                try:
                    model = timm.create_model(name, img_size=int(options["size"]), **wanted)
                except TypeError:  # made for any size
                    model = timm.create_model(name, **wanted)
        except Exception as error:  # of an unknown name, of a download that fails
            raise ValueError(f"timm cannot make it: {_line(error)}") from error
    usual = model.pretrained_cfg
    channels, *sizes = usual["input_size"]
    size = int(options.get("size", sizes[0]))
    return _normalised(model, (channels, size, size), usual["mean"], usual["std"])


LIBRARIES: Mapping[str, Callable[[str, int], Network]] = {"torchvision": _torchvision, "timm": _timm}


def is_program(file: Path) -> bool:
    """Whether a file is, or is meant to be, an exported or a scripted program."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = [name.partition("/")[2] for name in archive.namelist()]
    except (OSError, zipfile.BadZipFile):
        names = []
    return file.suffix in (".pt2", ".ts") or any(name.startswith(("models/", "code/")) for name in names)


def program(file: Path) -> Network:
    """A program of torch.export.save, of values in [-1, 1]: its outputs that are maps, or else its stages."""
    model, image_shape, outputs = load_program(file)
    found = features.survey(model, torch.zeros(2, *image_shape), features.tokens_to_maps)
    maps = [name for name in outputs if name in found.maps and found.maps[name][1:] != (1, 1)]
    return Network(model, image_shape, stages=maps or None)


def is_port(file: Path) -> bool:
    """Whether a file is to be read as the state dict of a port: all but what this project wrote or seems to have."""
    try:
        with safe_open(file, "pt") as opened:
            return "dcgan-eval" not in str(opened.metadata())
    except (OSError, SafetensorError):
        return file.suffix != ".safetensors"


def port(file: Path) -> Network:
    """The state dict of a DCGAN discriminator's PyTorch port: see `gan.load_port`."""
    found = gan.load_port(file)
    stages = [name for name, _ in found.model.named_children()]
    return own(found.model, stages, found.image_shape, TANH_RANGE)


def made(where: str, attribute: str, layers: Sequence[str] | None) -> features.Backbone:
    """With `layers`, what the factory `attribute` of a module or file returns: a features.Backbone, or an nn.Module.

    A bare module is taken to want float32 [N, 3, 32, 32] in [-1, 1]. Raises ValueError.
    """
    try:
        result = _attribute(where, attribute)()
    except Exception as error:  # whatever a user's file raises is the user's to read
        raise ValueError(f"cannot make it: {_line(error)}") from error
    if isinstance(result, nn.Module):
        return Network(result).backbone(layers)
    if not isinstance(result, features.Backbone):
        got = type(result).__name__
        raise ValueError(f"the factory must return a features.Backbone or a torch.nn.Module, got {got}")
    images = torch.zeros(2, *result.image_shape, device=result.device)
    found = features.survey(result.model, images, result.to_maps)
    if layers is not None:
        return dataclasses.replace(result, layers=features.choose_layers(found, layers))
    for layer in result.layers:
        if calls := found.ambiguous(layer):
            wrong = f"layer {layer!r} runs {len(calls)} times in a pass; name a run: {', '.join(calls)}"
            raise features.BackboneError(result, [wrong])
    return result


def _normalised(
    model: nn.Module, image_shape: tuple[int, int, int], mean: Sequence[float], sd: Sequence[float]
) -> Network:
    """Of images scaled to [0, 1] from which `mean` is taken and that are divided by `sd`, a channel each."""
    low = tuple(-m / s for m, s in zip(mean, sd, strict=True))
    high = tuple((1 - m) / s for m, s in zip(mean, sd, strict=True))
    return Network(model.eval(), image_shape, (low, high))


def _options(text: str, allowed: Sequence[str]) -> tuple[str, dict[str, str]]:
    """NAME[,key=value ...]."""
    name, *settings = text.split(",")
    options = dict(setting.partition("=")[::2] for setting in settings)
    for setting in settings:
        key, _, value = setting.partition("=")
        if key not in allowed or not value or (key == "size" and (not value.isdecimal() or int(value) < 1)):
            raise ValueError(f"settings are size=PIXELS and weights=DEFAULT, got {setting!r}")
    return name, options


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _attribute(where: str, attribute: str) -> Callable[[], object]:
    """An object of a Python file, or of a module that can be imported from here or the present folder."""
    if not where.endswith(".py"):
        if os.getcwd() not in sys.path:  # as `python -m` has it; a console script does not
            sys.path.insert(0, os.getcwd())
        return getattr(importlib.import_module(where), attribute)
    name = f"_backbone_{Path(where).stem}"  # never the name of a module that is in use
    spec = importlib.util.spec_from_file_location(name, where)
    assert spec is not None and spec.loader is not None  # so it is for every name that ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where the file's own dataclasses look themselves up
    spec.loader.exec_module(module)
    return getattr(module, attribute)
