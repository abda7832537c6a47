"""Make the network that `BACKBONE=` names, or that the user's own object is, ready for feature extraction."""

import copy
import re
import zipfile
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import torch

import features
import gan
from experiments.networks.contender import Contender, Request
from experiments.networks.factories import as_network
from experiments.networks.kinds import CHECKPOINT, FACTORIES, KINDS, SHIPPED, Kind, refuse_old_path
from experiments.run.context import Run
from experiments.run.errors import UserError, closest
from experiments.run.files import refuse_irregular
from features.errors import blamed, contained, one_line


def resolve(
    text: str,
    run: Run | None = None,
    *,
    layers: Sequence[str] | None = None,
    seed: int = 0,
    learn_from: str = "cifar10-train",
) -> Contender:
    """Return the network that `text` names; see `kinds.KINDS`. Raises UserError that says what would be accepted.

    run: gives the folders in which the packed set `learn_from` is found and in which K-means features are stored. If
    None, K-means features are not learned; their shapes and costs are still right.
    layers: names or patterns of layers, in the order in which they are used. If None, every stage is used.
    seed: seed of K-means, and of the weights of networks without trained weights.
    """
    try:
        kind, name = _kind_of(text)
        if kind.resolver is None:
            raise ValueError(kind.meaning.replace("`", ""))
        module, _, function = kind.resolver.partition(":")
        resolver = getattr(import_module(module), function)
        with contained("its code"), blamed("its code"):
            return resolver(name, Request(seed, run, learn_from)).contender(layers)
    except (ValueError, FileNotFoundError) as error:
        raise UserError(_named(text, error)) from error
    except MemoryError as error:
        raise UserError(f"backbone {text!r}: there is too little memory for it ({one_line(error)})") from error


def _named(text: str, error: Exception) -> str:
    """Say which backbone it is, unless the error of a file says it."""
    told = str(error)
    if told.startswith(f"{text} "):
        return f"backbone {told}"
    return (
        f"backbone: {told}" if isinstance(error, FileNotFoundError) and text in told else f"backbone {text!r}: {told}"
    )


def runnable(text: str, run: Run, *, layers: tuple[str, ...] | None, seed: int, data: str | None) -> Contender:
    """Load the network that `text` names, on the run's device. Raises UserError if it cannot run.

    data: the labelled set from whose training images K-means features are learned. If None, they are not learned.
    """
    return _ready(resolve(text, run if data else None, layers=layers, seed=seed, learn_from=f"{data}-train"), run, text)


def adopt(made: object, run: Run, *, name: str) -> Contender:
    """Return a copy of the user's own features.Backbone or nn.Module, on the run's device.

    Calibration and the move to the device change the copy; the user's object stays as it is. An nn.Module is assumed to
    take float32 [N, 3, 32, 32] in [-1, 1]. name: its name in the tables. Raises UserError if it cannot run.
    """
    try:
        with contained("its code"):
            contender = as_network(name, _copied(made)).contender(None)
    except Exception as error:  # the network's code may raise anything
        text = str(error) if isinstance(error, ValueError) else one_line(error)
        raise UserError(f"backbone {name!r}: {text}") from error
    return _ready(contender, run, name)


def _copied(made: object) -> object:
    try:
        return copy.deepcopy(made)
    except Exception as error:
        fix = "write a function that makes it, and name that: file.py:factory"
        raise ValueError(f"it cannot be copied, so that yours stays as it is; {fix} ({one_line(error)})") from error


def _ready(contender: Contender, run: Run, text: str) -> Contender:
    """Move the network to the run's device, and pass an image through it. Raises UserError if it cannot run."""
    move(contender, run.device, text)
    try:
        features.layer_shapes(contender.backbone)
    except ValueError as error:
        raise UserError(f"backbone {text!r}: {error}; dcgan-eval check names the fix") from error
    return contender


def move(contender: Contender, device: torch.device, text: str) -> None:
    """Move the network to the device. Raises UserError if that fails; `text` is the network's name."""
    try:
        with contained("its to()"):
            contender.backbone.model.to(device)
    except Exception as error:  # the method may be the user's
        raise UserError(f"backbone {text!r} cannot be moved to {device}: {one_line(error)}") from error


def _kind_of(text: str) -> tuple[Kind, str]:
    """Return the kind of the name, and the text for the kind's resolver. Raises ValueError for a name of no kind."""
    path = Path(text)
    is_file = path.is_file() and path.suffix != ".py"
    refuse_irregular(path)
    if _is_program(path):
        raise ValueError(
            "exported programs are not opened; write a function that makes the network and loads its state dict, and "
            "name it: file.py:factory"
        )
    refuse_old_path(text)
    for kind in KINDS:
        if match := re.fullmatch(kind.pattern, text):
            return (CHECKPOINT, text) if is_file and kind in FACTORIES else (kind, match[1])
    if is_file:
        return CHECKPOINT, text
    known = [*SHIPPED, *(kind.written for kind in KINDS), *(f"random:{preset}" for preset in gan.PRESETS)]
    written = ", ".join(kind.written for kind in KINDS)
    raise ValueError(f"no file and no network is named like that; write {written}{closest(text, known)}")


def _is_program(file: Path) -> bool:
    """Whether a file is a program of torch.export or torch.jit, or is named like one."""
    if file.suffix in (".pt2", ".ts"):
        return True
    try:
        with zipfile.ZipFile(file) as archive:
            inside = [name.partition("/")[2] for name in archive.namelist()]
    except (OSError, zipfile.BadZipFile):
        return False
    return any(name.startswith(("code/", "models/")) for name in inside)
