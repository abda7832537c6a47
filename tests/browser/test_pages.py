"""Every kind of page in a browser: nothing fails or is asked for, tables sort, all fits and can be read."""

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
from experiments.look.pages import PAGES
from experiments.look.sheet import SHARE
from experiments.report.page import render_report
from experiments.run import html
from experiments.run.context import RESULTS
from experiments.run.html import data_url
from results.pages import environment
from results.views import View

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
    """Name -> a page: the report on a few of the results, the committed leaderboard, a gallery of three groups, and the
    two pages on which samples are marked."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "report.html").write_text(render_report(recorded))
    (folder / "gallery.html").write_text(a_gallery())
    for file in PAGES.values():
        image = data_url(Image.fromarray(np.full((64, 64, 3), 90, np.uint8)))
        run = {"seed": 0, "weights": "0" * 64, "width": 64, "height": 64}
        (folder / file).write_text(html.page(file, name="a-network-of-a-long-name", pictures=[image] * 12, run=run))
    made = {name: folder / f"{name}.html" for name in ("report", "gallery", "sheet", "boxes")}
    return made | {"leaderboard": RESULTS / "tables" / "leaderboard.html"}


def a_gallery() -> str:
    images = np.arange(10, 70, 10, np.uint8).repeat(8 * 8 * 3).reshape(6, 8, 8, 3)
    source = Source("photographs", "d", images, lambda index: Image.fromarray(images[index]))
    found = Found(np.arange(6).reshape(3, 2), np.full(3, 4.0), "bits")
    return gallery.page(Outcome(DedupSpec("phash"), source, None, found))


NAMES = ["report", "leaderboard", "gallery", "sheet", "boxes"]


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
    shown = [*(RESULTS / "training").rglob("samples.*"), *(RESULTS / "look").rglob("*.png")]
    assert tab.run("document.images.length") >= len(shown)
    assert tab.run("performance.getEntriesByType('paint')[0].startTime") < 5_000  # ms, of a busy machine
    for width in (1280, PHONE):
        tab.width(width)
        check_width(tab)


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


def check_width(tab: Any) -> None:
    """The page does not scroll sideways, whatever is unfolded: what is wider scrolls in a frame of its own."""
    tab.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert tab.run("document.scrollingElement.scrollWidth <= innerWidth")
    wide = "[...document.querySelectorAll('main table, main img, main svg, pre')]"
    assert (
        tab.run(
            f"{wide}.filter(e => (e.closest('.wide, .worded') ?? e).getBoundingClientRect().right > innerWidth).length"
        )
        == 0
    )


@pytest.mark.parametrize("width", [1280, PHONE])
@pytest.mark.parametrize("name", NAMES)
def test_a_page_never_scrolls_sideways(name: str, width: int, files: dict[str, Path], page: Opener) -> None:
    tab = page(files[name])
    tab.width(width)
    check_width(tab)


def test_the_frame_of_a_table_scrolls_instead(files: dict[str, Path], page: Opener) -> None:
    tab = page(files["report"])
    tab.width(PHONE)
    frame = "document.querySelector('#overview .wide')"
    assert tab.run(f"{frame}.scrollWidth > {frame}.clientWidth")
    first = f"{frame}.querySelector('tbody th').getBoundingClientRect().left"
    before = tab.run(first)
    tab.run(f"{frame}.scrollLeft = 150")
    assert tab.run(f"{frame}.scrollLeft") == 150 and tab.run(first) == before  # the name of the row stays in sight
    assert tab.run("scrollX") == 0


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (PHONE, 844)])
def test_the_first_screen_holds_the_chart_and_the_top_of_the_table(
    width: int, height: int, files: dict[str, Path], page: Opener
) -> None:
    tab = page(files["report"])
    tab.width(width)  # the same layout, whatever the height
    chart, head, row = tab.run(
        """[...document.querySelectorAll(".chart, #overview thead, #overview tbody tr")].slice(0, 3)
             .map(e => e.getBoundingClientRect().toJSON())"""
    )
    assert 0 < chart["top"] < chart["bottom"] < head["top"] and chart["left"] >= 0 and chart["right"] <= width
    assert head["bottom"] <= row["top"] + 1 < height
    texts = tab.run("[...document.querySelectorAll('.chart text')].map(e => e.getBoundingClientRect().toJSON())")
    assert len(texts) > 10 and all(0 <= box["left"] < box["right"] <= width for box in texts)
    assert all(box["height"] >= 14 for box in texts)  # read, not guessed


def test_words_in_pictures_are_legible_on_a_phone(files: dict[str, Path], page: Opener) -> None:
    tab = page(files["report"])
    tab.width(PHONE)
    tab.run("document.getElementById('look').open = true")
    picture, frame = tab.run(
        """[...document.querySelectorAll("#look .worded img, #look .worded")].map(e => e.getBoundingClientRect().width)
             .sort((a, b) => b - a).slice(0, 2)"""
    )
    assert (
        frame <= PHONE < picture and picture / SHARE >= 12 and tab.run("document.scrollingElement.scrollWidth") <= PHONE
    )


def test_the_points_of_numbers_stand_below_one_another(files: dict[str, Path], page: Opener) -> None:
    tab = page(files["report"])
    cells = tab.run(
        """[...document.querySelectorAll("#overview td[data-column=accuracy]")].map(cell => {
             const range = document.createRange(), text = cell.firstChild, at = text.data.indexOf(".");
             range.setStart(text, at);
             range.setEnd(text, at + 1);
             return [text.data, range.getBoundingClientRect().left];
           })"""
    )
    assert ["82.8", "84.01"] == [text for text, _ in cells[:2]]
    assert max(left for _, left in cells) - min(left for _, left in cells) < 0.5


def test_the_chart_puts_each_figure_at_its_place(files: dict[str, Path], page: Opener) -> None:
    tab = page(files["report"])
    points = tab.run(
        """[...document.querySelectorAll(".chart .row:has(circle)")].map(row => [
             row.querySelector("text").textContent, row.querySelector("circle").getBoundingClientRect(),
             row.querySelector("line")?.getBoundingClientRect(), row.className,
           ]).map(([text, c, l, kind]) => [parseFloat(text), c.x + c.width / 2, l && [l.x, l.right], kind])"""
    )
    ticks = tab.run(
        """[...document.querySelectorAll(".chart .row:last-child text")].map(
             t => [parseFloat(t.textContent), t.getBoundingClientRect()]).map(([v, b]) => [v, b.x + b.width / 2])"""
    )
    (low, left), (at, place) = ticks[0], ticks[1]
    scale = (place - left) / (at - low)
    for value, x, interval, kind in points:
        assert abs(left + (value - low) * scale - x) < 1.5, value
        assert (interval is None) == ("reported" in kind)
        assert interval is None or interval[0] < x < interval[1]
    assert len(points) >= 9


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
        }})({board})"""
    )


