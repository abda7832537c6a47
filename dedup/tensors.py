"""Arrays written as safetensors, whole or not at all."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file


def write(arrays: Mapping[str, np.ndarray], header: Mapping[str, str], file: Path) -> None:
    """Writes under a temporary name, then renames. OSError where it cannot, the old file whole."""
    temporary = file.with_name(f".{file.name}.partial")
    try:
        save_file(dict(arrays), temporary, dict(header))
        temporary.chmod(0o644)  # safetensors makes files for their owner's eyes alone
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        os.replace(temporary, file)
    except SafetensorError as error:  # a full disk, a folder gone
        temporary.unlink(missing_ok=True)
        raise OSError(f"cannot write {file} ({error}); free space there or choose another folder") from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
