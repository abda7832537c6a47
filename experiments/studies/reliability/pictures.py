"""Random folders of images for the judge: odd names, links, cross-fades, formats, archives."""

import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from experiments.studies.reliability.mutate import Rng, pick
from experiments.studies.reliability.workplace import smooth

SIDE = 48
FOLDERS = ("", "", "a", "=b", "c/d", "-e", "f\ng", "h i", "\u202fj", "k.zip folder", "l\udcff")
STEMS = (
    *(
        "photo",
        "=cmd|' /C calc'!A0",
        "-rf",
        "+1",
        "@home",
        "a b",
        "new\nline",
        "return\rhere",
        "tab\there",
        "back\\slash",
    ),
    *(
        "\\n",
        "\u202fnarrow",
        "\u00a0space",
        "\u200djoiner",
        "\U0001f468\u200d\U0001f469",
        "\udcff\udcfe",
        "e\u0301",
        "\x1b[31m",
    ),
    *(
        'quote"',
        "comma,name",
        "'",
        "%s",
        ".hidden",
        "..twice",
        "trailing ",
        " leading",
        "x" * 200,
        "\u202eright",
        "#",
        "~",
    ),
)


@dataclass
class Set:
    """A folder that is being made. whole: the names of files that must be kept or removed, not only listed."""

    folder: Path
    rng: Rng
    whole: set[bytes] = field(default_factory=set)
    written: list[str] = field(default_factory=list)  # names of image files

    def name(self, suffix: str) -> str:
        """Return a new name, in one of the folders, which is made."""
        while True:
            name = os.path.join(pick(self.rng, FOLDERS), f"{pick(self.rng, STEMS)}{self.rng.integers(1000)}{suffix}")
            if not (self.folder / name).exists():
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                return name

    def write(self, content: bytes, suffix: str, *, whole: bool = True) -> str:
        """Write a file under a new name, and return the name."""
        name = self.name(suffix)
        (self.folder / name).write_bytes(content)
        self.written.append(name)
        if whole:
            self.whole.add(os.fsencode(name))
        return name


def make(folder: Path, rng: Rng) -> set[bytes]:
    """Fill the folder, and return the names of the files that must be kept or removed."""
    folder.mkdir()
    made = Set(folder, rng)
    photographs = [Image.fromarray(image) for image in smooth(int(rng.integers(2, 6)), rng, SIDE)]
    for image in photographs:
        made.write(_encoded(image, "PNG"), ".png")
    for _ in range(int(rng.integers(1, 5))):
        pick(rng, (_copies, _copies, _fade, _links, _formats, _formats, _archives, _broken))(made, photographs)
    return made.whole


def _encoded(image: Image.Image, form: str, **how: object) -> bytes:
    image.save(buffer := io.BytesIO(), form, **how)  # type: ignore[arg-type]
    return buffer.getvalue()


def _copies(made: Set, photographs: list[Image.Image]) -> None:
    """Write copies: the same bytes, another format, quality or size, brighter."""
    image = pick(made.rng, photographs)
    changes: tuple[Callable[[], bytes], ...] = (
        lambda: _encoded(image, "PNG"),
        lambda: _encoded(image, "JPEG", quality=int(made.rng.integers(20, 95))),
        lambda: _encoded(image.resize((90, 60)), "PNG"),
        lambda: _encoded(image.point(lambda v: min(255, v + 12)), "PNG"),
        lambda: _encoded(image.convert("L"), "PNG"),
    )
    for _ in range(int(made.rng.integers(1, 4))):
        made.write(pick(made.rng, changes)(), pick(made.rng, (".png", ".PNG", ".jpg", ".jpeg")))


def _fade(made: Set, photographs: list[Image.Image]) -> None:
    """Write a cross-fade: each frame is near the one before, the last is unlike the first."""
    first, last = photographs[0], photographs[-1]
    for share in np.linspace(0, 1, int(made.rng.integers(5, 20))):
        made.write(_encoded(Image.blend(first, last, float(share)), "PNG"), ".png")


