"""Checkpoints: safetensors files with the configuration in the header. Nothing is pickled.

A network file holds one network. Its header names the kind and the architecture, so `load(file)` needs nothing else.
A training-state file holds the networks, both optimisers, the state of the draws and the step. They share one file, so
that a kill between two writes cannot pair tensors of different steps. Every file is written under a temporary name and
then renamed.

A file is sealed: its header holds the SHA-256 of all else in it, so a file with a changed bit is refused. Files of
version 0.1 and 0.2 have no seal and another format; they are read as well.
"""

import dataclasses
import hashlib
import json
import os
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gan.architectures import Architecture, Discriminator, Generator
from gan.conditional import ConditionalArchitecture, ConditionalDiscriminator, ConditionalGenerator
from gan.config import TrainingConfig, check_conditional
from gan.state import TrainingState, new_state

FORMAT, UNSEALED = "dcgan-eval-sealed-2", "dcgan-eval-1"  # no changed bit turns one into the other
Network = Discriminator | Generator | ConditionalDiscriminator | ConditionalGenerator
_KINDS: dict[str, type[Network]] = {
    "discriminator": Discriminator,
    "generator": Generator,
    "conditional-discriminator": ConditionalDiscriminator,
    "conditional-generator": ConditionalGenerator,
}


def save(file: str | os.PathLike[str], network: Network, *, dtype: torch.dtype | None = None) -> None:
    """Write one network atomically. Raises OSError when the write fails; an old file then stays as it was.

    `dtype` converts floating-point tensors (torch.float16 halves the file).

    >>> from dataclasses import replace
    >>> arch = replace(gan.PRESETS["dcgan32"], width=8)
    >>> gan.save("discriminator.safetensors", gan.Discriminator(arch))
    >>> gan.load("discriminator.safetensors").arch == arch
    True
    """
    kind = next(name for name, cls in _KINDS.items() if isinstance(network, cls))
    tensors = {
        name: (t.to(dtype) if dtype is not None and t.is_floating_point() else t)
        for name, t in network.state_dict().items()
    }
    _write(Path(file), tensors, {"kind": kind, "architecture": dataclasses.asdict(network.arch)})


def load(file: str | os.PathLike[str]) -> Network:
    """Load the network that `save` wrote: float32, on the CPU, in eval mode.

    Raises FileNotFoundError, and ValueError for any other file (truncated, of another kind, with other shapes).

    >>> from dataclasses import replace
    >>> arch = replace(gan.PRESETS["dcgan32"], width=8)
    >>> generator = gan.Generator(arch)
    >>> gan.save("generator.safetensors", generator)
    >>> loaded = gan.load("generator.safetensors")
    >>> type(loaded).__name__, loaded.training
    ('Generator', False)
    """
    path = Path(file)
    tensors, header = _read(path, "; get it again: a training run that is started again writes its networks anew")
    kind = header.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ValueError(f"{path} must hold a network, one of {', '.join(_KINDS)}; got {kind!r}")
    try:
        arch = architecture_from(header["architecture"])
        if isinstance(arch, ConditionalArchitecture) != kind.startswith("conditional"):
            raise ValueError(f"{kind} has another architecture")
        with torch.device("meta"):  # nothing is allocated before the file is known to fill it
            _check_sizes(_KINDS[kind](arch), tensors)  # type: ignore[arg-type]
        network = _KINDS[kind](arch)  # type: ignore[arg-type]
        network.load_state_dict(tensors)  # into float32, whatever the file holds
    except (RuntimeError, KeyError, ValueError) as error:
        raise ValueError(f"{path} does not fit its own architecture: {_first_line(error)}") from error
    return network.eval()


