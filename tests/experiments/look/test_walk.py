"""`look walk`: files and figures, by hand where they can be."""

import numpy as np
import pytest
import torch

import gan
from experiments.look import sheet
from tests.experiments.look.made_up import IMAGES, TRAINED_ON, frozen, looked, record, rows, size


def test_files_and_figures_of_a_walk(root, sheets):
    looked("walk", root / "run", "--rows", 3, "--steps", 5, "--path", "spherical")
    out = root / "runs" / "look" / "walk-run"
    assert {f.name for f in out.iterdir()} == {
        *("walk.png", "walk.webp", "nearest.png", "walk.csv", "frames.csv", "record.json")
    }
    (images,), *frames_of_animation, (nearest,) = sheets
    assert list(images.rows) == ["z 0 to z 1", "z 1 to z 2", "z 2 to z 3"] and images.images.shape[:2] == (3, 5)
    assert list(images.columns) == list(nearest.columns) == ["start", "1/4", "2/4", "3/4", "end"]
    assert list(nearest.rows)[:3] == ["z 0 to z 1", "nearest training images", "z 1 to z 2"]
    assert np.array_equal(nearest.images[::2], images.images) and len(frames_of_animation) == 30
    assert size(out / "walk.png") == sheet.layout(images).size
    lines, frames = rows(out / "walk.csv"), rows(out / "frames.csv")
    assert [(r["from"], r["to"]) for r in lines] == [("0", "1"), ("1", "2"), ("2", "3")] and len(frames) == 15
    for line in lines:
        own = [f for f in frames if f["row"] == line["row"]]
        for space in ("pixels", "features"):
            steps = [f[f"step_{space}"] for f in own]
            assert steps[0] == "" and 0 < float(line[f"smoothness_{space}"]) == max(map(float, steps[1:]))
        assert line["least_nearest_ratio"] == min((f["nearest_ratio"] for f in own), key=float)
    assert {int(f["nearest_index"]) for f in frames} <= set(TRAINED_ON.tolist())
    assert record(out, root)["figures"]["smoothness_pixels"]["n"] == 3


def test_the_distance_of_frames_is_that_of_neighbours_by_hand(root):
    looked("walk", root / "run", "--rows", 1, "--steps", 3, "--out", root / "w")
    frames = rows(root / "w" / "frames.csv")
    generator, z, _ = frozen(root)
    images = gan.draw(generator, torch.stack([z[0], (z[0] + z[1]) / 2, z[1]])).double().flatten(1)
    unit = torch.pdist(gan.draw(generator, z[-256:]).double().flatten(1)).mean()
    steps = (images[1:] - images[:-1]).norm(dim=1) / unit
    assert [float(f["step_pixels"]) for f in frames[1:]] == pytest.approx(steps.tolist(), rel=1e-4)

    training = torch.from_numpy(IMAGES[TRAINED_ON]).double().flatten(1)
    nearest, index = torch.cdist(images, training).min(1)
    among = torch.cdist(training, training).fill_diagonal_(torch.inf).min(1).values
    assert [int(f["nearest_index"]) for f in frames] == TRAINED_ON[index.numpy()].tolist()
    assert [float(f["nearest"]) for f in frames] == pytest.approx((nearest / 127.5).tolist(), rel=1e-4)
    ratios = (nearest / np.median(among)).tolist()
    assert [float(f["nearest_ratio"]) for f in frames] == pytest.approx(ratios, rel=1e-4)
    (line,) = rows(root / "w" / "walk.csv")
    assert int(line["nearest_images"]) == len(set(index.tolist()))

    looked("walk", root / "run", "--rows", 1, "--steps", 3, "--path", "spherical", "--out", root / "s")
    on_sphere = gan.draw(generator, gan.interpolate_on_sphere(z[0], z[1], 3)).double().flatten(1)
    steps = (on_sphere[1:] - on_sphere[:-1]).norm(dim=1) / unit
    found = [float(f["step_pixels"]) for f in rows(root / "s" / "frames.csv")[1:]]
    assert found == pytest.approx(steps.tolist(), rel=1e-4)


def test_a_network_alone_is_walked_through_in_pixels(root, capsys):
    (root / "other" / "discriminator.safetensors").unlink()
    looked("walk", root / "other" / "generator.safetensors", "--z", "5,2")
    assert "distances to training images are left out: no record next to" in capsys.readouterr().err
    (line,) = rows(root / "runs" / "look" / "walk-other" / "walk.csv")
    assert set(line) == {"row", "from", "to", "smoothness_pixels"} and (line["from"], line["to"]) == ("5", "2")
