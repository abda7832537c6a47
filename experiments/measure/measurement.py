"""Measurements: what answers rows of a table. The one place that knows whether a figure is at hand, and builds records.

A figure's identity is its spec, the digests of its inputs and the digest of the source that can change it. A run that
agrees in all three is not measured again.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import results
from experiments.run.circumstances import circumstances
from experiments.run.context import ROOT, Run

# the packages whose code can change a figure; tests follow the imports of `measure` to hold this complete
SOURCE = ("gan", "features", "evaluation", *(f"experiments/{room}" for room in ("run", "data", "networks", "measure")))


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
    """What answers rows of a table: a spec, and all that it rests on, loaded and checked before the long work.

    spec: a dataclass, everything that decides the figures apart from data, weights and code; with a seed, `rows` (its
    protocols) and, unless `table` is overridden, `rules` (the protocol's settings). inputs: digests of data and
    weights.
    """

    spec: Any
    inputs: Any  # Mapping[str, str]; an attribute or a property

    @property
    def table(self) -> str:
        """The table whose rows it answers."""
        return self.spec.rules.table

    @property
    def seed(self) -> int | None:
        """The seed for the record; None where nothing is drawn."""
        return self.spec.seed

    @property
    def protocols(self) -> list[str]:
        """The protocols of the figures that `measure` returns."""
        return self.spec.rows

    def measure(self, run: Run) -> list[Figure]:
        """Do the long work, from where a stopped run ended, and score test images once."""
        raise NotImplementedError


def identity(measurement: Measurement, run: Run) -> tuple[dict[str, Any], dict[str, str]]:
    """(resolved spec, digests of inputs and source): measurements that agree in both give the same figures."""
    source = results.source_digest(ROOT / package for package in SOURCE)
    return run.portable(dataclasses.asdict(measurement.spec)), {**measurement.inputs, "source": source}


def recorded(measurement: Measurement, run: Run, *, fresh: bool = False) -> list[results.Record]:
    """The records of a measurement: those at hand unless `fresh`, or what is measured now."""
    spec, inputs = identity(measurement, run)
    if not fresh and (found := _at_hand(measurement, run, spec, inputs)):
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
    """The user's last records of exactly this measurement; none where one of its protocols is missing."""
    file = run.own_records / f"{measurement.table}.jsonl"
    same = [r for r in results.read_records(file) if (r.spec, r.inputs) == (spec, inputs)]
    last = [r for r in same if r.run_id == same[-1].run_id]
    if {r.protocol for r in last} != set(measurement.protocols):  # none, or stopped while writing them
        return []
    run.say(f"measured before, as run {last[0].run_id} ({file}); --fresh measures again")
    return last
