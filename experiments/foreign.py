"""Networks made elsewhere: torchvision's and timm's, exported programs, state dicts of DCGAN ports, the user's own."""

import fnmatch
import importlib
import importlib.util
import json
import os
import re
import sys
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import features
import gan

IMAGENET_MEAN, IMAGENET_SD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
USUAL_SIZE = 224  # pixels, of torchvision's networks
_FORMULA = re.compile(  # of sizes in a program's graph: names of sympy's classes and of sizes, numbers, signs
    r"(?:[A-Z]\w*|positive|nonnegative|integer|'[su]\d+'|[su]?\d+|[-+*/%(), =<>])*"
)


@dataclass(frozen=True)
class Bare:
    """A network without a choice of layers. image_shape, value_range: as of features.Backbone."""

    model: nn.Module
    image_shape: tuple[int, int, int] = (3, 32, 32)
    value_range: features.ValueRange = (-1.0, 1.0)

    def backbone(self, layers: Sequence[str] | None) -> features.Backbone:
        """With the layers that `chosen` finds among its default stages and modules. Raises ValueError."""
        try:
            stages = features.default_stages(self.model, self.image_shape)
        except ValueError:
            if layers is None:
                raise
            stages = []
        names = chosen(stages, layers, self.model)
        return features.Backbone(self.model, names, self.image_shape, self.value_range, features.tokens_to_maps)


def chosen(available: Sequence[str], layers: Sequence[str] | None, model: nn.Module | None = None) -> Sequence[str]:
    """`layers`, names or patterns (conv*), if the network has them; all that are `available` when None.

    A pattern stands for those available that it fits, in their order; where a `model` is given and it fits none, for
    its modules. Raises ValueError.
    """
    if layers is None:
        return available
    modules = [] if model is None else [name for name, _ in model.named_modules() if name]
    found: list[str] = []
    for layer in layers:
        fitting = fnmatch.filter(available, layer) or fnmatch.filter(modules, layer)
        if not fitting:
            raise ValueError(f"no layer {layer!r}; the layers are {', '.join(available or modules)}")
        found += [name for name in fitting if name not in found]
    return found


def torchvision_backbone(text: str, seed: int) -> Bare:
    """`resnet18[,size=64][,weights=DEFAULT]`: random weights from `seed`, or the trained ones by their name there.

    size: pixels a side of the input (of vision transformers their image_size), 224 unless given. Images are
    normalised by ImageNet's mean and sd a channel. Raises ValueError.
    """
    name, options = _options(text, ("size", "weights"))
    size = _size(options.get("size", str(USUAL_SIZE)))
    from experiments.datasets.torchvision_shim import import_torchvision

    models = import_torchvision().models
    if name not in models.list_models(module=models):
        raise ValueError(
            f"torchvision has no classifier {name!r}; it has {', '.join(models.list_models(module=models))}"
        )
    sized = {"image_size": size} if name.startswith("vit_") else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = models.get_model(name, weights=None, **sized)
    if "weights" in options:
        try:
            url = models.get_model_weights(name)[options["weights"]].url
            state = torch.hub.load_state_dict_from_url(url, map_location="cpu", check_hash=True, weights_only=True)
            model.load_state_dict(state)
        except (KeyError, OSError, RuntimeError) as error:
            raise ValueError(f"cannot have the weights {options['weights']} of {name}: {error}") from error
    return _normalised(model, (3, size, size), IMAGENET_MEAN, IMAGENET_SD)


def timm_backbone(text: str, seed: int) -> Bare:
    """`NAME[,weights=DEFAULT]` of timm, where that is installed: random weights from `seed`, or its trained ones.

    Size, mean and sd are those that timm names for the network. Raises ValueError.
    """
    name, options = _options(text, ("weights",))
    try:
        timm: Any = importlib.import_module("timm")
    except ImportError as error:
        raise ValueError("timm is not installed: pip install timm") from error
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = timm.create_model(name, pretrained="weights" in options)
    except Exception as error:  # of an unknown name, of a download that fails
        raise ValueError(f"timm cannot make it: {_line(error)}") from error
    wanted = model.pretrained_cfg
    return _normalised(model, tuple(wanted["input_size"]), wanted["mean"], wanted["std"])


