"""Hostile networks: checkpoints, training states, ports' state dicts, payloads, the authors' arrays, names."""

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.studies.reliability.case import CANARY, Case
from experiments.studies.reliability.mutate import RAW, Rng, damage, damage_file, on, pick, retyped
from experiments.studies.reliability.workplace import CHECKPOINT_IMAGES, TRAINED

HEADER = "dcgan-eval"  # the entry of the header of a safetensors file that our checkpoints have
RUN = (f"{TRAINED}/discriminator.safetensors", f"{TRAINED}/generator.safetensors")
FIELDS = ("width", "kernel", "channels", "nz", "strides", "image_size", "head", "classes", "z")
SIZES: tuple[Any, ...] = (
    *(0, -1, 1, 3, 2**31, 2**63, 10**30, 0.5),
    *(True, None, "4", [], {}, [4], float("nan"), float("inf")),
)


class Payload:
    """An object whose pickle runs a command when it is loaded."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"echo a pickle > {CANARY}",)


def checkpoint(rng: Rng) -> Case:
    """A network's file: damaged, or with another header."""
    file = pick(rng, RUN)
    argv: tuple[str, ...] = ("look", "walk", file, "--rows", "1", "--steps", "2")
    if file == RUN[0]:
        argv = ("check", file) if rng.random() < 0.1 else ("eval", file, "--dry-run")
    needs = (TRAINED, "runs/packed/tiny")
    if rng.random() < 0.5:
        return Case("checkpoint", "", argv, on(file, damage_file, rng), "refused", needs=needs)
    return Case("checkpoint", "header", argv, on(file, change_header, rng), needs=needs)


def state(rng: Rng) -> Case:
    """The checkpoint of a stopped run: damaged, or with another header."""
    change = damage_file if rng.random() < 0.6 else change_header
    argv = ("train", "tiny.toml", "--out", "train/half", *CHECKPOINT_IMAGES)
    needs = ("tiny.toml", "train/half", "runs/packed/tiny")
    return Case("training state", "", argv, on("train/half/state.safetensors", change, rng), "refused", needs=needs)


def change_header(file: Path, rng: Rng) -> str:
    """Change our entry in the header of a safetensors file, or the header itself; the tensors stay."""
    data = file.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header, tensors = json.loads(data[8 : 8 + size]), data[8 + size :]
    own = json.loads(header["__metadata__"][HEADER])
    how = pick(rng, ("own", "own", "field", "field", "raw", "tensor", "whole"))
    if how == "own":
        header["__metadata__"][HEADER], told = retyped(own, rng)
    elif how == "raw":
        told = header["__metadata__"][HEADER] = pick(rng, RAW)
    elif how == "field":
        field, value = pick(rng, FIELDS), pick(rng, SIZES)
        own["architecture"][field] = value
        header["__metadata__"][HEADER], told = json.dumps(own), f"{field} is {value}"
    elif how == "tensor":
        name = pick(rng, [key for key in header if key != "__metadata__"])
        entry = pick(rng, ("dtype", "shape", "data_offsets"))
        header[name][entry] = pick(rng, ("F64", "I8", "BOOL", "C64", [0], [], [2**62], [-1], [0, 2**63], [8, 0], None))
        told = f"{entry} of {name} is {header[name][entry]}"
    else:
        told = "whole"
    text = json.dumps(header).encode() if how != "whole" else retyped(header, rng)[0].encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + tensors)
    return told[:80]


