"""Files written whole or not at all."""

import os
from pathlib import Path


def write_bytes(file: Path, content: bytes) -> None:
    """Writes under a temporary name, then renames: a stop in between leaves the old file, a full disk no other."""
    temporary = file.with_name(f".{file.name}.partial")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, file)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
