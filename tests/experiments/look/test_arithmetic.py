"""`look arithmetic`: from the sheet's JSON, from indices, and the turn."""

import numpy as np
import torch
from PIL import Image

import gan
from experiments.look import sheet
from tests.experiments.look.made_up import SIZE, frozen, looked, record, rewritten, rows, weights


def test_arithmetic_from_the_sheets_json_and_from_indices(root, sheets):
    concepts = {"a man": [1, 2, 3], "a woman": [4, 5, 6, 7], "smiling": [8, 9, 10]}
    file, run = rewritten(root / "c.json", seed=2, weights=weights(root), concepts=concepts), root / "run"
    looked("arithmetic", run, "--exemplars", file, "--out", root / "a")
    indices = ["--a", "1,2,3", "--b", "4,5,6,7", "--c", "8,9,10", "--seed", "2"]
    looked("arithmetic", run, *indices, "--out", root / "b")
    for named_block, block in zip(*sheets, strict=True):
        assert np.array_equal(named_block.images, block.images)
    assert list(sheets[1][0].rows) == ["A", "B", "C"]
    chosen, means, around, pixels = sheets[0]
    assert list(chosen.rows) == ["A: a man", "B: a woman", "C: smiling"] and chosen.images.shape[:2] == (3, 3)
    assert means.title == "mean z" and pixels.title == "A - B + C of pixels"
    assert around.title.startswith("A - B + C of the mean z (framed)") and around.marked == (1, 1)
    written = record(root / "a", root)
    assert {c["name"]: c["indices"] for c in written["settings"]["concepts"]} == concepts and written["seed"] == 2

    named = ["--a", "smiling", "--b", "a man", "--c", "a woman"]  # another order
    looked("arithmetic", run, "--exemplars", file, *named, "--out", root / "c")
    assert [c["name"] for c in record(root / "c", root)["settings"]["concepts"]] == ["smiling", "a man", "a woman"]

    placed = sheet.layout(*sheets[0])
    x, y = placed.corners[2][1, 1]
    with Image.open(root / "a" / "arithmetic.png") as opened:
        assert opened.size == placed.size
        middle = np.asarray(opened)[y : y + SIZE * placed.scale, x : x + SIZE * placed.scale]
    middle = middle[:: placed.scale, :: placed.scale]
    generator, z, _ = frozen(root, seed=2)
    result = z[1:4].mean(0) - z[4:8].mean(0) + z[8:11].mean(0)
    assert np.abs(middle.astype(int) - gan.draw(generator, result[None])[0].numpy()).max() <= 1


def test_the_figures_of_arithmetic_are_those_by_hand(root):
    looked("arithmetic", root / "run", "--a", "1,2,3", "--b", "4,5,6", "--c", "7,8,9", "--out", root / "a")
    generator, z, _ = frozen(root)
    ordinary = gan.draw(generator, z[-256:]).double()
    means = [z[i : i + 3].mean(0) for i in (1, 4, 7)]
    shown = gan.draw(generator, torch.stack([*means, means[0] - means[1] + means[2]])).double()
    unit = torch.pdist(ordinary.flatten(1)).mean()
    distances = (shown - shown[3]).flatten(1).norm(dim=1) / unit

    def sharpness(images):
        return (images.diff(dim=1).abs().mean((1, 2, 3)) + images.diff(dim=2).abs().mean((1, 2, 3))) / 2

    expected = sharpness(shown) / sharpness(ordinary).mean()
    lines = rows(root / "a" / "figures.csv")
    assert [line["picture"] for line in lines[:4]] == ["mean z of a", "mean z of b", "mean z of c", "result"]
    for line, sharp, distance in zip(lines, expected, distances, strict=False):
        assert abs(float(line["sharpness"]) - sharp) < 1e-4 and abs(float(line["distance_to_result"]) - distance) < 1e-4
    assert [line["picture"] for line in lines[4:]] == ["in pixels", "result with noise 0.25, mean of 8"]


def test_turn(root, sheets):
    file = rewritten(root / "t.json", seed=0, weights=weights(root), concepts={"left": [1, 2, 3], "right": [4, 5, 6]})
    looked("arithmetic", root / "run", "--turn", "--exemplars", file)
    out = root / "runs" / "look" / "turn-run"
    lines = rows(out / "figures.csv")
    ((block,),) = sheets
    assert (out / "turn.png").exists() and len(lines) == 5
    assert list(block.columns) == ["A: left", *[""] * 5, "B: right"] and block.rows[1] == "new sample (middle)"
    generator, z, noise = frozen(root)
    left, right = z[1:4].mean(0), z[4:7].mean(0)
    new = gan.sample_z(generator.arch, 4, noise)
    ways = torch.stack([torch.linspace(0, 1, 7)] + 4 * [torch.linspace(-0.5, 0.5, 7)])
    starts = torch.cat([left[None], new])
    images = gan.draw(generator, (starts[:, None] + ways[..., None] * (right - left)).flatten(0, 1))
    shown = block.images.reshape(35, SIZE, SIZE, 3)
    assert np.abs(shown.astype(int) - images.numpy()).max() <= 1
    unit = torch.pdist(gan.draw(generator, z[-256:]).double().flatten(1)).mean()
    flat = torch.from_numpy(shown).double().reshape(5, 7, -1)
    largest, whole = flat.diff(dim=1).norm(dim=2).max(1).values / unit, (flat[:, -1] - flat[:, 0]).norm(dim=1) / unit
    for line, step, way in zip(lines, largest, whole, strict=True):
        assert abs(float(line["smoothness_pixels"]) - step) < 1e-4 and abs(float(line["first_to_last"]) - way) < 1e-4
