"""The report's articles: training runs, looks at networks, and pairs of near-duplicates, each with its pictures."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.report.curves import Plot, plot_losses
from experiments.report.files import KINDS, Picture, Sheet, read_json, read_picture, read_sheet, read_sheets, reading
from experiments.report.origins import hardware_text
from experiments.report.words import settings_text
from experiments.training.files import SUMMARY

LOOKS = {  # kind of a look -> its heading, in the paper's order
    "walk": "Walks between random z",
    "filters": "What maps respond to",
    "forget": "Forgetting an object",
    "arithmetic": "Arithmetic on z",
    "turn": "Turning along a vector",
    "memorised": "Copies and variety",
}
ALTS = {  # what the pictures of a look show; each picture has its own words
    "walk": "each row goes from one z to the next",
    "arithmetic": "exemplars of A, B and C in rows; their mean z; A - B + C with noise around it; that sum on pixels",
    "turn": "the first row goes from one mean to the other; below, new samples move along the same vector",
    "filters": "images above their gradients; left: the network as given; right: freshly initialised",
    "boxed": "samples with boxes: as drawn, without the maps that respond to the object, without as many random maps",
    "new": "samples without boxes: as drawn, without the maps that respond to the object, without as many random maps",
    "samples": "one row for each generator, in the order of the table",
}
# how the cases of the reliability study end
ENDS, FAILURES = (
    ("refused", "answered no", "accepted", "unchanged"),
    ("traceback", "hang", "executed", "changed", "lost", "unexplained"),
)


@dataclass(frozen=True)
class Article:
    """What the page shows of one run, look or audit. name: its folder. title: in words. facts: (name, text) pairs."""

    name: str
    pictures: Sequence[Picture]
    title: str = ""
    text: str = ""
    facts: Sequence[tuple[str, str]] = ()
    sheets: Sequence[Sheet] = ()
    plot: Plot | None = None
    animation: Picture | None = None


def read_training_runs(folder: Path) -> Iterator[Article]:
    """Yield the training runs below a folder, each named by its path from there."""
    for file in sorted(folder.rglob(SUMMARY)):
        yield _training_run(file.parent, file.parent.relative_to(folder).as_posix())


def read_looks(folder: Path) -> Iterator[Article]:
    """Yield the looks in a folder, those of one kind one after another; a look without a picture is left out."""
    kinds = list(LOOKS)
    paths = {path: _kind_and_network(path)[0] for path in sorted(folder.glob("*/"))}
    for path in sorted(paths, key=lambda path: kinds.index(paths[path]) if paths[path] in kinds else len(kinds)):
        files = [file for kind in KINDS for file in sorted(path.glob(f"*.{kind}"))]
        found = [read_picture(file, ALTS.get(file.stem, file.stem)) for file in files]
        if pictures := [picture for picture in found if picture]:
            yield _look(path, pictures)


def read_audit_pairs(folder: Path) -> Iterator[Article]:
    """Yield the pictures in the folder of the leakage audits."""
    for file in sorted(folder.glob("*.png")):
        if picture := read_picture(file, "pairs, from the farthest apart to the nearest"):
            yield Article(file.stem, [picture], file.stem.replace("-in-", " in "))


def read_reliability(folder: Path) -> tuple[str, list[Sheet]] | None:
    """Return what the campaign of damaged and hostile inputs found, and the tables behind it; None without any."""
    file, kills = folder / "reliability" / "campaign.csv", read_sheet(folder / "training" / "kills.csv")
    campaign, text = read_sheet(file), ""
    if campaign:
        with reading(file):
            of = {name: sum(int(row[name]) for row in campaign.rows) for name in ("cases", *ENDS, *FAILURES)}
            ends = ", ".join(f"{of[name]:,} {name}" for name in ENDS)
            failed = ", ".join(f"{of[name]} {name}" for name in FAILURES if of[name]) or "none"
            text = f"{of['cases']:,} damaged, hostile or interrupted cases: {ends}. Failures: {failed}."
    sheets = [sheet for sheet in (campaign, kills) if sheet]
    return (text, sheets) if sheets else None


def _training_run(folder: Path, name: str) -> Article:
    made, epochs = read_json(folder / SUMMARY), read_sheet(folder / "epochs.csv", "Numbers")
    with reading(folder / SUMMARY):
        recipe, data, seen = made["recipe"], made["data"], made["images_seen"]
        width = f", width {recipe['width']}" if recipe["width"] else ""
        facts = [
            ("recipe", f"{recipe['name']}: {recipe['preset']}{width}, batches of {recipe['training']['batch_size']}"),
            ("settings", settings_text(recipe)),
            ("trained on", f"{data['name']}, {data['kept']:,} of {data['images']:,} images"),
            ("images seen", f"{seen:,}, {seen / data['kept']:.1f} passes"),
            ("took", f"{made['seconds'] / 60:.0f} minutes, {made['images_per_second']:.0f} images a second"),
            ("hardware", hardware_text(made["hardware"])),
            ("command", shlex.join(made["command"])),
        ]
    plot = None
    if epochs:
        with reading(folder / "epochs.csv"):
            facts += [("warning", text) for row in epochs.rows for text in row["warning"].split(" | ") if text]
            plot = plot_losses(name, epochs)
    samples = read_picture(folder / "samples.png", f"samples of {name} after {seen:,} images")
    movie = read_picture(folder / "samples.webp", f"samples from fixed z along the training of {name}")
    pictures = [samples] if samples else []
    title = f"{data['name']}: {settings_text(recipe)}" if "/" in name else f"{data['name']}, {seen:,} images seen"
    return Article(name, pictures, title, facts=facts, sheets=read_sheets(folder, "epochs"), plot=plot, animation=movie)


def _look(folder: Path, pictures: Sequence[Picture]) -> Article:
    """Make the article of a look, with the text of its shows.txt."""
    file, told = folder / "record.json", folder / "shows.txt"
    record = read_json(file) if file.exists() else {}
    with reading(file):
        facts = [("command", shlex.join(record["command"]))] if record else []
    with reading(told):
        text = told.read_text(encoding="utf-8").strip() if told.exists() else ""
    kind, network = _kind_and_network(folder)
    still = [picture for picture in pictures if picture.file.suffix == ".png"]
    movie = next((picture for picture in pictures if picture not in still), None)
    title = f"{LOOKS.get(kind, kind.capitalize())}: {network}"
    return Article(folder.name, still, title, text, facts, read_sheets(folder), animation=movie)


def _kind_and_network(folder: Path) -> tuple[str, str]:
    kind, _, network = folder.name.partition("-")
    return kind, network
