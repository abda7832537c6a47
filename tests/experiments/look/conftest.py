"""A workplace with networks to look at."""

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
import torch

import gan
from experiments.look import sheet
from tests.experiments.look.made_up import HELD_OUT, IMAGES, NETWORKS, N
from tests.gan.small import ARCH
from tests.workplace import Workplace


@pytest.fixture
def root(workplace: Workplace) -> Path:
    """A workplace with a packed set, a run that was trained on it, and one that nothing is known of."""
    packed = workplace.pack("made-up", IMAGES)
    for name, seed in (("run", 0), ("other", 1)):
        folder = workplace.root / name
        folder.mkdir()
        arch = dataclasses.replace(ARCH, up_multipliers=(2, 3))  # 12 maps before the image
        generator, discriminator = gan.Generator(arch), gan.Discriminator(arch)
        for network in (generator, discriminator):
            gan.initialise(network, torch.Generator().manual_seed(seed))
        generator.deconv2.conv.weight.data *= 50  # contrast: without it every pixel is gray
        gan.save(folder / "generator.safetensors", generator)
        gan.save(folder / "discriminator.safetensors", discriminator)
    run = workplace.root / "run"
    (run / "removed.csv").write_text("index,kept\n")
    digests = {n: hashlib.sha256((run / f"{n}.safetensors").read_bytes()).hexdigest() for n in NETWORKS}
    data = {"name": "made-up", "digest": packed.digest, "images": len(IMAGES), "kept": N, "held_out": HELD_OUT}
    written = {**digests, "data": data, "recipe": {"training": {"seed": 3}}}
    (run / "training.json").write_text(json.dumps(written))
    return workplace.root


@pytest.fixture
def sheets(monkeypatch: pytest.MonkeyPatch) -> list[tuple[sheet.Block, ...]]:
    """The blocks of every sheet that is drawn, in their order."""
    drawn: list[tuple[sheet.Block, ...]] = []
    place = sheet.layout

    def noted(*blocks: sheet.Block, title: str = "") -> sheet.Layout:
        drawn.append(blocks)
        return place(*blocks, title=title)

    monkeypatch.setattr(sheet, "layout", noted)
    return drawn