def exported_backbone(file: Path) -> Bare:
    """A program of torch.export.save: its modules under their names, values in [-1, 1].

    Nothing in it is unpickled, and operators outside of torch.ops are refused. Raises ValueError.
    """
    _check_program(file)
    forced = os.environ.get("TORCH_FORCE_WEIGHTS_ONLY_LOAD")
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.load(file)
            model = torch.export.unflatten(program)
    except Exception as error:  # whatever damaged archives raise
        raise ValueError(f"{file} cannot be read as an exported program: {_line(error)}") from error
    finally:
        os.environ.pop("TORCH_FORCE_WEIGHTS_ONLY_LOAD")
        if forced is not None:
            os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = forced
    inputs = [n.meta["val"].shape for n in program.graph.nodes if n.name in program.graph_signature.user_inputs]
    if len(inputs) != 1 or len(inputs[0]) != 4:
        raise ValueError(f"{file} must take one batch of images [N, C, H, W], got {[list(shape) for shape in inputs]}")
    batch, *shape = inputs[0]
    if isinstance(batch, int):
        raise ValueError(
            f"{file} takes batches of {batch} alone; export it with dynamic_shapes=({{0: torch.export.Dim('n')}},)"
        )
    return Bare(model, (int(shape[0]), int(shape[1]), int(shape[2])))


def _check_program(file: Path) -> None:
    """ValueError for what is no exported program, or one whose graph could run more than torch's operators."""
    try:
        with zipfile.ZipFile(file) as archive:
            graphs = [json.loads(archive.read(n)) for n in archive.namelist() if re.search(r"models/[^/]*\.json$", n)]
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        raise ValueError(f"{file} is no exported program (torch.export.save): {_line(error)}") from error
    if not graphs:
        raise ValueError(f"{file} is no exported program (torch.export.save); scripted ones: export them instead")
    waiting: list[Any] = list(graphs)
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
            target, formula = value.get("target"), value.get("expr_str", "")
            if "inputs" in value and isinstance(target, str) and not target.startswith(("torch.ops.", "_operator.")):
                raise ValueError(f"{file} calls {target}, which is no operator of torch")
            if not _FORMULA.fullmatch(str(formula)):
                raise ValueError(f"{file} gives a size as {formula!r}, which is no formula")


def port_backbone(file: Path) -> Bare:
    """The state dict of a DCGAN discriminator's PyTorch port: see `gan.load_port`."""
    port = gan.load_port(file)
    return Bare(port.model, port.image_shape)


def made_backbone(where: str, attribute: str) -> features.Backbone | Bare:
    """What the factory `attribute` of a module or file returns: a features.Backbone, or an nn.Module.

    A bare module is taken to want float32 [N, 3, 32, 32] in [-1, 1]. Raises ValueError.
    """
    try:
        made = _attribute(where, attribute)()
    except Exception as error:  # whatever a user's file raises is the user's to read
        raise ValueError(f"cannot make it: {type(error).__name__}: {error}") from error
    if isinstance(made, features.Backbone):
        return made
    if not isinstance(made, nn.Module):
        raise ValueError(f"the factory must return a features.Backbone or a torch.nn.Module, got {type(made).__name__}")
    return Bare(made)


def _normalised(
    model: nn.Module, image_shape: tuple[int, int, int], mean: Sequence[float], sd: Sequence[float]
) -> Bare:
    """Of images from which `mean` is taken and that are divided by `sd`, a channel each, after scaling to [0, 1]."""
    low = tuple(-m / s for m, s in zip(mean, sd, strict=True))
    high = tuple((1 - m) / s for m, s in zip(mean, sd, strict=True))
    return Bare(model, image_shape, (low, high))


def _options(text: str, allowed: Sequence[str]) -> tuple[str, dict[str, str]]:
    """NAME[,key=value ...]."""
    name, *settings = text.split(",")
    options = dict(setting.partition("=")[::2] for setting in settings)
    if unknown := [setting for setting in settings if setting.partition("=")[0] not in allowed or "=" not in setting]:
        raise ValueError(f"settings are {' and '.join(f'{key}=...' for key in allowed)}, got {unknown[0]!r}")
    return name, options


def _size(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"size must be a number of pixels, got {text!r}")
    return int(text)


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


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
