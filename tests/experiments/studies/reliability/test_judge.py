"""The judge of `dedup`: it accepts a right folder, and sees what is wrong with a spoilt one."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from experiments.studies.reliability import judge
from experiments.studies.reliability.case import Case
from experiments.studies.reliability.workplace import smooth


@pytest.fixture(scope="module")
def judged(pool, tmp_path_factory):
    """A folder of images with a pass over it: two photographs, a copy of one, a text file and a broken image."""
    folder = tmp_path_factory.mktemp("judged")
    images = smooth(2, np.random.default_rng(0))
    (folder / "set").mkdir()
    for name, image in {"a.png": images[0], "=b.png": images[1], "c\nd.png": images[0]}.items():
        Image.fromarray(image).save(folder / "set" / name)
    (folder / "set" / "notes.txt").touch()
    (folder / "set" / "broken.png").write_bytes(b"x")
    pool.lay_out(folder, ())
    answer = pool.run(folder, Case("", "", ("dedup", "set", "--method", "phash", "--radius", "4", "--out", "out")))
    assert answer.code == 1, answer
    return folder


def faults(folder, radius=4, whole=(b"a.png", b"=b.png", b"c\nd.png")):
    return list(judge.faults(folder / "set", folder / "out", "phash", radius, set(whole)))


@pytest.fixture
def copy(judged, tmp_path):
    return shutil.copytree(judged, tmp_path / "copy")


def test_a_right_folder_has_no_fault(judged):
    assert faults(judged) == []


def test_a_name_that_does_not_open(copy):
    for name, end in (("keep.txt", b"\n"), ("keep.txt0", b"\0")):
        with open(copy / "out" / name, "ab") as opened:
            opened.write(b"e\\u202f.png" + end)
    assert "does not open" in faults(copy)[0]


def test_an_image_that_is_removed_without_a_near_one(copy):
    Image.fromarray(smooth(1, np.random.default_rng(9))[0]).save(copy / "set" / "c\nd.png")
    assert any("the nearest kept image is" in fault for fault in faults(copy))
    assert any("in groups.csv, which is wrong" in fault for fault in faults(copy))


def test_an_image_that_is_kept_beside_a_near_one(copy):
    shutil.copy(copy / "set" / "a.png", copy / "set" / "=b.png")
    assert any("which is within the radius" in fault for fault in faults(copy))


def test_a_file_that_is_not_accounted_for(copy):
    os.symlink("a.png", copy / "set" / "link.png")
    assert faults(copy) == ["b'link.png' is neither kept nor removed nor listed"]
    assert faults(copy, whole=[b"other.png"])[0] == "b'other.png' is an image, but neither kept nor removed"


def test_a_link_that_is_used_instead_of_its_file(copy):
    (copy / "set" / "a.png").rename(copy / "set" / "z.png")
    os.symlink("z.png", copy / "set" / "a.png")
    assert "b'a.png' is used, a link, instead of its file" in faults(copy)
