"""The report's first screen: accuracy of every network on CIFAR-10 in one chart, and the README's table of results.

Both are made from the rows of tables/cifar10.csv. Nothing but names is written here.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import evaluation
from experiments.report.files import Sheet
from results.views import View

Rows = Mapping[tuple[str, str], Mapping[str, str]]  # (method, protocol) -> its row
FULL, MIRRORED, APART = "cifar10/full", "cifar10/full-mirrored", "cifar10/full-without-train-duplicates"
PAPER = "DCGAN + L2-SVM"
SAME_NETWORK = "random-init imagenet32 + L2-SVM"  # of the paper's architecture, so its features are as many
CONTROLS = ("random-init", "raw pixels", "k-means", "k-nn", "supervised")  # how the methods of controls begin
STEP = 10  # percentage points between the ticks of the axis


@dataclass(frozen=True)
class Named:
    """The words for a method: its name in the chart, what it is, and the reported method that it repeats."""

    name: str
    what: str = ""
    repeats: str = ""
    in_table: bool = True


NAMES = {
    PAPER: Named("the paper's DCGAN"),
    "DCGAN imagenet32-contrast + L2-SVM": Named(
        "imagenet32-contrast", "the default: a GAN that also learns rotations and contrast"
    ),
    "DCGAN imagenet32 (authors' weights, conv1-conv4) + L2-SVM": Named(
        "authors' weights, conv1-conv4", "as released; files of conv5 and conv6 were missing"
    ),
    "DCGAN imagenet32-views + L2-SVM": Named("imagenet32-views", "the GAN alone"),
    "k-means 4800, 1 layer + L2-SVM": Named("K-means, 4,800 centroids", "one layer", repeats="1 layer K-means"),
    "DCGAN imagenet32-half-without-gan + L2-SVM": Named("imagenet32-half-without-gan", "contrast alone at half width"),
    "DCGAN imagenet32-half + L2-SVM": Named("imagenet32-half", "the GAN alone at half width"),
    "random-init imagenet32 + L2-SVM": Named("random weights, full width", "control"),
    "random-init imagenet32 width 64 + L2-SVM": Named("random weights, half width", "control", in_table=False),
    "raw pixels + L2-SVM": Named("raw pixels", "control"),
}


@dataclass(frozen=True)
class Mark:
    """A row of the chart, in percent. kind: reported, measured or control. low and high: ends of the 95 % interval."""

    name: str
    kind: str
    text: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Overview:
    """groups: the marks of the networks, the best first, then those of the controls. ticks: of the axis, in percent."""

    groups: Sequence[Sequence[Mark]]
    ticks: Sequence[int]
    table: View

    @property
    def marks(self) -> list[Mark]:
        """The marks of both groups."""
        return [mark for group in self.groups for mark in group]

    def at(self, value: float) -> str:
        """Return the place of a value on the axis, in percent of its length."""
        low, high = self.ticks[0], self.ticks[-1]
        return f"{100 * (value - low) / (high - low):.2f}%"


def overview(cifar10: Sheet) -> Overview | None:
    """Make the first screen, or None if no row of CIFAR-10 with all labels is measured."""
    rows = {(row["method"], row["protocol"]): row for row in cifar10.rows if row["value"]}
    marks = sorted(_marks(rows), key=lambda pair: -pair[1].value)
    if all(mark.kind == "reported" for _, mark in marks):
        return None
    groups = [[m for _, m in marks if (m.kind == "control") is control] for control in (False, True)]
    low, high = min(mark.low for _, mark in marks), max(mark.high for _, mark in marks)
    ticks = range(STEP * math.floor(low / STEP), STEP * math.ceil(high / STEP) + 1, STEP)
    methods = sorted((method for method, _ in marks), key=lambda method: method != PAPER)  # the rest stays sorted
    told = [method for method in methods if _named(method).in_table]
    return Overview([group for group in groups if group], ticks, _table(told, rows))


def _marks(rows: Rows) -> Iterator[tuple[str, Mark]]:
    """Yield method and mark of the paper's figure, and of every measured row with all labels."""
    for (method, protocol), row in rows.items():
        if protocol != FULL or (row["source"] != "measured" and method != PAPER):
            continue
        value = low = high = float(row["value"])
        kind = "control" if method.startswith(CONTROLS) else "measured"
        if row["source"] == "measured":
            n = int(row["n_test"])
            interval = evaluation.interval95_of_proportion(round(value * n / 100), n)
            low, high = interval.low, interval.high
        else:
            kind = "reported"
        yield method, Mark(_named(method).name, kind, row["value"], value, low, high)


def _named(method: str) -> Named:
    return NAMES.get(method) or Named(method.removesuffix(" + L2-SVM"))


def _what(method: str, rows: Rows) -> str:
    named = _named(method)
    reported = rows.get((named.repeats, FULL))
    return named.what + (f"; reported: {reported['value']}" if reported else "")


def _table(methods: Sequence[str], rows: Rows) -> View:
    """Make the README's table: a row for each method, its accuracy by three protocols."""

    def cell(method: str, protocol: str, column: str) -> str:
        return rows.get((method, protocol), {}).get(column, "")

    shown = []
    for method in methods:
        features = cell(SAME_NETWORK if method == PAPER else method, FULL, "features")
        source, runs = cell(method, FULL, "source"), cell(method, FULL, "n_runs")
        shown.append(
            {
                "network": _named(method).name,
                "_what": _what(method, rows),
                "accuracy": cell(method, FULL, "value"),
                "mirrored": cell(method, MIRRORED, "value"),
                "apart": cell(method, APART, "value"),
                "features": f"{int(features):,}" if features else "",
                "source": f"measured, {runs} run{'s' * (runs != '1')}"
                if source == "measured"
                else f"reported, {source.partition(' [')[0]}",
                "_run": cell(method, FULL, "provenance"),
            }
        )
    labels = {"network": "network", "accuracy": "accuracy\u00a0%", "mirrored": "mirrored\u00a0%"}
    labels |= {"apart": "without near-duplicates\u00a0%", "features": "features", "source": "source"}
    return View((), labels, frozenset(("features", "accuracy", "mirrored", "apart")), shown)
