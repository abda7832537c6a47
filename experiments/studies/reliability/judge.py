"""A judge of `dedup` that shares no code with it: it opens every file, and compares every image with every other.

- Every name in keep.txt, its escapes undone, and in keep.txt0 opens, and both name the same files.
- An image is removed if and only if it is near one that stays: each removed image has a kept one within the radius, no
  two kept images are within it, and groups.csv gives the right distance.
- Every file is accounted for: kept, removed or listed. An image that can be read is not only listed.
"""

import csv
import io
import os
import re
import tempfile
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagehash
import numpy as np
from PIL import Image, ImageOps

from experiments.studies.reliability import pictures
from experiments.studies.reliability.case import BAD, Case, Verdict, classify
from experiments.studies.reliability.mutate import pick
from experiments.studies.reliability.pool import Pool

HASHES = {"phash": imagehash.phash, "dhash": imagehash.dhash, "ahash": imagehash.average_hash}
NO_IMAGES = (b".txt", b".md")  # suffixes of files of the sets that promise no image
ESCAPES = {b"\\\\": b"\\", b"\\n": b"\n", b"\\r": b"\r"}
MOST = 3  # faults of a set that are told


def verdicts(pool: Pool, sets: int, seed: int) -> Iterator[Verdict]:
    """Yield the verdict of each random set."""
    with ThreadPoolExecutor(pool.workers) as threads:
        yield from threads.map(lambda number: _verdict(pool, number, seed), range(sets))


