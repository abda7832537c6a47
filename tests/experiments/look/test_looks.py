"""`dcgan-eval look` end to end on tiny networks and a fabricated set: files and figures, by hand where they can be."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

import evaluation
import features
import gan
from experiments import cli
from experiments.look import subject as look
from tests.experiments.look.made_up import HELD_OUT, IMAGES, SIZE, record, rewritten, rows, size, weights


def test_walk(root, capsys):
    assert cli.main(["look", "walk", str(root / "run"), "--rows", "3", "--steps", "5", "--path", "spherical"]) == 0
    out = root / "runs" / "look" / "walk-run"
    assert {f.name for f in out.iterdir()} == {
        *("walk.png", "walk.webp", "nearest.png", "walk.csv", "frames.csv", "record.json")
    }
    assert size(out / "walk.png") == (5 * SIZE, 3 * SIZE) and size(out / "nearest.png") == (5 * SIZE, 6 * SIZE)
    lines, frames = rows(out / "walk.csv"), rows(out / "frames.csv")
    assert [(r["from"], r["to"]) for r in lines] == [("0", "1"), ("1", "2"), ("2", "3")] and len(frames) == 15
    for line in lines:
        own = [f for f in frames if f["row"] == line["row"]]
        for space in ("pixels", "features"):
            assert 0 < float(line[f"smoothness_{space}"]) == max(float(f[f"step_{space}"]) for f in own[1:])
        assert line["least_nearest_ratio"] == min((f["nearest_ratio"] for f in own), key=float)
    kept = look.split(len(IMAGES), np.empty(0, int), HELD_OUT, 3)[0]
    assert {int(f["nearest_index"]) for f in frames} <= set(kept.tolist())  # of what the run was trained on
    assert record(out, root)["figures"]["smoothness_pixels"]["n"] == 3


def test_the_distance_of_frames_is_that_of_neighbours_by_hand(root):
    assert cli.main(["look", "walk", str(root / "run"), "--rows", "1", "--steps", "3", "--out", str(root / "w")]) == 0
    frames = rows(root / "w" / "frames.csv")
    generator = gan.freeze(gan.load(root / "run" / "generator.safetensors"))
    z = gan.sample_z(generator.arch, look.SHEET, torch.Generator().manual_seed(0))
    images = gan.draw(generator, torch.stack([z[0], (z[0] + z[1]) / 2, z[1]])).double().flatten(1)
    apart = torch.pdist(gan.draw(generator, z[-256:]).double().flatten(1)).mean()
    steps = (images[1:] - images[:-1]).norm(dim=1) / apart
    assert [float(f["step_pixels"]) for f in frames[1:]] == pytest.approx(steps.tolist(), rel=1e-4)

    kept = look.split(len(IMAGES), np.empty(0, int), HELD_OUT, 3)[0]
    training = torch.from_numpy(IMAGES[kept]).double().flatten(1)
    nearest, index = torch.cdist(images, training).min(1)
    among = torch.cdist(training, training).fill_diagonal_(torch.inf).min(1).values
    assert [int(f["nearest_index"]) for f in frames] == kept[index.numpy()].tolist()
    assert [float(f["nearest"]) for f in frames] == pytest.approx((nearest / 127.5).tolist(), rel=1e-4)
    ratios = (nearest / np.median(among)).tolist()
    assert [float(f["nearest_ratio"]) for f in frames] == pytest.approx(ratios, rel=1e-4)
    (line,) = rows(root / "w" / "walk.csv")
    assert int(line["nearest_images"]) == len(set(index.tolist()))

    round_way = ["--rows", "1", "--steps", "3", "--path", "spherical", "--out", str(root / "s")]
    assert cli.main(["look", "walk", str(root / "run"), *round_way]) == 0
    on_sphere = gan.draw(generator, gan.interpolate_on_sphere(z[0], z[1], 3)).double().flatten(1)
    steps = (on_sphere[1:] - on_sphere[:-1]).norm(dim=1) / apart
    found = [float(f["step_pixels"]) for f in rows(root / "s" / "frames.csv")[1:]]
    assert found == pytest.approx(steps.tolist(), rel=1e-4)


def test_a_network_alone_is_walked_through_in_pixels(root):
    (root / "other" / "discriminator.safetensors").unlink()
    assert cli.main(["look", "walk", str(root / "other" / "generator.safetensors"), "--z", "5,2"]) == 0
    (line,) = rows(root / "runs" / "look" / "walk-other" / "walk.csv")
    assert set(line) == {"row", "from", "to", "smoothness_pixels"} and (line["from"], line["to"]) == ("5", "2")


def test_sheets_hold_all_they_need(root, capsys):
    for kind, page, mark in (("arithmetic", "sheet.html", 'id="sample-6"'), ("forget", "boxes.html", 'id="canvas-6"')):
        assert cli.main(["look", kind, str(root / "run"), "--sheet", "--samples", "7", "--seed", "4"]) == 0
        file = root / "runs" / "look" / f"{kind}-run" / page
        assert capsys.readouterr().out.strip() == str(file)
        text = file.read_text()
        assert mark in text and mark.replace("6", "7") not in text and text.count("data:image/png;base64,") == 7
        assert re.findall(r'(?:src|href)="(?!data:)', text) == [] and "http" not in text
        run = json.loads(re.search(r'id="run">(.*?)</script>', text)[1])
        assert run == {"seed": 4, "weights": weights(root), "width": SIZE, "height": SIZE}


def test_arithmetic_from_the_sheets_json_and_from_indices(root):
    concepts = {"a man": [1, 2, 3], "a woman": [4, 5, 6, 7], "smiling": [8, 9, 10]}
    file = rewritten(root / "c.json", seed=2, weights=weights(root), concepts=concepts)
    run = str(root / "run")
    assert cli.main(["look", "arithmetic", run, "--exemplars", str(file), "--out", str(root / "a")]) == 0
    indices = ["--a", "1,2,3", "--b", "4,5,6,7", "--c", "8,9,10", "--seed", "2"]
    assert cli.main(["look", "arithmetic", run, *indices, "--out", str(root / "b")]) == 0
    assert (root / "a" / "arithmetic.png").read_bytes() == (root / "b" / "arithmetic.png").read_bytes()
    assert size(root / "a" / "arithmetic.png") == (8 * SIZE + 3 * 4, 3 * SIZE)
    written = record(root / "a", root)
    assert {c["name"]: c["indices"] for c in written["settings"]["concepts"]} == concepts and written["seed"] == 2

    named = ["--a", "smiling", "--b", "a man", "--c", "a woman"]  # another order
    assert cli.main(["look", "arithmetic", run, "--exemplars", str(file), *named, "--out", str(root / "c")]) == 0
    assert [c["name"] for c in record(root / "c", root)["settings"]["concepts"]] == ["smiling", "a man", "a woman"]

    with Image.open(root / "a" / "arithmetic.png") as opened:
        middle = np.asarray(opened)[SIZE : 2 * SIZE, 5 * SIZE + 8 : 6 * SIZE + 8]
    generator = gan.freeze(gan.load(root / "run" / "generator.safetensors"))
    z = gan.sample_z(generator.arch, look.SHEET, torch.Generator().manual_seed(2))
    result = z[1:4].mean(0) - z[4:8].mean(0) + z[8:11].mean(0)
    assert np.abs(middle.astype(int) - gan.draw(generator, result[None])[0].numpy()).max() <= 1


def test_turn(root):
    file = rewritten(root / "t.json", seed=0, weights=weights(root), concepts={"left": [1, 2, 3], "right": [4, 5, 6]})
    assert cli.main(["look", "arithmetic", str(root / "run"), "--turn", "--exemplars", str(file)]) == 0
    out = root / "runs" / "look" / "turn-run"
    assert size(out / "turn.png") == (7 * SIZE, 5 * SIZE) and len(rows(out / "figures.csv")) == 5
    generator = gan.freeze(gan.load(root / "run" / "generator.safetensors"))
    noise = torch.Generator().manual_seed(0)
    z = gan.sample_z(generator.arch, look.SHEET, noise)
    left, right = z[1:4].mean(0), z[4:7].mean(0)
    new = gan.sample_z(generator.arch, 4, noise)
    ways = torch.stack([torch.linspace(0, 1, 7)] + 4 * [torch.linspace(-0.5, 0.5, 7)])
    starts = torch.cat([left[None], new])
    expected = gan.draw(generator, (starts[:, None] + ways[..., None] * (right - left)).flatten(0, 1)).numpy()
    with Image.open(out / "turn.png") as opened:
        shown = np.asarray(opened).reshape(5, SIZE, 7, SIZE, 3).swapaxes(1, 2).reshape(35, SIZE, SIZE, 3)
    assert np.abs(shown.astype(int) - expected).max() <= 1


def responses(root, fresh):
    """[rank, map]: greatest values of the last layer on 50 training images drawn by seed 5, from the strongest on."""
    network = gan.load(root / "run" / "discriminator.safetensors")
    if fresh:
        network = gan.Discriminator(network.arch)
        gan.initialise(network, torch.Generator().manual_seed(5))
    images = IMAGES[
        np.random.default_rng(5).permutation(look.split(len(IMAGES), np.empty(0, int), HELD_OUT, 3)[0])[:50]
    ]
    backbone = features.Backbone(network, ["conv2"], (3, SIZE, SIZE), (-1, 1))
    look.calibrate(backbone, images)
    found = features.extract(backbone, [images], pool=features.max_grid(1), batch_size=128)
    return -np.sort(-np.asarray(found), axis=0)


def test_filters_of_a_discriminator_and_of_any_backbone(root, monkeypatch):
    options = ["--maps", "5", "--top", "2", "--images", "50", "--seed", "5"]  # the run's weights are of seed 0
    assert cli.main(["look", "filters", str(root / "run"), *options]) == 0
    out = root / "runs" / "look" / "filters-run"
    lines = rows(out / "filters.csv")
    assert {(r["network"], r["rank"]) for r in lines} == {(n, k) for n in ("as given", "random-init") for k in "01"}
    assert all(0 < float(r["half_energy_percent"]) <= 50 for r in lines)
    assert size(out / "filters.png") == (4 * SIZE + 4, 10 * SIZE)
    written = record(out, root)
    strongest = {n: responses(root, fresh) for n, fresh in (("as given", False), ("random-init", True))}
    for line in lines:
        expected = strongest[line["network"]][int(line["rank"]), int(line["map"])]
        assert float(line["response"]) == pytest.approx(expected, rel=1e-4)
    assert written["settings"]["layer"] == "conv2" and written["figures"]["as given"]["n"] == 10

    drawn = root / "of-samples"
    assert cli.main(["look", "filters", str(root / "run"), "--data", "samples", *options, "--out", str(drawn)]) == 0
    assert record(drawn, root)["inputs"]["images"] == weights(root) and rows(drawn / "filters.csv") != lines

    (root / "mine.py").write_text(
        "import torch, features\n"
        "def make():\n"
        "    torch.manual_seed(0)\n"
        "    net = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3), torch.nn.ReLU(), torch.nn.Conv2d(5, 4, 3),\n"
        "                              torch.nn.BatchNorm2d(4), torch.nn.ReLU(inplace=True))\n"
        "    return features.Backbone(net, ['1', '4'], (3, 12, 12), (0, 1))\n"
    )
    target = f"{root / 'mine.py'}:make"
    assert cli.main(["look", "filters", target, "--data", "made-up", *options, "--out", str(root / "f")]) == 0
    assert size(root / "f" / "filters.png") == (4 * 12 + 4, 10 * 12)
    one = (root / "f" / "filters.csv").read_bytes()
    assert cli.main(["look", "filters", target, "--data", "made-up", *options, "--out", str(root / "f")]) == 0
    assert (root / "f" / "filters.csv").read_bytes() == one


def test_forget(root, monkeypatch):
    fitted = []
    whole = evaluation.presence
    monkeypatch.setattr(evaluation, "presence", lambda *given: fitted.append(given) or whole(*given))
    boxes = {str(i): [[0, 0, 8, 8]] for i in (3, 0, 11)} | {"5": [[2, 3.5, 7, 9], [8, 8, 16, 16]], "6": []}
    file = rewritten(root / "boxes.json", seed=1, weights=weights(root), boxes=boxes)
    assert cli.main(["look", "forget", str(root / "run"), "--boxes", str(file), "--draws", "2"]) == 0
    out = root / "runs" / "look" / "forget-run"
    assert size(out / "boxed.png") == (4 * SIZE, 3 * SIZE) and size(out / "new.png") == (12 * SIZE, 3 * SIZE)
    lines, maps = rows(out / "figures.csv"), rows(out / "maps.csv")
    assert [r["dropped"] for r in lines] == ["positive weight", "random 0", "random 1"]
    dropped = [int(m["map"]) for m in maps if float(m["weight"]) > 0]
    assert 0 < len(dropped) < len(maps) == 12 and {r["maps"] for r in lines} == {str(len(dropped))}
    written = record(out, root)
    figures = written["figures"]
    assert figures["positions_inside"] == figures["positions_outside"] and 0 < figures["accuracy_percent"] <= 100
    assert written["settings"]["layer"] == "deconv1" and figures["random"]["ratio"]["n"] == 2
    assert [set(samples) for _, _, samples in fitted] == 2 * [{0, 1, 2, 3}]  # a sample is left out whole
    ratios = [float(r["ratio"]) for r in lines]
    assert figures["random_as_high"] == sum(ratio >= ratios[0] for ratio in ratios[1:])
    assert figures["place_alone_percent"] > 70  # three of four samples have their box in one corner

    trained = gan.load(root / "run" / "generator.safetensors")
    z = gan.sample_z(trained.arch, look.SHEET, torch.Generator().manual_seed(1))[[3, 0, 11, 5]]
    before, after = (gan.draw(gan.freeze(n), z).double() for n in (trained, gan.drop_maps(trained, "deconv1", dropped)))
    inside = torch.zeros(4, SIZE, SIZE, dtype=torch.bool)
    inside[:3, :8, :8] = True
    inside[3, 3:9, 2:7] = inside[3, 8:, 8:] = True  # a pixel counts by its middle
    change = (after - before).abs().mean(3)
    assert float(lines[0]["inside"]) == pytest.approx(float(change[inside].mean()), rel=1e-4)
    assert float(lines[0]["outside"]) == pytest.approx(float(change[~inside].mean()), rel=1e-4)


def test_a_generator_that_draws_one_image_is_looked_at_all_the_same(root, capsys):
    file = root / "run" / "generator.safetensors"
    generator = gan.load(file)
    generator.deconv2.conv.weight.data.zero_()
    gan.save(file, generator)
    boxes = rewritten(root / "b.json", seed=0, weights=weights(root), boxes={"0": [[0, 0, 8, 8]]})
    for command in (
        ["walk", "--rows", "2"],
        ["arithmetic", "--a", "1,2,3", "--b", "4,5,6", "--c", "7,8,9"],
        ["arithmetic", "--turn", "--a", "1,2,3", "--b", "4,5,6"],
        ["memorised", "--samples", "20", "--data", "made-up"],
        ["forget", "--boxes", str(boxes), "--draws", "1"],
    ):
        out = root / command[0]
        assert cli.main(["look", command[0], str(file), *command[1:], "--out", str(out)]) == 0, command
        assert "NaN" not in (out / "record.json").read_text()
    assert "run: collapsed" in capsys.readouterr().out


def test_help_has_an_example(capsys):
    for kind in ("walk", "arithmetic", "filters", "forget", "memorised"):
        with pytest.raises(SystemExit) as left:
            cli.main(["look", kind, "--help"])
        assert left.value.code == 0 and f"dcgan-eval look {kind} " in capsys.readouterr().out
