"""HTML pages that are one file each: filled from `experiments/templates/`, with their pictures inside."""

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
    """The HTML that the template gives with these values.

    A template may extend those of `results` (`page.html`, `macros.html`). Texts are escaped. Raises
    jinja2.UndefinedError for a value that the template needs and does not get.
    """
    from results.pages import environment  # here: jinja2 and the library take time, and most commands write no page

    return environment(TEMPLATES).get_template(template).render(values)


def data_url(image: Image.Image) -> str:
    """The picture as the `src` of an `<img>`: PNG up to 64 pixels a side, JPEG of quality 90 above."""
    buffer = io.BytesIO()
    kind = "png" if max(image.size) <= LOSSLESS_SIDE else "jpeg"
    image.save(buffer, kind, quality=90)  # which PNG does not have
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
