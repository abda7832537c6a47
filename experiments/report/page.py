"""`dcgan-eval report`: one page over what lies in results/: tables, curves, training runs, duplicates, looks.

It opens from disk and asks for nothing else. A section whose files are absent is left out; a damaged file is named. The
same files give the same bytes.
"""

import argparse
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import results
from experiments.commands.options import Command, add_roots
from experiments.data.leakage import read_audit
from experiments.measure.tables import load_table, table_names
from experiments.report.files import KINDS, Picture, Plot, Sheet, read_json, read_picture, read_sheet, reading
from experiments.report.origins import hardware_text, origins
from experiments.run import console
from experiments.run.context import ROOT
from experiments.run.errors import UserError
from experiments.run.files import check_writable, write_bytes
from experiments.studies.accuracy_along_training import FITTED, SCORED
from experiments.training.session import SUMMARY
from results import leaderboard, pages, plots, rendering

RESULTS = ROOT / "results"
LIMIT = 10_000_000  # bytes of the page: pictures that do not fit are named instead
READ = {  # how the pictures of a look are to be read
    "walk": "each row goes from one z to the next",
    "arithmetic": "exemplars of A, B and C in rows; their mean z; A - B + C with noise around; the same on pixels",
    "turn": "between the two means, then new samples along that vector",
    "filters": "images above their gradients; at the left the network as given, at the right freshly initialised",
    "boxed": "samples with boxes: as drawn, without the maps that tell the object, without as many random maps",
    "new": "samples never boxed: as drawn, without the maps that tell the object, without as many random maps",
    "samples": "a row a generator, in the order of the table",
}
TITLES = {  # of CSV files, by name
    "cifair": "Found of what people judged: CIFAR-10 test images that are among the training images",
    "planted": "Found of altered copies planted among photographs",
    "search": "Time and memory of exact search, beside other programs",
    "kills": "Trainings killed or stopped, and the last minibatch that was saved",
    "digits": "What a classifier of digits sees in the samples",
    "figures": "Figures",
}


@dataclass(frozen=True)
class Work:
    """A folder of something done, a training run or a look, and what is to be seen of it."""

    name: str
    facts: Mapping[str, str]
    pictures: Sequence[Picture]
    sheets: Sequence[Sheet]
    text: str = ""
    warnings: Sequence[str] = ()
    plot: Plot | None = None
    animation: Picture | None = None


def add(command: Command) -> None:
    """Add the command."""
    parser = command("report", _report, "Write one page over all results.", "dcgan-eval report --out report.html")
    parser.add_argument("--out", type=Path, help="file (default: RUNS_ROOT/report.html)")
    add_roots(parser)


def _report(arguments: argparse.Namespace) -> int:
    out = arguments.out or arguments.runs_root / "report.html"
    if out.is_dir():
        raise UserError(f"{out} is a folder; name a file: --out {out / 'report.html'}")
    check_writable(out.parent)
    page = report(RESULTS).encode()
    write_bytes(out, page)
    console.say(f"{len(page) / 1e6:.1f} MB; open it in a browser")
    print(out)
    return 0


def report(folder: Path) -> str:
    """The page over a folder laid out as results/. UserError for a damaged file, or where nothing is recorded."""
    training, tables = folder / "training", folder / "tables"
    runs = [_run(file.parent, training) for file in sorted(training.rglob(SUMMARY))]
    rows = list(origins(folder))
    content: dict[str, Any] = {
        "tables": list(_tables(tables)),
        "leaderboard": _leaderboard(tables),
        "plots": list(_curves(folder)),
        "runs": [run for run in runs if "/" not in run.name],
        "trials": _grouped(run for run in runs if "/" in run.name),
        "others": _sheets(training),
        "duplicates": list(_duplicates(folder)),
        "groups": list(_groups(folder / "leakage")),
        "looks": [look for path in sorted((folder / "look").glob("*/")) if (look := _look(path))],
        "origins": Sheet("Provenance", rows) if rows else None,
    }
    if not any(content.values()):
        raise UserError(f"nothing is recorded in {folder}; measure something first: make cifar10-eval")
    content["ids"] = {row["run"] for row in rows if row["run"]}
    template = pages.environment(ROOT / "experiments" / "templates").get_template("report.html")
    bare = template.render(**content, shown=())
    return template.render(
        **content, shown=_fitting([*runs, *content["groups"], *content["looks"]], LIMIT - len(bare.encode()))
    )


