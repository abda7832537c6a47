"""`dcgan-eval check`: whether a network can be measured, how to mend what fails, and what it costs."""

from __future__ import annotations

import argparse
import os
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from experiments.commands import options as shared
from experiments.run import console
from experiments.run.context import Run
from experiments.run.errors import UserError
from experiments.run.files import check_writable

if TYPE_CHECKING:
    import features

EXAMPLE = """dcgan-eval check mynet.py:network
  dcgan-eval check random:imagenet32,width=64 --layers conv1,conv2
  dcgan-eval check torchvision:resnet18,size=64

--json prints {"network", "device", "passed", "notes", "checks": [{"check", "verdict", "seen", "fix"}], "layers":
[{"layer", "maps", "features"}], "parameters", "multiply_adds", "images_per_second", "batch", "features"}; for a network
that fails, layers are empty and costs null."""
WORDS = {True: "ok", False: "FAIL", None: "waits"}


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `check`."""
    shared.add_network(parser, default="the variable BACKBONE")
    shared.add_seed(parser)
    shared.add_output(parser)
    shared.add_record(parser, "add the costs to results/")
    shared.add_roots(parser, device=True)


def execute(arguments: argparse.Namespace, run: Run) -> int:
    """Print the checks, the layers and the costs; return 1 if a check fails."""
    target, layers = arguments.target or os.environ.get("BACKBONE"), shared.layers_of(arguments)
    if not target:
        raise UserError("name the backbone: dcgan-eval check mynet.py:network")
    if arguments.record:
        check_writable(run.records)

    import features
    import results
    from experiments.measure.protocols import PROTOCOLS
    from experiments.measure.svm import PROTOCOL
    from experiments.networks.resolve import move, resolve
    from experiments.run.environment import circumstances
    from features.errors import one_line

    device, started = run.device, results.utc_now()
    load = _load()
    try:
        contender = resolve(target, run, layers=layers, seed=arguments.seed)
    except UserError as error:
        if not isinstance(error.__cause__, features.BackboneError):
            raise
        answer = _Answer(arguments, target, str(device))
        answer.checks(features.run_checks(error.__cause__.backbone))  # they say what is wrong with it
        return answer.end()
    backbone, rules = contender.backbone, PROTOCOLS[PROTOCOL]
    move(contender, device, target)
    answer = _Answer(arguments, contender.name, str(device), contender.notes)
    rows = rules.images + rules.tested
    if not answer.checks(features.run_checks(backbone, pool=contender.pool, rows=rows, folder=run.runs_root)):
        return answer.end()
    answer.layers(features.layer_shapes(backbone), features.layer_widths(backbone, pool=contender.pool))
    _warn_if_busy(load, run)
    try:
        costs = features.measure_costs(backbone, pool=contender.pool, progress=run.progress)
    except Exception as error:  # the network may raise anything
        raise UserError(
            f"{contender.name} passes the checks, but its costs cannot be measured: {one_line(error)}"
        ) from error
    answer.costs(costs)
    if arguments.record:
        file = run.records / "costs.jsonl"
        record = results.CostRecord(
            name=contender.name,
            weights=contender.weights,
            layers=list(backbone.layers),
            parameters=costs.parameters,
            multiply_adds=costs.multiply_adds,
            features=costs.features,
            images_per_second=round(costs.images_per_second, 2),
            batch=costs.batch,
            **{key: value for key, value in circumstances(device, {}).items() if key != "seconds"},
            started=started,
        )
        results.append_cost(file, record)
        run.say(f"added to {file}")
    return answer.end()


class _Answer:
    """The answer of `check`: lines as they are found, or with --json one object at the end."""

    def __init__(self, arguments: argparse.Namespace, name: str, device: str, notes: Sequence[str] = ()) -> None:
        self.arguments = arguments
        self.found: dict[str, Any] = {"network": name, "device": device, "passed": True, "notes": list(notes)}
        self.found |= {"checks": [], "layers": []}
        self.found |= dict.fromkeys(("parameters", "multiply_adds", "images_per_second", "batch", "features"))
        self._say(console.shortened(f"{name}, on {device}", console.WIDTH))
        for note in notes:
            self._say(*_wrapped("note   ", note))

    def checks(self, findings: Iterable[features.Finding]) -> bool:
        """Print each check as it comes; return whether all passed."""
        for found in findings:
            word = "warn" if found.ok and found.fix else WORDS[found.ok]
            self.found["checks"].append(
                {"check": found.check, "verdict": word.lower(), "seen": found.seen, "fix": found.fix}
            )
            self.found["passed"] &= found.ok is not False
            self._say(*_wrapped(f"{word:5}  {found.check:13}  ", f"{found.seen}{'; ' if found.fix else ''}{found.fix}"))
        return self.found["passed"]

    def layers(self, shapes: Mapping[str, Sequence[int]], widths: Mapping[str, int]) -> None:
        """Print a table with a row for each layer: its maps, and their number of features."""
        from tabulate import tabulate

        self.found["layers"] = [
            {"layer": name, "maps": list(shape), "features": widths[name]} for name, shape in shapes.items()
        ]
        rows = [
            (console.shortened(name, 50), " x ".join(map(str, shape)), f"{widths[name]:,}")
            for name, shape in shapes.items()
        ]
        rows.append(("all", "", f"{sum(widths.values()):,}"))
        table = tabulate(rows, ("layer", "maps", "features"), colalign=("left", "left", "right"))
        self._say("", *table.split("\n"), "")

    def costs(self, costs: features.Costs) -> None:
        """Print the costs."""
        for name in ("parameters", "multiply_adds", "images_per_second", "batch", "features"):
            self.found[name] = getattr(costs, name)
        self._say(*_costs(costs))

    def end(self) -> int:
        """Print the object, if it is wanted; return the exit code."""
        if self.arguments.json:
            shared.answer(self.arguments, self.found, ())
        return 0 if self.found["passed"] else 1

    def _say(self, *lines: str) -> None:
        if not self.arguments.json:
            console.answer(*lines)


def _wrapped(head: str, text: str) -> list[str]:
    """Return lines that begin with `head`, and then with as many blanks."""
    indent = " " * len(head)
    lines = textwrap.wrap(text, console.WIDTH, initial_indent=head, subsequent_indent=indent, break_on_hyphens=False)
    return lines or [head.rstrip()]


def _load() -> float:
    """Return how many programs wanted to compute in the last minute; 0 where the system does not tell."""
    try:
        return os.getloadavg()[0]
    except (OSError, AttributeError):
        return 0.0


def _warn_if_busy(load: float, run: Run) -> None:
    """Warn if other programs keep the machine so busy that the speed would be measured too low."""
    cores = os.cpu_count() or 1
    if load > cores / 2:
        run.warn(
            f"the machine is busy (load {load:.1f} on {console.counted(cores, 'core')}): its speed is "
            "measured too low; check again when it is idle"
        )


def _costs(costs: features.Costs) -> Iterator[str]:
    """Yield a line for each cost: size, work, speed, and the disk space for the features of each table."""
    from experiments.measure.protocols import PROTOCOLS, TABLES

    yield f"parameters     {costs.parameters:,}"
    yield f"multiply-adds  {costs.multiply_adds / 1e6:,.1f} million an image"
    speed = costs.images_per_second
    yield (
        f"speed          {console.rounded(1000 / speed)} ms an image, {console.rounded(speed)} a second "
        f"(median of {len(costs.seconds)} batches of {costs.batch})"
    )
    for table in TABLES:
        images = max(p.images + p.tested for p in PROTOCOLS.values() if p.table == table)
        yield f"{table:13}  {console.size(images * costs.features * 4)} of features for {images:,} images"
