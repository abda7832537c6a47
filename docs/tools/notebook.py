"""Run a notebook, and read it as Markdown with its outputs.

python -m docs.tools.notebook    # docs/tutorial.ipynb with outputs of now; needs CIFAR-10, as data.md says
"""

import json
import os
import re
import tempfile
from pathlib import Path

TUTORIAL = Path(__file__).parents[1] / "tutorial.ipynb"


def executed(file: Path, folder: Path) -> str:
    """Run all cells in a new kernel, whose current folder is `folder`; return the notebook with their outputs, as JSON.

    Raises nbclient's CellExecutionError for the first cell that fails.
    """
    import nbformat
    from nbclient import NotebookClient
    from traitlets.config import Config

    notebook = nbformat.read(file, as_version=4)
    ours = os.environ | {"PYTHONPATH": str(TUTORIAL.parents[1])}
    where = {"metadata": {"path": str(folder)}}
    with tempfile.TemporaryDirectory() as sockets:  # files, which other users of the machine cannot read
        local = {"transport": "ipc", "ip": f"{sockets}/kernel", "connection_file": f"{sockets}/kernel.json"}
        config = Config({"KernelManager": local})
        NotebookClient(notebook, timeout=600, resources=where, record_timing=False, config=config).execute(env=ours)
    notebook.metadata.language_info = {"name": "python"}
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


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
    text = "".join(output.get("text") or data.get("text/plain") or "")
    return f"```text\n{text.rstrip()}\n```" if text.strip() else ""


if __name__ == "__main__":
    TUTORIAL.write_text(executed(TUTORIAL, TUTORIAL.parents[1]))
