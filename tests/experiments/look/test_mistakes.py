"""Mistakes in looks: one line that names the fix, and nothing lost."""

import json

import gan
from experiments.run.reading.documents import write_json
from tests.experiments.look.made_up import N, looked, refused, rewritten, scenes, weights


def test_what_training_wrote_is_not_trusted_when_damaged(root, capsys):
    run = root / "run"
    whole = json.loads((run / "training.json").read_text())
    write_json(run / "training.json", whole)
    (run / "training.json").write_text((run / "training.json").read_text().replace('"kept"', '"kepu"'))
    assert "does not match its seal); copy it again, or name" in refused(capsys, "memorised", run)
    for data in ({"held_out": 5_000}, {"held_out": -1}, {"kept": N - 1}):
        (run / "training.json").write_text(json.dumps(whole | {"data": whole["data"] | data}))
        assert "is damaged" in refused(capsys, "memorised", run)
    (run / "training.json").write_text(json.dumps(whole | {"data": whole["data"] | {"digest": "0"}}))
    assert "has changed since" in refused(capsys, "memorised", run)
    (run / "training.json").write_text(json.dumps(whole))
    for index in ("99999999", "-1"):
        (run / "removed.csv").write_text(f"index,kept\n{index},1\n")
        assert "is damaged" in refused(capsys, "memorised", run)


def test_a_mistake_leaves_an_earlier_look_and_another_network_no_picture_of_it(root, capsys):
    out, run = root / "w", root / "run"
    looked("walk", run, "--rows", "1", "--out", out)
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    (run / "discriminator.safetensors").write_bytes(b"cut")
    capsys.readouterr()
    refused(capsys, "walk", run, "--rows", "2", "--out", out)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before and "nearest.png" in before
    looked("walk", root / "other", "--rows", "2", "--out", out)
    assert not (out / "nearest.png").exists()
    boxes = rewritten(root / "b.json", seed=0, weights=weights(root), boxes={"0": [[0, 0, 8, 8]]})
    looked("forget", run, "--boxes", boxes, "--draws", "1", "--out", root / "f")
    rewritten(boxes, seed=0, weights=weights(root), boxes={"0": [[0, 0, 16, 16]]})
    capsys.readouterr()
    refused(capsys, "forget", run, "--boxes", boxes, "--out", root / "f")
    assert (root / "f" / "record.json").exists()


def test_mistakes_get_one_line_with_the_fix(root, workplace, capsys):
    run = root / "run"
    assert "no checkpoint at" in (line := refused(capsys, "walk", root / "none")) and "generator.safetensors" in line
    assert "holds a discriminator; name the generator" in refused(capsys, "walk", run / "discriminator.safetensors")
    conditional = gan.ConditionalGenerator(gan.ConditionalArchitecture(width=2, units=4))
    gan.save(root / "conditional.safetensors", conditional)
    assert "class-conditional network" in refused(capsys, "forget", root / "conditional.safetensors", "--sheet")
    assert "--path must be straight or spherical, got 'round'" in refused(capsys, "walk", run, "--path", "round")
    assert "--steps of 2 to 1000" in refused(capsys, "walk", run, "--steps", "1")
    assert "index 1024 is not on the sheet; name indices from 0 to 1023" in refused(
        capsys, "walk", run, "--z", "0,1024"
    )
    assert "--seed must be at least 0, got -1" in refused(capsys, "walk", run, "--seed", "-1")
    assert "indices on the sheet, e.g. 3,14,15, got 'x'" in refused(capsys, "walk", run, "--z", "x")
    assert "--samples must lie between 1 and 1024" in refused(capsys, "arithmetic", run, "--sheet", "--samples", "0")
    assert "name the set with --data" in refused(capsys, "memorised", root / "other")
    assert "name the set with --data" in refused(capsys, "filters", root / "other")
    (root / "other" / "generator.safetensors").unlink()
    assert "no checkpoint at" in refused(capsys, "filters", root / "other", "--data", "samples")
    assert "one of" in refused(capsys, "memorised", run, "--data", "nothing")
    assert "no layer 'conv9'" in refused(capsys, "filters", run, "--layer", "conv9")
    small = scenes(30, 0)[:, ::2, ::2]
    workplace.pack("small", small)
    assert "name the set that it was trained on with --data" in refused(capsys, "memorised", run, "--data", "small")


