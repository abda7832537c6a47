"""Pages and the pictures inside them."""

import base64
import io

import jinja2
import numpy as np
import pytest
from PIL import Image

from experiments.run.html import data_url, page


def test_a_page_escapes_its_texts_and_needs_all_its_values() -> None:
    values = {"name": "<b>", "pictures": [], "run": {"seed": 0, "weights": "ab", "width": 32, "height": 32}}
    text = page("boxes.html", **values)
    assert "&lt;b&gt;" in text and "<b>" not in text
    with pytest.raises(jinja2.UndefinedError, match="pictures"):
        page("boxes.html", name="a", run=values["run"])


@pytest.mark.parametrize(("side", "kind"), [(64, "png"), (65, "jpeg")])
def test_a_small_picture_is_kept_exactly_and_a_large_one_is_near(side: int, kind: str) -> None:
    pixels = np.linspace(0, 255, side * side).reshape(side, side).astype(np.uint8)
    head, text = data_url(Image.fromarray(pixels)).split(",")
    assert head == f"data:image/{kind};base64"
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))).astype(int)
    assert np.abs(shown - pixels).max() <= (0 if kind == "png" else 4)