def port(rng: Rng) -> Case:
    """A `.pth` or `.safetensors` that is nearly, or not at all, the state dict of a port."""
    how = pick(rng, ("tensor", "tensor", "tensor", "keys", "nest", "object", "payload", "bytes"))
    content, told = _good_port(), how
    if how in ("tensor", "keys"):
        told = _spoil(content, rng)
    name = pick(rng, ("netD.pth", "netD.pt", "netD.safetensors", "netD.bin"))
    own = np.random.default_rng(int(rng.integers(2**63)))

    def prepare(folder: Path) -> str:
        file = folder / name
        if how == "payload":
            return _payload(file, own)
        if how == "nest":
            wrapped: Any = content
            for key in ("state_dict", "netD", "module", "x")[: int(own.integers(1, 5))]:
                wrapped = {key: wrapped}
            torch.save(wrapped, file)
        elif how == "object":
            made: tuple[Any, ...] = (
                {},
                [],
                None,
                3,
                "x",
                torch.zeros(3),
                [content],
                {"a": {}},
                {1: 2},
                {None: torch.zeros(1)},
                1e400,
            )
            torch.save(made[int(own.integers(len(made)))], file)
        else:
            torch.save(content, file)
        return damage_file(file, own) if how == "bytes" else ""

    argv = ("check", name) if rng.random() < 0.1 else ("eval", name, "--dry-run")
    return Case("port", told, argv, prepare, "refused" if how == "payload" else "any")


def _good_port(ndf: int = 4) -> dict[Any, Any]:
    made: dict[Any, Any] = {
        "main.0.weight": torch.randn(ndf, 3, 4, 4),
        "main.2.weight": torch.randn(2 * ndf, ndf, 4, 4),
    }
    made |= {"main.3.weight": torch.ones(2 * ndf), "main.3.bias": torch.zeros(2 * ndf)}
    made |= {"main.3.running_mean": torch.zeros(2 * ndf), "main.3.running_var": torch.ones(2 * ndf)}
    return made | {"main.5.weight": torch.randn(1, 2 * ndf, 4, 4)}


def _spoil(content: dict[Any, Any], rng: Rng) -> str:
    """Change one tensor or key of a state dict."""
    key = pick(rng, list(content))
    tensor = content[key]
    changes: dict[str, Callable[[], Any]] = {
        "complex": lambda: tensor.to(torch.complex64),
        "sparse": lambda: tensor.to_sparse(),
        "meta": lambda: tensor.to("meta"),
        "bool": lambda: tensor.bool(),
        "integers": lambda: tensor.int(),
        "float64": lambda: tensor.double(),
        "empty": lambda: torch.empty(0),
        "scalar": lambda: torch.tensor(1.0),
        "nan": lambda: tensor * float("nan"),
        "expanded": lambda: torch.zeros(1).expand(2**20, 3, 4, 4),
        "longer": lambda: torch.cat([tensor, tensor]),
        "flat": lambda: tensor.flatten(),
        "a list": lambda: tensor.tolist(),
        "none": lambda: None,
        "text": lambda: "x",
        "parameter": lambda: torch.nn.Parameter(tensor),
    }
    kind = pick(rng, [*changes, "missing", "renamed", "other key", "twice"])
    if kind in changes:
        content[key] = changes[kind]()
    elif kind == "missing":
        del content[key]
    elif kind == "renamed":
        content[f"main.9.{pick(rng, ('weight', 'weird', 'running_mean', 'weight_orig', 'weight_u'))}"] = content.pop(
            key
        )
    elif kind == "twice":
        content[f"netG.{key}"] = tensor
    else:
        content[pick(rng, (3, None, "", "\x1b[31m", ("a", "b"), "a" * 10_000))] = tensor
    return f"{key}: {kind}"


def _payload(file: Path, rng: Rng) -> str:
    """Write a pickle that runs a command, in one of the containers in which pickles come."""
    how = pick(rng, ("torch", "legacy", "bare", "zip", "npy", "nested"))
    if how in ("torch", "legacy"):
        torch.save({"state_dict": Payload()}, file, _use_new_zipfile_serialization=how == "torch")
    elif how == "bare":
        file.write_bytes(pickle.dumps(Payload(), int(rng.integers(6))))
    elif how == "zip":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps(Payload(), 2))
            archive.writestr("archive/version", "3\n")
            archive.writestr("archive/byteorder", "little")
    elif how == "npy":
        np.save(buffer := io.BytesIO(), np.array([Payload()], object), allow_pickle=True)
        file.write_bytes(buffer.getvalue())
    else:
        torch.save(_good_port() | {"main.7.weight": Payload()}, file)
    return how


