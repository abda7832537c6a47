"""The report as a user makes it: what is on the page, what is left out, and how a damaged file is named."""

import base64
import csv
import html
import io
import os
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments import cli
from experiments.report.files import read_sheet
from experiments.report.origins import read_origins
from experiments.report.overview import overview
from experiments.report.page import LIMIT, SECTIONS, render_report
from experiments.report.words import settings_text
from experiments.run.context import RESULTS

VOID = {"meta", "img", "br", "input"}


class Outline(HTMLParser):
    """Ids, headings, pictures and folded parts of a page; `problems`: what is not well-formed, or has no text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.headings: list[str] = []
        self.pictures: list[str] = []
        self.problems: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.problems += [f"open: {tag}" for tag in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids += [str(found["id"])] if "id" in found else []
        if tag == "img":
            self.pictures.append(str(found.get("src")))
            self.problems += [] if found.get("alt") else ["a picture without a text"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("h2", "h3") and data.strip():
            self.headings.append(data.strip())


@pytest.fixture(scope="module")
def text(recorded: Path) -> str:
    """The page over `recorded`."""
    return render_report(recorded)


@pytest.fixture
def own(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `recorded` that a test may change; RUNS_ROOT is beside it."""
    folder = shutil.copytree(recorded, tmp_path / "results")
    monkeypatch.setenv("RUNS_ROOT", str(tmp_path / "runs"))
    return folder


def test_every_section_is_there_and_well_formed(text: str) -> None:
    page = Outline(text)
    assert page.problems == []
    assert len(page.ids) == len(set(page.ids))
    assert [name for name in page.ids if name in SECTIONS] == list(SECTIONS)
    assert {"mnist-32", "why", "trial", "Walks between random z: faces"} <= set(page.headings)
    assert len(page.pictures) == 5  # grid and animation of two runs, and the look's
    assert all(picture.startswith("data:image/") for picture in page.pictures)


def test_what_is_committed_fits_and_all_of_it_is_there() -> None:
    text = render_report(RESULTS)
    assert len(text.encode()) < LIMIT
    page = Outline(text)
    assert page.problems == [] and "Too large" not in text
    runs = [file.parent for file in (RESULTS / "training").rglob("training.json")]
    assert {run.name for run in runs} <= set(page.headings)
    epochs = [row for run in runs for row in csv.DictReader((run / "epochs.csv").read_text().splitlines())]
    warnings = sum(len(row["warning"].split(" | ")) for row in epochs if row["warning"])
    assert text.count("<dt>warning</dt>") == warnings > 0
    for table in ("cifar10", "svhn", "mnist", "leaderboard"):
        with open(RESULTS / "tables" / f"{table}.csv", newline="") as opened:
            rows = list(csv.DictReader(opened))
        joined = (f"{row['value']} ± {row['error_bar']}" if row["error_bar"] else row["value"] for row in rows)
        assert rows and all(f">{figure}<" in text for figure in joined if figure)
        runs_named = {row["provenance"] for row in rows if row["provenance"]}
        assert {f"run-{run}" for run in runs_named} <= set(page.ids)


def test_the_same_files_give_the_same_bytes(text: str, recorded: Path, tmp_path: Path) -> None:
    elsewhere = shutil.copytree(recorded, tmp_path / "other")
    for file in elsewhere.rglob("*"):
        os.utime(file, (1, 1))
    assert render_report(elsewhere) == text
    assert str(recorded) not in text


def test_reported_and_measured_rows_are_told_apart(text: str, recorded: Path) -> None:
    with open(recorded / "tables" / "cifar10.csv", newline="") as opened:
        sources = [row["source"] for row in csv.DictReader(opened) if row["protocol"] == "cifar10/full"]
    table = text[text.index("<h4>cifar10/full</h4>") :]
    kinds = re.findall(r'<tr class="(\w+)"', table[: table.index("</tbody>")])
    assert kinds.count("measured") == sources.count("measured") > 0
    assert kinds.count("reported") == len([s for s in sources if s.startswith("arXiv")]) > 0


def test_the_first_table_is_that_of_the_readme(recorded: Path) -> None:
    sheet = read_sheet(recorded / "tables" / "cifar10.csv")
    found = overview(sheet) if sheet else None
    assert found
    shown = [[row[name] for name in ("features", "accuracy", "mirrored", "apart")] for row in found.table.rows]
    lines = (RESULTS.parent / "README.md").read_text().replace("*", "").splitlines()
    told = [
        [cell.strip() for cell in line.split("|")[2:6]] for line in lines if line.endswith((" run |", " Table 1 |"))
    ]
    assert shown == told and len(told) == 9