@pytest.mark.parametrize("name", ["report", "leaderboard"])
def test_tables_sort_by_click_and_by_key(name: str, files: dict[str, Path], page: Opener) -> None:
    tab = page(files[name])
    tab.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    tab.run("document.querySelector('[aria-label=\"cifar10/400-per-class\"]').id = 'board'")
    board, heading = "document.getElementById('board')", "accuracy\u00a0%"
    as_written = column(tab, board, heading)
    by_value = sorted(as_written, key=lambda text: float(text.partition(" ")[0]))
    assert len(as_written) >= 8 and all(" ± " in text for text in as_written)
    place = tab.run(
        f"[...{board}.querySelectorAll('thead th')].findIndex(h => h.textContent.trim() === '{heading}') + 1"
    )
    button = f"#board thead th:nth-child({place}) button"
    glyph = f"getComputedStyle(document.querySelector('{button}'), '::after').content"
    unsorted = tab.run(glyph)
    assert "\u2195" in unsorted and tab.run(f"getComputedStyle(document.querySelector('{button}')).cursor") == "pointer"
    tab.click(button)
    assert column(tab, board, heading) == by_value[::-1] and "\u2193" in tab.run(glyph)
    tab.focus(button)
    tab.press("Enter")
    assert column(tab, board, heading) == by_value and "\u2191" in tab.run(glyph)
    tab.focus("#board thead th:first-child button")
    tab.press(" ")
    methods = column(tab, board, "method")
    assert methods[0] == min(methods, key=str.lower) and tab.run(glyph) == unsorted
    assert tab.run(f"[...{board}.querySelectorAll('[aria-sort]')].map(h => h.ariaSort)") == ["ascending"]


