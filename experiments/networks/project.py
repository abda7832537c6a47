"""Networks of this project: files of training runs, the shipped networks, the authors' arrays, the controls."""

import dataclasses
import zipfile
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

import gan
from experiments.networks.contender import BATCH, NOTHING, Network, Request, split_settings
from experiments.networks.kinds import WEIGHTS
from experiments.networks.sizes import sizes
from experiments.run.errors import closest
from experiments.run.files import file_digest
from experiments.run.memory import check_memory
from experiments.run.reading.documents import read_json
from gan.theano_weights import complete_stages

SUMMARY = "training.json"  # of a training run, next to its networks
AUTHORS_SETS = {"imagenet32": "imagenet32-train", "svhn32": "svhn-train"}  # sets of which the authors trained on images


def architecture(text: str) -> tuple[gan.Architecture, str]:
    """PRESET[,width=N,...] -> the architecture, and its name in a method column. Raises ValueError for other texts."""
    preset, settings = split_settings(text, r"(width|channels|kernel)=\d+", "width=N, channels=N and kernel=N")
    changes: dict[str, Any] = {key: int(value) for key, value in settings.items()}
    return dataclasses.replace(_preset(preset), **changes), text.replace(",", " ").replace("=", " ")


def open_shipped(name: str, request: Request) -> Network:
    """Open the discriminator that comes with the project under this name."""
    file = WEIGHTS / name / "discriminator.safetensors"
    if _data_of(file) is None:
        raise ValueError(f"{file} is not the file that its {SUMMARY} names; restore both from version control")
    return open_checkpoint(str(file), request)


def open_checkpoint(text: str, request: Request) -> Network:
    """Open the discriminator in a file that `gan.save` wrote; any other file is read as a port's (`gan.load_port`).

    The network is named after the file or, if the file is called discriminator.safetensors, after its folder.
    """
    file = Path(text)
    if _is_port(file):
        port = gan.load_port(file)
        stages = [name for name, _ in port.model.named_children()]
        return Network(
            f"DCGAN port {file.stem}", port.model, stages, port.image_shape, only_stages=True, notes=port.notes
        )
    net = gan.load(file)
    if not isinstance(net, gan.Discriminator):
        raise ValueError("the file holds a generator; features are taken from a discriminator")
    name = file.resolve().parent.name if file.stem == "discriminator" else file.stem
    network, data = _discriminator(f"DCGAN {name}", net, net.arch.stage_names), _data_of(file)
    if data is None:
        return network
    return dataclasses.replace(network, trained_on=data.at_network_size or data.digest, trained_set=data.name)


def draw_random(text: str, request: Request) -> Network:
    """Make the discriminator PRESET[,width=N,...], freshly initialised from the seed."""
    arch, name = architecture(text)
    size, _ = sizes(arch)
    check_memory(size.weights + 2 * BATCH * size.largest, f"random:{text}", "name a smaller width")
    net = gan.Discriminator(arch)
    gan.initialise(net, torch.Generator().manual_seed(request.seed))
    return _discriminator(f"random-init {name}", net, arch.stage_names, NOTHING)


def open_theano(text: str, request: Request) -> Network:
    """Open PRESET:FOLDER, the authors' arrays, up to the last stage for which all files are there."""
    preset, _, folder = text.partition(":")
    if not folder:
        raise ValueError("write theano:PRESET:FOLDER")
    net = gan.load_theano(folder, _preset(preset))
    assert isinstance(net, gan.Discriminator)
    stages = complete_stages(net)
    used = f", {stages[0]}-{stages[-1]}" if len(stages) < len(net.arch.strides) else ""
    network = _discriminator(f"DCGAN {preset} (authors' weights{used})", net, stages)
    return dataclasses.replace(network, trained_set=AUTHORS_SETS.get(preset))


def make_pixels(text: str, request: Request) -> Network:
    """Return a network whose features are the image itself, 3,072 values."""
    model = nn.Sequential(OrderedDict(pixels=nn.Identity()))
    return Network("raw pixels", model, [text], only_stages=True, pool=nn.Flatten(), trained_on=NOTHING)


def _is_port(file: Path) -> bool:
    """Whether a file is read as a port's state dict: unless this project wrote it, or seems to have written it."""
    try:
        with safe_open(file, "pt") as opened:
            return "dcgan-eval" not in str(opened.metadata())
    except (OSError, SafetensorError):
        return file.suffix != ".safetensors" or zipfile.is_zipfile(file)  # of torch.save


def _preset(name: str) -> gan.Architecture:
    try:
        return gan.architecture(name)
    except ValueError as error:
        raise ValueError(f"{error}{closest(name, gan.PRESETS)}") from error


def _discriminator(name: str, net: gan.Discriminator, stages: Sequence[str], trained_on: str | None = None) -> Network:
    return Network(name, net, stages, net.arch.image_shape, only_stages=True, trained_on=trained_on)


@dataclass(frozen=True)
class _Data:
    """digest, name: of the packed training set. at_network_size: the digest of its images at the network's size."""

    digest: str
    name: str | None = None
    at_network_size: str | None = None


@dataclass(frozen=True)
class _Summary:
    """What training.json says of a network."""

    discriminator: str  # digest of its file
    data: _Data


def _data_of(file: Path) -> _Data | None:
    """Return what training.json next to the file says of the training set; None if it is that of another file."""
    try:
        found: _Summary = read_json(file.with_name(SUMMARY), _Summary)
        own = found.discriminator == file_digest(file, "sha256")
    except (OSError, ValueError):
        return None  # there is none, or it is some other JSON of the user
    return found.data if own else None