def test_the_chart_has_every_network_with_its_interval_and_the_controls_apart(text: str, recorded: Path) -> None:
    sheet = read_sheet(recorded / "tables" / "cifar10.csv")
    found = overview(sheet) if sheet else None
    assert found
    networks, controls = found.groups
    measured = [row for row in sheet.rows if row["protocol"] == "cifar10/full" and row["source"] == "measured"]
    assert len(networks) + len(controls) == len(measured) + 1 and len(controls) == 4
    assert {mark.kind for mark in controls} == {"control"}
    assert [mark.value for mark in networks] == sorted((mark.value for mark in networks), reverse=True)
    (paper,) = [mark for mark in networks if mark.kind == "reported"]
    assert (paper.name, paper.text) == ("the paper's DCGAN", "82.8") and paper.low == paper.high
    best = next(mark for mark in networks if mark.name == "imagenet32-contrast")
    assert best.low == pytest.approx(83.28, abs=0.02) and best.high == pytest.approx(84.72, abs=0.02)
    assert found.at(found.ticks[0]) == "0.00%" and found.at(found.ticks[-1]) == "100.00%"
    chart = text[text.index('<div class="chart"') : text.index("</figure>")]
    assert all(f"<span>{html.escape(mark.name)}</span>" in chart.replace("&#39;", "&#x27;") for mark in found.marks)
    assert "imagenet32-contrast 84.01 (83.28 to 84.72)" in chart and "82.8 reported" in chart


def test_a_table_without_a_measured_row_has_no_chart(own: Path) -> None:
    file = own / "tables" / "cifar10.csv"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(line for line in lines if ",measured," not in line))
    page = Outline(render_report(own))
    assert "overview" not in page.ids and "tables" in page.ids and page.problems == []


def test_what_is_chosen_is_spelt_out(text: str) -> None:
    recipe = {"training": {"lr": 5e-4, "augment": ["translation"], "r1": 0.1, "rotation": 0.0}, "spectral_norm": True}
    assert settings_text(recipe) == "rate 5e-4, DiffAugment of translation, R1 penalty 0.1, spectral norm"
    assert "rate 2e-4, DiffAugment" in text and ">lr5<" not in text and ">aug<" not in text


def test_reliability_is_summed_up(text: str, recorded: Path) -> None:
    with open(recorded / "reliability" / "campaign.csv", newline="") as opened:
        cases = sum(int(row["cases"]) for row in csv.DictReader(opened))
    section = text[text.index('id="reliability"') :]
    assert f"{cases:,} damaged, hostile or interrupted cases" in section and "Failures: 1 changed." in section


def test_a_grid_is_shown_at_twice_its_size(text: str) -> None:
    assert 'class="pixels"' in text and 'width="128" height="128"' in text  # of 64 x 64


def test_texts_of_files_are_texts(text: str) -> None:
    assert "Faces turn &lt;smoothly&gt;." in text and "<smoothly>" not in text


def test_pictures_that_do_not_fit_are_named(text: str, recorded: Path) -> None:
    less = render_report(recorded, limit=len(text) - 1)
    assert len(less) < len(text) and less.count("data:image/webp") == text.count("data:image/webp") - 1 == 1
    assert "results/training/why/trial/samples.webp" in less and less.count("data:image/png") == 3
    least = render_report(recorded, limit=0)
    assert "data:image" not in least and "results/look/walk-faces/walk.png" in least
    assert Outline(least).problems == []


def test_a_large_png_stands_as_webp(own: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (512, 512), np.uint8)
    Image.fromarray(noise).save(own / "look" / "walk-faces" / "walk.png")
    page = Outline(render_report(own))
    picture = base64.b64decode(page.pictures[-1].removeprefix("data:image/webp;base64,"))
    shown = np.asarray(Image.open(io.BytesIO(picture)).convert("L"))
    assert len(picture) < (own / "look" / "walk-faces" / "walk.png").stat().st_size
    assert shown.shape == noise.shape and np.corrcoef(shown.ravel(), noise.ravel())[0, 1] > 0.98


def test_pairs_of_an_audit_are_shown(text: str, own: Path) -> None:
    before = len(Outline(text).pictures)
    Image.fromarray(np.full((8, 8), 90, np.uint8)).save(own / "leakage" / "a-in-b.png")
    page = Outline(render_report(own))
    assert len(page.pictures) == before + 1 and "a in b" in page.headings and page.problems == []


def test_a_pair_of_networks_has_its_provenance(own: Path) -> None:
    (own / "weights" / "pair").mkdir()
    shutil.copy(own / "training" / "mnist-32" / "training.json", own / "weights" / "pair")
    assert {"weights/pair", "weights/imagenet32-half"} <= {row["figure"] for row in read_origins(own)}
    assert "weights/pair" in render_report(own)


