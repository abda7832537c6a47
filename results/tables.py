"""Tables of measured and reported rows: what a table holds, and which record answers which row.

A table is data: a TOML file lists its rows in order. A reported row holds the figure as its source prints it. A
measured row names a method and a protocol. It has no field for a figure, so its figure can only come from a run record.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from results import lines
from results.records import METRIC, RUN_ID, Record

COLUMNS = (
    *("method", "protocol", "metric", "value", "error_bar", "error_bar_kind", "n_runs", "n_test", "features"),
    *("max_units", "source", "provenance"),
)
SOURCE = re.compile(r"\S.* \[([C21R])\]")
_TEXT = lines.Rule("be text", lambda value: isinstance(value, str) and value.strip() != "")
_PRINTED = lines.matching(r"\d+(\.\d+)?", 'be text as in the source, e.g. "82.0"')
_CITED = lines.matching(SOURCE, "be a citation and its mark, one of [C] [2] [1] [R]")


@dataclass(frozen=True, kw_only=True)
class ReportedRow:
    """A figure of a publication. `value` and `error_bar` are text, as printed there (82.0 is not 82).

    >>> source = "arXiv:1511.06434 Table 1 [2]"
    >>> row = results.ReportedRow(
    ...     method="DCGAN", protocol="cifar10/full", metric="accuracy_percent", value="82.8", source=source)
    >>> row.value
    '82.8'
    """

    method: Annotated[str, _TEXT]
    protocol: Annotated[str, _TEXT]
    metric: Annotated[str, METRIC]
    value: Annotated[str, _PRINTED]
    error_bar: Annotated[str, lines.optional(_PRINTED, "")] = ""
    max_units: Annotated[int | None, lines.optional(lines.whole(1))] = None
    source: Annotated[str, _CITED]  # citation and mark, e.g. arXiv:1511.06434 Table 1 [2]

    def __post_init__(self) -> None:
        lines.check_fields(self, f"row {self.method!r}, {self.protocol!r}: ")


@dataclass(frozen=True, kw_only=True)
class MeasuredRow:
    """A row that the record of its method and protocol answers. If there are several, `run` names one of them.

    `metric`: that of the record; empty where the records of a method and protocol share one.
    `absent`: why no record can answer the row, e.g. "not audited". The row then stays empty, with this as its source.

    >>> results.MeasuredRow(method="pixels + L2-SVM", protocol="cifar10/full").run  # whichever answers it
    ''
    """

    method: Annotated[str, _TEXT]
    protocol: Annotated[str, _TEXT]
    run: Annotated[str, lines.optional(RUN_ID, "")] = ""
    absent: Annotated[str, lines.optional(_TEXT, "")] = ""
    metric: Annotated[str, lines.optional(METRIC, "")] = ""

    def __post_init__(self) -> None:
        row = f"row {self.method!r}, {self.protocol!r}: "
        lines.check_fields(self, row)
        if self.run and self.absent:
            raise ValueError(f"{row}absent must be text, in a row without run, got {self.absent!r}")


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows in the order shown, and what the words in them mean (`protocols`: name -> one sentence).

    >>> row = results.MeasuredRow(method="pixels + L2-SVM", protocol="cifar10/full")
    >>> table = results.Table(title="Mine", caption="", protocols={"cifar10/full": "all labels"}, rows=(row,))
    >>> table.rows[0].method
    'pixels + L2-SVM'
    """

    title: str
    caption: str
    protocols: Mapping[str, str]
    rows: tuple[ReportedRow | MeasuredRow, ...]

    def __post_init__(self) -> None:
        for index, row in enumerate(self.rows):
            if row.protocol not in self.protocols:
                raise ValueError(f"row {row.method!r}: {row.protocol!r} must be described in [protocols]")
            if row in self.rows[:index]:
                raise ValueError(f"rows must differ, got {row.method!r}, {row.protocol!r} twice")


def table_from_dict(data: Mapping[str, Any]) -> Table:
    """Make the committed table that a TOML file describes: `title`, `caption`, `[protocols]`, `[[row]]`.

    A row with a `source` is reported; a row without one is measured. Raises ValueError for unknown or missing keys, and
    for a subset protocol, because such runs never enter committed tables.

    >>> row = {"method": "pixels + L2-SVM", "protocol": "cifar10/full"}
    >>> data = {"title": "Mine", "caption": "", "protocols": {"cifar10/full": "all labels"}, "row": [row]}
    >>> results.table_from_dict(data).rows
    (MeasuredRow(method='pixels + L2-SVM', protocol='cifar10/full', run='', absent='', metric=''),)
    """
    keys = ("title", "caption", "protocols", "row")
    lines.check_keys(data, keys, keys, "a table")
    if not isinstance(data["row"], list) or not isinstance(data["protocols"], Mapping):
        raise ValueError("a table must have a list of rows ([[row]]) and a table of protocols ([protocols])")
    if not all(isinstance(text, str) for text in (data["title"], data["caption"], *data["protocols"].values())):
        raise ValueError("title, caption and protocols of a table must be text")
    rows = tuple(_row_from_dict(row) for row in data["row"])
    for row in rows:
        if "subset" in row.protocol:
            raise ValueError(f"row {row.method!r}: protocol must not be a subset run, got {row.protocol!r}")
    return Table(title=data["title"], caption=data["caption"], protocols=dict(data["protocols"]), rows=rows)


