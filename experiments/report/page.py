"""One HTML page with what is in results/: a chart and a table of results, then all else that is recorded, folded.

The page opens from disk and requests nothing. A section without files is named and left out; a damaged file is
an error. The same files give the same bytes.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any

import results
from experiments.data.leakage import read_audit
from experiments.measure.protocols import ABLATION
from experiments.measure.tables import described_protocols, load_table, table_names
from experiments.report.curves import read_curves
from experiments.report.files import Picture, Sheet, read_sheet, read_sheets
from experiments.report.origins import read_origins
from experiments.report.overview import FULL, overview
from experiments.report.sections import Article, read_audit_pairs, read_looks, read_reliability, read_training_runs
from experiments.run.console import counted
from experiments.run.context import Run
from experiments.run.errors import UserError
from experiments.run.files import check_writable, write_bytes
from experiments.run.html import page
from results import leaderboard, rendering
from results.views import by_protocol, spelt, view

LIMIT = 25_000_000  # bytes of the page, opened from disk in a second; pictures that do not fit are named instead
SECTIONS = {  # id -> heading
    "overview": "CIFAR-10 at a glance",
    "tables": "Tables",
    "leaderboard": "Leaderboard",
    "curves": "Curves",
    "training": "Training",
    "look": "Looking inside",
    "duplicates": "Duplicates",
    "reliability": "Reliability",
    "provenance": "Provenance",
}


def write_report(out: Path, run: Run) -> bool:
    """Write the page, and name the sections that it lacks. Return False, and write nothing, if it would be empty.

    Raises UserError if `out` is a folder or a file of the results is damaged.
    """
    if out.is_dir():
        raise UserError(f"{out} is a folder; name a file: --out {out / 'report.html'}")
    check_writable(out.parent)
    content = read_content(run.results)
    lacking = _lacking(content)
    if len(lacking) == len(SECTIONS):
        run.say(f"nothing is recorded in {run.results}; measure something first: make cifar10-eval")
        return False
    if lacking:
        run.say(f"left out, since nothing is recorded: {', '.join(lacking)}")
    text = render(content).encode()
    write_bytes(out, text)
    run.say(f"{len(text) / 1e6:.1f} MB; open it in a browser")
    return True


def read_content(folder: Path) -> dict[str, Any]:
    """Return id of a section -> what it shows, for a folder that is laid out like results/.

    A section without files is None or empty. Raises UserError if a file is damaged.
    """
    runs, tables = list(read_training_runs(folder / "training")), folder / "tables"
    trials = [run for run in runs if "/" in run.name]  # they are in folders of their own, and sorted by folder
    training = {
        "runs": [run for run in runs if "/" not in run.name],
        "trials": [
            (name, _trials_sheets(folder / "training" / name, members), members)
            for name, group in groupby(trials, lambda run: run.name.split("/")[0])
            if (members := list(group))
        ],
        "others": read_sheets(folder / "training", "kills"),
    }
    duplicates = {"sheets": list(_duplicates(folder)), "pairs": list(read_audit_pairs(folder / "leakage"))}
    cifar10 = read_sheet(tables / "cifar10.csv", columns=results.COLUMNS)
    board = read_sheet(tables / "leaderboard.csv", leaderboard.TITLE, results.LEADERBOARD_COLUMNS)
    rows = list(read_origins(folder))
    return {
        "overview": overview(cifar10) if cifar10 else None,
        "tables": list(_tables(tables)),
        "leaderboard": board and by_protocol(board.rows, described_protocols()),
        "curves": list(read_curves(folder)),
        "training": training if any(training.values()) else None,
        "duplicates": duplicates if any(duplicates.values()) else None,
        "look": list(read_looks(folder / "look")),
        "reliability": read_reliability(folder),
        "provenance": rows,
    }


def render(content: Mapping[str, Any], *, limit: int = LIMIT) -> str:
    """Return the page. If it has more than `limit` bytes, pictures are left out."""
    training = content["training"] or {"runs": [], "trials": []}
    articles = [*training["runs"], *(run for *_, members in training["trials"] for run in members)]
    articles += [*(content["duplicates"] or {"pairs": []})["pairs"], *content["look"]]
    values = {
        "sections": SECTIONS,
        "content": content,
        "lacking": _lacking(content),
        "notes": _notes(content),
        "caption": leaderboard.CAPTION,
        "full": described_protocols()[FULL],
        "provenance": view(content["provenance"]) if content["provenance"] else None,
        "ids": {row["run"] for row in content["provenance"] if row["run"]},
    }
    without_pictures = page("report.html", **values, shown=())
    shown = _fitting(articles, limit - len(without_pictures.encode()))
    return page("report.html", **values, shown=shown)


def render_report(folder: Path, *, limit: int = LIMIT) -> str:
    """Return the page for a folder that is laid out like results/. Raises UserError if a file is damaged."""
    return render(read_content(folder), limit=limit)


def _notes(content: Mapping[str, Any]) -> dict[str, str]:
    """Return id of a section -> what is inside, shown while it is folded."""
    training, looks, rows = content["training"] or {"runs": [], "trials": []}, content["look"], content["provenance"]
    runs, trials = len(training["runs"]), sum(len(members) for *_, members in training["trials"])
    kinds = dict.fromkeys(look.name.partition("-")[0] for look in looks)
    return {
        "tables": "every row by protocol, measured and reported; paired tests; the ablation",
        "leaderboard": "the newest figure of each network, with its costs",
        "curves": "accuracy along training, error by references",
        "training": f"samples, losses and settings of {counted(runs, 'run')} and {counted(trials, 'trial')}",
        "look": f"{counted(len(looks), 'look')}: {', '.join(kinds)}",
        "duplicates": "how many planted copies, and copies judged by eye, a method finds; leakage audits",
        "reliability": "damaged and hostile inputs, killed commands",
        "provenance": f"the command, versions and hardware behind {counted(len(rows), 'figure')}",
    }


def _lacking(content: Mapping[str, Any]) -> list[str]:
    return [title for section, title in SECTIONS.items() if not content[section]]


def _fitting(articles: Sequence[Article], room: int) -> list[Picture]:
    """Return the pictures that fit into `room` bytes: still ones before animations, the smallest first."""
    still = [picture for article in articles for picture in article.pictures]
    moving = [article.animation for article in articles if article.animation]
    pictures = sorted(still, key=_size) + sorted(moving, key=_size)
    taken = accumulate(map(_size, pictures))
    return [picture for picture, total in zip(pictures, taken, strict=True) if total <= room]


def _size(picture: Picture) -> int:
    return len(picture.url) + 300  # bytes of the URL and of its tag


def _tables(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the committed tables that exist, each with its texts and paired tests, then the ablation."""
    for name in table_names():
        table = load_table(name)
        if sheet := read_sheet(folder / f"{name}.csv", table.title, results.COLUMNS):
            paired = read_sheet(folder / f"{name}-paired.csv")
            yield {
                "title": sheet.title,
                "caption": spelt(table.caption),
                "parts": by_protocol(sheet.rows, table.protocols),
                "notes": rendering.notes_on(sheet.rows, {})[:1],
                "paired": by_protocol(paired.rows, {}) if paired else [],
            }
    if sheet := read_sheet(folder / f"{ABLATION}.csv"):
        methods = dict.fromkeys(row["method"] for row in sheet.rows)
        of = {method: [row for row in sheet.rows if row["method"] == method] for method in methods}
        caption = "Accuracy in percent on held-out training images, with its 95 % interval in brackets."
        parts = [(method, "", view(rows, "method")) for method, rows in of.items()]
        yield {"title": sheet.title, "caption": caption, "parts": parts, "notes": [], "paired": []}


