"""A trained network as it comes with the project: rounded to float16, beside training's own summary."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch

import gan
from experiments.run.reading.documents import read_json, write_json
from experiments.training.files import SUMMARY


def round_network(trained: Path, out: Path, networks: Sequence[str]) -> None:
    """Write the networks ("discriminator", "generator") of a finished run into `out`, in float16, and their summary.

    The summary has the digests of the rounded files, and under `before_rounding_to_float16` those that it had.
    Raises OSError if a file cannot be read or written, and ValueError if one is damaged.
    """
    out.mkdir(parents=True, exist_ok=True)
    summary = read_json(trained / SUMMARY)
    before = {name: summary[name] for name in networks}
    for name in networks:
        file = out / f"{name}.safetensors"
        gan.save(file, gan.load(trained / file.name), dtype=torch.float16)
        summary[name] = hashlib.sha256(file.read_bytes()).hexdigest()
    summary["before_rounding_to_float16"] = before
    write_json(out / SUMMARY, summary)
