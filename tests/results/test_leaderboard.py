"""The leaderboard: the newest record of each method and protocol, costs beside it, one page that needs nothing else."""

import csv
import io
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from results import COLUMNS, LEADERBOARD_COLUMNS, CostRecord, Record, leaderboard_files

PROTOCOLS = {"cifar10/full": "50,000 labels", "svhn/1000-balanced": "1,000 labels"}
RECORD = Record(
    run_id="20261122-1a2b3c4d",
    table="cifar10",
    method="DCGAN <b>&'\" + L2-SVM",
    protocol="cifar10/full",
    metric="accuracy_percent",
    value=79.41,
    n_runs=1,
    n_test=10000,
    features=28672,
    max_units=512,
    command=["dcgan-eval"],
    spec={"layers": None},
    inputs={"weights": "w"},
    versions={},
    hardware={},
    seconds={},
    started="2026-11-22T10:00:00Z",
)
COST = CostRecord(
    name="DCGAN",
    weights="w",
    layers=["conv1", "conv2"],
    parameters=1_234_567,
    multiply_adds=1,
    features=28672,
    images_per_second=812.4,
    batch=128,
    hardware={"cpu": "CPU", "cores": 2, "accelerator": None},
    versions={},
    started="2026-11-22T10:00:00Z",
)


def rows(records: list[Record], costs: list[CostRecord] | None = None) -> list[dict[str, str]]:
    text = leaderboard_files(records, costs or [], PROTOCOLS)["leaderboard.csv"].decode()
    return list(csv.DictReader(io.StringIO(text)))


def other(method: str, value: float, **changes: Any) -> Record:
    return replace(RECORD, method=method, value=value, run_id=f"20261122-{len(method):08x}", **changes)


def test_columns_are_the_contracts_then_the_costs() -> None:
    assert LEADERBOARD_COLUMNS == (*COLUMNS, "parameters", "images_per_second", "hardware")
    (row,) = rows([RECORD])
    assert tuple(row) == LEADERBOARD_COLUMNS
    assert (row["value"], row["source"], row["provenance"]) == ("79.41", "measured", RECORD.run_id)


def test_the_newest_record_stands_wherever_it_is() -> None:
    newer = replace(RECORD, value=80.5, run_id="20261123-00000000", started="2026-11-23T10:00:00Z")
    for records in ([RECORD, newer], [newer, RECORD]):
        assert [row["value"] for row in rows(records)] == ["80.50"]


def test_the_best_come_first_within_a_protocol() -> None:
    error = {"protocol": "svhn/1000-balanced", "metric": "error_percent"}
    records = [other("e2", 30.0, **error), other("a20", 60.0), other("e10", 20.0, **error), other("a3000", 70.0)]
    assert [row["method"] for row in rows(records)] == ["a3000", "a20", "e10", "e2"]


def test_a_record_of_a_protocol_that_no_table_describes_is_refused() -> None:
    with pytest.raises(ValueError, match="'cifar10/other' must be described"):
        rows([RECORD, other("b", 1.0, protocol="cifar10/other")])


def costs_of(record: Record, *costs: CostRecord) -> tuple[str, str, str]:
    (row,) = rows([record], list(costs))
    return row["parameters"], row["images_per_second"], row["hardware"]


def test_costs_are_those_of_the_weights_and_layers() -> None:
    assert costs_of(RECORD, COST) == ("1234567", "812", "2 cores, CPU")
    later = replace(COST, started="2026-11-23T10:00:00Z", images_per_second=9000, hardware={"accelerator": "GPU"})
    assert costs_of(RECORD, later, COST) == ("1234567", "9000", "GPU")
    nothing = ("", "", "")
    assert costs_of(RECORD) == nothing
    assert costs_of(RECORD, replace(COST, weights="x")) == nothing
    assert costs_of(RECORD, replace(COST, features=1)) == nothing  # of other layers
    one = replace(RECORD, spec={"layers": ["conv2", "conv1"]})
    assert costs_of(one, COST) == nothing
    assert costs_of(replace(one, spec={"layers": ["conv1", "conv2"]}), COST) != nothing
    assert costs_of(replace(RECORD, inputs={}), COST) == nothing


def test_the_same_records_give_the_same_bytes_in_every_form() -> None:
    made = leaderboard_files([RECORD, other("b", 1.0)], [COST], PROTOCOLS)
    assert list(made) == [f"leaderboard.{suffix}" for suffix in ("csv", "md", "tex", "html")]
    assert made == leaderboard_files([other("b", 1.0), RECORD], [COST], PROTOCOLS)
    markdown, latex = (made[f"leaderboard.{suffix}"].decode() for suffix in ("md", "tex"))
    assert all(text in markdown for text in ("79.41", "images_per_second", "50,000 labels", "Costs: "))
    assert all(text in latex for text in ("79.41", r"images\_per\_second", "50,000 labels", "Costs: "))


class Page(HTMLParser):
    """What a page holds: tags with their attributes, and the texts of cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[list[str]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)
        if tag == "tr":
            self.cells.append([])

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open) and data.strip():
            self.cells[-1].append(data.strip())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_the_page_is_one_file_with_a_table_a_protocol_and_a_button_a_column() -> None:
    records = [RECORD, other("svhn", 20.0, protocol="svhn/1000-balanced", metric="error_percent")]
    text = leaderboard_files(records, [COST], PROTOCOLS)["leaderboard.html"].decode()
    page = Page(text)
    assert page.cells[0][:3] == ["method", "accuracy\u00a0%", "features"]
    assert page.cells[1][:3] == [RECORD.method, "79.41", "28,672"]
    assert page.cells[2][:2] == ["method", "error\u00a0%"] and page.cells[3][:2] == ["svhn", "20.00"]
    assert "n = 10,000" in text and " in percent" not in text  # the head of the column says it
    assert len(page.all("button")) == len(page.cells[0]) + len(page.cells[2])
    assert [h["id"] for h in page.all("h4")] == list(PROTOCOLS)
    assert [a["href"] for a in page.all("a")] == [f"#{name}" for name in PROTOCOLS]
    assert page.all("link") == page.all("img") == [] and [s.get("src") for s in page.all("script")] == [None]
    assert "//" not in text.replace("// ", "") and "@import" not in text and "url(" not in text
    assert "color-scheme: light dark" in text and "width=device-width" in text
    policies = [m["content"] or "" for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert [policy.split(";")[0] for policy in policies] == ["default-src 'none'"]


def test_a_protocol_without_rows_has_no_table() -> None:
    page = Page(leaderboard_files([RECORD], [], PROTOCOLS)["leaderboard.html"].decode())
    assert [h["id"] for h in page.all("h4")] == ["cifar10/full"]
