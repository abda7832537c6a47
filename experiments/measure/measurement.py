"""Measurements: each gives rows of a table. Only this module looks up whether a figure exists, and builds records.

A figure is identified by its spec, the digests of its inputs, and the digest of the source code that can change it. A
figure that agrees in all three is not measured again.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import results
from experiments.run.context import ROOT, Run
from experiments.run.environment import circumstances
from experiments.run.torchrun import broadcast, check_same, is_first

# the packages whose code can change a figure; a test follows the imports of `measure` and checks that none is missing
SOURCE = ("gan", "features", "evaluation", *(f"experiments/{room}" for room in ("run", "data", "networks", "measure")))


# metadata of a spec's field that older records lack: left out while it has its default, so that their specs still fit
ADDED = {"added": True}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured figure: the fields of a `results.Record` that the measurement itself decides."""

    method: str
    protocol: str
    metric: str
    value: float
    n_test: int
    n_runs: int = 1
    error_bar: float | None = None
    error_bar_kind: str = ""
    features: int | None = None
    max_units: int | None = None
    selection: dict[str, Any] = field(default_factory=dict)
    solver: dict[str, Any] = field(default_factory=dict)
    outcomes: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


class Measurement:
    """A spec, and everything that it needs, loaded and checked before the long work.

    spec: a dataclass with everything that decides the figures, apart from data, weights and code. It has a seed, `rows`
    (its protocols) and, unless `table` is overridden, `rules` (the protocol's settings). inputs: digests of data and
    weights.
    """

    spec: Any
    inputs: Any  # Mapping[str, str]; an attribute or a property

    @property
    def table(self) -> str:
        """The table that its figures belong to."""
        return self.spec.rules.table

    @property
    def seed(self) -> int | None:
        """The seed for the record; None if nothing is drawn."""
        return self.spec.seed

    @property
    def protocols(self) -> list[str]:
        """The protocols of the figures that `measure` returns, one for each figure."""
        return self.spec.rows

    def measure(self, run: Run) -> list[Figure]:
        """Do the long work: continue where a stopped run ended, and score test images once."""
        raise NotImplementedError


def identity(measurement: Measurement, run: Run) -> tuple[dict[str, Any], dict[str, str]]:
    """Return (resolved spec, digests of inputs and source). Measurements that agree in both give the same figures."""
    source = results.source_digest(ROOT / package for package in SOURCE)
    spec = dataclasses.asdict(measurement.spec)
    for added in dataclasses.fields(measurement.spec):
        if added.metadata == ADDED and spec[added.name] == added.default:
            del spec[added.name]
    return run.portable(spec), {**measurement.inputs, "source": source}


def recorded(measurement: Measurement, run: Run, *, fresh: bool = False) -> list[results.Record]:
    """Return the records of a measurement: existing ones, or new ones if there are none or `fresh` is set.

    Under torchrun all processes measure together, and the first one has the records.
    """
    spec, inputs = identity(measurement, run)
    check_same((spec, inputs), "networks, images or code")
    found = _at_hand(measurement, run, spec, inputs) if is_first() and not fresh else []
    if broadcast(len(found) if is_first() else None):
        return found
    started = results.utc_now()
    return [
        results.Record(
            **{name: value for name, value in vars(figure).items() if name != "seconds"},
            run_id=results.run_id(spec, inputs, started),
            table=measurement.table,
            command=run.portable(list(run.command)),
            spec=spec,
            seed=measurement.seed,
            inputs=inputs,
            **circumstances(run.device, figure.seconds),
            started=started,
        )
        for figure in measurement.measure(run)
    ]


def _at_hand(measurement: Measurement, run: Run, spec: dict, inputs: dict[str, str]) -> list[results.Record]:
    """Return the user's last records of exactly this measurement; none if a protocol is missing among them."""
    file = run.own_records / f"{measurement.table}.jsonl"
    same = [r for r in results.read_records(file) if (r.spec, r.inputs) == (spec, inputs)]
    last = [r for r in same if r.run_id == same[-1].run_id]
    if sorted(r.protocol for r in last) != sorted(measurement.protocols):  # none, or a run stopped while writing them
        return []
    run.say(f"measured before, as run {last[0].run_id} ({file}); --fresh measures again")
    return last
