"""Every file is accounted for: read, listed with a reason, or none that could hold an image."""

import os
import socket
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from experiments.data.images.listing import cut, list_images, without
from experiments.run.errors import UserError

PNG = b"\x89PNG"


def fill(folder: Path, content: Mapping[str, bytes]) -> Path:
    for name, data in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def zipped(content: Mapping[str, bytes], file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return file


def names(source: Path) -> list[str]:
    return [file.path for file in list_images(source).files]


# Links.


def test_linked_folders_are_followed(tmp_path: Path) -> None:
    fill(tmp_path / "store", {"a/1.png": PNG, "a/deep/2.png": b"2", "b/3.png": b"3"})
    view = fill(tmp_path / "view", {"own.png": b"own"})
    (view / "a").symlink_to("../store/a")
    (view / "b").symlink_to(tmp_path / "store" / "b")
    found = list_images(view)
    assert [file.path for file in found.files] == ["a/1.png", "a/deep/2.png", "b/3.png", "own.png"]
    assert found.skipped == found.noted == []
    (tmp_path / "link").symlink_to(view)
    assert names(tmp_path / "link") == names(view)


def test_loops_are_cut_and_listed(tmp_path: Path) -> None:
    view = fill(tmp_path / "outer" / "view", {"a/1.png": PNG, "b/2.png": b"2"})
    (view / "a" / "round").symlink_to(view)
    (view / "a" / "up").symlink_to(tmp_path / "outer")
    (view / "b" / "again").symlink_to("../a")
    (view / "self").symlink_to("self")
    found = list_images(view)
    assert [file.path for file in found.files] == ["a/1.png", "b/2.png"]
    assert dict(found.noted) == {
        "a/round": "the same folder as the source",
        "a/up": "leads to a folder above the source",
        "b/again": "the same folder as a",
    }
    assert dict(found.skipped) == {"self": "Too many levels of symbolic links"}


def test_two_links_to_a_folder_are_one(tmp_path: Path) -> None:
    fill(tmp_path / "store", {"in/1.png": PNG})
    view = tmp_path / "view"
    view.mkdir()
    for name, target in (("a", "store/in"), ("b", "store"), ("c", "store")):
        (view / name).symlink_to(tmp_path / target)
    found = list_images(view)
    assert [file.path for file in found.files] == ["a/1.png"]
    assert found.noted == [("b/in", "the same folder as a"), ("c", "the same folder as b")]


def test_the_real_file_stays(tmp_path: Path) -> None:
    source = fill(tmp_path / "source", {"m.png": PNG, "z/n.png": b"n", "blob": b"no suffix"})
    outside = fill(tmp_path / "outside", {"far.png": b"far"})
    (source / "a.png").symlink_to("m.png")
    os.link(source / "m.png", source / "n.png")
    (source / "z.png").symlink_to(outside / "far.png")
    (source / "b.png").symlink_to("z/n.png")
    (source / "y.png").symlink_to(outside / "far.png")
    (source / "blob.png").symlink_to("blob")
    (source / "copy.png").write_bytes(PNG)  # the same bytes in another file
    found = list_images(source)
    assert [file.path for file in found.files] == ["blob.png", "copy.png", "m.png", "y.png", "z/n.png"]
    assert found.noted == [
        ("a.png", "the same file as m.png"),
        ("b.png", "the same file as z/n.png"),
        ("n.png", "the same file as m.png"),
        ("z.png", "the same file as y.png"),
    ]
    assert len(list_images(source, every_name=True).files) == 9


def test_files_that_only_share_a_number_are_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = fill(tmp_path, {"a.png": PNG, "b.png": PNG})
    os.utime(source / "a.png", ns=(1, 1))
    os.utime(source / "b.png", ns=(1, 1))
    monkeypatch.setattr("experiments.data.images.listing._node", lambda status: (1, 1))
    assert names(source) == ["a.png", "b.png"]


def test_a_link_to_nothing_is_listed(tmp_path: Path) -> None:
    source = fill(tmp_path / "source", {"a.png": PNG})
    (source / "train").symlink_to(tmp_path / "not mounted")
    assert list_images(source).skipped == [("train", "No such file or directory")]


# Sources that overlap.


def test_a_folder_within_another(tmp_path: Path) -> None:
    outer = fill(tmp_path / "outer", {"in/1.png": PNG, "2.png": PNG})
    archive = zipped({"3.png": b"3", "4.png": b"4"}, outer / "z.zip")
    (tmp_path / "view").mkdir()
    (tmp_path / "view" / "linked").symlink_to(outer / "in")
    for inner in (outer / "in", tmp_path / "view"):
        rest = without(list_images(outer), outer, inner)
        assert [file.path for file in rest.files] == ["2.png", "z.zip/3.png", "z.zip/4.png"]
        assert rest.noted == [("in/1.png", f"also a file of {inner}")]
    rest = without(list_images(outer), outer, archive)
    assert [file.path for file in rest.files] == ["2.png", "in/1.png"] and len(rest.noted) == 2
    with pytest.raises(UserError, match=r"every image of .*view is a file of .*outer too"):
        without(list_images(tmp_path / "view"), tmp_path / "view", outer)


# Zips.


def test_zips_are_read_as_part_of_the_folder(tmp_path: Path) -> None:
    source = fill(tmp_path / "source", {"preview.png": PNG, "z/own.png": b"own"})
    zipped({"x/1.png": b"1", "x/3.png": b"3"}, source / "b.zip")
    zipped({"x/2.png": b"2", "x/1.png": b"1!"}, source / "deep" / "A.ZIP")
    expected = [
        "preview.png",
        "z/own.png",
        "b.zip/x/1.png",
        "deep/A.ZIP/x/1.png",
        "deep/A.ZIP/x/2.png",
        "b.zip/x/3.png",
    ]
    assert names(source) == expected
    (chunk,) = cut(source, list_images(source).files)
    assert [read() for _, read in chunk.records()] == [PNG, b"own", b"1", b"1!", b"2", b"3"]
    (source / "again.zip").symlink_to("b.zip")
    assert names(source) == expected
    assert list_images(source).noted == [("again.zip", "the same file as b.zip")]


def test_what_a_zip_holds_is_accounted_for(tmp_path: Path) -> None:
    inner = zipped({"1.png": PNG}, tmp_path / "inner.zip").read_bytes()
    link = zipfile.ZipInfo("link.png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("a.png", "__MACOSX/._a.png", "__MACOSX/b.png", "._a.png", "._orphan.png", "x.png/", "a.txt"):
            archive.writestr(name, b"")
        archive.writestr("deep/inner.zip", inner)
        archive.writestr("shard.tar", b"")
        archive.writestr("raw.NEF", b"")
        archive.writestr(link, "a.png")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.png", b"later")
    found = list_images(tmp_path / "a.zip")
    assert [file.path for file in found.files] == ["._orphan.png", "a.png"]
    reasons = dict(found.skipped)
    assert reasons.keys() == {"a.png", "deep/inner.zip", "shard.tar", "raw.NEF", "link.png"}
    assert reasons["a.png"] == "the zip holds another file of this name, which is read"
    assert reasons["deep/inner.zip"].startswith("an archive inside an archive")
    assert reasons["link.png"] == "a link inside a zip, which is not followed"
    (tmp_path / "inner.zip").unlink()
    both = list_images(tmp_path)  # the folder that holds it
    assert {name: reason for name, reason in both.skipped} == {f"a.zip/{name}": text for name, text in reasons.items()}


def test_a_broken_zip_beside_images_costs_itself_alone(tmp_path: Path) -> None:
    fill(tmp_path, {"1.png": PNG, "cut.zip": b"PK\x03\x04cut"})
    assert names(tmp_path) == ["1.png"]
    assert list_images(tmp_path).skipped == [("cut.zip", "not a complete zip (File is not a zip file): fetch it again")]


# What is no image, or none that is read.


def test_what_macos_notes_is_no_image(tmp_path: Path) -> None:
    fill(tmp_path, {"1.png": PNG, "._1.png": b"", "a/__MACOSX/2.png": b"", "._own.png": PNG, ".hidden.png": PNG})
    assert names(tmp_path) == ["._own.png", ".hidden.png", "1.png"]  # one has no file beside it that it could describe
    assert list_images(tmp_path).skipped == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a.CR2", "a camera's raw file, which is not read: convert it to JPEG or PNG"),
        ("a.dng", "a camera's raw file"),
        ("a.psd", "a drawing in layers, which is not read: export it as PNG"),
        ("000.tar", "a tar archive, which is not read: unpack it"),
        ("x.tar.gz", "a compressed archive"),
        ("x.rar", "a compressed archive"),
        ("x.npy", "a NumPy file, which is not read: save its images as .png files"),
        ("x.parquet", "a Parquet table"),
        ("data.mdb", "an LMDB: pack its folder on its own"),
        ("flat.lmdb", "an LMDB, which is not read: move it into a folder of its own"),
        ("readme.txt", None),
        ("labels.csv.gz", None),
        ("lock.mdb", None),
    ],
)
def test_files_that_may_hold_images_are_listed(tmp_path: Path, name: str, reason: str | None) -> None:
    fill(tmp_path, {"a/1.png": PNG, f"a/{name}": b""})
    _, skipped, noted = list_images(tmp_path)
    assert bool(noted) == name.endswith((".npy", ".parquet"))  # labels, for example: no reason for the exit code 1
    if reason is None:
        assert skipped == []
    else:
        ((file, why),) = skipped + noted
        assert file == f"a/{name}" and why.startswith(reason)


