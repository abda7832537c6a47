"""Networks that the user's own code makes."""

import contextlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

import features
from experiments.networks.contender import Network, Request
from experiments.networks.kinds import PREFIXES
from experiments.run.errors import closest
from experiments.run.torchvision import declare_operators
from features.errors import one_line


def call_factory(text: str, request: Request) -> Network:
    """Return the network that `file.py:factory` or `module:factory` makes, a features.Backbone or an nn.Module.

    An nn.Module is assumed to take float32 [N, 3, 32, 32] in [-1, 1]. Weights that the factory draws with torch follow
    the request's seed, so every process makes the same network and its records are found. Raises ValueError if the
    factory fails or returns something else, and features.BackboneError if the factory raises it.
    """
    where, _, attribute = text.rpartition(":")  # a folder's name may hold colons
    if not attribute.isidentifier():
        raise ValueError(f"no file is named like that, and {attribute!r} names no function: write file.py:factory")
    name = f"{Path(where).name}:{attribute}"
    declare_operators()  # the user's code may import torchvision
    try:
        # the folder comes back: the paths of the command are relative to it
        with contextlib.chdir("."), torch.random.fork_rng(devices=[]):
            torch.manual_seed(request.seed)
            made = load_function(where, attribute)()
    except features.BackboneError:
        raise
    except Exception as error:  # the user's code can raise anything
        hint = closest(where, PREFIXES) if getattr(error, "name", None) == where else ""
        raise ValueError(f"cannot make it: {one_line(error)}{hint}") from error
    return as_network(name, made, "the factory must return")


def as_network(name: str, made: object, must: str = "it must be") -> Network:
    """Return the network of the user's features.Backbone or nn.Module. ValueError, which begins `must`, for others."""
    if isinstance(made, features.Backbone):
        return Network(name, made.model, made.layers, made.image_shape, made.value_range, made.to_maps)
    if isinstance(made, nn.Module):
        return Network(name, made, to_maps=features.tokens_to_maps)
    raise ValueError(f"{must} a features.Backbone or a torch.nn.Module, got {type(made).__name__}")


def load_function(where: str, attribute: str) -> Callable[..., Any]:
    """Return an object of a Python file, or of a module that can be imported, also from the current folder.

    Raises whatever the file or the module raises.
    """
    if not where.endswith(".py"):
        if os.getcwd() not in sys.path:  # `python -m` puts it there, a console script does not
            sys.path.insert(0, os.getcwd())
        return getattr(importlib.import_module(where), attribute)
    name = f"_backbone_{Path(where).stem}"  # not the name of any other module
    spec = importlib.util.spec_from_file_location(name, where)
    assert spec is not None and spec.loader is not None  # true for every name that ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # the file's own dataclasses look themselves up there
    spec.loader.exec_module(module)
    return getattr(module, attribute)
