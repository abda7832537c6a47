"""The command: where it writes, what it prints, its exit codes, and what it refuses in a line."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.experiments.deduplication.made_up import photographs, removed, rows
from tests.workplace import Workplace


@pytest.fixture
def sets(workplace: Workplace) -> Path:
    """Two sets, tiny-imagenet-32 and lsun-others-32, of which 3 is image 41 and 1; RUNS_ROOT/dedup."""
    images = photographs(40)
    workplace.pack("tiny-imagenet-32", np.concatenate([images, images[3:4]]))
    workplace.pack("lsun-others-32", np.concatenate([photographs(1, seed=1), images[3:4]]))
    return workplace.run.runs_root / "dedup"


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Three photographs and a file that is none."""
    (tmp_path / "album").mkdir()
    for i, image in enumerate(photographs(3)):
        Image.fromarray(image).save(tmp_path / "album" / f"{i}.png")
    (tmp_path / "album" / "empty.jpg").touch()
    return tmp_path / "album"


def test_the_summary_is_printed(workplace: Workplace, sets: Path, capsys: pytest.CaptureFixture) -> None:
    assert workplace.main("dedup", "tiny-imagenet-32", "--method", "phash", "--radius", "2") == 0
    out, told = sets / "tiny-imagenet-32", capsys.readouterr()
    assert told.out.splitlines() == [
        "tiny-imagenet-32: 1 of 41 images repeats an earlier one, in 1 group",
        f"judge the groups in {out / 'gallery.html'}",
    ]
    assert workplace.main("dedup", "tiny-imagenet-32", "--method", "phash", "--radius", "2", "--json", "--quiet") == 0
    told = capsys.readouterr()
    assert json.loads(told.out) == json.loads((out / "summary.json").read_text()) and told.err == ""
    assert json.loads(told.out)["pass"] == {"method": "phash", "radius": 2} and removed(out) == [40]


def test_the_calibrated_pass_between_two_sets_leaves_an_audit(workplace: Workplace, sets: Path) -> None:
    command = ["dedup", "tiny-imagenet-32", "--against", "lsun-others-32"]
    assert workplace.main(*command) == 0 and removed(sets / "tiny-imagenet-32-against-lsun-others-32") == [3, 40]
    committed, own = (folder / "tiny-imagenet-32-in-lsun-others-32.json" for folder in workplace.run.audits)
    assert own.exists() and not committed.exists()
    assert workplace.main(*command, "--record", "--out", str(sets / "here")) == 0
    assert committed.exists() and removed(sets / "here") == [3, 40]


def test_folders_of_one_name_do_not_share_a_place(
    workplace: Workplace, sets: Path, tmp_path: Path, monkeypatch
) -> None:
    old = sets / "train"
    old.mkdir(parents=True)
    (old / "keep.txt").write_text("what an earlier version wrote")
    for parent in "ab":
        (tmp_path / parent / "train").mkdir(parents=True)
        for i, image in enumerate(photographs(2, seed=ord(parent))):
            Image.fromarray(image).save(tmp_path / parent / "train" / f"{parent}{i}.png")
    monkeypatch.chdir(tmp_path / "a")
    places = []
    for path in ("train", "../b/train", str(tmp_path / "a" / "train")):
        there = set(sets.iterdir())
        assert workplace.main("dedup", path, "--method", "phash") == 0
        places.append(set(sets.iterdir()) - there)
    (first,), (second,), again = places
    assert not again and first.name == f"train-{hashlib.sha256(str(tmp_path / 'a/train').encode()).hexdigest()[:8]}"
    assert (first / "keep.txt").read_text() == "a0.png\na1.png\n" and (second / "keep.txt").read_text().startswith("b")
    assert (old / "keep.txt").read_text() == "what an earlier version wrote" and len(list(old.iterdir())) == 1
    assert workplace.main("dedup", "train", "--against", "tiny-imagenet-32", "--method", "phash") == 0
    assert (sets / f"{first.name}-against-tiny-imagenet-32" / "keep.txt").exists()


