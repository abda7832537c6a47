"""Write files in LSUN's own format, for tests of its readers."""

from collections.abc import Mapping
from pathlib import Path

import lmdb


def write_lmdb(folder: Path, content: Mapping[bytes, bytes]) -> Path:
    """Write an LMDB environment with these keys and values; return its folder."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with lmdb.open(str(folder), map_size=2**26) as opened, opened.begin(write=True) as transaction:
        for key, value in content.items():
            transaction.put(key, value)
    return folder