def save_state(file: str | os.PathLike[str], state: TrainingState, config: TrainingConfig) -> None:
    """Write the whole training state atomically. Raises OSError when the write fails; an old file stays as it was.

    >>> from dataclasses import replace
    >>> arch = replace(gan.PRESETS["dcgan32"], width=8)
    >>> config = gan.TrainingConfig(images=128, decay_from=128)
    >>> gan.save_state("state.safetensors", gan.new_state(arch, config), config)
    """
    tensors: dict[str, Tensor] = {_noise(state): state.noise.get_state()}
    for name, network in state.networks.items():
        tensors |= {f"{name}.{key}": t for key, t in network.state_dict().items()}
    for name, optimizer in state.optimizers.items():
        for index, slots in optimizer.state_dict()["state"].items():
            tensors |= {f"adam_{name}.{index}.{slot}": torch.as_tensor(t) for slot, t in slots.items()}
    header = {
        "kind": "training-state",
        "architecture": dataclasses.asdict(state.generator.arch),
        "config": dataclasses.asdict(config),
        "step": state.step,
    } | ({"notes": state.notes} if state.notes else {})
    _write(Path(file), tensors, header)


def load_state(
    file: str | os.PathLike[str],
    arch: Architecture | ConditionalArchitecture,
    config: TrainingConfig,
    device: torch.device | str = "cpu",
) -> TrainingState:
    """Load the state that `save_state` wrote, so that training can continue.

    Raises FileNotFoundError, and ValueError when the architecture or the configuration differs from the file's, or when
    the file is damaged.

    >>> from dataclasses import replace
    >>> arch = replace(gan.PRESETS["dcgan32"], width=8)
    >>> config = gan.TrainingConfig(images=128, decay_from=128)
    >>> gan.save_state("state.safetensors", gan.new_state(arch, config), config)
    >>> gan.load_state("state.safetensors", arch, config).step
    0
    """
    path = Path(file)
    tensors, header = _read(path)
    if header.get("kind") != "training-state":
        raise ValueError(f"{path} must hold a training state, got {header.get('kind')!r}")
    try:
        theirs_arch, theirs_config = architecture_from(header["architecture"]), TrainingConfig(**header["config"])
        step = header["step"]
        if type(step) is not int or not 0 <= step <= theirs_config.steps:
            raise ValueError(f"step must be a whole number in [0, {theirs_config.steps}], got {step!r}")
        if not isinstance(header.get("notes", {}), dict):
            raise ValueError("notes must be a table")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} was written by another version: {_first_line(error)}") from error
    for name, ours, theirs in (("architecture", arch, theirs_arch), ("config", config, theirs_config)):
        if ours != theirs:
            raise ValueError(f"{path} belongs to another run: its {name} {_difference(theirs, ours)}")
    state = new_state(arch, config, device)
    try:
        for name, network in state.networks.items():
            network.load_state_dict(_under(tensors, f"{name}."))
        for name, optimizer in state.optimizers.items():
            slots: dict[int, dict[str, Tensor]] = {}
            for key, t in _under(tensors, f"adam_{name}.").items():
                index, slot = key.split(".")
                # the weights' layout (see `new_state`), so that a resumed run equals an uninterrupted one
                t = t.contiguous(memory_format=torch.channels_last) if t.dim() == 4 else t
                slots.setdefault(int(index), {})[slot] = t
            optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
        _restore_noise(state, tensors, path, config, step)
    except (RuntimeError, KeyError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {_first_line(error)}") from error
    state.step, state.notes = step, header.get("notes", {})
    return state


def architecture_from(fields: dict[str, Any]) -> Architecture | ConditionalArchitecture:
    """Build the architecture from a header's JSON fields. Raises ValueError for unknown, missing and wrong fields."""
    if not isinstance(fields, dict):
        raise ValueError(f"an architecture must be a table, got {type(fields).__name__}")
    kind = ConditionalArchitecture if "classes" in fields else Architecture
    known = {f.name for f in dataclasses.fields(kind)}
    if unknown := set(fields) - known:
        raise ValueError(f"unknown architecture fields {sorted(unknown)}; known: {sorted(known)}")
    try:
        arch = kind(**fields)
    except TypeError as error:
        raise ValueError(f"incomplete architecture: {error}") from error
    if isinstance(arch, ConditionalArchitecture):
        check_conditional(arch)
    return arch


def _check_sizes(network: Network, tensors: dict[str, Tensor]) -> None:
    """Raise ValueError if a tensor of the network, which may lie on the meta device, has another shape in the file."""
    for name, own in network.state_dict().items():
        if name not in tensors or tensors[name].shape != own.shape:
            got = list(tensors[name].shape) if name in tensors else "none"
            raise ValueError(f"{name} must have the shape {list(own.shape)}, got {got}")


def _noise(state: TrainingState) -> str:
    """Name the state of the draws after the kind of device that makes them; the CPU's name is the older one."""
    return "noise" if state.noise.device.type == "cpu" else f"noise_{state.noise.device.type}"


def _restore_noise(
    state: TrainingState, tensors: dict[str, Tensor], path: Path, config: TrainingConfig, step: int
) -> None:
    """Continue the file's draws. A file whose draws were made on another kind of device gets new ones, with a warning.

    Raises KeyError for a file without draws.
    """
    own = _noise(state)
    if own in tensors:
        state.noise.set_state(tensors[own])
        return
    if not any(name == "noise" or name.startswith("noise_") for name in tensors):
        raise KeyError(own)
    state.noise.manual_seed(config.seed * 1_000_003 + step)
    where = "GPU" if own != "noise" else "CPU"
    warnings.warn(
        f"{path} was written by a run whose random draws were made on another device: this one goes on with new draws, "
        f"made on the {where}",
        stacklevel=3,
    )


def _difference(theirs: Any, ours: Any) -> str:
    """Say in which fields two architectures, or two configs, differ."""
    if type(theirs) is not type(ours):
        return f"is {type(theirs).__name__}, this run's is {type(ours).__name__}"
    names = [f.name for f in dataclasses.fields(ours) if getattr(theirs, f.name) != getattr(ours, f.name)]
    told = [", ".join(f"{name}={getattr(of, name)!r}" for name in names) for of in (theirs, ours)]
    return f"is {told[0]}, this run's is {told[1]}"


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _write(path: Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    temporary = path.with_name(f".{path.name}.partial")
    whole = {key: t.detach().cpu().contiguous() for key, t in tensors.items()}
    head = {"format": FORMAT} | header
    # one entry, because safetensors writes several in no fixed order, and equal networks must give equal files
    metadata = {"dcgan-eval": _json(head | {"digest": _digest(whole, head)})}
    try:
        save_file(whole, temporary, metadata)
        temporary.chmod(0o644)  # safetensors makes files that only their owner can read
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    except SafetensorError as error:  # a full disk, a folder gone
        temporary.unlink(missing_ok=True)
        raise OSError(
            f"cannot write {path} ({_first_line(error)}); free space there or choose another folder"
        ) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _read(path: Path, fix: str = "") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the header without format and digest. Raises ValueError if the seal does not match."""
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        with safe_open(path, "pt") as opened:
            metadata = opened.metadata() or {}
            text = metadata.get("dcgan-eval", "{}")
            header = _parse(text, path)
            form = header.get("format", metadata.get("format"))  # version 0.1 wrote it beside the header
            if form not in (FORMAT, UNSEALED):
                raise ValueError(f"{path} is a safetensors file of another program (format {form!r})")
            tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({_first_line(error)})") from error
    if form == FORMAT and (text != _json(header) or header.pop("digest", None) != _digest(tensors, header)):
        raise ValueError(f"{path} is damaged: its content does not match its digest{fix}")
    header.pop("format", None)
    return tensors, header


def _parse(text: str, path: Path) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: its header is no JSON ({_first_line(error)})") from error
    if not isinstance(header, dict) or not isinstance(header.get("format", ""), str):
        raise ValueError(f"{path} is damaged: its header is no table with a format")
    return header


def _json(header: dict[str, Any]) -> str:
    return json.dumps(header, sort_keys=True)


def _digest(tensors: dict[str, Tensor], header: dict[str, Any]) -> str:
    """Return SHA-256 (hex) over the header, and over names, types, shapes and bytes of the tensors, on the CPU."""
    hashed = hashlib.sha256(_json(header).encode())
    for name, tensor in sorted(tensors.items()):
        hashed.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        hashed.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return hashed.hexdigest()
