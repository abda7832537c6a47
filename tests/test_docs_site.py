"""The site that `make docs` builds, and the links of the Markdown files that it is made of."""

import warnings
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from docs.tools import make_site
from docs.tools.docstrings import as_markdown
from docs.tools.links import dead_links, markdown_anchors, markdown_links
from tests.printed import PAGES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    for link in markdown_links(page.read_text()):
        parts = urlsplit(link)
        if parts.scheme:
            assert parts.scheme == "https" and "." in parts.netloc, link
            continue
        target = page.parent / parts.path if parts.path else page
        assert target.exists(), link
        if parts.fragment:
            assert parts.fragment in markdown_anchors(target.read_text()), link


def test_every_page_is_linked_from_the_readme_or_from_a_page_that_is() -> None:
    reached, waiting = set(), [PAGES[0]]
    while waiting:
        page = waiting.pop()
        if page not in reached:
            reached.add(page)
            waiting += [
                (page.parent / link.partition("#")[0]).resolve()
                for link in markdown_links(page.read_text())
                if link.partition("#")[0].endswith(".md") and "://" not in link
            ]
    assert set(PAGES) <= reached


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_or_a_dead_link(tmp_path: Path) -> None:
    site = tmp_path / "site"
    with warnings.catch_warnings(action="error"):
        assert make_site.main([str(site)]) == 0
    assert {"index.html", "search.js", *(f"{name}.html" for name in make_site.LIBRARIES)} <= set(
        path.name for path in site.iterdir()
    )
    assert 'id="Backbone.from_model"' in (site / "features.html").read_text()
    assert "data:image/png" in (site / "docs/tutorial.html").read_text()
    index = (site / "index.html").read_text()
    assert "docs/training.html" in index and "results/tables/cifar10.html" in index
    (site / "index.html").write_text(
        index + '<a href="gone.html">x</a><a href="gan.html#gone">x</a><script src="//cdn.example/x.js"></script>'
    )
    assert dead_links(site) == [
        "index.html: gone.html: no such file",
        "index.html: gan.html#gone: no such anchor",
        "index.html: //cdn.example/x.js: scheme ''",
    ]


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(ValueError, match="name another folder"):
        make_site.build(tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "kept"


def test_docstrings_become_lists_paragraphs_and_examples() -> None:
    docstring = """Do it.

        images: uint8 [n, *shape] < 256.
        device: `cpu`.
        Raises ValueError.

        >>> do([1])
        [1]
        """
    assert as_markdown(docstring) == (
        "Do it.\n\n- **images**: uint8 \\[n, \\*shape\\] &lt; 256.\n- **device**: `cpu`.\n\nRaises ValueError.\n\n"
        "```python\n>>> do([1])\n[1]\n```"
    )
