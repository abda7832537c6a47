"""Arrays in safetensors files: written whole or not at all, and read only if the header names the expected format.

The header ends with a digest of all the rest, so a changed bit is found. Earlier files, without one, are read as well.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

Made = TypeVar("Made")


def write(arrays: Mapping[str, np.ndarray], header: Mapping[str, str], file: Path) -> None:
    """Write under a temporary name, then rename. Raises OSError if the write fails; an old file stays as it was."""
    temporary = file.with_name(f".{file.name}.partial")
    try:
        save_file(dict(arrays), temporary, {**header, "digest": _digest(arrays, header)})
        temporary.chmod(0o644)  # safetensors makes files that only their owner can read
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        os.replace(temporary, file)
    except SafetensorError as error:  # a full disk, a folder gone
        temporary.unlink(missing_ok=True)
        raise OSError(f"cannot write {file} ({error}); free space there or choose another folder") from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read(
    file: str | os.PathLike[str], format: str, what: str, make: Callable[[dict[str, np.ndarray], dict[str, Any]], Made]
) -> Made:
    """Read a file whose header names `format` and holds the configuration as JSON; return `make(arrays, config)`.

    Raises FileNotFoundError, and ValueError ("... holds no `what`") for any other file.
    """
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(f"no {what} at {path}")
    try:
        with safe_open(path, "numpy") as opened:
            header = opened.metadata() or {}
            if header.get("format") != format:
                raise ValueError(f"its format is {header.get('format')!r}, not {format!r}")
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        digest = header.pop("digest", None)
        if header.keys() != {"format", "config"} or digest not in (None, _digest(arrays, header)):
            raise ValueError("its content does not match its digest")
        return make(arrays, json.loads(header["config"]))
    except (SafetensorError, LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} holds no {what}: {' '.join(str(error).split())}") from error


def _digest(arrays: Mapping[str, np.ndarray], header: Mapping[str, str]) -> str:
    hashed = hashlib.sha256(json.dumps(dict(header), sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        hashed.update(f"\n{name} {array.dtype} {list(array.shape)}\n".encode())
        hashed.update(array.tobytes())
    return hashed.hexdigest()
