"""Where a figure comes from: run identity, software, hardware and source state, without naming the machine.

Records hold no host name, no user name and no absolute path: `portable` removes paths before they are recorded.
"""

import hashlib
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

OUTPUTS = ("runs", "tables", "look")  # folders of results/ that commands write into
_DISTRIBUTIONS = ("torch", "numpy", "scikit-learn", "dcgan-eval")
# A path starts a string or follows one of these, and ends before one of them (spaces are part of a path).
_DELIMITERS = r""":,;'"=()\[\]"""
_PATH_START = rf"(?<![^\s{_DELIMITERS}])"
_MACHINE_PATH = re.compile(rf"{_PATH_START}/(?=[^/\s])[^{_DELIMITERS}]*")


def utc_now() -> str:
    """Return the present second as `YYYY-MM-DDTHH:MM:SSZ`, the form of `Record.started`.

    >>> results.utc_now()
    '20...-...T...Z'
    """
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def run_id(spec: Mapping[str, Any], inputs: Mapping[str, str], started: str) -> str:
    """Return `<UTC date>-<8 hex>`: the day, and SHA-256 of the resolved spec and the digests of the inputs.

    Two runs on one day share the id if they must give the same figure. So `spec` must hold the seed, and must be
    `portable`, so that the same work on another machine has the same hash. The order of keys does not matter.

    Args:
        spec: JSON values only.
        inputs: name -> digest of every data set and weight file the figure depends on.
        started: UTC time as `utc_now` gives it.

    >>> results.run_id({"backbone": "pixels", "seed": 0}, {"train": "ab12"}, "2026-11-22T10:00:00Z")
    '20261122-4aae1bb3'
    """
    canonical = json.dumps([dict(spec), dict(inputs)], sort_keys=True, separators=(",", ":"), allow_nan=False)
    return f"{started[:10].replace('-', '')}-{hashlib.sha256(canonical.encode()).hexdigest()[:8]}"


def portable(value: Any, roots: Mapping[str, str | os.PathLike[str]]) -> Any:
    """Replace every absolute path in `value` (nested JSON values), in dictionary keys too.

    Args:
        roots: replacement -> folder, e.g. `{"$DATA_ROOT": data, ".": clone}`; the deepest folder that matches wins. A
            path below none of them is cut to its last component.

    >>> results.portable(["--out", "/data/sets/mine"], {"$DATA_ROOT": "/data"})
    ['--out', '$DATA_ROOT/sets/mine']
    """
    if isinstance(value, Mapping):
        return {portable(key, roots): portable(item, roots) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [portable(item, roots) for item in value]
    if not isinstance(value, str | os.PathLike):
        return value
    text = os.fspath(value)
    folders = {name: os.path.abspath(folder) for name, folder in roots.items()}
    for name, folder in sorted(folders.items(), key=lambda item: -len(item[1])):
        below = rf"{_PATH_START}{re.escape(folder)}(?=/|$|[{_DELIMITERS}])"
        text = re.sub(below, lambda _, name=name: name, text)  # a function: names may hold a backslash
    return _MACHINE_PATH.sub(lambda path: path[0].rstrip("/").rsplit("/", 1)[-1], text)


def machine_paths(value: Any) -> Iterator[str]:
    """Yield every absolute path inside `value` (nested JSON values)."""
    if isinstance(value, str):
        yield from _MACHINE_PATH.findall(value)
    elif isinstance(value, Mapping):
        yield from machine_paths(list(value.items()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from machine_paths(item)


def versions() -> dict[str, str]:
    """Return the versions of Python, torch, numpy, scikit-learn and this project; `not installed` for absent ones.

    >>> sorted(results.versions())
    ['dcgan-eval', 'numpy', 'python', 'scikit-learn', 'torch']
    """
    found = {"python": platform.python_version()}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def hardware(device: str = "cpu") -> dict[str, str | int | float | None]:
    """Describe the machine: `cpu` (model), `cores` that this process may use, `memory_gib`, `accelerator` or None.

    Args:
        device: the torch device that did the work, e.g. `cpu`, `cuda:0`, `mps`; an idle GPU is not listed.

    >>> sorted(results.hardware())
    ['accelerator', 'cores', 'cpu', 'memory_gib']
    """
    usable = getattr(os, "sched_getaffinity", None)  # absent on macOS
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    accelerator = None if device == "cpu" else device
    if device.startswith("cuda"):
        import torch  # here, because tables are rendered without it

        accelerator = torch.cuda.get_device_name(device)
    return {
        "cpu": _cpu_model(),
        "cores": len(usable(0)) if usable else os.cpu_count(),
        "memory_gib": round(memory, 1),
        "accelerator": accelerator,
    }


def _cpu_model() -> str:
    """Return the processor's name as Linux gives it; elsewhere, as `platform` gives it."""
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:(.*)$", cpuinfo.read_text() if cpuinfo.exists() else "", re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def git_commit(root: str | os.PathLike[str]) -> str | None:
    """Return the commit checked out at `root`, with `-dirty` if files differ; None if `root` is no checkout.

    `OUTPUTS` are not compared, so recording a run does not make the source of the next one dirty. A checkout that holds
    `root` somewhere inside does not count.

    >>> results.git_commit(".") is None  # no checkout
    True
    """
    top, _, commit = (_git(root, "rev-parse", "--show-toplevel", "HEAD") or "").rpartition("\n")
    if not commit or Path(top).resolve() != Path(root).resolve():
        return None
    changes = _git(root, "status", "--porcelain", "--", ".", *(f":!results/{part}" for part in OUTPUTS))
    return commit if changes == "" else f"{commit}-dirty"


def _git(root: str | os.PathLike[str], *arguments: str) -> str | None:
    """Return what git prints, stripped; None if git is absent, fails or hangs."""
    command = ["git", "-C", os.fspath(root), *arguments]
    try:
        return subprocess.check_output(command, stderr=subprocess.DEVNULL, text=True, timeout=30).strip()
    except (OSError, subprocess.SubprocessError):
        return None


def source_digest(folders: Iterable[str | os.PathLike[str]]) -> str:
    """Return the first 16 hex digits of SHA-256 over the names and bytes of all `.py` files in `folders`.

    Names are relative to each folder's parent, so an installed copy and a checkout of the same source agree.

    >>> len(results.source_digest(results.__path__))
    16
    """
    digest = hashlib.sha256()
    for folder in sorted(map(Path, folders), key=lambda path: path.name):
        for file in sorted(folder.rglob("*.py")):
            data = file.read_bytes()
            digest.update(f"{file.relative_to(folder.parent).as_posix()}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()[:16]
