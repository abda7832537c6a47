"""What a look is at: how networks are named, and a generator that draws one image."""

from pathlib import Path

import gan
from experiments.commands.look.options import discriminator_file, generator_file, network_path
from experiments.look.subject import network_name
from experiments.run.context import RESULTS
from tests.experiments.look.made_up import looked, rewritten, weights


def test_networks_go_by_file_by_folder_and_by_name(root):
    folder, file = root / "run", root / "run" / "generator.safetensors"
    assert generator_file(str(folder)) == generator_file(str(file)) == file
    assert discriminator_file(str(folder)) == str(folder / "discriminator.safetensors")
    assert discriminator_file("random:imagenet32,width=8") == "random:imagenet32,width=8"
    assert generator_file("svhn32-half") == RESULTS / "weights" / "svhn32-half" / "generator.safetensors"
    assert discriminator_file("svhn32-half") == str(
        generator_file("svhn32-half").with_name("discriminator.safetensors")
    )
    assert network_path("faces-65") == Path("faces-65")
    looked("arithmetic", "svhn32-half", "--sheet", "--samples", 1)
    assert (root / "runs" / "look" / "arithmetic-svhn32-half" / "sheet.html").exists()
    assert (network_name(file), network_name("mine.py:net")) == ("run", "mine.py-net")
    other = file.rename(root / "run" / "late.safetensors")
    assert network_name(other) == "late"


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
        ["forget", "--boxes", boxes, "--draws", "1"],
    ):
        out = root / command[0]
        looked(command[0], file, *command[1:], "--out", out)
        assert "NaN" not in (out / "record.json").read_text()
    assert "run: collapsed" in capsys.readouterr().out
