"""What README.md and docs/*.md print: blocks of commands, programs, links."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NO_COMMANDS = {"python", "json", "text", "bash", "console"}  # what a block in a language is that this test does not run


def blocks(page: Path) -> list[tuple[str, str]]:
    """The fenced blocks of a page: (language, text)."""
    return re.findall(r"^ *```(\w*)\n(.*?)^ *```", page.read_text(), re.S | re.M)


def commands(page: Path) -> list[str]:
    """The commands of a page's blocks as printed, comments left out; of `a && b` both. Lines that end in \\ go on."""
    lines = "\n".join(text for language, text in blocks(page) if language not in NO_COMMANDS)
    found = [re.split(r"\s+#|^#", line)[0] for line in lines.replace("\\\n", " ").splitlines()]
    return [" ".join(part.split()) for line in found for part in line.split(" && ") if part.strip()]


def words(command: str) -> list[str]:
    """A command's words, as a shell would split them, with ~ for the home."""
    return [str(Path(word).expanduser()) if word.startswith("~") else word for word in shlex.split(command)]