def _row_from_dict(row: Any) -> ReportedRow | MeasuredRow:
    if not isinstance(row, dict):
        raise ValueError(f"a row must be a table, got {row!r}")
    if "source" in row:
        return lines.from_dict(ReportedRow, row, f"the reported row {row.get('method', '')!r}")
    return lines.from_dict(MeasuredRow, row, f"the measured row {row.get('method', '')!r}")


def with_run(table: Table, record: Record) -> Table:
    """Make a user's own table: the row of the record's method and protocol shows this run; it is added if absent.

    >>> row = results.MeasuredRow(method="pixels + L2-SVM", protocol="cifar10/full")
    >>> table = results.Table(title="Mine", caption="", protocols={"cifar10/full": "all labels"}, rows=(row,))
    >>> told = {"run_id": "20261122-1a2b3c4d", "table": "cifar10", "method": "net + L2-SVM", "protocol": "cifar10/full"}
    >>> told |= {"metric": "accuracy_percent", "value": 79.41, "n_runs": 1, "n_test": 10_000}
    >>> told |= dict.fromkeys(("spec", "inputs", "versions", "hardware", "seconds"), {})
    >>> record = results.Record(**told, command=["dcgan-eval", "eval", "net.py:make"], started=results.utc_now())
    >>> [row.method for row in results.with_run(table, record).rows]
    ['pixels + L2-SVM', 'net + L2-SVM']
    """
    mine = MeasuredRow(method=record.method, protocol=record.protocol, run=record.run_id, metric=record.metric)
    rows = [mine if isinstance(row, MeasuredRow) and _is_of(row, record) else row for row in table.rows]
    own = {record.protocol: "the protocol of a user's own run, not part of the committed table"}
    return replace(table, protocols={**own, **table.protocols}, rows=tuple(dict.fromkeys([*rows, mine])))


def cells(table: Table, records: Iterable[Record]) -> list[dict[str, str]]:
    """Return one dictionary per row, column -> text, in the order of `COLUMNS`; unknown cells are empty text.

    Measured figures have two decimals; reported figures are as printed. A measured row without its record (or without
    the one that it names) has only method, protocol and source. Among records with one run id, the last one counts.
    Raises ValueError if several runs answer one row.
    """
    records, rows = list(records), []
    for row in table.rows:
        shown = dict.fromkeys(COLUMNS, "") | _texts(row)
        if isinstance(row, MeasuredRow):
            shown["source"] = row.absent or "measured"
            if record := _answer(row, records):
                shown |= _texts(record) | {"provenance": record.run_id}
        rows.append(shown)
    return rows


def answering(table: Table, records: Iterable[Record]) -> list[Record]:
    """Return the records that the measured rows of a table show, in the rows' order.

    Raises ValueError if several runs answer one row, or if a run answers a row that is said to be absent.

    >>> row = results.MeasuredRow(method="pixels + L2-SVM", protocol="cifar10/full")
    >>> table = results.Table(title="Mine", caption="", protocols={"cifar10/full": "all labels"}, rows=(row,))
    >>> results.answering(table, [])
    []
    """
    records = list(records)
    rows = [row for row in table.rows if isinstance(row, MeasuredRow)]
    return [record for row in rows if (record := _answer(row, records)) is not None]


def _answer(row: MeasuredRow, records: Sequence[Record]) -> Record | None:
    """Return the record of a row; among records with one run id, the last one."""
    runs = {record.run_id: record for record in records if _is_of(row, record)}
    if row.absent and runs:
        raise ValueError(
            f"row {row.method!r}, {row.protocol!r} is said to be {row.absent}, and {', '.join(runs)} has it"
        )
    if len(runs) > 1 and not row.run:
        raise ValueError(
            f"row {row.method!r}, {row.protocol!r} must be answered by one run, got {', '.join(runs)}; "
            f'name one in the table\'s TOML: run = "{next(reversed(runs))}"'
        )
    return runs.get(row.run or next(iter(runs), ""))


def _is_of(row: MeasuredRow, record: Record) -> bool:
    """Whether a record has the method and protocol of a row, and the metric if the row names one."""
    return (row.method, row.protocol, row.metric or record.metric) == (record.method, record.protocol, record.metric)


def _texts(thing: ReportedRow | MeasuredRow | Record) -> dict[str, str]:
    """Return the columns that a row or record has a value for."""
    return {name: _text(getattr(thing, name)) for name in COLUMNS if hasattr(thing, name)}


def _text(value: str | float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if isinstance(value, float) else str(value)