def _trials_sheets(folder: Path, members: Sequence[Article]) -> list[Sheet]:
    """Return the tables of a folder of trials, with the settings of each trial in place of its name."""
    words = {run.name.split("/")[-1]: run.title for run in members}
    sheets = read_sheets(folder)
    return [Sheet(s.title, [{k: words.get(text, text) for k, text in row.items()} for row in s.rows]) for s in sheets]


def _duplicates(folder: Path) -> Iterator[Sheet]:
    """Yield the tables in dedup/, then the numbers of pairs for each judgment, then those of each leakage audit."""
    judged: list[dict[str, str]] = []
    for sheet in read_sheets(folder / "dedup"):
        if "judgment" in sheet.rows[0]:
            counts = Counter(row["judgment"] for row in sheet.rows)
            name = sheet.title.removesuffix("-judged")
            judged.append({"pairs of": name, "the same": str(counts["same"]), "not the same": str(counts["false"])})
        else:
            yield sheet
    if judged:
        yield Sheet("Pairs judged by eye", judged)
    rows = [
        {"images of": audit.images["name"], "among": audit.against["name"]}
        | {"leaked": str(len(audit.leaked)), "pairs": str(len(audit.pairs))}
        for audit in map(read_audit, sorted((folder / "leakage").glob("*.json")))
    ]
    if rows:
        yield Sheet("Leakage audits: images of an evaluation set that occur in another set", rows)