def test_mistakes_in_exemplars(root, capsys):
    run, file, own = root / "run", root / "c.json", weights(root)
    three = {"a": [1, 2, 3], "b": [4, 5, 6], "c": [7, 8, 9]}

    def line(*more, **changes):
        whole = {"seed": 0, "weights": own, "concepts": three} | changes
        return refused(capsys, "arithmetic", run, "--exemplars", rewritten(file, **whole), *more)

    assert "another network" in line(weights=weights(root, "other"))
    assert "concept 'a' of" in (few := line(concepts=three | {"a": [1, 2]})) and "at least 3 different samples" in few
    assert "at least 3 different samples" in line(concepts=three | {"a": [1, 2, 2]})
    assert "index 5000 is not on the sheet" in line(concepts=three | {"a": [1, 2, 5000]})
    assert "must be a list of indices" in line(concepts=three | {"a": [1, 2, "3"]})
    assert "must be printable text" in line(concepts={"\ud800": [1, 2, 3]} | three)
    assert "holds a, b; name 3 of them" in line(concepts={"a": [1, 2, 3], "b": [4, 5, 6]})
    assert "name 3 of them" in line("--a", "a", "--b", "b", "--c", "d")
    assert "must hold seed, weights and concepts" in line(concepts=[1])
    assert "must hold seed" in line(seed="0") and "seed must lie between" in line(seed=-1)
    for text in ("{", "[" * 100_000, '{"seed": NaN}', '{"seed": 1, "seed": 1}', "\0", ""):
        file.write_text(text)
        said = refused(capsys, "arithmetic", run, "--exemplars", file)
        assert f"{file} is not JSON (" in said and said.endswith("; export it again from sheet.html")
    for text in ("null", "[]", "3"):
        file.write_text(text)
        assert "must hold seed" in refused(capsys, "arithmetic", run, "--exemplars", file)
    assert "--sheet writes" in refused(capsys, "arithmetic", run, "--exemplars", root / "none.json")
    assert "--a 3,14,15, --b 3,14,15, --c 3,14,15" in refused(capsys, "arithmetic", run, "--a", "1,2,3")
    assert "leave --c out" in refused(capsys, "arithmetic", run, "--turn", "--c", "1,2,3")
    assert "at least 3 different samples" in refused(capsys, "arithmetic", run, "--turn", "--a", "1,2", "--b", "1,2,3")


def test_mistakes_in_boxes(root, capsys):
    run, file, own = root / "run", root / "b.json", weights(root)

    def line(*more, **changes):
        whole = {"seed": 0, "weights": own, "boxes": {"0": [[0, 0, 8, 8]]}} | changes
        return refused(capsys, "forget", run, "--boxes", rewritten(file, **whole), *more)

    assert "another network" in (other := line(weights=weights(root, "other"))) and "boxes.html" in other
    for box in ([0, 0, 17, 8], [-1, 0, 8, 8], [8, 0, 8, 8], [0, 9, 8, 8], [0, 0, 8], [0, 0, "8", 8], 3):
        assert "within 0..16 and 0..16" in line(boxes={"0": [box]})
    assert "holds no boxes" in line(boxes={"0": []})
    for name in ("first", "²", "05", "-1"):
        assert "under the index of a sample" in line(boxes={name: [[0, 0, 8, 8]]})
    assert "index 1024 is not on the sheet" in line(boxes={"1024": [[0, 0, 8, 8]]})
    assert "cover no position" in line(boxes={"0": [[0, 0, 0.5, 0.5]]})
    assert "leave no position" in line(boxes={"0": [[0, 0, 16, 16]]})
    assert "--layer must be one of deconv1" in line("--layer", "deconv2")
    assert "--draws must be at least 1" in line("--draws", "0")
    assert "--sheet writes" in refused(capsys, "forget", run)
