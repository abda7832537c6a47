"""Render a table as CSV, Markdown and LaTeX text. The same table and records always give the same bytes."""

import csv
import io
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from results.records import Record
from results.tables import COLUMNS, SOURCE, Table, cells

Rows = Sequence[Mapping[str, str]]  # column -> text

MARKS = {
    "C": "read in the authors' released code or weights",
    "2": "confirmed by two independent sources",
    "1": "one source",
    "R": "recalled from the paper, not confirmed elsewhere",
}
BARS = {
    "sd": "`sd`: one standard deviation over the runs",
    "ci95": "`ci95`: half the width of a 95 % confidence interval",
    "1.96sd": "`1.96sd`: 1.96 standard deviations over the runs",
    "": "no kind: as printed, the source's kind is not established",
}
NUMBERS = {
    *("value", "error_bar", "n_runs", "n_test", "features", "max_units", "parameters", "images_per_second"),
    *("C", "accuracy_percent", "ci95_low", "ci95_high", "n"),
}
_GENERATED = "Generated from the run records and the table's TOML: edits here are overwritten."


def notes_on(rows: Rows, described: Mapping[str, str]) -> list[str]:
    """Return the sentences below the table, only those that its rows need. described: protocol -> what it is."""
    marks = {match[1] for row in rows if (match := SOURCE.fullmatch(row["source"]))}
    kinds = {row["error_bar_kind"] for row in rows if row["error_bar"]}
    protocols = [name for name in described if any(row["protocol"] == name for row in rows)]
    notes = []
    if marks:
        told = "; ".join(f"[{mark}] {meaning}" for mark, meaning in MARKS.items() if mark in marks)
        notes.append(f"Sources: a citation is followed by how far its figure is confirmed: {told}.")
    if any(row["source"] == "measured" for row in rows):
        notes.append("Measured rows: provenance names the run's record; a row not measured yet is empty.")
    if kinds:
        notes.append(f"Error bars: {'; '.join(meaning for kind, meaning in BARS.items() if kind in kinds)}.")
    return notes + [f"Protocol `{name}`: {described[name]}." for name in protocols]