def test_looks_stand_in_the_papers_order_without_a_caption_below_their_words(own: Path) -> None:
    for kind in ("arithmetic", "turn", "memorised", "filters", "other"):
        (own / "look" / f"{kind}-faces").mkdir()
        shutil.copy(own / "look" / "walk-faces" / "walk.png", own / "look" / f"{kind}-faces" / f"{kind}.png")
    shutil.copy(own / "training" / "mnist-32" / "samples.webp", own / "look" / "walk-faces" / "walk.webp")
    text = render_report(own)
    section = text[text.index('id="look"') : text.index('id="duplicates"')]
    assert "6 looks: walk, filters, arithmetic, turn, memorised, other</span>" in section
    assert [found.partition(":")[0] for found in re.findall("<h3>(.*?)</h3>", section)] == [
        *("Walks between random z", "What maps respond to", "Arithmetic on z"),
        *("Turning along a vector", "Copies and variety", "Other"),
    ]
    assert "<figcaption" not in section and section.count('class="worded"') == 6
    assert section.count("<summary>Animation") == 1  # nothing moves before it is unfolded


def test_a_look_without_pictures_is_left_out(own: Path) -> None:
    (own / "look" / "sheet-alone").mkdir()
    (own / "look" / "sheet-alone" / "sheet.html").write_text("")
    assert "sheet-alone" not in render_report(own)


@pytest.mark.parametrize(
    ("section", "absent"),
    [
        ("look", ["look"]),
        ("training", ["training"]),
        ("curves", ["curves", "tables/mnist-curve.csv"]),
        ("duplicates", ["dedup", "leakage"]),
        ("leaderboard", ["tables/leaderboard.csv"]),
        ("reliability", ["reliability", "training/kills.csv"]),
    ],
)
def test_a_section_without_files_is_left_out_and_named(
    own: Path, section: str, absent: list[str], capsys: pytest.CaptureFixture
) -> None:
    for name in absent:
        path = own / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert cli.main(["report"], results=own) == 0
    told = capsys.readouterr()
    page = Outline(Path(told.out.strip()).read_text())
    assert section not in page.ids and page.problems == [] and "tables" in page.ids
    assert f"left out, since nothing is recorded: {SECTIONS[section]}" in told.err


def test_the_command_writes_it_where_it_is_told(
    text: str, own: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert cli.main(["report"], results=own) == 0
    file = tmp_path / "runs" / "report.html"
    assert capsys.readouterr().out == f"{file}\n"
    assert cli.main(["report", "--out", str(tmp_path / "new" / "page.html")], results=own) == 0
    assert (tmp_path / "new" / "page.html").read_bytes() == file.read_bytes() == text.encode()
    assert cli.main(["report", "--out", str(tmp_path)], results=own) == 2
    assert "is a folder; name a file" in capsys.readouterr().err.splitlines()[-1]


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize(
    ("name", "damage", "told"),
    [
        ("tables/cifar10.csv", lambda f: f.write_text("method,value\n"), "its first line must be method,protocol"),
        ("tables/svhn.csv", lambda f: f.write_bytes(f.read_bytes() + b"a,b\n"), "shorter"),
        ("tables/mnist-curve.csv", lambda f: f.write_text(f.read_text().replace("13.10", "x")), "convert string"),
        ("curves/imagenet32-half.csv", lambda f: f.write_bytes(b"\xff"), "utf-8"),
        ("training/mnist-32/training.json", cut, "line"),
        ("training/mnist-32/training.json", lambda f: f.write_text("[]"), "holds a list"),
        ("training/mnist-32/training.json", lambda f: f.write_text("{}"), "it has no 'recipe'"),
        ("training/mnist-32/epochs.csv", lambda f: f.write_text("a\n1\n"), "it has no 'warning'"),
        ("training/mnist-32/samples.png", cut, "truncated"),
        ("training/mnist-32/samples.webp", lambda f: f.write_text("<svg/>"), "cannot identify"),
        ("look/walk-faces/record.json", lambda f: f.write_text('{"command": 3}'), "look/walk-faces/record.json"),
        ("leakage/cifar10-test-in-cifar10-train.json", cut, "is not a leakage audit"),
        ("runs/mnist.jsonl", cut, "is not a run record"),
    ],
)
def test_a_damaged_file_is_named_in_one_line(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture, name: str, damage: Callable[[Path], object], told: str
) -> None:
    damage(own / name)
    assert cli.main(["report"], results=own) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert Path(name).stem in line and told in line, line
    assert not (tmp_path / "runs" / "report.html").exists()


def test_nothing_recorded_is_said(own: Path, capsys: pytest.CaptureFixture) -> None:
    shutil.rmtree(own)
    assert cli.main(["report"], results=own) == 1
    told = capsys.readouterr()
    (line,) = told.err.splitlines()
    assert told.out == "" and not (own.parent / "runs" / "report.html").exists()
    assert "nothing is recorded in" in line and "make cifar10-eval" in line