def test_numbers_sort_by_value_and_what_is_empty_stays_last(page: Opener, tmp_path: Path) -> None:
    names = ["19.5 ± 1.2", "10,000", "\N{MINUS SIGN}4.26 (\N{MINUS SIGN}4.95 to \N{MINUS SIGN}3.56)", "", "4.4e-33"]
    found = View((), {"n": "n", "v": "v"}, frozenset("v"), [{"n": str(i), "v": text} for i, text in enumerate(names)])
    (tmp_path / "page.html").write_text(
        environment()
        .from_string(
            "{% extends 'page.html' %}{% from 'macros.html' import board %}"
            "{% block body %}{{ board('a', it) }}{% endblock %}"
        )
        .render(title="a", it=found)
    )
    tab = page(tmp_path / "page.html")
    tab.click("th:nth-child(2) button")
    assert column(tab, "document", "v") == [names[i] for i in (1, 0, 4, 2, 3)]
    tab.click("th:nth-child(2) button")
    assert column(tab, "document", "v") == [names[i] for i in (2, 4, 0, 1, 3)]


def test_sections_fold_by_click_and_by_key(files: dict[str, Path], page: Opener) -> None:
    tab = page(files["report"])
    sections = tab.run("[...document.querySelectorAll('details.section')].map(d => d.id)")
    assert len(sections) == 8 and tab.run("document.querySelectorAll('details[open]').length") == 0
    seen = "document.querySelector('#tables table').checkVisibility()"
    assert not tab.run(seen)
    tab.click("#tables > summary")
    assert tab.run(seen) and tab.run("document.querySelectorAll('details[open]').length") == 1
    for _ in range(2):  # a link opens what was folded since the last click on it, too
        tab.focus("#tables > summary")
        tab.press("Enter")
        assert not tab.run(seen)
        tab.click("nav a[href='#tables']")
        assert tab.run(seen)


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
        assert tab.run(f"document.querySelector('{link}').open")
        bottom, top = tab.run(
            f"""[document.querySelector("nav").getBoundingClientRect().bottom,
                 document.querySelector("{link} h2").getBoundingClientRect().top]"""
        )
        assert bottom <= top + 1 <= 800  # the heading is not below the navigation
        tab.focus(f"nav a[href='{link}']")


def test_a_figure_leads_to_its_run_and_a_citation_to_its_paper(files: dict[str, Path], page: Opener) -> None:
    tab = page(files["report"])
    hashes = tab.run("[...document.querySelectorAll('#overview td a')].map(a => a.getAttribute('href'))")
    assert hashes[0] == "https://arxiv.org/abs/1511.06434" and all(h.startswith("#run-") for h in hashes[1:])
    tab.click("#overview tbody tr:nth-child(2) td a")
    assert tab.run("document.querySelector(':target').id") == hashes[1][1:]
    assert tab.run("document.querySelector('#provenance').open && document.querySelector(':target').checkVisibility()")
    assert hashes[1].removeprefix("#run-") in tab.run("document.querySelector(':target').textContent")
    outside = tab.run("[...document.links].map(a => a.getAttribute('href')).filter(h => !h.startsWith('#'))")
    assert len(outside) > 20 and all(href.startswith("https://") for href in outside)
    lead = "a => document.getElementById(decodeURIComponent(a.hash.slice(1)))"
    assert tab.run(f"[...document.links].filter(a => a.protocol === 'file:' && !({lead})(a)).map(a => a.hash)") == []


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


def test_what_a_picture_is_stands_before_a_name_however_long(
    files: dict[str, Path], page: Opener, tmp_path: Path
) -> None:
    (tmp_path / "gallery.html").write_text(
        files["gallery"].read_text().replace("<small>1</small>", f"<small>{'1-' * 200}</small>")
    )
    tab = page(tmp_path / "gallery.html")
    tab.width(PHONE)
    caption, shown, hidden = tab.run(
        """(caption => [caption.firstChild.data, caption.scrollHeight <= caption.clientHeight,
             caption.lastElementChild.scrollHeight > caption.lastElementChild.clientHeight])(
             document.querySelectorAll("figcaption")[1])"""
    )
    assert caption == "removed, 4 bits" and shown and hidden
    check_width(tab)
