"""Tables as pages show them: what is the same in every row stands in a caption, and a value stands with its error.

Nothing is computed here but rounding. The files beside a page hold every figure in full.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from results.tables import SOURCE

Rows = Sequence[Mapping[str, str]]  # column -> text

JOINS = (  # a value, and its error or the ends of its interval
    ("value", "error_bar"),
    ("accuracy_percent", "ci95"),
    ("accuracy_percent", "ci95_low", "ci95_high"),
    ("difference", "ci95_low", "ci95_high"),
    ("copies_percent", "copies_low", "copies_high"),
)
FIGURES = {value for value, *_ in JOINS}  # never in a caption
TOP5 = "top5_accuracy_percent"
METRICS = {"accuracy_percent": "accuracy", "error_percent": "error", TOP5: "top-5 accuracy"}
ERRORS = {
    "sd": "one standard deviation over the runs",
    "ci95": "half a 95 % interval",
    "1.96sd": "1.96 standard deviations over the runs",
}
LABELS = {
    "C": "C",
    "accuracy_percent": "accuracy\u00a0%",
    "codes": "hash codes",
    "smoothness_features": "smoothness in features",
    "smoothness_pixels": "smoothness in pixels",
    "difference": "A \N{MINUS SIGN} B, points",
    "error_bar_kind": "±",
    "f1": "F1",
    "images_per_second": "images/s",
    "max_units": "widest layer",
    "method_a": "A",
    "method_b": "B",
    "n": "n",
    "n_runs": "runs",
    "n_test": "test images",
    "p_value": "p",
    "peak_rss_gib": "peak memory, GiB",
    "provenance": "run",
    "copies_percent": "copies\u00a0%",
    "run_id": "run",
    "provenance_a": "run of A",
    "provenance_b": "run of B",
}
CONTEXT = (
    "metric",
    "protocol",
    "source",
    "n_test",
    "n_runs",
    "error_bar_kind",
    "hardware",
)  # in the caption of one row
WORDS = {"True": "yes", "False": "no", "nan": "", "-": ""}
CLASSIFIER = " + L2-SVM"  # what many methods end in
LAST = ("source", "run_id", "provenance", "provenance_a", "provenance_b")
EXACT = ("C", "seed")  # settings, not figures
SIGNIFICANT = 4  # digits of a figure without an error
MOST_DECIMALS = 4  # with which the points of a column stand below one another


@dataclass(frozen=True)
class View:
    """A table to be shown. caption: (label, text) of what all rows share. columns: name -> label, in order.

    numeric: the columns of numbers. A row may hold texts beyond the columns: its `_kind`, if some rows are reported and
    some measured; `_what` its first cell is; the `_run` of its source.
    """

    caption: Sequence[tuple[str, str]]
    columns: Mapping[str, str]
    numeric: frozenset[str]
    rows: Rows

    @property
    def decimals(self) -> dict[str, int]:
        """Column of numbers -> the most decimals that a number alone in its cell has; at most MOST_DECIMALS."""
        of = {name: [_decimals(row[name]) for row in self.rows if _alone(row[name])] for name in self.numeric}
        return {name: max(found) for name, found in of.items() if found and max(found) <= MOST_DECIMALS}


def view(rows: Rows, *without: str) -> View:
    """Lay out rows that hold the same columns, except the columns `without`. The first column names the row.

    Figures keep two significant digits of their error; those of a citation stay as printed there. Raises ValueError for
    no row.
    """
    if not rows:
        raise ValueError("a table must have a row, got none")
    texts = [{name: WORDS.get(text, text) for name, text in row.items() if name not in without} for row in rows]
    cited = [_cited(row) for row in texts]
    shown = _shown(texts, cited)
    names = list(shown[0])
    partial = [printed or row.get("value") == "" for row, printed in zip(texts, cited, strict=True)]
    same = [n for n in names[1:] if n not in FIGURES and _constant([row[n] for row in shown], partial, n)]
    said = [name for name in same if name != "metric" or "value" not in names]  # the head of the values says it
    caption = [_said(name, next(row[name] for row in shown if row[name])) for name in said]
    ending = [name for name in names if all(row[name].endswith(CLASSIFIER) for row in shown)]
    if len(shown) > 1 and names[0] in ending:
        shown = [row | {name: row[name].removesuffix(CLASSIFIER) for name in ending} for row in shown]
        caption.insert(0, ("", CLASSIFIER.strip(" +")))
    left = [name for name in names if name not in same]
    if any(cited) and not all(cited):  # a measured row has its run as its source
        left = [name for name in left if name != "provenance"]
        for row, printed in zip(shown, cited, strict=True):
            row["source"] = row.get("provenance") or row["source"]
            row["_kind"] = "reported" if printed else "measured" if row.get("value") else ""
    numeric = frozenset(name for name in left if all(_number(row[name]) is not None for row in texts if row[name]))
    order = left[:1] + sorted(left[1:], key=lambda name: (name in LAST) - (name == "value"))
    metric = METRICS.get(next((row["metric"] for row in texts if row.get("metric")), ""))
    labels = {
        name: f"{metric}\u00a0%" if name == "value" and metric and "metric" in same else label(name) for name in order
    }
    kept = {*order, "_kind"}
    return View(caption, labels, numeric, [{n: text for n, text in row.items() if n in kept} for row in shown])


def _shown(texts: Rows, cited: Sequence[bool]) -> list[dict[str, str]]:
    """Join values and errors, round figures, and leave out columns without a text."""
    names = [name for name in texts[0] if any(row[name] for row in texts)]
    columns = {name: [row[name] for row in texts] for name in names}
    joined = set()
    for value, *parts in JOINS:
        if {value, *parts} <= columns.keys():
            lines = zip(columns[value], zip(*(columns.pop(part) for part in parts), strict=True), cited, strict=True)
            columns[value] = [_joined(text, errors, cited=printed) for text, errors, printed in lines]
            joined.add(value)
    for name in columns.keys() - joined - set(EXACT):
        columns[name] = _rounded(columns[name], [printed and name == "value" for printed in cited])
    return [dict(zip(columns, line, strict=True)) for line in zip(*columns.values(), strict=True)]


def by_protocol(rows: Rows, described: Mapping[str, str]) -> list[tuple[str, str, View]]:
    """Return (protocol, what it is, its rows) for each protocol, in the order of the rows; top-5 rows are apart."""
    kinds = dict.fromkeys((row["protocol"], row.get("metric") == TOP5) for row in rows)
    of = {kind: [row for row in rows if (row["protocol"], row.get("metric") == TOP5) == kind] for kind in kinds}
    texts = {name: spelt(text[:1].upper() + text[1:]) for name, text in described.items()}
    return [
        (f"{name}, top-5" if top5 else name, texts.get(name, ""), view(found, "protocol"))
        for (name, top5), found in of.items()
    ]


def label(column: str) -> str:
    """Return the name of a column in words."""
    return LABELS.get(column) or column.replace("_percent", "\u00a0%").replace("_", " ")


def spelt(text: str) -> str:
    """Return a text with the names of columns in it in words, with a capital where a sentence begins with one."""

    def in_words(found: re.Match[str]) -> str:
        words = LABELS.get(found[2], found[2])
        return found[1] + (words[:1].upper() + words[1:] if found[1] and words != found[2] else words)

    return re.sub(r"((?:\. )?)\b([a-z]+_[a-z]+)\b", in_words, text)


def padding(text: str, decimals: int | None) -> str:
    """Return what a number lacks, as in `.0`, to have so many decimals; hidden behind it, it aligns the points."""
    missing = (decimals or 0) - _decimals(text)
    return "" if missing <= 0 or not _alone(text) else "." * ("." not in text) + "0" * missing


def link(text: str) -> str:
    """Return the address of a source that names an arXiv number or begins with an address; else an empty text."""
    if found := re.search(r"\barXiv:(\d{4}\.\d{4,5})", text):
        return f"https://arxiv.org/abs/{found[1]}"
    found = re.match(r"https://[^\s,;\[\]]+|github\.com/[^\s,;\[\]]+", text)
    return "" if not found else found[0] if found[0].startswith("https") else f"https://{found[0]}"


def _cited(row: Mapping[str, str]) -> bool:
    return SOURCE.fullmatch(row.get("source", "")) is not None


def _constant(texts: Sequence[str], partial: Sequence[bool], name: str) -> bool:
    """Whether all rows have one text. Partial rows, which are cited or not measured, may lack it."""
    measured = [text for text, lacks in zip(texts, partial, strict=True) if text or not lacks]
    return len(set(measured)) == 1 and measured[0] != "" and (len(texts) > 1 or name in CONTEXT)


def _said(name: str, text: str) -> tuple[str, str]:
    """Return the label and text of a column that all rows share."""
    if name == "metric":
        return "", f"{METRICS.get(text, text)} in percent"
    if name == "source":
        return "", text
    if name == "n_runs":
        return "", "1 run" if text == "1" else f"{text} runs"
    if name == "error_bar_kind":
        return "±", ERRORS.get(text, text)
    said = {"n_test": "n =", "n": "n =", "hardware": "images/s on"}.get(name, label(name))
    share = said.removesuffix("\u00a0%")
    return share, text if share == said else f"{text}\u00a0%"


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _alone(text: str) -> bool:
    """Whether a text is one number, as it is shown."""
    return re.fullmatch(r"[\N{MINUS SIGN}-]?[\d,]+(\.\d+)?", text) is not None


def _decimals(text: str) -> int:
    return len(text.partition(".")[2])


def _written(text: str, decimals: int) -> str:
    return f"{float(text):,.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def _joined(value: str, parts: Sequence[str], *, cited: bool) -> str:
    """Return `71.77 ± 0.26` or `65.41 (64.47 to 66.34)`, rounded to two significant digits of the error."""
    if not value or not all(parts):
        return value
    numbers = [float(text) for text in (value, *parts)]
    error = numbers[1] if len(parts) == 1 else (numbers[2] - numbers[1]) / 2
    given = max(map(_decimals, (value, *parts)))
    if not cited and error > 0:
        decimals = min(given, max(0, 1 - math.floor(math.log10(error))))
        value, *parts = (_written(text, decimals) for text in (value, *parts))
    return f"{value} ± {parts[0]}" if len(parts) == 1 else f"{value} ({parts[0]} to {parts[1]})"


def _rounded(texts: Sequence[str], cited: Sequence[bool]) -> list[str]:
    """Round a column of numbers to four significant digits of the largest, unless a small one would lose its second."""
    found = [_number(text) for text in texts if text]
    if not found or any(number is None or not math.isfinite(number) for number in found) or "e" in "".join(texts):
        return list(texts)
    sizes = [abs(number) for number in found if number]
    most = max(map(_decimals, texts))
    decimals = min(most, max(0, SIGNIFICANT - 1 - math.floor(math.log10(max(sizes))))) if sizes else 0
    if sizes and min(sizes) < 10 ** (1 - decimals) and decimals < most:  # a column of many magnitudes
        return list(texts)
    return [
        text if not text or printed else _written(text, decimals) for text, printed in zip(texts, cited, strict=True)
    ]
