"""The packing benchmark runs, and says what it compared."""

import numpy as np
import pytest
from PIL import Image

from experiments.studies.benchmark_packing import main


def test_packing_is_compared_with_decoding(tmp_path, capsys: pytest.CaptureFixture) -> None:
    for i in range(8):
        Image.fromarray(np.full((40, 40, 3), 30 * i, np.uint8)).save(tmp_path / f"{i}.jpg")
    main([str(tmp_path), "--repeats", "1", "--workers", "1"])
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"8 files of {tmp_path.name} packed to 32x32, 1 workers: ") and "only decoded" in line