def test_a_long_name_has_a_default_folder(workplace: Workplace, album: Path, tmp_path: Path) -> None:
    long = album.rename(tmp_path / ("ü" * 120))
    assert workplace.main("dedup", str(long), "--method", "phash") == 1


def test_skipped_files_are_exit_code_1_unless_allowed(
    workplace: Workplace, album: Path, capsys: pytest.CaptureFixture
) -> None:
    assert workplace.main("dedup", str(album), "--method", "phash", "--out", str(album / "out")) == 1
    listed = album / "out" / "skipped.csv"
    assert capsys.readouterr().out.splitlines()[-1] == f"1 file could not be read: listed in {listed}"
    assert workplace.main("dedup", str(album), "--method", "phash", "--allow-skipped") == 0
    (album / "empty.jpg").unlink()
    assert workplace.main("dedup", str(album), "--method", "phash") == 0


def test_links_are_listed_and_no_reason_for_exit_code_1(
    workplace: Workplace, album: Path, capsys: pytest.CaptureFixture
) -> None:
    (album / "empty.jpg").unlink()
    (album / "first.png").symlink_to("0.png")
    os.link(album / "1.png", album / "second.png")
    assert workplace.main("dedup", str(album), "--method", "phash", "--out", str(album / "out"), "--json") == 0
    told = capsys.readouterr()
    summary = json.loads(told.out)
    assert (summary["images"], summary["removed"], summary["skipped"], summary["noted"]) == (3, 0, 0, 2)
    assert "left out without the loss of an image: first.png (the same file as 0.png)" in told.err
    assert [(row["file"], row["reason"]) for row in rows(album / "out" / "skipped.csv")] == [
        ("first.png", "the same file as 0.png"),
        ("second.png", "the same file as 1.png"),
    ]


def test_files_that_cannot_be_read_are_listed_with_what_to_do(workplace: Workplace, album: Path) -> None:
    (album / "empty.jpg").unlink()
    (album / "shot.CR2").write_bytes(b"II*\0")
    (album / "phone.heic").write_bytes(b"\0\0\0\x20ftypheic" + bytes(50))
    assert workplace.main("dedup", str(album), "--method", "phash", "--out", str(album / "out")) == 1
    reasons = {row["file"]: row["reason"] for row in rows(album / "out" / "skipped.csv")}
    assert reasons.keys() == {"shot.CR2", "phone.heic"} and all("convert it" in reason for reason in reasons.values())