def test_what_is_no_file_is_listed_unopened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, {"1.png": PNG})
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "pipe.zip")
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind("socket")
    found = list_images(tmp_path)
    assert [file.path for file in found.files] == ["1.png"]
    assert found.skipped == [(name, "not a regular file") for name in ("pipe.png", "pipe.zip", "socket")]


def _npz(file: Path) -> None:
    zipped({"arr_0.npy": b"\x93NUMPY"}, file)


def _starting(start: bytes) -> Callable[[Path], None]:
    return lambda file: file.write_bytes(start) and None


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("a.tar", _starting(b""), r"a\.tar is a tar archive, .* unpack it into a folder, and name the folder"),
        ("no suffix", _starting(bytes(257) + b"ustar"), "is a tar archive"),
        ("a.tgz", _starting(b"\x1f\x8b"), "is a compressed archive"),
        ("a.bin", _starting(b"\x1f\x8b"), "is a compressed archive"),
        ("a.npy", _starting(b"\x93NUMPY"), "is a NumPy file, which is not read: save its images as .png files"),
        ("a.npz", _npz, "is a NumPy file"),
        ("a", _starting(b"PAR1"), "is a Parquet table"),
        (
            "flat",
            _starting(bytes(16) + b"\xde\xc0\xef\xbe"),
            r"is an LMDB, .*folder of its own, under the name data\.mdb",
        ),
        ("data.mdb", _starting(b""), "is the file of an LMDB: name the folder that holds it"),
        ("a.png", _starting(PNG), "is one image: name the folder that holds it"),
        ("a.nef", _starting(b"II*\0"), "is a camera's raw file"),
        ("list.txt", _starting(b"a.png\n"), "is a text file: name a folder or a zip of images"),
        ("a", _starting(b"\0\1\2"), "is neither a folder nor a zip: name a folder or a zip of images"),
        ("pipe", os.mkfifo, "is not a regular file: name a folder or a zip of images"),
    ],
)
def test_other_sources_are_named_as_what_they_are(
    tmp_path: Path, name: str, make: Callable[[Path], None], message: str
) -> None:
    make(tmp_path / name)
    with pytest.raises(UserError, match=message) as caught:
        list_images(tmp_path / name)
    assert "\n" not in str(caught.value)