@dataclass(frozen=True)
class TextTable:
    """A table of texts, ready to be written. notes: sentences below the rows."""

    title: str
    caption: str
    columns: Sequence[str]
    rows: Rows
    notes: Sequence[str]

    def csv(self) -> str:
        """Return CSV with a header line; lines end in `\\n`."""
        out = io.StringIO()
        writer = csv.DictWriter(out, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        return out.getvalue()

    def markdown(self) -> str:
        """Return GitHub Markdown."""
        body = [[re.sub(r"([\\|*<`])", r"\\\1", row[name]) for name in self.columns] for row in self.rows]
        sides = ["right" if name in NUMBERS else "left" for name in self.columns]
        grid = tabulate(body, headers=self.columns, tablefmt="pipe", disable_numparse=True, colalign=sides)
        listed = "\n".join(f"- {note}" for note in self.notes)
        return f"<!-- {_GENERATED} -->\n# {self.title}\n\n{self.caption}\n\n{grid}\n\n{listed}\n"

    def latex(self) -> str:
        """Return a LaTeX `table*`; the document needs the packages booktabs and graphicx."""
        lines = [self.columns, *([row[name] for name in self.columns] for row in self.rows)]
        header, *body = (" & ".join(map(_latex, line)) + r" \\" for line in lines)
        top = [
            f"% {_GENERATED}",
            r"% Needs \usepackage{booktabs,graphicx}.",
            r"\begin{table*}",
            r"\centering",
            rf"\caption{{{_latex(self.title)}. {_latex(self.caption)}}}",
            r"\resizebox{\textwidth}{!}{%",
            rf"\begin{{tabular}}{{{''.join('r' if name in NUMBERS else 'l' for name in self.columns)}}}",
        ]
        pars = [rf"\par {_latex(note.replace('`', ''))}" for note in self.notes]
        rules = [r"\toprule", header, r"\midrule", *body, r"\bottomrule", r"\end{tabular}}"]
        return "\n".join([*top, *rules, r"\footnotesize", *pars, r"\end{table*}", ""])

    def files(self, name: str) -> dict[str, bytes]:
        """Return the files, name -> content: `<name>.csv`, `.md`, `.tex`."""
        texts = {"csv": self.csv(), "md": self.markdown(), "tex": self.latex()}
        return {f"{name}.{suffix}": text.encode() for suffix, text in texts.items()}


_LATEX = str.maketrans(
    {character: rf"\{character}" for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "`": r"\textasciigrave{}"}
)


def _latex(text: str) -> str:
    return text.translate(_LATEX)


def _text_table(table: Table, records: Iterable[Record]) -> TextTable:
    rows = cells(table, records)
    return TextTable(table.title, table.caption, COLUMNS, rows, notes_on(rows, table.protocols))


def render_csv(table: Table, records: Iterable[Record]) -> str:
    """Render the table as CSV with a header line; lines end in `\\n`.

    >>> row = results.MeasuredRow(method="pixels + L2-SVM", protocol="cifar10/full")
    >>> table = results.Table(title="Mine", caption="", protocols={"cifar10/full": "all labels"}, rows=(row,))
    >>> results.render_csv(table, []).splitlines()[1]  # not measured yet
    'pixels + L2-SVM,cifar10/full,,,,,,,,,measured,'
    """
    return _text_table(table, records).csv()


def render_markdown(table: Table, records: Iterable[Record]) -> str:
    """Render the table as GitHub Markdown: title, caption, rows, and notes on marks, error bars and protocols.

    >>> row = results.MeasuredRow(method="pixels + L2-SVM", protocol="cifar10/full")
    >>> table = results.Table(title="Mine", caption="", protocols={"cifar10/full": "all labels"}, rows=(row,))
    >>> results.render_markdown(table, []).splitlines()[1]
    '# Mine'
    """
    return _text_table(table, records).markdown()


def render_latex(table: Table, records: Iterable[Record]) -> str:
    """Render the table as a LaTeX `table*`; the document needs the packages booktabs and graphicx.

    >>> row = results.MeasuredRow(method="pixels + L2-SVM", protocol="cifar10/full")
    >>> table = results.Table(title="Mine", caption="", protocols={"cifar10/full": "all labels"}, rows=(row,))
    >>> results.render_latex(table, []).splitlines()[2]
    '\\\\begin{table*}'
    """
    return _text_table(table, records).latex()


def render_files(name: str, table: Table, records: Iterable[Record]) -> dict[str, bytes]:
    """Render the table's files, name -> content: `<name>.csv`, `.md`, `.tex`.

    Raises ValueError if several runs answer one row.

    >>> row = results.MeasuredRow(method="pixels + L2-SVM", protocol="cifar10/full")
    >>> table = results.Table(title="Mine", caption="", protocols={"cifar10/full": "all labels"}, rows=(row,))
    >>> sorted(results.render_files("mine", table, []))
    ['mine.csv', 'mine.md', 'mine.tex']
    """
    return _text_table(table, records).files(name)


def write_tables(folder: str | os.PathLike[str], name: str, table: Table, records: Iterable[Record]) -> list[Path]:
    """Write the files of `render_files` into `folder`, which is made if absent, and return their paths.

    All three are rendered before the first is written. Each replaces the old file whole.

    >>> row = results.MeasuredRow(method="pixels + L2-SVM", protocol="cifar10/full")
    >>> table = results.Table(title="Mine", caption="", protocols={"cifar10/full": "all labels"}, rows=(row,))
    >>> [path.name for path in results.write_tables("tables", "mine", table, [])]
    ['mine.csv', 'mine.md', 'mine.tex']
    """
    files = {Path(folder) / file: content for file, content in render_files(name, table, records).items()}
    Path(folder).mkdir(parents=True, exist_ok=True)
    for path, content in files.items():
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            temporary.write_bytes(content)
            os.replace(temporary, path)
        except OSError as error:  # that of a write names no file
            raise OSError(error.errno, error.strerror, str(path)) from error
        finally:
            temporary.unlink(missing_ok=True)
    return list(files)