@pytest.mark.parametrize("method", ["phash", "near-duplicates"])
def test_a_pass_sees_images_as_people_do(
    workplace: Workplace, tmp_path: Path, method: str, capsys: pytest.CaptureFixture
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i, image in enumerate(photographs(3)):
        upright = Image.fromarray(image).resize((96, 64), Image.Resampling.BICUBIC)
        upright.save(folder / f"{i}-a.png")
        exif = Image.Exif()
        exif[0x0112] = 6
        upright.transpose(Image.Transpose.ROTATE_90).save(folder / f"{i}-b.png", exif=exif)
        drawing = Image.new("RGBA", upright.size)  # black; what it shows is in its transparency
        drawing.putalpha(Image.fromarray(photographs(3, seed=1)[i]).convert("L").resize(upright.size))
        drawing.save(folder / f"{i}-c.png")
        gray = np.asarray(Image.fromarray(photographs(3, seed=2)[i]).convert("L"))
        Image.fromarray(gray.astype(np.uint16) * 257).save(folder / f"{i}-d.png")
        Image.fromarray(gray).save(folder / f"{i}-e.png")
    assert workplace.main("dedup", str(folder), "--method", method, "--out", str(tmp_path / "out"), "--json") == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["treated"] == {"upright": 3, "white": 3, "integers": 3}
    assert "images that were changed: 3 turned upright, 3 composited on white, 3 scaled" in told.err
    assert (tmp_path / "out" / "keep.txt").read_text().split() == [
        f"{i}-{kind}.png" for i in range(3) for kind in "acd"
    ]


def test_a_folder_does_not_meet_itself_in_another(
    workplace: Workplace, album: Path, capsys: pytest.CaptureFixture
) -> None:
    (album / "empty.jpg").unlink()
    (album / "in").mkdir()
    for name in ("0.png", "1.png"):
        (album / name).rename(album / "in" / name)
    (album / "copy.png").write_bytes((album / "in" / "1.png").read_bytes())
    (album.parent / "view").mkdir()
    (album.parent / "view" / "linked").symlink_to(album / "in")
    inner, linked, out = str(album / "in"), str(album.parent / "view"), str(album.parent / "out")
    for source in (inner, linked):
        assert (
            workplace.main("dedup", source, "--against", str(album), "--method", "phash", "--out", out, "--json") == 0
        )
        assert removed(Path(out)) == [1]  # for copy.png
        assert json.loads(capsys.readouterr().out)["noted"] == 2
    assert workplace.main("dedup", str(album), "--against", inner, "--method", "phash") == 2
    assert "lies in" in capsys.readouterr().err
    assert workplace.main("dedup", str(album), "--against", linked, "--method", "phash") == 2
    assert "is a file of" in capsys.readouterr().err
    (album.parent / "same").symlink_to(album)
    assert workplace.main("dedup", str(album), "--against", str(album.parent / "same")) == 2
    assert "against itself holds every image twice" in capsys.readouterr().err


def test_a_dry_run_says_what_would_be_done(
    workplace: Workplace, sets: Path, album: Path, capsys: pytest.CaptureFixture
) -> None:
    assert workplace.main("dedup", str(album), "--against", "tiny-imagenet-32", "--dry-run") == 0
    said = capsys.readouterr().out
    assert "4 image files" in said and " kB, decoded on all cores" in said and "41 images of 32x32, 3 channels" in said
    assert "would search by near-duplicates, which takes a minute" in said and not sets.exists()
    assert workplace.main("dedup", "svhn-train", "--method", "dhash", "--dry-run") == 0
    said = capsys.readouterr().out
    assert "svhn-train: not packed yet" in said and "by dhash at radius 4, which takes seconds" in said
    assert f"into {sets / 'svhn-train'}" in said


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["cifar11"], "'cifar11' is neither a data set nor an existing folder or zip; the sets are cifar10-train"),
        (["cifar10-test", "--against", "cifar11"], "'cifar11' is neither a data set nor"),
        (["cifar10-test", "--against", "cifar10-test"], "against itself holds every image twice"),
        ([".", "--against", "./."], "against itself holds every image twice"),
        (["cifar10-test", "--method", "phash", "--radius", "64"], "radius must be an integer in [0, 63], got 64"),
        (["cifar10-test", "--radius", "4"], "near-duplicates takes no radius"),
        (["cifar10-test", "--record"], "an audit (--record) needs --against, two named sets"),
        (
            ["cifar10-test", "--against", "cifar10-train", "--method", "dhash", "--record"],
            "an audit (--record) needs --against, two named sets and the method near-duplicates",
        ),
        (["lsun-others-32", "--out", "file"], "cannot write to file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_one_line_and_exit_2(
    workplace: Workplace,
    sets: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    arguments: list[str],
    text: str,
) -> None:
    monkeypatch.chdir(workplace.root)
    (workplace.root / "file").touch()
    for dry in ([], ["--dry-run"]) if "--out" not in arguments else ([],):
        assert workplace.main("dedup", *arguments, *dry) == 2
        error = capsys.readouterr().err.strip()
        assert text in error and "\n" not in error and error.startswith("dcgan-eval: ")
    assert not sets.exists()


def test_an_unknown_method_is_one_line_and_exit_2(workplace: Workplace, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stopped:
        workplace.main("dedup", "cifar10-test", "--method", "phsh")
    error = capsys.readouterr().err.strip()
    assert stopped.value.code == 2 and "\n" not in error
    assert "argument --method: invalid choice: 'phsh'" in error and "did you mean 'phash'?" in error
