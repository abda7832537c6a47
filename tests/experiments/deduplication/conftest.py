"""Two packed sets and a folder of photographs that hold copies."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.run.context import Run
from tests.experiments.deduplication.made_up import photographs, recompressed
from tests.workplace import Workplace

HOSTILE = '"><script>alert(1)ü.jpg'


@pytest.fixture
def sets(workplace: Workplace) -> Run:
    """tiny-imagenet-32: 40 images, the last two copies of 3 and 5; lsun-others-32: 10 others, 7 recompressed, 3."""
    images = photographs(38)
    images = np.concatenate([images, images[3:4], recompressed(images[5])[None]])
    workplace.pack("tiny-imagenet-32", images)
    others = [photographs(10, seed=1), recompressed(images[7])[None], images[3:4]]
    workplace.pack("lsun-others-32", np.concatenate(others))
    return workplace.run


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """00.png .. 39.png; b.jpg, 5 recompressed; a copy of 3 under a hostile name; two files that are not images."""
    album = tmp_path / "album"
    album.mkdir()
    for i, image in enumerate(photographs(40)):
        Image.fromarray(image).resize((90, 60), Image.Resampling.BICUBIC).save(album / f"{i:02}.png")
    Image.open(album / "05.png").save(album / "b.jpg", quality=80)
    (album / HOSTILE).write_bytes((album / "03.png").read_bytes())
    (album / "empty.jpg").write_bytes(b"")
    (album / "folder.jpg").mkdir()
    return album
