"""Discriminators of common PyTorch ports of DCGAN, from their state dicts."""

from pathlib import Path

from safetensors import SafetensorError, safe_open

import gan
from experiments.networks.contender import Network, Request


def open_port(text: str, request: Request) -> Network:
    """The network whose state dict is in a file; see `gan.load_port`."""
    file = Path(text)
    port = gan.load_port(file)
    stages = [name for name, _ in port.model.named_children()]
    return Network(f"DCGAN port {file.stem}", port.model, stages, port.image_shape, only_stages=True)


def is_port(file: Path) -> bool:
    """Whether a file is read as a port's state dict: every file but those that this project wrote or seems to have."""
    try:
        with safe_open(file, "pt") as opened:
            return "dcgan-eval" not in str(opened.metadata())
    except (OSError, SafetensorError):
        return file.suffix != ".safetensors"
