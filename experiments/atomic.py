"""Files written whole or not at all, and files that grow."""

import os
from pathlib import Path


def write_bytes(file: Path, content: bytes) -> None:
    """Writes under a temporary name, then renames: a stop in between leaves the old file, a full disk no other.

    Of two processes that write it at once, the last one's stays.
    """
    temporary = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, file)
    except BaseException:  # Ctrl-C, too
        temporary.unlink(missing_ok=True)
        raise


def append_bytes(file: Path, content: bytes) -> None:
    """Adds to the end of `file`; on disk when it returns. A stop in between leaves a part: the reader must cut it."""
    with open(file, "ab") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
