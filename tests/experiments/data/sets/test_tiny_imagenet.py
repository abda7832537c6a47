"""Tiny-ImageNet: same set from folder or zips, gray as RGB, the authors' halving, broken files counted."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.data.images import chunks, pack
from experiments.data.load import load
from experiments.data.packed import PackedSet
from experiments.data.sets.tiny_imagenet import halve
from experiments.run.context import Run
from experiments.run.errors import UserError
from experiments.run.progress import Progress, silent

PATHS = [f"tiny-imagenet-200/train/{w}/images/{w}_{i}.JPEG" for w in ("n00000002", "n00000001") for i in (0, 1, 10)]


def _jpeg(seed: int, *, gray: bool = False, side: int = 64) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side) if gray else (side, side, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def build(side: int, root: Path, progress: Progress = silent) -> PackedSet:
    return load(f"tiny-imagenet-{side}", Run(root, root / "runs", progress=progress))


FILES = {path: _jpeg(seed, gray=path.endswith("_1.JPEG")) for seed, path in enumerate(PATHS)}


def _pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def _write_zip(path: Path, files: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny-imagenet-200/words.txt", "n00000001\tthing")
        for name, data in files.items():
            archive.writestr(name, data)


def _as_folder(root: Path) -> None:
    for name, data in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)


def _as_one_zip(root: Path) -> None:
    _write_zip(root / "tiny-imagenet-200.zip", FILES)


def _as_two_zips(root: Path) -> None:  # odd and even, so that the order must be over both
    for i in range(2):
        part = dict(list(FILES.items())[i::2])
        _write_zip(root / "tiny-imagenet-200" / f"train-{i}.zip", part)


def _below(place: str, inner: str = "train/{wnid}/images/{name}") -> Callable[[Path], None]:
    def write(root: Path) -> None:
        for path, data in FILES.items():
            _, _, wnid, _, name = path.split("/")
            file = root / place / inner.format(wnid=wnid, name=name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
            (file.parent / f"._{file.name}").write_bytes(b"a twin")

    return write


def _as_other_zip(root: Path) -> None:
    twins = {f"__MACOSX/{path}": b"a twin" for path in PATHS}
    others = {f"tiny-imagenet-200/val/images/val_{i}.JPEG": _jpeg(i) for i in range(2)}
    files = {path.replace(".JPEG", ".jpeg"): data for path, data in FILES.items()}
    _write_zip(
        root / "downloads" / "Tiny_ImageNet_200.ZIP", {f"archive/{p}": d for p, d in files.items()} | twins | others
    )


@pytest.mark.parametrize(
    "write",
    [
        _as_folder,
        _as_one_zip,
        _as_two_zips,
        _as_other_zip,
        _below("tiny-imagenet-200/tiny-imagenet-200"),
        _below("archive/tiny-imagenet-200"),
        _below("Tiny-ImageNet", "Train/{wnid}/Images/{name}"),
        _below("tiny-imagenet-200", "train/{wnid}/{name}"),  # as a folder for each class
    ],
)
def test_same_set_from_every_form(tmp_path: Path, write) -> None:
    write(tmp_path)
    made = build(64, tmp_path)
    np.testing.assert_array_equal(made.images, [_pixels(FILES[path]) for path in sorted(PATHS)])
    np.testing.assert_array_equal(made.labels, [0, 0, 0, 1, 1, 1])
    assert made.meta["class_names"] == ["n00000001", "n00000002"]
    assert made.meta["gray_files"] == 2 and made.meta["skipped_files"] == []
    gray = made.images[1]  # sorted: 0, 1, 10
    assert (gray == gray[..., :1]).all()


def test_the_whole_imagenet_is_not_taken(tmp_path: Path) -> None:
    _below("imagenet")(tmp_path)
    (tmp_path / "tiny-imagenet-200.tar.gz").write_bytes(b"x")
    with pytest.raises(UserError, match=r"no Tiny-ImageNet in .*tar.gz is there: unpack it where it lies"):
        build(32, tmp_path)


def test_of_folder_and_zip_the_folder_is_taken_and_said(tmp_path: Path) -> None:
    _as_folder(tmp_path)
    _as_one_zip(tmp_path)
    said: list[str] = []
    made = load("tiny-imagenet-64", Run(tmp_path, tmp_path / "runs", say=said.append))
    assert made.meta["source"] == "tiny-imagenet-200: folder"
    assert said == [f"reading {tmp_path / 'tiny-imagenet-200'}, not {tmp_path / 'tiny-imagenet-200.zip'}"]


def test_32_is_the_mean_of_blocks_rounded_half_up(tmp_path: Path) -> None:
    _as_one_zip(tmp_path)
    made = build(32, tmp_path)
    full = np.stack([_pixels(FILES[path]) for path in sorted(PATHS)]).astype(float)
    means = full.reshape(6, 32, 2, 32, 2, 3).mean(axis=(2, 4))
    np.testing.assert_array_equal(made.images, np.floor(means + 0.5))
    assert made.meta["transform"] == "RGB; mean of each 2x2 block, rounded half up"


def test_halve_every_remainder() -> None:
    blocks = np.array([[0, 0, 0, 1], [0, 0, 1, 1], [0, 1, 1, 1], [255, 255, 255, 255], [254, 254, 255, 255]])
    images = blocks.reshape(5, 2, 2, 1).astype(np.uint8)
    np.testing.assert_array_equal(halve(images).ravel(), [0, 1, 1, 255, 255])


@pytest.mark.parametrize(
    "bad", [np.zeros((1, 3, 4, 3), np.uint8), np.zeros((1, 4, 4, 3)), np.zeros((4, 4, 3), np.uint8)]
)
def test_halve_refuses(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="images must be uint8"):
        halve(bad)


def test_halving_equals_unfiltered_bilinear_but_for_rounding() -> None:
    from torch import from_numpy
    from torch.nn.functional import interpolate

    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    bilinear = interpolate(from_numpy(images).permute(0, 3, 1, 2).double(), size=(32, 32), mode="bilinear")
    expected = np.floor(bilinear.permute(0, 2, 3, 1).numpy() + 0.5)
    np.testing.assert_array_equal(halve(images), expected)


def test_broken_files_are_skipped_counted_and_listed(tmp_path: Path) -> None:
    first, second, third = sorted(PATHS)[:3]
    broken = {first: FILES[first][:300], second: b"no image", third: _jpeg(9, side=63)}
    _write_zip(tmp_path / "tiny-imagenet-200.zip", FILES | broken)
    made = build(32, tmp_path)
    assert made.images.shape == (3, 32, 32, 3)
    np.testing.assert_array_equal(made.labels, [1, 1, 1])  # wnids of the files at hand, broken ones included
    skipped = made.meta["skipped_files"]
    assert [line.split(":")[0] for line in skipped] == [first, second, third]
    assert "must be 64x64 pixels, got 63x63" in skipped[2]


def test_a_member_with_a_wrong_checksum_is_skipped(tmp_path: Path) -> None:
    _write_zip(tmp_path / "tiny-imagenet-200.zip", FILES)
    data = (tmp_path / "tiny-imagenet-200.zip").read_bytes()
    inside = FILES[PATHS[0]]
    at = data.index(inside) + len(inside) // 2
    (tmp_path / "tiny-imagenet-200.zip").write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    made = build(32, tmp_path)
    assert len(made.images) == 5 and "Bad CRC-32" in made.meta["skipped_files"][0]


def test_a_subset_keeps_the_name_and_says_what_it_is(tmp_path: Path) -> None:
    _as_two_zips(tmp_path)
    (tmp_path / "tiny-imagenet-200" / "train-1.zip").unlink()
    made = build(32, tmp_path)
    assert (made.name, made.meta["shape"][0]) == ("tiny-imagenet-32", 3)
    assert made.meta["source"] == "tiny-imagenet-200: train-0.zip"


def test_progress_sees_every_file(tmp_path: Path) -> None:
    _as_one_zip(tmp_path)
    seen = []

    def progress(iterable, *, total, desc, unit):
        for item in iterable:
            seen.append((total, unit))
            yield item

    build(32, tmp_path, progress)
    assert seen == [(6, "image")] * 6


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            None,
            r"no Tiny-ImageNet in .*: put the folder tiny-imagenet-200/, or tiny-imagenet-200\.zip, there",
        ),
        ({"tiny-imagenet-200/test/images/x.JPEG": b""}, "no Tiny-ImageNet photographs in"),
        (
            {PATHS[0]: b"broken"},
            r"no image in .*tiny-imagenet-200.zip can be read \(.*n00000002_0.JPEG: no image format",
        ),
    ],
)
def test_nothing_usable(tmp_path: Path, files: dict[str, bytes] | None, message: str) -> None:
    if files is not None:
        _write_zip(tmp_path / "tiny-imagenet-200.zip", files)
    with pytest.raises(UserError, match=message) as caught:
        build(32, tmp_path)
    assert "\n" not in str(caught.value) and list(tmp_path.glob("runs/packed/*")) == []


@pytest.mark.data
def test_real_photographs(data_root: Path, tmp_path: Path) -> None:
    source = data_root / "tiny-imagenet-200" / "train-6.zip"
    if not source.is_file():
        pytest.skip(f"{source} is not there")
    with zipfile.ZipFile(source) as archive:
        files = {path: archive.read(path) for path in sorted(archive.namelist())[:2000]}
    _write_zip(tmp_path / "tiny-imagenet-200.zip", files)
    made = build(32, tmp_path)
    assert made.images.shape == (2000, 32, 32, 3)
    assert (made.meta["gray_files"], made.meta["skipped_files"]) == (58, [])  # all seven zips: 1,821
    for image, data in zip(made.images[:100], files.values(), strict=False):
        blocks = _pixels(data).astype(float).reshape(32, 2, 32, 2, 3)
        np.testing.assert_array_equal(image, np.floor(blocks.mean(axis=(1, 3)) + 0.5))


def test_a_set_packed_from_a_part_is_packed_again_when_the_rest_has_come(tmp_path: Path) -> None:
    _as_two_zips(tmp_path)
    rest = tmp_path / "tiny-imagenet-200" / "train-1.zip"
    rest.rename(tmp_path / "aside")
    assert len(build(32, tmp_path).images) == 3
    (tmp_path / "aside").rename(rest)
    with pytest.warns(UserWarning, match="building tiny-imagenet-32 again: .* now holds .*train-0.zip, train-1.zip"):
        assert len(build(32, tmp_path).images) == 6
    rest.unlink()
    (tmp_path / "tiny-imagenet-200" / "train-0.zip").unlink()
    assert len(build(32, tmp_path).images) == 6  # where nothing is there, what was packed serves


def test_photographs_that_share_a_file_are_each_in_the_set(tmp_path: Path) -> None:
    _as_folder(tmp_path)
    first, second = (tmp_path / path for path in sorted(PATHS)[:2])
    second.unlink()
    second.hardlink_to(first)  # as programs do that save space
    assert len(build(64, tmp_path).images) == len(PATHS)


def test_what_two_zips_hold_is_taken_once(tmp_path: Path) -> None:
    _as_two_zips(tmp_path)
    _write_zip(tmp_path / "tiny-imagenet-200" / "train-2.zip", {path: _jpeg(99) for path in PATHS})
    made = build(64, tmp_path)
    np.testing.assert_array_equal(made.images, [_pixels(FILES[path]) for path in sorted(PATHS)])


def test_it_goes_on_after_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(iterable, *, total, desc, unit):
        yield next(iter(iterable))
        raise KeyboardInterrupt

    monkeypatch.setattr(chunks, "cores", lambda: 1)
    paths = [f"tiny-imagenet-200/train/n0000000{i // 150}/images/{i:03}.JPEG" for i in range(300)]
    files = {path: b"no image" if path.endswith("49.JPEG") else FILES[PATHS[0]] for path in paths}
    _write_zip(tmp_path / "tiny-imagenet-200.zip", files)
    with pytest.raises(KeyboardInterrupt):
        build(32, tmp_path, interrupted)
    counts: list[int] = []
    decode = pack.decode_squares
    monkeypatch.setattr(pack, "decode_squares", lambda r, **o: counts.append(len(r := list(r))) or decode(r, **o))
    made = build(32, tmp_path)
    assert counts == [300 - 256]  # one chunk was kept
    assert made.labels.tolist() == [0] * 148 + [1] * 149  # 49, 149 and 249 are left out
