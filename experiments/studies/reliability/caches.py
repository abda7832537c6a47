"""The caches and states that the program reads back: how to make one of each kind, and what reading it gives.

`check` reads one in a worker, as a command would: it prints the digest of what the cache holds, or one line, with exit
code 2. A cache that is made again when it is damaged gives the digest of the right content.
"""

import contextlib
import dataclasses
import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from experiments.run.context import Run
from experiments.run.errors import UserError, one_line

CALL = f"{__name__}:check"
FILES = {  # cache -> patterns of its files
    "packed set": ("images.u8", "labels.npy", "meta.json"),
    "features": ("*/features.f32", "*/key.json", "*/chunks.json"),
    "state": ("state.safetensors",),
    "network": ("network.safetensors",),
    "snapshot": ("snapshot.safetensors",),
    "records": ("records.jsonl",),
    "audit": ("audit.json",),
    "kept": ("kept.safetensors",),
    "ablation": ("ablation.safetensors",),
    "photos": ("runs/photos/*/*.chunk",),
    "packing": ("runs/packing/*/*.chunk",),
}
MADE_IN_PLACE = ("photos", "packing")  # their names depend on the folder of the images
ROWS, WIDTH = 64, 12  # of the stored features
FOUND = {"all layers": {"features": 8, "C": 0.1, "right": 100, "tried": [[0.1, 0.5], [1.0, 0.25]], "seconds": 1.5}}


def check(name: str, where: str) -> int:
    """Print the digest of the cache `name` in the folder `where`/`name`; exit code 2 and one line if it is refused."""
    try:
        print(digest(name, Path(where) / name))
    except (UserError, ValueError, OSError) as error:
        print(f"dcgan-eval: {one_line(error)}", file=sys.stderr)
        return 2
    return 0


def digest(name: str, folder: Path) -> str:
    """Return the digest of what reading the cache gives."""
    hashed = hashlib.sha256()
    for part in _READ[name](folder):
        hashed.update(part.encode() if isinstance(part, str) else part)
    return hashed.hexdigest()


def files(name: str, folder: Path) -> list[Path]:
    """Return the files of the cache in its folder."""
    return [file for pattern in FILES[name] for file in sorted(folder.glob(pattern))]


def make(base: Path) -> None:
    """Make the caches that need no run of a command, below `base`/cache; `base` is the workplace."""
    import results
    from experiments.data.packed import pack
    from experiments.run import kept

    cache = base / "cache"
    for name in FILES:
        (cache / name).mkdir(parents=True, exist_ok=True)
    for name in MADE_IN_PLACE:
        shutil.copytree(base / "photos", cache / name / "photos")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    how = {"shape": images.shape, "source": "made up", "transform": "none", "details": {"class_names": ["a", "b"]}}
    pack(cache / "packed set", [images], labels=np.arange(12) % 2, **how)  # type: ignore[arg-type]
    list(_features(cache / "features"))
    for record in results.read_records(base / "results/runs/svhn.jsonl"):
        results.append_record(cache / "records/records.jsonl", record)
    _audit(base, cache / "audit/audit.json")
    kept.write(cache / "kept/kept.safetensors", {"a": np.arange(99.0), "b": images}, {"n": 3, "names": ["x", "y"]})
    kept.write(cache / "ablation/ablation.safetensors", {}, FOUND)


def make_of_run(base: Path) -> None:
    """Make the others, of the run and the record in the workplace."""
    import torch

    import gan
    import results

    cache = base / "cache"
    shutil.copy(base / "train/half/state.safetensors", cache / "state")
    shutil.copy(base / "tiny.toml", cache / "state")
    network = base / "train/run/discriminator.safetensors"
    shutil.copy(network, cache / "network/network.safetensors")
    gan.save(cache / "snapshot/snapshot.safetensors", gan.load(network), dtype=torch.float16)
    for record in results.read_records(base / "runs/records/cifar10.jsonl"):
        results.append_record(cache / "records/records.jsonl", record)


def make_in_place(name: str, folder: Path) -> None:
    """Make a cache of MADE_IN_PLACE in `folder`, which holds the images in `photos`."""
    if name == "photos":
        list(_photos(folder))
        return
    from experiments.data.images.pack import Plan, pack_images, plan

    planned = plan(folder / "photos")
    wrong = [2**70] * planned.count  # no label: the chunks are finished then, and the set is not
    with contextlib.suppress(OverflowError):
        pack_images(Plan(planned.source, planned.chunks, labels=wrong), folder / "packed", _spec(), _run(folder))


def _run(folder: Path) -> Run:
    return Run(folder / "data", folder / "runs")


