"""`--turned`: quarter turns and mirror images, planted by kind, are found in folders, zips and sets, and no others."""

import io
import json
import random
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.deduplication.methods import TURNS
from tests.experiments.deduplication.made_up import photographs, removed, rows
from tests.workplace import Workplace

ALTERED = {  # what is done to a picture -> how groups.csv says so
    Image.Transpose.ROTATE_90: "turned by 90 degrees counterclockwise",
    Image.Transpose.ROTATE_180: "turned by 180 degrees",
    Image.Transpose.ROTATE_270: "turned by 90 degrees clockwise",
    Image.Transpose.FLIP_LEFT_RIGHT: "mirrored left to right",
    Image.Transpose.FLIP_TOP_BOTTOM: "mirrored top to bottom",
    Image.Transpose.TRANSPOSE: "transposed",
    Image.Transpose.TRANSVERSE: "mirrored along the other diagonal",
}


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """00.png .. 29.png, of 90x60; z0.jpg .. z6.jpg, the first seven as in ALTERED; z7.jpg, 07.png saved again."""
    album = tmp_path / "album"
    album.mkdir()
    for i, image in enumerate(photographs(30)):
        Image.fromarray(image).resize((90, 60), Image.Resampling.BICUBIC).save(album / f"{i:02}.png")
    for i, alteration in enumerate(ALTERED):
        Image.open(album / f"0{i}.png").transpose(alteration).save(album / f"z{i}.jpg", quality=85)
    Image.open(album / "07.png").save(album / "z7.jpg", quality=85)
    return album


FOUND = [(f"0{i}.png", f"z{i}.jpg", turn) for i, turn in enumerate([*ALTERED.values(), ""])]


def found(out: Path) -> list[tuple[str, str, str]]:
    return [(row["group_file"], row["index_file"], row["turned"]) for row in rows(out / "groups.csv")]


@pytest.mark.parametrize("method", ["phash", "dhash", "ahash"])
@pytest.mark.parametrize("zipped", [False, True])
def test_altered_copies_in_a_folder(
    workplace: Workplace, album: Path, tmp_path: Path, method: str, zipped: bool
) -> None:
    source, out = shutil.make_archive(str(album), "zip", album) if zipped else str(album), tmp_path / "out"
    assert workplace.main("dedup", source, "--method", method, "--turned", "--out", str(out)) == 0
    assert found(out) == FOUND
    assert (out / "keep.txt").read_text().split() == [f"{i:02}.png" for i in range(30)]
    summary = json.loads((out / "summary.json").read_text())
    assert summary["pass"] == {"method": method, "radius": 4, "turned": True} and summary["removed"] == 8
    page = (out / "gallery.html").read_text()
    assert all(f"bits, {turn}<" in page for turn in ALTERED.values())


