"""Report, leaderboard and gallery in a browser: nothing fails or is asked for, they sort, fit and can be read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from experiments.deduplication import gallery
from experiments.deduplication.image_source import Source
from experiments.deduplication.methods import Found
from experiments.deduplication.outcome import Outcome
from experiments.deduplication.spec import DedupSpec
from experiments.report.page import render_report
from experiments.run.context import RESULTS

Opener = Callable[[Path], Any]
PHONE = 390
# the least contrast, by WCAG 2, of a text with what it stands on, over all elements with a text of their own
CONTRAST = """(() => {
  const brush = Object.assign(document.createElement("canvas"), {width: 1, height: 1}).getContext("2d");
  const known = {}, rgba = colour => known[colour] ??= (() => {
    brush.clearRect(0, 0, 1, 1);
    brush.fillStyle = colour;
    brush.fillRect(0, 0, 1, 1);
    return [...brush.getImageData(0, 0, 1, 1).data];
  })();
  const light = colour => {
    const [r, g, b] = rgba(colour).map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  document.documentElement.style.background = "Canvas"; // what the browser paints where nothing is said
  const under = e => rgba(getComputedStyle(e).backgroundColor)[3] === 255
    ? getComputedStyle(e).backgroundColor : under(e.parentElement);
  let least = [99, ""];
  for (const e of document.body.querySelectorAll("*")) {
    if (!e.checkVisibility() || ![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    const style = getComputedStyle(e), ink = e instanceof SVGElement ? style.fill : style.color;
    const [a, b] = [light(ink), light(under(e))];
    const contrast = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (contrast < least[0]) least = [contrast, e.tagName + " " + e.className + " " + e.textContent.slice(0, 40)];
  }
  return least;
})()"""


@pytest.fixture(scope="module")
def files(recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Name -> a page: the report on a few of the results, the committed leaderboard, a gallery of three groups."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "report.html").write_text(render_report(recorded))
    (folder / "gallery.html").write_text(a_gallery())
    made = {name: folder / f"{name}.html" for name in ("report", "gallery")}
    return made | {"leaderboard": RESULTS / "tables" / "leaderboard.html"}


def a_gallery() -> str:
    images = np.arange(10, 70, 10, np.uint8).repeat(8 * 8 * 3).reshape(6, 8, 8, 3)
    source = Source("photographs", "d", images, lambda index: Image.fromarray(images[index]))
    found = Found(np.arange(6).reshape(3, 2), np.full(3, 4.0), "bits")
    return gallery.page(Outcome(DedupSpec("phash"), source, None, found))


NAMES = ["report", "leaderboard", "gallery"]


def check_whole(tab: Any) -> None:
    """No error, no request, every picture there."""
    assert tab.errors() == []
    assert [url for url in tab.requests() if not url.startswith(("file:", "data:"))] == []
    assert tab.requests()[0] == tab.run("location.href")[:100]
    assert tab.run("[...document.images].filter(i => !(i.complete && i.naturalWidth)).map(i => i.alt)") == []


@pytest.mark.parametrize("name", NAMES)
def test_it_opens_from_disk_and_asks_for_nothing(name: str, files: dict[str, Path], page: Opener) -> None:
    check_whole(page(files[name]))


def test_the_report_on_all_results_opens(page: Opener, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(render_report(RESULTS))
    tab = page(tmp_path / "report.html")
    check_whole(tab)
    assert tab.run("document.images.length") >= len(list((RESULTS / "training").rglob("samples.png")))
    tab.width(PHONE)
    assert tab.run("document.documentElement.scrollWidth") <= PHONE


@pytest.mark.parametrize("name", NAMES)
def test_what_is_slipped_into_a_page_neither_runs_nor_asks(
    name: str, files: dict[str, Path], page: Opener, tmp_path: Path
) -> None:
    bad = "<script>document.title = 'ran'</script>"
    bad += """<img src="http://127.0.0.1:9/x.png" onerror="document.title = 'ran'">"""
    (tmp_path / "page.html").write_text(files[name].read_text().replace("<body>", f"<body>{bad}"))
    tab = page(tmp_path / "page.html")
    assert sum("Content Security Policy" in error for error in tab.errors()) >= 2
    assert tab.run("document.title") != "ran"


def test_an_error_and_a_request_would_be_seen(page: Opener, tmp_path: Path) -> None:
    file = tmp_path / "bad.html"
    file.write_text('<img src="http://127.0.0.1:9/x.png"><script>console.error("told"); undefined.x</script>')
    tab = page(file)
    assert len(tab.errors()) >= 2 and "http://127.0.0.1:9/x.png" in tab.requests()


@pytest.mark.parametrize("name", NAMES)
def test_a_phone_is_wide_enough(name: str, files: dict[str, Path], page: Opener) -> None:
    tab = page(files[name])
    tab.width(PHONE)
    tab.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert tab.run("document.documentElement.scrollWidth") <= PHONE
    # whatever is wider scrolls in a box of its own
    assert tab.run(
        "[...document.querySelectorAll('main > *')].every(e => e.getBoundingClientRect().right <= innerWidth)"
    )


@pytest.mark.parametrize("name", NAMES)
def test_texts_can_be_read_in_light_and_dark(name: str, files: dict[str, Path], page: Opener) -> None:
    tab = page(files[name])
    tab.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    for scheme, ground in (("light", "rgb(255, 255, 255)"), ("dark", "rgb(18, 18, 18)")):
        tab.scheme(scheme)
        contrast, where = tab.run(CONTRAST)
        assert contrast >= 4.5, where
        assert tab.run("getComputedStyle(document.documentElement).backgroundColor") == ground


def column(tab: Any, board: str, name: str) -> list[str]:
    """The texts of a column, from the top."""
    return tab.run(
        f"""(board => {{
          const at = [...board.querySelectorAll("thead th")].findIndex(h => h.textContent.trim() === "{name}");
          return [...board.querySelectorAll("tbody tr")].map(r => r.cells[at].textContent);
        }})(document.querySelector("{board}"))"""
    )


@pytest.mark.parametrize(("name", "board"), [("report", "#tables .board"), ("leaderboard", ".board")])
def test_tables_sort_by_click_and_by_key(name: str, board: str, files: dict[str, Path], page: Opener) -> None:
    tab = page(files[name])
    as_written = column(tab, board, "value")
    numbers = sorted((v for v in as_written if v), key=float)
    empty = [""] * as_written.count("")
    assert numbers != [v for v in as_written if v]
    value, method = (f"{board} thead th:nth-child({n})" for n in (4, 1))
    tab.click(f"{value} button")
    assert column(tab, board, "value") == numbers[::-1] + empty  # numbers begin with the greatest; what is empty last
    assert tab.run(f"document.querySelector('{value}').ariaSort") == "descending"
    tab.focus(f"{value} button")
    tab.press("Enter")
    assert column(tab, board, "value") == numbers + empty
    tab.focus(f"{method} button")
    tab.press(" ")
    assert column(tab, board, "method")[0] == min(column(tab, board, "method"), key=str.lower)
    assert tab.run(f"[...document.querySelectorAll('{board} [aria-sort]')].map(h => h.ariaSort)") == ["ascending"]


@pytest.mark.parametrize(("name", "board"), [("report", "#tables .board"), ("leaderboard", ".board")])
def test_a_protocol_is_chosen_with_the_keyboard(name: str, board: str, files: dict[str, Path], page: Opener) -> None:
    tab = page(files[name])
    tab.focus(f"{board} select")
    for key in "cifar":  # as a reader types: the first option that begins so
        tab.press(key)
    chosen = tab.run(f"document.querySelector('{board} select').value")
    shown = tab.run(f"[...document.querySelector('{board} tbody').rows].filter(r => r.checkVisibility()).length")
    assert chosen.startswith("cifar10/") and shown == column(tab, board, "protocol").count(chosen) > 0
    assert tab.run(f"document.querySelector('{board} output').textContent") == f"{shown} rows"
    assert tab.run(f"document.querySelector('{board} .what').textContent") != ""


def test_sections_are_reached_with_the_keyboard(files: dict[str, Path], page: Opener) -> None:
    tab = page(files["report"])
    tab.press("Tab")
    assert tab.run("document.activeElement.textContent") == "To the content"
    links = tab.run("[...document.querySelectorAll('nav a')].map(a => a.hash)")
    assert links[:2] == ["#tables", "#leaderboard"]
    for link in links:
        tab.press("Tab")
        assert tab.run("document.activeElement.hash") == link
        tab.press("Enter")
        bottom, top = tab.run(
            f"""[document.querySelector("nav").getBoundingClientRect().bottom,
                 document.querySelector("{link} h2").getBoundingClientRect().top]"""
        )
        assert bottom <= top + 1 <= 800  # the heading is not below the navigation
        tab.focus(f"nav a[href='{link}']")


def test_a_figure_leads_to_its_run(files: dict[str, Path], page: Opener) -> None:
    tab = page(files["report"])
    run = tab.run("document.querySelector('#tables td a').textContent")
    tab.click("#tables td a")
    assert tab.run("document.querySelector(':target').id") == f"run-{run}"
    assert run in tab.run("document.querySelector(':target').textContent")
    lead = "e => document.getElementById(decodeURIComponent(e.hash.slice(1)))"
    assert tab.run(f"[...document.links].filter(a => !({lead})(a)).map(a => a.hash)") == []


def judged(tab: Any) -> list[str]:
    return tab.run("[...document.querySelectorAll('section')].map(s => s.dataset.judged ?? '')")


def test_groups_are_judged_with_keys(files: dict[str, Path], page: Opener) -> None:
    tab = page(files["gallery"])
    tab.press("s")
    tab.press("n")
    assert judged(tab) == ["same", "false", ""]
    assert "2 of 3 judged, 1 not the same: 50.0 %" in tab.run("document.getElementById('tally').textContent")
    tab.press("u")
    assert judged(tab) == ["same", "", ""]
    tab.press("j")
    tab.press("n")
    assert judged(tab) == ["same", "", "false"]
    tab.press("k")
    tab.press("k")
    tab.press("k")
    tab.press("n")
    assert judged(tab) == ["false", "", "false"]
    tab.open(files["gallery"])
    assert judged(tab) == ["false", "", "false"] and tab.errors() == []  # the browser keeps them


def test_the_first_picture_stands_in_the_others_place_while_space_is_held(files: dict[str, Path], page: Opener) -> None:
    tab = page(files["gallery"])
    sources = "[...document.querySelector('section.current').querySelectorAll('img')].map(i => i.src)"
    first, other = tab.run(sources)
    tab.press(" ", held=True)
    assert tab.run(sources) == [first, first]
    tab.release(" ")
    assert tab.run(sources) == [first, other] and first != other