def arrays(rng: Rng) -> Case:
    """A folder of the authors' arrays of which one is hostile."""
    number, own = int(rng.integers(1, 4)), np.random.default_rng(int(rng.integers(2**63)))
    how = pick(rng, ("payload", "shape", "dtype", "header", "bytes", "pipe", "folder", "twice"))

    def prepare(folder: Path) -> None:
        target = folder / "models"
        target.mkdir()
        file = target / f"uncond_discrim_params.jl_{number:02}.npy"
        array = np.zeros((4, 3, 5, 5), np.float32)
        np.save(target / "uncond_discrim_params.jl_01.npy", array)
        if how == "payload":
            np.save(file, np.array([Payload()], object), allow_pickle=True)
        elif how == "dtype":
            np.save(file, array.astype(pick(own, ("c8", "S4", "U1", "?", ">f4", "M8[s]", "V4", "f2"))))
        elif how == "header":
            _npy_header(
                file, pick(own, ("(2**60,)", "(-1,)", "(1e9,)", "(1,)*99", "((),)", "'a'", "(10**12, 3, 5, 5)"))
            )
        elif how == "bytes":
            np.save(file, array)
            damage_file(file, own)
        elif how in ("pipe", "folder"):
            file.unlink(missing_ok=True)
            (os.mkfifo if how == "pipe" else os.mkdir)(file)
        elif how == "twice":
            np.save(target / "other_discrim_params.jl_01.npy", array)
        else:
            np.save(file, np.zeros(own.integers(0, 4, size=int(own.integers(0, 6))), np.float32))

    argv = ("eval", "theano:imagenet32:models", "--dry-run")
    return Case("authors' arrays", f"{how}, file {number}", argv, prepare, "refused" if how == "payload" else "any")


def _npy_header(file: Path, shape: str) -> None:
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    file.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(64))


def name(rng: Rng) -> Case:
    """A text that names no network that can be made."""
    number = pick(rng, ("0", "-1", "1", "3", "2147483648", "9" * 30, "x", "", "0.5", "²", "٣", "1_0", " 4"))
    key = pick(rng, ("width", "channels", "kernel", "size", "weights", "nz", ""))
    text = pick(
        rng,
        (
            *(
                f"random:imagenet32,{key}={number}",
                f"random:{number}",
                f"random:imagenet32{number}",
                "random:",
                "random",
            ),
            *(f"kmeans:{number}", f"torchvision:resnet18,{key}={number}", "torchvision:", "torchvision:os.system"),
            *("torchvision:get_model", "torchvision:models", "timm:x", "theano:", "theano::", "theano:imagenet32:"),
            *("theano:imagenet32:nowhere", "theano:imagenet32:/dev", "supervised:svhn32", "pixels,", "/dev/null", "/"),
            *(
                "/dev/zero",
                "/dev/stdin",
                ".",
                "..",
                "pipe",
                "pipe.pth",
                "pipe.safetensors",
                "a" * 5000,
                "\x1b[2J",
                "\n",
            ),
            *(
                "os:system",
                "os:nothing",
                "os:",
                ":x",
                "nomodule:x",
                "a.py:",
                "pipe.py:f",
                "x.pt2",
                "x.ts",
                "\udcff",
                "~",
            ),
        ),
    )

    def prepare(folder: Path) -> None:
        for suffix in ("", ".pth", ".safetensors", ".py"):
            os.mkfifo(folder / f"pipe{suffix}")

    command = pick(rng, (("eval",), ("eval", "--subset", "640"), ("extract",), ("ablate",), ("check",)))
    dry = () if command == ("check",) else ("--dry-run",)
    return Case("name of a network", repr(text)[:60], (*command, *dry, "--", text), prepare)


def damaged_weights(rng: Rng) -> Case:
    """A file of no known kind, given as a network."""
    content, told = damage(rng.bytes(int(rng.integers(0, 4096))), rng)
    suffix = pick(rng, (".pth", ".safetensors", ".npy", ".zip", "", ".pt2", ".py", ".json"))

    def prepare(folder: Path) -> None:
        (folder / f"file{suffix}").write_bytes(content)

    return Case("name of a network", f"random bytes{suffix}, {told}", ("eval", f"file{suffix}", "--dry-run"), prepare)
