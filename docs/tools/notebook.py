"""A notebook as Markdown, with its outputs."""

import json
import re
from pathlib import Path


def notebook_markdown(file: Path) -> str:
    """Return cells and outputs of a notebook: text in code blocks, pictures (PNG) as data in the page."""
    blocks: list[str] = []
    for cell in json.loads(file.read_text())["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            blocks.append(source)
        else:
            blocks.append(f"```python\n{source}\n```")
            blocks += filter(None, map(_output, cell["outputs"]))
    return "\n\n".join(blocks)


def _output(output: dict) -> str:
    data = output.get("data", {})
    if "image/png" in data:
        picture = re.sub(r"\s", "", "".join(data["image/png"]))
        return f'<p><img alt="what the cell draws" src="data:image/png;base64,{picture}"></p>'
    text = "".join(output.get("text") or data.get("text/plain") or output.get("traceback", ""))
    return f"```text\n{text.rstrip()}\n```" if text.strip() else ""