def _fitting(works: Sequence[Work], room: int) -> list[Picture]:
    """What the room, in bytes, holds: of the pictures, then of the animations, the smallest first."""
    still = [picture for work in works for picture in work.pictures]
    moving = [work.animation for work in works if work.animation]
    fitting = []
    for picture in (*sorted(still, key=_size), *sorted(moving, key=_size)):
        room -= _size(picture)
        if room < 0:
            break
        fitting.append(picture)
    return fitting


def _size(picture: Picture) -> int:
    return len(picture.url) + 300  # and its tag


def _sheets(folder: Path, *without: str) -> list[Sheet]:
    """The CSV files of a folder."""
    files = [file for file in sorted(folder.glob("*.csv")) if file.stem not in without]
    sheets = [read_sheet(file, TITLES.get(file.stem, file.stem)) for file in files]
    return [sheet for sheet in sheets if sheet]


def _tables(folder: Path) -> Iterator[dict[str, Any]]:
    """The tables that exist, with their words and paired tests."""
    for name in table_names():
        table = load_table(name)
        if sheet := read_sheet(folder / f"{name}.csv", table.title, results.COLUMNS):
            shown = {row["protocol"] for row in sheet.rows}
            yield {
                "name": name,
                "sheet": sheet,
                "caption": table.caption,
                "protocols": {protocol: text for protocol, text in table.protocols.items() if protocol in shown},
                "notes": rendering.notes_on(sheet.rows, {}),
                "paired": read_sheet(folder / f"{name}-paired.csv", "Paired tests"),
            }


def _leaderboard(folder: Path) -> dict[str, Any] | None:
    """Its rows and the protocols among them."""
    if not (sheet := read_sheet(folder / "leaderboard.csv", leaderboard.TITLE, results.LEADERBOARD_COLUMNS)):
        return None
    described = {name: text for table in table_names() for name, text in load_table(table).protocols.items()}
    protocols = dict.fromkeys(row["protocol"] for row in sheet.rows)
    return {
        "sheet": sheet,
        "caption": leaderboard.CAPTION,
        "protocols": {name: described.get(name, "") for name in protocols},
    }


def _grouped(runs: Iterable[Work]) -> dict[str, list[Work]]:
    """Runs in folders of a folder, by its name."""
    groups: dict[str, list[Work]] = {}
    for run in runs:
        groups.setdefault(run.name.split("/")[0], []).append(run)
    return groups


def _curves(folder: Path) -> Iterator[Plot]:
    """Accuracy along training, a plot a file; then errors on MNIST by the number of references."""
    for file in sorted((folder / "curves").glob("*.csv")):
        yield from _plot(
            file,
            f"{file.stem}: CIFAR-10 accuracy of an L2-SVM on the features along training; {FITTED:,} training images "
            f"fitted, {SCORED:,} others scored. Error bars: 95 % intervals over those images.",
            columns=("run", "images_seen", "C", "accuracy_percent", "ci95"),
            numbers=("run", "images_seen", "accuracy_percent", "ci95"),
            x_label="images seen",
            y_label="accuracy, %",
        )
    yield from _plot(
        folder / "tables" / "mnist-curve.csv",
        "Errors on the 10,000 test digits of MNIST by the nearest of so many references, training digits or samples of "
        "a generator, on a logarithmic axis. One run each, no error bars.",
        columns=("method", "run_id", "references", "error_percent"),
        numbers=("method", "references", "error_percent"),
        x_label="references",
        y_label="error, %",
        log_x=True,
    )


def _plot(file: Path, told: str, *, columns: Sequence[str], numbers: Sequence[str], **axes: Any) -> Iterator[Plot]:
    """The plot of a CSV file that exists: a line of each text in the first of `numbers`, the others its x, y, bars."""
    if sheet := read_sheet(file, "Numbers", columns):
        name, *values = numbers
        of: dict[str, list[Mapping[str, str]]] = {}
        for row in sheet.rows:
            of.setdefault(row[name], []).append(row)
        with reading(file):
            lines = [plots.Line(text, *([float(r[v]) for r in rows] for v in values)) for text, rows in of.items()]
            yield Plot(plots.line_plot(lines, title=told, **axes), told, sheet)


