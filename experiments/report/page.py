"""One HTML page with what is in results/: tables, curves, training runs, duplicates, looks, and where they come from.

The page opens from disk and requests nothing. A section without files is left out; a damaged file is named.
The same files give the same bytes.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any

import results
from experiments.data.leakage import read_audit
from experiments.measure.tables import described_protocols, load_table, table_names
from experiments.report.curves import read_curves
from experiments.report.files import Picture, Sheet, read_sheet, read_sheets
from experiments.report.origins import read_origins
from experiments.report.sections import Article, read_audit_pairs, read_looks, read_training_runs
from experiments.run.context import Run
from experiments.run.errors import UserError
from experiments.run.files import check_writable, write_bytes
from experiments.run.html import page
from results import leaderboard, rendering

LIMIT = 10_000_000  # bytes of the page; pictures that do not fit are named instead


def write_report(out: Path, run: Run) -> None:
    """Write the page. Raises UserError if `out` is a folder, and the errors of `render_report`."""
    if out.is_dir():
        raise UserError(f"{out} is a folder; name a file: --out {out / 'report.html'}")
    check_writable(out.parent)
    content = render_report(run.results).encode()
    write_bytes(out, content)
    run.say(f"{len(content) / 1e6:.1f} MB; open it in a browser")


def render_report(folder: Path, *, limit: int = LIMIT) -> str:
    """Return the page for a folder that is laid out like results/.

    If it has more than `limit` bytes, pictures are left out. Raises UserError if a file is damaged, or if nothing is
    recorded.
    """
    runs, looks = list(read_training_runs(folder / "training")), list(read_looks(folder / "look"))
    pairs, rows = list(read_audit_pairs(folder / "leakage")), list(read_origins(folder))
    board = read_sheet(folder / "tables" / "leaderboard.csv", leaderboard.TITLE, results.LEADERBOARD_COLUMNS)
    trials = [run for run in runs if "/" in run.name]  # they are in folders of their own, and sorted by folder
    content: dict[str, Any] = {
        "tables": list(_tables(folder / "tables")),
        "leaderboard": _with_texts(board, leaderboard.CAPTION, described_protocols()) if board else None,
        "plots": list(read_curves(folder)),
        "runs": [run for run in runs if "/" not in run.name],
        "trials": {name: list(group) for name, group in groupby(trials, lambda run: run.name.split("/")[0])},
        "others": read_sheets(folder / "training"),
        "duplicates": list(_duplicates(folder)),
        "pairs": pairs,
        "looks": looks,
        "origins": Sheet("Provenance", rows) if rows else None,
    }
    if not any(content.values()):
        raise UserError(f"nothing is recorded in {folder}; measure something first: make cifar10-eval")
    content["ids"] = {row["run"] for row in rows if row["run"]}
    without_pictures = page("report.html", **content, shown=())
    shown = _fitting([*runs, *pairs, *looks], limit - len(without_pictures.encode()))
    return page("report.html", **content, shown=shown)


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
    """Yield the committed tables that exist, each with its texts and paired tests."""
    for name in table_names():
        table = load_table(name)
        if sheet := read_sheet(folder / f"{name}.csv", table.title, results.COLUMNS):
            paired = read_sheet(folder / f"{name}-paired.csv", "Paired tests")
            notes = rendering.notes_on(sheet.rows, {})
            yield _with_texts(sheet, table.caption, table.protocols) | {"notes": notes, "paired": paired}


def _with_texts(sheet: Sheet, caption: str, described: Mapping[str, str]) -> dict[str, Any]:
    """Return a table, its caption, and name -> description of its protocols in the order of its rows."""
    protocols = {row["protocol"]: described.get(row["protocol"], "") for row in sheet.rows}
    return {"sheet": sheet, "caption": caption, "protocols": protocols}


def _duplicates(folder: Path) -> Iterator[Sheet]:
    """Yield the tables in dedup/, then the numbers of pairs for each judgment, then those of each leakage audit."""
    judged = []
    for sheet in read_sheets(folder / "dedup"):
        if "judgment" in sheet.columns:
            counts = Counter(row["judgment"] for row in sheet.rows)
            name = sheet.title.removesuffix("-judged")
            judged += [{"pairs of": name, "judgment": text, "number": str(n)} for text, n in sorted(counts.items())]
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