def _links(made: Set, photographs: list[Image.Image]) -> None:
    """Make links: to files and folders, hard ones, loops, dangling ones."""
    for kind in made.rng.permutation(["file", "hard", "dangling", "loop", "up", "folder", "outside"])[:4]:
        target = made.folder / pick(made.rng, made.written)
        link = made.folder / made.name("" if kind in ("up", "folder", "outside") else ".png")
        if kind == "file":
            link.symlink_to(target)
        elif kind == "hard":
            link.hardlink_to(target)
        elif kind == "dangling":
            link.symlink_to("nowhere.png")
        elif kind == "loop":
            link.symlink_to(link.name)
        elif kind == "up":
            link.symlink_to(made.folder)
        elif kind == "folder":
            link.symlink_to(target.parent)
        else:
            outside = made.folder.parent / f"outside{made.rng.integers(10**9)}"
            outside.mkdir()
            (outside / "far.png").write_bytes(_encoded(pick(made.rng, photographs), "PNG"))
            link.symlink_to(outside)
            made.whole.add(os.fsencode(link.relative_to(made.folder)) + b"/far.png")


def _formats(made: Set, photographs: list[Image.Image]) -> None:
    """Write images of 16 bits, of floats, transparent, turned by EXIF, animated, with a palette."""
    image = pick(made.rng, photographs)
    gray = np.asarray(image.convert("L"))
    alpha = Image.fromarray(np.linspace(0, 255, SIDE * SIDE).reshape(SIDE, SIDE).astype(np.uint8))
    transparent = image.copy()
    transparent.putalpha(alpha)
    turned = Image.Exif()
    turned[0x0112] = int(made.rng.integers(1, 9))
    floats = gray.astype(np.float32) / pick(made.rng, (1, 255))
    formats: tuple[tuple[Callable[[], bytes], str], ...] = (
        (lambda: _encoded(Image.fromarray(gray.astype(np.uint16) * 257), "PNG"), ".png"),
        (lambda: _encoded(Image.fromarray(gray.astype(np.int32) * 257), "TIFF"), ".tif"),
        (lambda: _encoded(Image.fromarray(floats), "TIFF"), ".tiff"),
        (lambda: _encoded(transparent, "PNG"), ".png"),
        (lambda: _encoded(transparent.convert("LA"), "PNG"), ".png"),
        (lambda: _encoded(transparent, "WEBP", lossless=True), ".webp"),
        (lambda: _encoded(image, "JPEG", exif=turned, quality=95), ".jpg"),
        (lambda: _encoded(image, "PNG", exif=turned), ".png"),
        (lambda: _encoded(image, "GIF", save_all=True, append_images=photographs), ".gif"),
        (lambda: _encoded(image.convert("P"), "PNG", transparency=0), ".png"),
        (lambda: _encoded(image.convert("CMYK"), "JPEG", quality=95), ".jpg"),
        (lambda: _encoded(image.convert("1"), "BMP"), ".bmp"),
    )
    for i in made.rng.permutation(len(formats))[:5]:
        encode, suffix = formats[i]
        made.write(encode(), suffix)


def _archives(made: Set, photographs: list[Image.Image]) -> None:
    """Write a zip, in which other archives may lie, and archives that are not read."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("deep.png", _encoded(photographs[0], "PNG"))
    name = made.name(pick(made.rng, (".zip", ".ZIP")))
    with zipfile.ZipFile(
        made.folder / name, "w", pick(made.rng, (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    ) as archive:
        for member in ("one.png", "in a/=two.png", "n\u00e9/three.PNG"):
            archive.writestr(member, _encoded(pick(made.rng, photographs), "PNG"))
            made.whole.add(os.fsencode(name) + b"/" + member.encode())
        archive.writestr("notes.txt", b"x")
        if made.rng.random() < 0.5:
            archive.writestr("inner.zip", inner.getvalue())
        if made.rng.random() < 0.3:
            archive.writestr("in a/raw.NEF", b"x")
    if made.rng.random() < 0.5:
        with tarfile.open(made.folder / made.name(".tar"), "w"):
            pass
    if made.rng.random() < 0.3:
        np.save(made.folder / made.name(".npy"), np.zeros((2, 8, 8, 3), np.uint8))


def _broken(made: Set, photographs: list[Image.Image]) -> None:
    """Write what is no whole image: cut short, empty, of cameras and editors, text; and the twins that macOS leaves."""
    whole = _encoded(pick(made.rng, photographs), "PNG")
    made.write(whole[: int(made.rng.integers(len(whole)))], ".png", whole=False)
    made.write(b"", ".jpg", whole=False)
    made.write(
        made.rng.bytes(99), pick(made.rng, (".nef", ".CR2", ".heic", ".jxl", ".psd", ".dng", ".exr")), whole=False
    )
    made.write(b"Some words.", pick(made.rng, (".txt", ".md", ".png")), whole=False)
    good = made.folder / pick(made.rng, made.written)
    good.with_name(f"._{good.name}"[:250]).write_bytes(b"\x00\x05\x16\x07")
