"""Links and anchors of Markdown files and of a built site."""

import re
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

CODE = re.compile(r"```.*?```|`[^`\n]*`", re.S)


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.anchors |= {value for name in ("id", "name") if (value := given.get(name))}
        self.links += [value for name in ("href", "src") if (value := given.get(name))]


@cache
def _read(file: Path) -> _Page:
    page = _Page()
    page.feed(file.read_text())
    return page


def dead_links(site: Path) -> list[str]:
    """Return a line for each link of the site's pages whose file or anchor does not exist, or that loads from afar."""
    _read.cache_clear()
    return [line for file in sorted(site.rglob("*.html")) for line in _dead_in(file, site)]


def _dead_in(file: Path, site: Path) -> Iterator[str]:
    for link in _read(file).links:
        parts = urlsplit(link)
        target = file if not parts.path else file.parent / unquote(parts.path)
        if parts.scheme in ("https", "mailto", "data"):
            problem = "" if parts.scheme != "https" or parts.netloc else "no host"
        elif parts.scheme or parts.netloc:
            problem = f"scheme {parts.scheme!r}"
        elif not target.is_file():
            problem = "no such file"
        elif parts.fragment and target.suffix == ".html" and unquote(parts.fragment) not in _read(target).anchors:
            problem = "no such anchor"
        else:
            problem = ""
        if problem:
            yield f"{file.relative_to(site)}: {link}: {problem}"


def markdown_links(text: str) -> list[str]:
    """Return the targets of the links and pictures of a Markdown text, those inside code left out."""
    return re.findall(r"\]\(([^()\s]+)\)", CODE.sub("", text))


def markdown_anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a Markdown text."""
    headings = re.findall(r"^#+\s+(.+?)\s*$", re.sub(r"```.*?```", "", text, flags=re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
