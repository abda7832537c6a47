"""HTML pages, each in one file: filled from `experiments/templates/`, with their pictures inside."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

TEMPLATES = Path(__file__).parents[1] / "templates"
LOSSLESS_SIDE = 64  # pixels; a larger picture is compressed with loss


def page(template: str, **values: Any) -> str:
    """Return the HTML of the template, filled with these values.

    A template may extend those of `results` (`page.html`, `macros.html`). Texts are escaped. Raises
    jinja2.UndefinedError if a value that the template needs is not given.
    """
    from results.pages import environment  # here: jinja2 and the library take time, and most commands write no page

    return environment(TEMPLATES).get_template(template).render(values)


def data_url(image: Image.Image) -> str:
    """Return the picture as the `src` of an `<img>`: PNG up to 64 pixels a side, larger ones JPEG of quality 90."""
    buffer = io.BytesIO()
    kind = "png" if max(image.size) <= LOSSLESS_SIDE else "jpeg"
    image.save(buffer, kind, quality=90)  # PNG ignores the quality
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
