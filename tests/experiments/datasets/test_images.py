"""Image files: decoded alike from everywhere, and broken ones told apart."""

import io
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.datasets import images
from experiments.datasets.images import BROKEN, decode_rgb, open_folder, open_zips
from experiments.errors import UserError


def _encoded(array: np.ndarray, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind)
    return file.getvalue()


RGB = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)


def test_rgb_and_gray() -> None:
    decoded, mode = decode_rgb(_encoded(RGB))
    np.testing.assert_array_equal(decoded, RGB)
    assert (mode, decoded.dtype) == ("RGB", np.uint8)
    gray, mode = decode_rgb(_encoded(RGB[..., 0]))
    np.testing.assert_array_equal(gray, np.repeat(RGB[..., :1], 3, axis=2))
    assert mode == "L"


@pytest.mark.parametrize(
    "data", [b"", b"not an image", _encoded(RGB)[:-60], _encoded(np.tile(RGB, (20, 20, 1)), "JPEG")[:900]]
)
def test_broken_files_raise_broken(data: bytes) -> None:
    with pytest.raises(BROKEN):
        decode_rgb(data)


@pytest.mark.parametrize("limit", [29, 10])  # one pixel over, where Pillow would only warn, and three times over
def test_decompression_bombs_are_refused(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the caller's filter does not soften it
        with pytest.raises(ValueError, match="decompression bomb"):
            decode_rgb(_encoded(RGB))


def test_zips_are_sorted_over_all_and_the_first_wins(tmp_path: Path) -> None:
    for name, members in [("a.zip", {"z": b"1", "b": b"2"}), ("b.zip", {"a": b"3", "b": b"4", "skip": b""})]:
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for path, data in members.items():
                archive.writestr(path, data)
    with open_zips([tmp_path / "a.zip", tmp_path / "b.zip"], lambda path: path != "skip") as files:
        assert [(path, read()) for path, read in files.items()] == [("a", b"3"), ("b", b"2"), ("z", b"1")]


def test_a_cut_zip_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a", bytes(1000))
    data = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(data[:500])
    with (
        pytest.raises(UserError, match=r"a\.zip is not a complete zip .*: fetch it again"),
        open_zips([tmp_path / "a.zip"], lambda path: True),
    ):
        pass


def test_a_member_that_would_unfold_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_FILE_BYTES", 999)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(1000))
    with (
        open_zips([tmp_path / "a.zip"], lambda path: True) as files,
        pytest.raises(BROKEN, match="a must hold at most 999 bytes, got 1,000"),
    ):
        files["a"]()


def test_folder_paths_start_at_the_folder(tmp_path: Path) -> None:
    for path in ["set/b/2.png", "set/a/1.png", "set/a/1.txt"]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    files = open_folder(tmp_path / "set", "*/*.png")
    assert [(path, read()) for path, read in files.items()] == [
        ("set/a/1.png", b"set/a/1.png"),
        ("set/b/2.png", b"set/b/2.png"),
    ]