def _run(folder: Path, training: Path) -> Work:
    """A training run."""
    name, made, epochs = folder.relative_to(training).as_posix(), read_json(folder / SUMMARY), folder / "epochs.csv"
    with reading(folder / SUMMARY):
        recipe, data, seen = made["recipe"], made["data"], made["images_seen"]
        width = f", width {recipe['width']}" if recipe["width"] else ""
        facts = {
            "recipe": f"{recipe['name']}: {recipe['preset']}{width}, minibatches of {recipe['training']['batch_size']}",
            "trained on": f"{data['name']}, {data['kept']:,} of {data['images']:,} images",
            "images seen": f"{seen:,}, {seen / data['kept']:.1f} passes",
            "took": f"{made['seconds'] / 60:.0f} minutes, {made['images_per_second']:.0f} images a second",
            "hardware": hardware_text(made["hardware"]),
            "command": shlex.join(made["command"]),
        }
        samples = read_picture(folder / "samples.png", f"samples of {name} after {seen:,} images")
    looks = read_sheet(epochs, "Numbers")
    with reading(epochs):
        warnings = [text for row in looks.rows for text in row["warning"].split(" | ") if text] if looks else []
        return Work(
            name,
            facts,
            [samples] if samples else [],
            _sheets(folder, "epochs"),
            warnings=warnings,
            plot=_losses(name, looks) if looks else None,
            animation=read_picture(folder / "samples.webp", f"samples of the same z along the training of {name}"),
        )


def _losses(name: str, looks: Sheet) -> Plot:
    told = f"Losses of {name}, means between two looks."
    x = [float(row["images_seen"]) for row in looks.rows]
    lines = [
        plots.Line(network, x, [float(row[f"loss_{network}"]) for row in looks.rows])
        for network in ("generator", "discriminator")
    ]
    return Plot(plots.line_plot(lines, title=told, x_label="images seen", y_label="loss"), told, looks)


def _duplicates(folder: Path) -> Iterator[Sheet]:
    """Numbers of the passes, counts of the judgments, and the audits."""
    judged = []
    for sheet in _sheets(folder / "dedup"):
        if "judgment" in sheet.columns:
            counts = Counter(row["judgment"] for row in sheet.rows)
            name = sheet.title.removesuffix("-judged")
            judged += [{"pairs of": name, "judgment": text, "number": str(n)} for text, n in sorted(counts.items())]
        else:
            yield sheet
    if judged:
        yield Sheet("Pairs judged by eye", judged)
    audits = [read_audit(file) for file in sorted((folder / "leakage").glob("*.json"))]
    rows = [
        {"images of": audit.images["name"], "among": audit.against["name"]}
        | {"leaked": str(len(audit.leaked)), "pairs": str(len(audit.pairs))}
        for audit in audits
    ]
    if rows:
        yield Sheet("Leakage audits: images of an evaluation set that are among another set", rows)


def _groups(folder: Path) -> Iterator[Work]:
    """Pictures beside the audits, of pairs from the farthest apart to the nearest."""
    for file in sorted(folder.glob("*.png")):
        name = file.stem
        if picture := read_picture(file, f"pairs of {name}, from the farthest apart to the nearest"):
            yield Work(name, {}, [picture], [], text="Pairs of the audit, from the farthest apart to the nearest.")


def _look(folder: Path) -> Work | None:
    """A look at a network, and the sentence in shows.txt or its record on what it shows; None without a picture."""
    record = read_json(folder / "record.json") if (folder / "record.json").exists() else {}
    with reading(folder):
        told = folder / "shows.txt"
        text = told.read_text(encoding="utf-8").strip() if told.exists() else str(record.get("shows", ""))
        facts = {"command": shlex.join(record["command"])} if "command" in record else {}
        files = [file for kind in KINDS for file in sorted(folder.glob(f"*.{kind}"))]
        pictures = [read_picture(file, f"{folder.name}: {READ.get(file.stem, file.stem)}") for file in files]
    return Work(folder.name, facts, [p for p in pictures if p], _sheets(folder), text=text) if pictures else None
