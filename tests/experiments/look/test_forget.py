"""`look forget`: what is dropped, and what changes, by hand."""

import numpy as np
import pytest
import torch

import evaluation
import features
import gan
from tests.experiments.look.made_up import SIZE, frozen, looked, record, rewritten, rows, weights

BOXES = {"3": [[0, 0, 8, 8]], "0": [[0, 0, 8, 8]], "11": [[0, 0, 8, 8]], "5": [[2, 3.5, 7, 9], [8, 8, 16, 16]], "6": []}


def inside(positions):
    """bool [4, positions, positions]: those whose middle lies in a box, of the samples that have one."""
    step = SIZE / positions
    found = torch.zeros(4, positions, positions, dtype=torch.bool)
    for sample, boxes in zip(found, BOXES.values(), strict=False):
        for x0, y0, x1, y1 in boxes:
            for i in range(positions):
                for j in range(positions):
                    sample[i, j] |= x0 <= (j + 0.5) * step < x1 and y0 <= (i + 0.5) * step < y1
    return found


@pytest.fixture
def out(root, sheets):
    file = rewritten(root / "boxes.json", seed=1, weights=weights(root), boxes=BOXES)
    looked("forget", root / "run", "--boxes", file, "--draws", 2)
    return root / "runs" / "look" / "forget-run"


def test_maps_that_tell_of_the_boxes_are_dropped(root, out, sheets):
    assert (out / "boxed.png").exists() and (out / "new.png").exists()
    lines, maps = rows(out / "figures.csv"), rows(out / "maps.csv")
    assert [r["dropped"] for r in lines] == ["positive weight", "random 0", "random 1"]
    dropped = [int(m["map"]) for m in maps if float(m["weight"]) > 0]
    assert [int(m["map"]) for m in maps if m["dropped"] == "1"] == dropped
    assert 0 < len(dropped) < len(maps) == 12 and {r["maps"] for r in lines} == {str(len(dropped))}
    n = len(dropped)
    words = ["before", f"after: {n} maps dropped", f"{n} random maps dropped"]
    assert [list(block.rows) for (block,) in sheets] == [words] * 2
    assert [block.images.shape[:2] for (block,) in sheets] == [(3, 4), (3, 12)]
    written = record(out, root)
    figures = written["figures"]
    assert written["settings"]["layer"] == "deconv1" and figures["random"]["ratio"]["n"] == 2
    ratios = [float(r["ratio"]) for r in lines]
    assert figures["random_as_high"] == sum(ratio >= ratios[0] for ratio in ratios[1:])

    trained = gan.load(root / "run" / "generator.safetensors")
    z = frozen(root, seed=1)[1][[3, 0, 11, 5]]
    before, after = (gan.draw(gan.freeze(n), z).double() for n in (trained, gan.drop_maps(trained, "deconv1", dropped)))
    change, pixels = (after - before).abs().mean(3), inside(SIZE)
    assert float(lines[0]["inside"]) == pytest.approx(float(change[pixels].mean()), rel=1e-4)
    assert float(lines[0]["outside"]) == pytest.approx(float(change[~pixels].mean()), rel=1e-4)


def test_the_regression_leaves_whole_samples_out(root, out):
    generator, z, _ = frozen(root, seed=1)
    with features.tapped(generator, ["deconv1"], lambda name, output: output) as forward:
        maps = forward(z[[3, 0, 11, 5]])[0].numpy()
    side = maps.shape[2]
    boxed = inside(side).numpy().reshape(-1)
    others = np.random.default_rng(1).permutation(np.flatnonzero(~boxed))[: boxed.sum()]
    taken = np.sort(np.concatenate([np.flatnonzero(boxed), others]))
    samples, places = np.divmod(taken, side * side)
    expected = evaluation.presence(maps.transpose(0, 2, 3, 1).reshape(-1, 12)[taken], boxed[taken], samples)
    by_place = evaluation.presence(np.eye(side * side)[places], boxed[taken], samples)
    figures = record(out, root)["figures"]
    assert (figures["positions_inside"], figures["positions_outside"]) == (boxed.sum(), boxed.sum())
    assert figures["accuracy_percent"] == pytest.approx(expected.accuracy_percent)
    assert figures["held_out_accuracy_percent"] == pytest.approx(expected.held_out_percent)
    assert figures["place_alone_percent"] == pytest.approx(by_place.held_out_percent)
    assert by_place.held_out_percent > 70  # three of four samples have their box in one corner
