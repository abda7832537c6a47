"""`look filters`: of a discriminator beside a fresh one, on training images, on samples, and of any backbone."""

import numpy as np
import pytest
import torch

import features
import gan
from tests.experiments.look.made_up import IMAGES, SIZE, TRAINED_ON, looked, record, rows, weights

OPTIONS = ("--maps", 5, "--top", 2, "--images", 50, "--seed", 5)  # the run's weights are of seed 0


def responses(root, fresh):
    """[rank, map]: greatest values of the last layer on 50 training images drawn by seed 5, from the strongest on."""
    network = gan.load(root / "run" / "discriminator.safetensors")
    if fresh:
        network = gan.Discriminator(network.arch)
        gan.initialise(network, torch.Generator().manual_seed(5))
    images = IMAGES[np.random.default_rng(5).permutation(TRAINED_ON)[:50]]
    backbone = features.Backbone(network, ["conv2"], (3, SIZE, SIZE), (-1, 1))
    features.calibrate_batchnorm(backbone, images, batch_size=50)
    return -np.sort(-features.extract(backbone, images, pool=features.max_grid(1)), axis=0)


def test_filters_of_a_run(root, sheets):
    looked("filters", root / "run", *OPTIONS)
    out = root / "runs" / "look" / "filters-run"
    lines = rows(out / "filters.csv")
    assert {(r["network"], r["rank"]) for r in lines} == {(n, k) for n in ("as given", "random-init") for k in "01"}
    assert all(0 < float(r["half_energy_percent"]) <= 50 for r in lines)
    ((trained, fresh),) = sheets
    assert (trained.title, fresh.title) == ("trained", "random weights") and (out / "filters.png").exists()
    for block, name in ((trained, "as given"), (fresh, "random-init")):
        shown = [r["map"] for r in lines if (r["network"], r["rank"]) == (name, "0")]
        assert list(block.rows) == [label for channel in shown for label in (f"map {channel}", "gradient")]
        assert block.images.shape == (10, 2, SIZE, SIZE, 3)
    strongest = {n: responses(root, fresh) for n, fresh in (("as given", False), ("random-init", True))}
    for line in lines:
        expected = strongest[line["network"]][int(line["rank"]), int(line["map"])]
        assert float(line["response"]) == pytest.approx(expected, rel=1e-4)
    written = record(out, root)
    assert written["settings"]["layer"] == "conv2" and written["figures"]["as given"]["n"] == 10
    for name, figure in written["figures"].items():
        areas = [float(r["half_energy_percent"]) for r in lines if r["network"] == name]
        expected = {"mean": np.mean(areas), "sd": np.std(areas, ddof=1)}
        assert figure["half_energy_percent"] == pytest.approx(expected, rel=1e-4)

    looked("filters", root / "run", "--data", "samples", *OPTIONS, "--out", root / "of-samples")
    assert record(root / "of-samples", root)["inputs"]["images"] == weights(root)
    assert rows(root / "of-samples" / "filters.csv") != lines


def test_filters_of_any_backbone_are_the_same_again(root, sheets):
    (root / "mine.py").write_text(
        "import torch, features\n"
        "def make():\n"
        "    torch.manual_seed(0)\n"
        "    net = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3), torch.nn.ReLU(), torch.nn.Conv2d(5, 4, 3),\n"
        "                              torch.nn.BatchNorm2d(4), torch.nn.ReLU(inplace=True))\n"
        "    return features.Backbone(net, ['1', '4'], (3, 12, 12), (0, 1))\n"
    )
    command = ["filters", f"{root / 'mine.py'}:make", "--data", "made-up", *OPTIONS, "--out", root / "f"]
    looked(*command)
    assert [block.images.shape[1:] for block in sheets[0]] == [(2, 12, 12, 3)] * 2
    one = (root / "f" / "filters.csv").read_bytes()
    looked(*command)
    assert (root / "f" / "filters.csv").read_bytes() == one
