"""Pages and the pictures inside them."""

import base64
import hashlib
import io
import re
from pathlib import Path

import jinja2
import numpy as np
import pytest
from PIL import Image

import results
from experiments.run.html import TEMPLATES, data_url, page
from results.pages import environment


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


def test_every_page_has_a_policy_that_names_its_own_script_and_no_other() -> None:
    found = environment(TEMPLATES)
    pages = {path.name for folder in (TEMPLATES, Path(results.__file__).parent) for path in folder.glob("*.html")}
    assert len(pages) >= 9
    for name in pages - {"base.html", "macros.html", "chart.html"}:
        source, parent = found.loader.get_source(found, name)[0], name
        while parent != "base.html":
            (parent,) = re.findall(r'^{% extends "(.+?)" %}', found.loader.get_source(found, parent)[0])
        assert "<script>" not in source and " onclick" not in source
        script = source.partition("{% block script %}")[2].partition("{% endblock %}")[0]
        assert set(re.findall("{{.*?}}", script)) <= {"{{ super() }}"}  # a value in a script would run as one
    text = page("boxes.html", name="a", pictures=[], run={"seed": 0, "weights": "</script>", "width": 32, "height": 32})
    policy = re.findall(r'<meta http-equiv="Content-Security-Policy" content="(.+?)">', text)
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert len(policy) == 1 and policy[0].startswith("default-src 'none'; img-src data:; ")
    assert f"script-src 'sha256-{digest}';" in policy[0] and text.index("<meta http") < text.index("<style>")
