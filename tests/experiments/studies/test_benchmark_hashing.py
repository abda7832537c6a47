"""The hashing benchmark runs, and says what it compared."""

import io

import numpy as np
import pytest
from PIL import Image

from experiments.studies.benchmark_hashing import main


def test_a_line_for_each_comparison(tmp_path, capsys: pytest.CaptureFixture) -> None:
    for i in range(8):
        file = io.BytesIO()
        Image.fromarray(np.full((16, 16, 3), 30 * i, np.uint8)).save(file, "JPEG")
        (tmp_path / f"{i}.jpg").write_bytes(file.getvalue())
    command = ["--folder", str(tmp_path), "--images", "16", "--repeats", "1", "--workers", "1"]
    main(command)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "phash of 16 arrays of 32x32",
        f"8 files {tmp_path.name} without thumbnails, 1 workers",
        f"8 files {tmp_path.name} with thumbnails of 64x64, 1 workers",
    ]
    assert all("ratio" in line and "median of 1 pairs" in line for line in lines)
