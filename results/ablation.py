"""How much each choice of the protocol matters: the variants in the newest record of each network, as a table.

A record's `solver["variants"]` holds one row per variant. The same records always give the same bytes.
"""

from collections.abc import Iterable

from results.leaderboard import newest
from results.records import Record
from results.rendering import TextTable

ABLATION_COLUMNS = (
    *("method", "kind", "variant", "features", "C", "accuracy_percent", "ci95_low", "ci95_high", "n"),
    *("protocol", "provenance"),
)
_CAPTION = (
    "CIFAR-10 accuracy on training images held out, n of them: the test images take no part, since ablations are "
    "choices. One thing is varied at a time, all else is as in the row `protocol`."
)
_NOTES = (
    "C is chosen for each variant on other training images held out, and the classifier fitted to all but the n.",
    "ci95: Clopper-Pearson interval of one classifier's accuracy over images. Variants share their images: "
    "differences are surer than the intervals say.",
    "Figures are lower than the table's of the same network, whose classifier is fitted to all training images.",
)


def ablation_files(name: str, records: Iterable[Record]) -> dict[str, bytes]:
    """Make the table's files, name -> content: `<name>.csv` and `.md`; none if there is no record.

    >>> told = {"run_id": "20261122-1a2b3c4d", "table": "cifar10", "method": "net + L2-SVM", "protocol": "cifar10/full"}
    >>> told |= {"metric": "accuracy_percent", "value": 79.41, "n_runs": 1, "n_test": 10_000}
    >>> told |= dict.fromkeys(("spec", "inputs", "versions", "hardware", "seconds"), {})
    >>> record = results.Record(**told, command=["dcgan-eval", "eval", "net.py:make"], started=results.utc_now())
    >>> variant = {"kind": "layers", "variant": "conv1", "features": 512, "C": 0.1}
    >>> variant |= {"accuracy_percent": 60.0, "ci95_low": 59.0, "ci95_high": 61.0}
    >>> ablation = results.Record(**vars(record) | {"solver": {"variants": [variant]}})
    >>> sorted(results.ablation_files("ablation", [ablation]))
    ['ablation.csv', 'ablation.md']
    """
    rows = [row for record in newest(records) for row in _rows(record)]
    if not rows:
        return {}
    texts = TextTable("Ablations", _CAPTION, ABLATION_COLUMNS, rows, _NOTES)
    return {f"{name}.csv": texts.csv().encode(), f"{name}.md": texts.markdown().encode()}


def _rows(record: Record) -> Iterable[dict[str, str]]:
    for variant in record.solver.get("variants", ()):
        yield {
            "method": record.method,
            "kind": variant["kind"],
            "variant": variant["variant"],
            "features": str(variant["features"]),
            "C": f"{variant['C']:.4g}",
            **{name: f"{variant[name]:.2f}" for name in ("accuracy_percent", "ci95_low", "ci95_high")},
            "n": str(record.n_test),
            "protocol": record.protocol,
            "provenance": record.run_id,
        }