def _verdict(pool: Pool, number: int, seed: int) -> Verdict:
    rng = np.random.default_rng([seed, number])
    method, radius = pick(rng, ("phash", "phash", "dhash", "ahash")), int(rng.integers(0, 13))
    argv = ("dedup", "set", "--method", method, "--radius", str(radius), "--out", "out")
    case = Case("dedup", f"{method} at radius {radius}", argv)
    with tempfile.TemporaryDirectory(prefix="set-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        whole = pictures.make(folder / "set", rng)
        pool.lay_out(folder, ())
        answer = pool.run(folder, case)
        kind, why = classify(case, answer, folder, "", None)
        if kind not in BAD:
            found = list(faults(folder / "set", folder / "out", method, radius, whole))
            kind, why = ("lost", "; ".join(found[:MOST])) if found else (kind, why)
    return Verdict(case.reader, case.what, number, kind, why.replace(str(folder), "CASE"), answer.seconds)


def faults(source: Path, out: Path, method: str, radius: int, whole: set[bytes]) -> Iterator[str]:
    """Yield what is wrong with the folder `out` of a pass over the folder `source`, in words.

    whole: names of files that must be kept or removed.
    """
    if not (out / "keep.txt").exists():
        yield "there is no keep.txt"
        return
    kept = [_name(line) for line in (out / "keep.txt").read_bytes().splitlines()]
    rows = _rows(out / "groups.csv")
    removed = {_name(os.fsencode(row["index_file"])): row for row in rows}
    listed = {_name(os.fsencode(row["file"])) for row in _rows(out / "skipped.csv")}
    plain = (out / "keep.txt0").read_bytes().split(b"\0")[:-1] if (out / "keep.txt0").exists() else []
    if [_bare(name) for name in plain] != kept:
        yield f"keep.txt0 names {len(plain)} files, keep.txt {len(kept)}"
    codes = {}
    for name in [*kept, *removed]:
        try:
            codes[name] = code(_content(source, name), method)
        except Exception as error:
            yield f"{name!r} does not open ({error!r})"
    if set(kept) & set(removed):
        yield "an image is both kept and removed"
    yield from _distances(codes, kept, removed, radius)
    yield from _unaccounted(source, {*kept, *removed}, listed, whole)


def code(content: bytes, method: str) -> int:
    """Return the hash of an image as people see it: upright, on white, with 8 bits, the first frame."""
    image: Image.Image = Image.open(io.BytesIO(content))
    image.load()
    if image.format != "TIFF":
        image = ImageOps.exif_transpose(image) or image
    if image.mode == "F" or image.mode.startswith("I"):
        values = np.asarray(image, np.float64)
        scale = 1 / 257 if image.mode != "F" else 255 if values.max() <= 1 else 1
        image = Image.fromarray(np.floor(values * scale + 0.5).astype(np.uint8))
    elif "A" in image.getbands() or "transparency" in image.info:
        over = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", over.size, "white"), over).convert("RGB")
    return int(str(HASHES[method](image)), 16)


def _distances(
    codes: dict[bytes, int], kept: list[bytes], removed: dict[bytes, dict[str, str]], radius: int
) -> Iterator[str]:
    """Compare every image with every kept one."""
    staying = [name for name in kept if name in codes]
    for name, row in removed.items():
        if name not in codes:
            continue
        nearest = min(((codes[name] ^ codes[other]).bit_count() for other in staying), default=65)
        if nearest > radius:
            yield f"{name!r} is removed, but the nearest kept image is {nearest} bits away"
        other = _name(os.fsencode(row["group_file"]))
        if other not in kept:
            yield f"{name!r} is removed for {other!r}, which does not stay"
        elif other in codes and (codes[name] ^ codes[other]).bit_count() != int(float(row["distance"])):
            yield f"{name!r} is {row['distance']} bits from {other!r} in groups.csv, which is wrong"
    for i, name in enumerate(staying):
        near = [other for other in staying[:i] if (codes[name] ^ codes[other]).bit_count() <= radius]
        if near:
            yield f"{name!r} is kept, but so is {near[0]!r}, which is within the radius"


def _unaccounted(source: Path, used: set[bytes], listed: set[bytes], whole: set[bytes]) -> Iterator[str]:
    """Compare the names in the outputs with a walk of our own."""
    if twice := used & listed:
        yield f"{sorted(twice)[0]!r} is used and listed"
    top = os.fsencode(source)
    nodes = {_node(top, name) for name in used}
    for name in sorted(whole - used):
        if _node(top, name) not in nodes:  # a file has several names with hard links, of which one is used
            yield f"{name!r} is an image, but neither kept nor removed"
    real = {_node(top, name) for name in _walk(top) if not os.path.islink(os.path.join(top, name))}
    for name in sorted(used):
        if os.path.islink(os.path.join(top, name)) and _node(top, name) in real:
            yield f"{name!r} is used, a link, instead of its file"
    for name in _walk(top):
        inside = any(other.startswith(name + b"/") for other in used | listed)
        if name not in used | listed and not inside:
            yield f"{name!r} is neither kept nor removed nor listed"
        if inside and name[-4:].lower() == b".zip":
            for member in zipfile.ZipFile(os.fsdecode(os.path.join(top, name))).namelist():
                path = name + b"/" + member.encode()
                if path not in used | listed and not path.lower().endswith(NO_IMAGES):
                    yield f"{path!r}, in a zip, is neither kept nor removed nor listed"


def _walk(source: bytes) -> Iterator[bytes]:
    """Yield every file and every link of the folder, but files whose names promise no image and macOS's twins."""
    for inner, folders, names in os.walk(source):
        for name in [*names, *(name for name in folders if os.path.islink(os.path.join(inner, name)))]:
            twin = name.startswith(b"._") and name[2:] in names
            if not twin and not name.lower().endswith(NO_IMAGES):
                yield os.path.relpath(os.path.join(inner, name), source)


def _node(source: bytes, name: bytes) -> tuple[int, int] | bytes:
    """Return what the names of one file share; of a member of a zip, its name."""
    try:
        status = os.stat(os.path.join(source, name))
    except OSError:
        return name
    return status.st_dev, status.st_ino


def _content(source: Path, name: bytes) -> bytes:
    """Return the bytes of a file, or of a member of a zip."""
    whole = os.path.join(os.fsencode(source), name)
    if os.path.isfile(whole):
        return Path(os.fsdecode(whole)).read_bytes()
    for match in re.finditer(rb"(?i)\.zip/", name):
        archive = os.path.join(os.fsencode(source), name[: match.end() - 1])
        if os.path.isfile(archive):
            return zipfile.ZipFile(os.fsdecode(archive)).read(name[match.end() :].decode())
    raise FileNotFoundError("no file")


def _rows(file: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file, whose texts may hold bytes that are not UTF-8; none if there is no file."""
    if not file.exists():
        return []
    with open(file, encoding="utf-8", errors="surrogateescape", newline="") as opened:
        return list(csv.DictReader(opened))


def _name(written: bytes) -> bytes:
    r"""Return the name that is written so: `\\`, `\n` and `\r` are escapes, and `./` may stand before it."""
    return _bare(re.sub(rb"\\[\\nr]", lambda match: ESCAPES[match[0]], written))


def _bare(name: bytes) -> bytes:
    return name.removeprefix(b"./")