def _arrays(arrays: Iterator[tuple[str, np.ndarray]]) -> Iterator[str | bytes]:
    for name, array in arrays:
        yield f"{name} {array.dtype} {array.shape}"
        yield np.ascontiguousarray(array).tobytes()


def _packed(folder: Path) -> Iterator[str | bytes]:
    from experiments.data.packed import open_packed

    opened = open_packed(folder)
    assert opened.labels is not None
    yield json.dumps(opened.meta, sort_keys=True)
    yield from _arrays(iter({"images": opened.images, "labels": opened.labels}.items()))


def _features(folder: Path) -> Iterator[str | bytes]:
    """Open the store as an extraction does, and compute again what it does not hold."""
    import features

    rows = np.random.default_rng(1).standard_normal((ROWS, WIDTH)).astype(np.float32)
    store = features.FeatureStore(folder, {"data": "made up"}, rows=ROWS, width=WIDTH, chunk_rows=8)
    for start in range(0, ROWS, 8):
        if not store.has(start):
            store.write(start, rows[start : start + 8])
    yield from _arrays(iter({"features": store.array()}.items()))


def _state(folder: Path) -> Iterator[str | bytes]:
    import gan
    from experiments.training.recipe import load_recipe

    recipe = load_recipe(str(folder / "tiny.toml"))
    state = gan.load_state(folder / "state.safetensors", recipe.architecture, recipe.training)
    yield str(state.step)
    yield state.noise.get_state().numpy().tobytes()
    for name, network in sorted(state.networks.items()):
        yield from _arrays((f"{name}.{key}", t.numpy()) for key, t in network.state_dict().items())
    for name, optimizer in sorted(state.optimizers.items()):
        slots = optimizer.state_dict()["state"]
        yield from _arrays((f"{name}.{i}.{key}", t.numpy()) for i in sorted(slots) for key, t in slots[i].items())


def _network(file: Path) -> Iterator[str | bytes]:
    import gan

    network = gan.load(file)
    yield f"{type(network).__name__} {network.arch}"
    yield from _arrays((name, t.numpy()) for name, t in network.state_dict().items())


def _records(folder: Path) -> Iterator[str]:
    import results

    for record in results.read_records(folder / "records.jsonl"):
        yield json.dumps(dataclasses.asdict(record), sort_keys=True)


def _read_audit(folder: Path) -> Iterator[str | bytes]:
    from experiments.data.leakage import read_audit

    found = read_audit(folder / "audit.json")
    yield repr([found.images, found.against, found.found_by, found.made_with])
    yield from _arrays(iter({"pairs": found.pairs}.items()))


def _audit(base: Path, file: Path) -> None:
    """Write an audit with a few pairs."""
    from experiments.data.leakage import audit, write_audit
    from experiments.data.packed import open_packed

    sets = [open_packed(base / "runs/packed" / name) for name in ("tiny", "cifar10-test")]
    pairs = np.array([[0, 3], [0, 4], [7, 20]])
    made = audit(sets[0], sets[1], pairs, {"torch": "2.13.0", "commit": None})
    write_audit(file.parent, made).rename(file)


def _kept(folder: Path) -> Iterator[str | bytes]:
    from experiments.run import kept

    arrays, header = kept.read(folder / "kept.safetensors")
    yield json.dumps(header)
    yield from _arrays(iter(sorted(arrays.items())))


def _ablation(folder: Path) -> Iterator[str]:
    from experiments.measure.ablation import read_found

    yield json.dumps(read_found(folder / "ablation.safetensors") or FOUND)  # nothing is kept: it is measured again


def _photos(folder: Path) -> Iterator[str | bytes]:
    from experiments.data.images import hash_files

    read = hash_files.read(folder / "photos", _run(folder), workers=1, chunk_images=4)
    yield read.digest
    assert read.images is not None
    yield from _arrays(iter({"images": read.images, **read.codes}.items()))


def _packing(folder: Path) -> Iterator[str | bytes]:
    from experiments.data.images.pack import pack_images, plan

    packed = pack_images(plan(folder / "photos"), folder / "packed", _spec(), _run(folder), workers=1)
    yield packed.digest
    yield json.dumps(packed.meta["skipped_files"])


def _spec() -> Any:
    from experiments.data.images.pack import PackSpec

    return PackSpec(32)


_READ: dict[str, Callable[[Path], Iterator[str | bytes]]] = {
    "packed set": _packed,
    "features": _features,
    "state": _state,
    "network": lambda folder: _network(folder / "network.safetensors"),
    "snapshot": lambda folder: _network(folder / "snapshot.safetensors"),
    "records": _records,
    "audit": _read_audit,
    "kept": _kept,
    "ablation": _ablation,
    "photos": _photos,
    "packing": _packing,
}
