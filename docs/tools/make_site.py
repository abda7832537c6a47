"""Build the documentation as a site: README, docs/, what they link to, and an API page for each library.

    python -m docs.tools.make_site [FOLDER]    # default: site/

Pages lie in the site where their sources lie in the repository, with README.md as index.html. Linked Markdown becomes a
page, a linked folder a list of its files, any other linked file a copy. The site needs no network. Exit code 1, with a
line each, if a link or an anchor leads nowhere.
"""

import importlib
import re
import shutil
import sys
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote, urlsplit

import pdoc.doc
import pdoc.render
import pygments.formatters
from markupsafe import Markup, escape
from pdoc.render_helpers import to_html

from docs.tools.docstrings import as_markdown
from docs.tools.links import dead_links
from docs.tools.notebook import notebook_markdown

ROOT = Path(__file__).parents[2]
TEMPLATES = Path(__file__).parent / "templates"
LIBRARIES = ("gan", "features", "evaluation", "dedup", "results", "experiments")
REFERENCE = re.compile(r'(<(?:a|img)\b[^>]*?\b(?:href|src)=")([^"]+)(")')


def main(arguments: list[str]) -> int:
    """Build the site into the folder named, or site/; return the exit code."""
    site = Path(arguments[0] if arguments else "site")
    build(site)
    dead = dead_links(site)
    print("\n".join(dead) or f"written to {site / 'index.html'}", file=sys.stderr if dead else sys.stdout)
    return 1 if dead else 0


def build(site: Path) -> None:
    """Write all pages into the folder `site`, which is emptied first if an earlier build made it. Else ValueError."""
    if site.exists() and any(site.iterdir()) and not (site / "search.js").is_file():
        raise ValueError(f"{site} holds other files than an earlier site; name another folder")
    shutil.rmtree(site, ignore_errors=True)
    sources = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs").glob("*.ipynb"))]
    _configure([(_title(file), _place(file)) for file in sources])
    waiting, done = list(sources), set[Path]()
    while waiting:
        source = waiting.pop()
        if source not in done:
            done.add(source)
            waiting += _write_page(source, site)
    _write_api(site)


def _configure(pages: list[tuple[str, PurePosixPath]]) -> None:
    pdoc.render.configure(docformat="markdown", template_directory=TEMPLATES, show_source=True)
    environment = pdoc.render.env
    dark = pygments.formatters.HtmlFormatter(style="github-dark").get_style_defs(".pdoc-code")
    environment.globals |= {"pages": pages, "libraries": LIBRARIES, "dark_code": Markup(dark)}
    environment.filters["to_markdown"] = as_markdown


def _place(source: Path) -> PurePosixPath:
    """Return where in the site a source or folder of the repository lies."""
    path = PurePosixPath(source.relative_to(ROOT))
    if source.is_dir():
        return path / "index.html"
    if path == PurePosixPath("README.md"):
        return PurePosixPath("index.html")
    return path.with_suffix(".html") if path.suffix in (".md", ".ipynb") else path


def _write_page(source: Path, site: Path) -> list[Path]:
    """Write the page of a source; return the sources that it links to."""
    place = _place(source)
    target = site / place
    target.parent.mkdir(parents=True, exist_ok=True)
    if (source.is_file() and target.suffix != ".html") or source.suffix == ".html":
        shutil.copyfile(source, target)
        return []
    linked: list[Path] = []

    def lead(match: re.Match[str]) -> str:
        begin, url, end = match.groups()
        parts = urlsplit(url)
        named = (source if source.is_dir() else source.parent) / unquote(parts.path)
        if parts.scheme or not parts.path or not named.exists():  # the check of the site finds what does not exist
            return match[0]
        linked.append(named.resolve())
        up = "../" * (len(place.parts) - 1)
        return f"{begin}{up}{quote(str(_place(linked[-1])))}{'#' * bool(parts.fragment)}{parts.fragment}{end}"

    html = to_html(_markdown(source))
    content, contents = REFERENCE.sub(lead, html), getattr(html, "toc_html", "") or ""
    template = pdoc.render.env.get_template("page.html.jinja2")
    up = "../" * (len(place.parts) - 1)
    page = template.render(title=_title(source), content=Markup(content), contents=Markup(contents), up=up)
    target.write_text(page)
    return linked


def _markdown(source: Path) -> str:
    if source.is_dir():
        names = sorted(f"{path.name}{'/' * path.is_dir()}" for path in source.iterdir() if path.name[0] not in "._")
        return "\n".join([f"# {_title(source)}", "", *(f"- [{escape(name)}]({quote(name)})" for name in names)])
    return notebook_markdown(source) if source.suffix == ".ipynb" else source.read_text()


def _title(source: Path) -> str:
    if source.is_dir():
        return str(source.relative_to(ROOT))
    heading = re.search(r"^#\s+(.+)$", _markdown(source), re.M)
    return re.split(r":\s", heading[1])[0] if heading else source.stem


def _write_api(site: Path) -> None:
    """Write the page of every library: the names that it makes public."""
    libraries = {name: importlib.import_module(name) for name in LIBRARIES}
    for library in libraries.values():  # pdoc sees a name that is imported when it is first used only afterwards
        vars(library).update({name: getattr(library, name) for name in library.__all__})
    modules = {name: pdoc.doc.Module(library) for name, library in libraries.items()}
    for name, module in modules.items():
        (site / f"{name}.html").write_text(pdoc.render.html_module(module, modules))
    (site / "search.js").write_text(pdoc.render.search_index(modules))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
