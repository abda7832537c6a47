"""Docstrings as this project writes them, as Markdown: fields are `name: what it is`, one fact or field a line."""

import inspect
import re

WIDTH = 120 - 8  # of a line of a docstring, without the indentation of a method
FIELD = re.compile(r"^(\*{0,2}\w+(?:, \*{0,2}\w+)*): (?=\S)")
BEGINS = re.compile(rf"{FIELD.pattern}|^(Returns|Raises|Yields) ")
SPECIAL = re.compile(r"(`[^`]*`)|([*<#|\[\]])")


def as_markdown(docstring: str, *context: object) -> str:
    """Turn fields into list items, other lines that end early into paragraphs, examples into code blocks."""
    summary, _, rest = inspect.cleandoc(docstring).partition("\n\n")
    blocks = [_escaped(" ".join(summary.split()))]
    for paragraph in re.split(r"\n\s*\n", rest):
        lines = paragraph.splitlines()
        if lines and lines[0].lstrip().startswith(">>>"):
            blocks.append("```python\n" + "\n".join(lines) + "\n```")
        elif lines and all(line.startswith("  ") for line in lines):
            blocks.append("```\n" + inspect.cleandoc(paragraph) + "\n```")
        else:
            blocks += map(_block, _joined(lines))
    return re.sub(r"(?m)^(- .*)\n\n(?=- )", r"\1\n", "\n\n".join(blocks))


def _joined(lines: list[str]) -> list[str]:
    """Join lines that were wrapped: indented ones, and those whose first word would not have fitted before."""
    joined: list[str] = []
    for before, line in zip(["", *lines], lines, strict=False):
        first = line.split()[0]
        wrapped = len(before) + 1 + len(first) > WIDTH and not BEGINS.match(line)
        if joined and (wrapped or line.startswith("  ")):
            joined[-1] += " " + line.strip()
        else:
            joined.append(line)
    return joined


def _block(text: str) -> str:
    field = FIELD.match(text)
    return f"- **{_escaped(field[1])}**: {_escaped(text[field.end() :])}" if field else _escaped(text)


def _escaped(text: str) -> str:
    """Escape what Markdown and HTML would read as markup, outside code."""
    return SPECIAL.sub(lambda match: match[1] or {"<": "&lt;"}.get(match[2], "\\" + match[2]), text)
