"""Checkpoints: safetensors files with the configuration in the header. Nothing is pickled.

A network file holds one network. Its header names the kind and the architecture, so `load(file)` needs nothing else.
A training-state file holds the networks, both optimisers, the state of the draws and the step. They share one file, so
that a kill between two writes cannot pair tensors of different steps. Every file is written under a temporary name and
then renamed.
"""

import dataclasses
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
from gan.config import TrainingConfig
from gan.state import TrainingState, new_state

FORMAT = "dcgan-eval-1"
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
    """
    path = Path(file)
    tensors, header = _read(path)
    kind = header.get("kind")
    if kind not in _KINDS:
        raise ValueError(f"{path} must hold a network, one of {', '.join(_KINDS)}; got {kind!r}")
    try:
        network = _KINDS[kind](architecture_from(header["architecture"]))  # type: ignore[arg-type]
        network.load_state_dict(tensors)  # into float32, whatever the file holds
    except (RuntimeError, KeyError, ValueError) as error:
        raise ValueError(f"{path} does not fit its own architecture: {_first_line(error)}") from error
    return network.eval()


def save_state(file: str | os.PathLike[str], state: TrainingState, config: TrainingConfig) -> None:
    """Write the whole training state atomically. Raises OSError when the write fails; an old file stays as it was."""
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
    }
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
    """
    path = Path(file)
    tensors, header = _read(path)
    if header.get("kind") != "training-state":
        raise ValueError(f"{path} must hold a training state, got {header.get('kind')!r}")
    try:
        theirs_arch, theirs_config = architecture_from(header["architecture"]), TrainingConfig(**header["config"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} was written by another version: {_first_line(error)}") from error
    for name, ours, theirs in (("architecture", arch, theirs_arch), ("config", config, theirs_config)):
        if ours != theirs:
            raise ValueError(f"{path} belongs to another run: its {name} is {theirs}, this run's is {ours}")
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
        step = int(header["step"])
        _restore_noise(state, tensors, path, config, step)
    except (RuntimeError, KeyError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {_first_line(error)}") from error
    state.step = step
    return state


def architecture_from(fields: dict[str, Any]) -> Architecture | ConditionalArchitecture:
    """Build the architecture from a header's JSON fields. Raises ValueError for unknown or missing fields."""
    kind = ConditionalArchitecture if "classes" in fields else Architecture
    known = {f.name for f in dataclasses.fields(kind)}
    if unknown := set(fields) - known:
        raise ValueError(f"unknown architecture fields {sorted(unknown)}; known: {sorted(known)}")
    try:
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
        return kind(**plain)
    except TypeError as error:
        raise ValueError(f"incomplete architecture: {error}") from error


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


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _write(path: Path, tensors: dict[str, Tensor], header: dict) -> None:
    temporary = path.with_name(f".{path.name}.partial")
    # one entry, because safetensors writes several in no fixed order, and equal networks must give equal files
    metadata = {"dcgan-eval": json.dumps({"format": FORMAT} | header, sort_keys=True)}
    try:
        save_file({k: t.detach().cpu().contiguous() for k, t in tensors.items()}, temporary, metadata)
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


def _read(path: Path) -> tuple[dict[str, Tensor], dict]:
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        with safe_open(path, "pt") as opened:
            metadata = opened.metadata() or {}
            header = json.loads(metadata.get("dcgan-eval", "{}"))
            form = header.pop("format", metadata.get("format"))  # version 0.1 wrote it beside the header
            if form != FORMAT:
                raise ValueError(f"{path} is a safetensors file of another program (format {form!r})")
            return {key: opened.get_tensor(key) for key in opened.keys()}, header  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({_first_line(error)})") from error
