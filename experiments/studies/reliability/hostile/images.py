"""Hostile image files and zips, for `data pack` and `dedup`."""

import io
import os
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from experiments.studies.reliability.case import CANARY, Case
from experiments.studies.reliability.mutate import Rng, damage, pick

PACK = ("data", "pack", "{source}", "--size", "32", "--name", "p")
DEDUP = ("dedup", "{source}", "--method", "{method}")
METHODS = ("phash", "phash", "dhash", "ahash", "near-duplicates")
NAMES = (
    *("a.png", "b.JPG", "c.jpeg", "d.gif", "e.bmp", "f.webp", "g.tif", "h.ppm", "i.ico", "j.eps", "._k.png", ".l.png"),
    *(
        "=cmd.png",
        "-rf.png",
        "+m.png",
        "@n.png",
        "a b.png",
        "new\nline.png",
        "\u202fspace.png",
        "\udcff.png",
        "back\\.png",
    ),
    *(
        "\x1b[31mred.png",
        "x" * 240 + ".png",
        "quote'\".png",
        "%s.png",
        "{case}.png",
        "&lt;.png",
        "e\u0301.png",
        "\u200d.png",
    ),
)
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "CMYK", "YCbCr", "LAB", "HSV", "I", "I;16", "F")
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "ICO", "TGA", "SGI", "PCX", "DDS", "PDF")


