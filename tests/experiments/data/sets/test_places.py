"""Where official files are found: names, trees, links, twins; never a wait for what is no file."""

import os
from pathlib import Path

import pytest

from experiments.data.sets import places
from experiments.data.sets.places import archives_in, file_in, found_instead
from experiments.run.errors import UserError


def _write(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")


def _found(root: Path, *, beside: bool, name: str = "data_batch_1") -> list[str]:
    searched = places.places(root, ("cifar-10", "cifar-10-batches-py"), beside=beside)
    return [str(file.relative_to(root)) for place in searched if (file := file_in(place, name))]


def test_the_sets_folders_in_their_order_then_the_rest(tmp_path: Path) -> None:
    trees = [
        "CIFAR10/data_batch_1",
        "cifar-10-batches-py/data_batch_1",
        "cifar-10-batches-py/cifar_10_batches_py/data_batch_1",
        "torch/Cifar-10-Batches-Py/a/b/data_batch_1",
    ]
    others = ["data_batch_1", "archive/data_batch_1"]
    hidden = ["__MACOSX/cifar-10/data_batch_1", ".trash/cifar-10/data_batch_1", "cifar-10.x/data_batch_1"]
    too_deep = ["a/b/cifar-10/data_batch_1", "cifar10/1/2/3/data_batch_1"]
    _write(tmp_path, *trees, *others, *hidden, *too_deep)
    assert _found(tmp_path, beside=False) == trees
    assert _found(tmp_path, beside=True) == [*trees, *others, "cifar-10.x/data_batch_1"]


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("train-images-idx3-ubyte", "train-images.idx3-ubyte"),
        ("train-images-idx3-ubyte", "Train_Images_IDX3_UByte"),
        ("train-images-idx3-ubyte", "train-images.idx3-ubyte/train-images-idx3-ubyte"),
        ("train_32x32.mat", "TRAIN_32X32.MAT"),
    ],
)
def test_case_and_separators(tmp_path: Path, name: str, written: str) -> None:
    _write(tmp_path, written, f"._{name}", f"{name}.txt", f"x{name}")
    assert file_in(tmp_path, name) == tmp_path / written


def test_the_name_as_it_is_comes_first(tmp_path: Path) -> None:
    _write(tmp_path, "A.mat", "a-mat", "a.mat", "b")
    assert file_in(tmp_path, "a.mat") == tmp_path / "a.mat"
    assert file_in(tmp_path, "c", "b", "a.mat") == tmp_path / "b"
    assert file_in(tmp_path, "c") is None and file_in(tmp_path / "none", "c") is None


def test_archives(tmp_path: Path) -> None:
    _write(
        tmp_path, "MNIST.ZIP", "mnist.tar", "m_nist.tar.gz", "mnist.tgz", "mnist.zip.part", "._mnist.zip", "other.zip"
    )
    (tmp_path / "Mnist.zip").mkdir()
    names = ["MNIST.ZIP", "m_nist.tar.gz", "mnist.tar", "mnist.tgz"]
    assert [path.name for path in archives_in(tmp_path, ["mnist"])] == names


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "data_batch_1")
    with pytest.raises(UserError, match=r"data_batch_1 is neither a file nor a folder: replace it"):
        file_in(tmp_path, "data_batch_1")
    os.mkfifo(tmp_path / "mnist.zip")
    with pytest.raises(UserError, match=r"mnist.zip is neither a file nor a folder"):
        archives_in(tmp_path, ["mnist"])
    (tmp_path / "test_batch").symlink_to("nowhere")
    with pytest.raises(UserError, match=r"test_batch cannot be read \(No such file"):
        file_in(tmp_path, "test_batch")


def test_links_are_followed_and_circles_end(tmp_path: Path) -> None:
    _write(tmp_path, "store/set/data_batch_1")
    root = tmp_path / "data"
    (root / "cifar-10").mkdir(parents=True)
    (root / "cifar-10-batches-py").symlink_to(tmp_path / "store" / "set")
    (root / "cifar-10" / "cifar-10").symlink_to("..")
    (root / "cifar-10" / "data_batch_2").symlink_to(".")
    (tmp_path / "linked").symlink_to("data")
    assert "cifar-10-batches-py/data_batch_1" in _found(tmp_path / "linked", beside=True)
    assert _found(root, beside=True, name="data_batch_2") == []


def test_a_folder_of_images_is_not_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path, *(f"cifar-10/{i}.png" for i in range(4)), "cifar-10/data_batch_1")
    assert _found(tmp_path, beside=False) == ["cifar-10/data_batch_1"]
    monkeypatch.setattr(places, "MOST", 4)
    assert _found(tmp_path, beside=False) == []


def test_what_is_there_instead(tmp_path: Path) -> None:
    _write(tmp_path, "Set.Zip", "other")
    assert found_instead([tmp_path], {"set.zip": "unpack it"}) == f"; {tmp_path / 'Set.Zip'} is there: unpack it"
    assert found_instead([tmp_path], {"other.zip": "unpack it"}) == ""
