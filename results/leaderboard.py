"""All measured networks side by side: the newest record of each method and protocol, and what it costs.

The leaderboard is made only from records, whether or not a table's TOML names them. The same records always give the
same bytes.
"""

from collections.abc import Iterable, Mapping

from results import pages
from results.costs import CostRecord
from results.records import METRICS, Record
from results.rendering import TextTable, notes_on
from results.tables import COLUMNS, MeasuredRow, Table, cells
from results.views import by_protocol

LEADERBOARD_COLUMNS = (*COLUMNS, "parameters", "images_per_second", "hardware")
TITLE = "Leaderboard"
CAPTION = (
    "Frozen features of each network, measured by the same protocol: the newest record of each method and protocol, "
    "the best first within a protocol. Figures of different protocols cannot be compared."
)
_COSTS = (
    "Costs: parameters of the whole network, images a second into pooled features on the hardware named; empty where "
    "not measured."
)


def newest(records: Iterable[Record]) -> list[Record]:
    """Keep the last started of each method, protocol and metric; among those of one second, the last one given."""
    ordered = sorted(records, key=lambda record: record.started)
    return list({(record.method, record.protocol, record.metric): record for record in ordered}.values())


def leaderboard_files(
    records: Iterable[Record], costs: Iterable[CostRecord], protocols: Mapping[str, str]
) -> dict[str, bytes]:
    """Make the leaderboard's files, name -> content: `leaderboard.csv`, `.md`, `.tex`, `.html` (self-contained).

    protocols: name -> one sentence, in the order shown. Raises ValueError for a record of another protocol.

    >>> told = {"run_id": "20261122-1a2b3c4d", "table": "cifar10", "method": "net + L2-SVM", "protocol": "cifar10/full"}
    >>> told |= {"metric": "accuracy_percent", "value": 79.41, "n_runs": 1, "n_test": 10_000}
    >>> told |= dict.fromkeys(("spec", "inputs", "versions", "hardware", "seconds"), {})
    >>> record = results.Record(**told, command=["dcgan-eval", "eval", "net.py:make"], started=results.utc_now())
    >>> sorted(results.leaderboard_files([record], [], {"cifar10/full": "all labels"}))
    ['leaderboard.csv', 'leaderboard.html', 'leaderboard.md', 'leaderboard.tex']
    """
    shown, order = newest(records), {name: place for place, name in enumerate(protocols)}
    shown.sort(key=lambda r: (order.get(r.protocol, -1), METRICS.index(r.metric), _badness(r), r.method))
    measured = (MeasuredRow(method=r.method, protocol=r.protocol, run=r.run_id, metric=r.metric) for r in shown)
    table = Table(title=TITLE, caption=CAPTION, protocols=protocols, rows=tuple(measured))
    costs = list(costs)
    rows = [row | _cost(r, costs) for row, r in zip(cells(table, shown), shown, strict=True)]
    texts = TextTable(TITLE, CAPTION, LEADERBOARD_COLUMNS, rows, [*notes_on(rows, protocols), _COSTS])
    page = pages.environment().get_template("leaderboard.html")
    html = page.render(
        title=TITLE,
        caption=CAPTION,
        parts=by_protocol(rows, protocols),
        notes=[_COSTS],
    )
    return texts.files("leaderboard") | {"leaderboard.html": html.encode()}


def _badness(record: Record) -> float:
    return record.value if record.metric == "error_percent" else -record.value


def _cost(record: Record, costs: Iterable[CostRecord]) -> dict[str, str]:
    """Fill the columns of cost from the newest measurement of these weights and layers; empty without one."""
    weights, layers = record.inputs.get("weights"), record.spec.get("layers")
    found = [c for c in costs if c.weights == weights and c.features == record.features and layers in (None, c.layers)]
    if not found:
        return {"parameters": "", "images_per_second": "", "hardware": ""}
    cost = max(found, key=lambda c: c.started)
    cpu = f"{cost.hardware.get('cores')} cores, {cost.hardware.get('cpu')}"
    return {
        "parameters": str(cost.parameters),
        "images_per_second": f"{cost.images_per_second:.0f}",
        "hardware": str(cost.hardware.get("accelerator") or cpu),
    }