def picture(rng: Rng, *, mode: str = "RGB", size: tuple[int, int] = (40, 40)) -> Image.Image:
    """Make an image of noise of that mode."""
    noise = Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), dtype=np.uint8))
    if mode in ("I;16", "I", "F"):
        values = rng.integers(0, 65536, size[::-1]).astype({"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode])
        return Image.fromarray(values * (1 if mode != "F" else rng.choice([1.0, 1 / 65536, 1e30, np.nan])))
    if mode in ("LAB", "RGBa", "PA", "LA"):
        step = {"LAB": "RGB", "RGBa": "RGBA", "PA": "LA", "LA": "L"}[mode]
        return noise.convert("RGB") if mode == "LAB" else noise.convert(step).convert(mode)
    return noise.convert(mode)


def encoded(rng: Rng) -> tuple[bytes, str]:
    """Return the bytes of an image of an odd kind, and which."""
    kind = pick(rng, ("mode", "mode", "bytes", "bytes", "bomb", "claim", "frames", "exif", "script", "text", "tiny"))
    if kind == "bomb":
        return _png(60_000, 60_000), "a PNG of 60,000 x 60,000 pixels"
    if kind == "claim":
        return _png(2**31 - 1, 2**31 - 1), "a PNG that claims 2^31 x 2^31 pixels"
    if kind == "script":
        return (
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n(" + CANARY.encode() + b") (w) file closefile\n",
            "PostScript",
        )
    if kind == "text":
        return pick(
            rng, (b"", b"\x00", b"<svg/>", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF", b"P6 9 9")
        ), "text"
    buffer = io.BytesIO()
    if kind == "frames":
        frames = [picture(rng, size=(40, 40)) for _ in range(3)]
        frames[0].save(buffer, pick(rng, ("GIF", "WEBP", "TIFF", "PNG")), save_all=True, append_images=frames[1:])
        return buffer.getvalue(), "several frames"
    if kind == "exif":
        exif = Image.Exif()
        exif[0x0112] = pick(rng, (0, 1, 3, 6, 8, 9, 99, "6", 6.5, b"\x00\xff"))
        try:
            picture(rng).save(buffer, pick(rng, ("JPEG", "PNG", "WEBP")), exif=exif)
        except Exception:  # a value that Pillow does not write
            buffer = io.BytesIO(_png(40, 40))
        return buffer.getvalue(), "EXIF"
    size = (1, 1) if kind == "tiny" else pick(rng, ((40, 40), (64, 33), (1, 200), (200, 1), (33, 64)))
    while True:  # not every format holds every mode
        mode, form = pick(rng, MODES), pick(rng, FORMATS)
        buffer = io.BytesIO()
        try:
            picture(rng, mode=mode, size=size).save(buffer, form)
            break
        except (OSError, ValueError, KeyError, struct.error):
            continue
    told = f"{form} {mode} {size[0]}x{size[1]}"
    if kind != "bytes":
        return buffer.getvalue(), told
    content, how = damage(buffer.getvalue(), rng)
    return content, f"{told}, {how}"


def image_files(rng: Rng) -> Case:
    """A folder with one good image and a few odd files under odd names."""
    files = {"good.png": _good(rng)}
    told = []
    for _ in range(int(rng.integers(1, 4))):
        content, what = encoded(rng)
        files[pick(rng, NAMES) if rng.random() < 0.5 else f"odd{len(files)}.png"] = content
        told.append(what)
    extra = pick(rng, ("", "", "pipe", "loop", "dangling", "folder", "device", "unreadable"))

    def prepare(folder: Path) -> None:
        source = folder / "source"
        source.mkdir()
        for name, content in files.items():
            (source / name).write_bytes(content)
        _odd_entry(source, extra)

    return Case("image files", ", ".join([*told, extra][:4]), _command("source", rng), prepare)


def _odd_entry(source: Path, kind: str) -> None:
    """Put something that is no regular file into the folder, named like an image."""
    odd = source / "odd.png"
    if kind == "pipe":
        os.mkfifo(odd)
    elif kind == "loop":
        odd.symlink_to(odd)
        (source / "again").symlink_to(source)
    elif kind == "dangling":
        odd.symlink_to("nowhere.png")
    elif kind == "folder":
        odd.mkdir()
    elif kind == "device":
        odd.symlink_to("/dev/zero")
    elif kind == "unreadable":
        odd.write_bytes(b"x")
        odd.chmod(0)


def zips(rng: Rng) -> Case:
    """A zip with an odd member, alone, in a folder of zips, or beside an image."""
    content, told = _zip(rng)
    where = pick(rng, ("alone", "folder", "beside", "deep"))
    good = _good(rng)

    def prepare(folder: Path) -> None:
        source = folder / "source"
        source.mkdir()
        target = {"alone": folder / "source.zip", "deep": source / "in" / "a.zip"}.get(where, source / "a.zip")
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(content)
        if where in ("beside", "deep"):
            (source / "good.png").write_bytes(good)

    argv = _command("source.zip" if where == "alone" else "source", rng)
    return Case("zip", f"{told}, {where}", argv, prepare)


def _zip(rng: Rng) -> tuple[bytes, str]:
    good, buffer = _good(rng), io.BytesIO()
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("inner.png", good)
    odd: dict[str, Callable[[zipfile.ZipFile], Any]] = {
        "a path upwards": lambda z: z.writestr("../../" + CANARY + ".png", good),
        "an absolute path": lambda z: z.writestr("/absolute.png", good),
        "a zip in a zip": lambda z: z.writestr("inner.zip", inner.getvalue()),
        "a bomb": lambda z: z.writestr("bomb.png", bytes(80 * 2**20), zipfile.ZIP_DEFLATED),
        "the same name twice": lambda z: _twice(z, good),
        "an odd name": lambda z: z.writestr(pick(rng, NAMES).encode("utf-8", "replace").decode(), good),
        "a folder's name": lambda z: z.writestr("folder.png/", b""),
        "no images": lambda z: z.writestr("text.txt", b"x"),
        "a link": lambda z: z.writestr(_link("link.png"), "/etc/passwd"),
        "lzma": lambda z: z.writestr("l.png", good, zipfile.ZIP_LZMA),
        "damaged": lambda z: z.writestr("d.png", good),
        "a false size": lambda z: z.writestr("s.png", good),
        "encrypted": lambda z: z.writestr("e.png", good),
        "an odd image": lambda z: z.writestr("o.png", encoded(rng)[0]),
    }
    told = pick(rng, list(odd))
    with zipfile.ZipFile(buffer, "w") as archive:
        if told != "no images":
            archive.writestr("good.png", good)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the name that comes twice
            odd[told](archive)
    content = bytearray(buffer.getvalue())
    directory = content.rfind(b"PK\x01\x02")
    if told == "damaged":
        content, how = bytearray(damage(bytes(content), rng)[0]), "damaged"
        return bytes(content), how
    if told == "encrypted":
        content[directory + 8] |= 1
    if told == "a false size":
        content[directory + 24 : directory + 28] = struct.pack("<I", int(rng.integers(2**32 - 1)))
    return bytes(content), told


def _twice(archive: zipfile.ZipFile, content: bytes) -> None:
    for _ in range(2):
        archive.writestr("twice.png", content)


def _link(name: str) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name)
    made.external_attr = 0o120777 << 16
    return made


def _command(source: str, rng: Rng) -> tuple[str, ...]:
    words = PACK if rng.random() < 0.5 else DEDUP
    dry = ("--dry-run",) if rng.random() < 0.1 else ()
    method = pick(rng, METHODS)
    return (*(word.format(source=source, method=method) for word in words), *dry)


def _good(rng: Rng) -> bytes:
    picture(rng).save(buffer := io.BytesIO(), "PNG")
    return buffer.getvalue()


def _png(width: int, height: int) -> bytes:
    """Return a small PNG that claims to be of this size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(2**20))) + chunk(b"IEND", b"")