def test_altered_copies_in_another_folder(workplace: Workplace, album: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    for file in album.glob("z*.jpg"):
        file.rename(tmp_path / "new" / file.name)
    command = ["dedup", str(tmp_path / "new"), "--against", str(album), "--method", "phash", "--turned"]
    assert workplace.main(*command, "--out", str(tmp_path / "out")) == 0
    assert [(index, group) for group, index, _ in found(tmp_path / "out")] == [(a, b) for a, b, _ in FOUND]
    assert removed(tmp_path / "out") == list(range(8))


def test_altered_copies_in_sets(workplace: Workplace, tmp_path: Path) -> None:
    images = photographs(40)
    altered = np.stack(
        [np.asarray(Image.fromarray(image).transpose(a)) for image, a in zip(images, ALTERED, strict=False)]
    )
    workplace.pack("tiny-imagenet-32", np.concatenate([images, altered]))
    workplace.pack("lsun-others-32", altered[3:])
    command, out = ["dedup", "tiny-imagenet-32", "--method", "dhash", "--turned", "--out", str(tmp_path)], tmp_path
    assert workplace.main(*command) == 0 and removed(out) == list(range(40, 47))
    assert [row["turned"] for row in rows(out / "groups.csv")] == list(ALTERED.values())
    assert (out / "groups.png").exists()
    assert workplace.main(*command, "--against", "lsun-others-32") == 0
    assert removed(out) == [3, 4, 5, 6, 43, 44, 45, 46]
    assert workplace.main(*[word for word in command if word != "--turned"]) == 0 and removed(out) == []


def test_an_upright_copy_of_a_photograph_that_lies_on_its_side_in_its_file(
    workplace: Workplace, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    image = Image.fromarray(photographs(1)[0]).resize((96, 64), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(folder / "a.png")
    image.transpose(Image.Transpose.ROTATE_90).save(folder / "b.png", exif=exif)
    image.transpose(Image.Transpose.ROTATE_90).save(folder / "c.png")  # a program has dropped the orientation
    assert workplace.main("dedup", str(folder), "--method", "phash", "--turned", "--out", str(tmp_path / "out")) == 0
    assert found(tmp_path / "out") == [
        ("a.png", "b.png", ""),
        ("a.png", "c.png", "turned by 90 degrees counterclockwise"),
    ]


def test_codes_kept_for_one_pass_are_not_taken_for_the_other(workplace: Workplace, album: Path, tmp_path: Path) -> None:
    plain = ["dedup", str(album), "--method", "phash", "--out", str(tmp_path / "out")]
    keys = []
    for command in (plain, [*plain, "--turned"], plain, [*plain, "--turned"]):
        assert workplace.main(*command) == 0
        assert len(removed(tmp_path / "out")) == (8 if "--turned" in command else 1)
        keys.append({folder.name for folder in (workplace.run.runs_root / "photos").iterdir()})
    assert len(keys[0]) == 1 and len(keys[1]) == 2 and keys[1] == keys[2] == keys[3]


def test_a_pass_without_turned_copies_is_as_it_always_was(workplace: Workplace, album: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert workplace.main("dedup", str(album), "--method", "phash", "--out", str(out)) == 0
    assert json.loads((out / "summary.json").read_text())["pass"] == {"method": "phash", "radius": 4}
    assert (out / "groups.csv").read_text().splitlines()[0] == "group,index,distance,group_file,index_file"


@pytest.mark.parametrize("method", ["near-duplicates", "semantic"])
def test_other_methods_refuse(workplace: Workplace, album: Path, method: str, capsys: pytest.CaptureFixture) -> None:
    assert workplace.main("dedup", str(album), "--method", method, "--turned") == 2
    said = capsys.readouterr().err.strip()
    assert f"{method} does not find turned copies; name one of phash, dhash, ahash, as in --method phash" in said
    assert len(said.splitlines()) == 1


def test_a_dry_run_says_it(workplace: Workplace, album: Path, capsys: pytest.CaptureFixture) -> None:
    assert workplace.main("dedup", str(album), "--method", "phash", "--turned", "--dry-run") == 0
    assert "would search by phash at radius 4, turned and mirrored copies too, which takes" in capsys.readouterr().out


def test_every_turn_has_words() -> None:
    assert {*ALTERED.values(), ""} == set(TURNS) and len(TURNS) == 8


@pytest.mark.data
@pytest.mark.parametrize(("method", "right", "false"), [("phash", 70, 0), ("dhash", 70, 1), ("ahash", 69, 11)])
def test_copies_planted_among_real_faces(
    workplace: Workplace, data_root: Path, tmp_path: Path, method: str, right: int, false: int
) -> None:
    """300 faces of 89x109, and 10 copies of each of the seven kinds, saved again."""
    source = data_root / "faces" / "celeba-5000.zip"
    if not source.is_file():
        pytest.skip(f"{source} is not there")
    (tmp_path / "faces").mkdir()
    with zipfile.ZipFile(source) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        faces = [archive.read(name) for name in random.Random(0).sample(names, 300)]
    planted = set()
    for i, face in enumerate(faces):
        (tmp_path / "faces" / f"{i:03}.jpg").write_bytes(face)
        if i < 10 * len(ALTERED):
            alteration, words = list(ALTERED.items())[i // 10]
            with Image.open(io.BytesIO(face)) as image:
                image.transpose(alteration).save(tmp_path / "faces" / f"z{i:03}.jpg", quality=90)
            planted.add((f"{i:03}.jpg", f"z{i:03}.jpg", words))
    command = ["dedup", str(tmp_path / "faces"), "--method", method, "--turned", "--out", str(tmp_path / "out")]
    assert workplace.main(*command) == 0
    pairs = set(found(tmp_path / "out"))
    assert (len(pairs & planted), len(pairs - planted)) == (right, false)  # aHash removes a copy for another face
