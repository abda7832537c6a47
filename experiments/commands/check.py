"""`dcgan-eval check`: whether a network can be measured, how to mend what fails, and what it costs."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from experiments.commands import options as shared
from experiments.run import console
from experiments.run.context import Run
from experiments.run.errors import UserError
from experiments.run.files import check_writable

if TYPE_CHECKING:
    import features

EXAMPLE = """dcgan-eval check mynet.py:network
  dcgan-eval check random:imagenet32,width=64 --layers conv1,conv2
  dcgan-eval check torchvision:resnet18,size=64"""
WORDS = {True: "ok", False: "FAIL", None: "waits"}


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `check`."""
    shared.add_network(parser, default="the variable BACKBONE")
    shared.add_seed(parser)
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
    try:
        contender = resolve(target, run, layers=layers, seed=arguments.seed)
    except UserError as error:
        if not isinstance(error.__cause__, features.BackboneError):
            raise
        return _print_checks(features.run_checks(error.__cause__.backbone))  # they say what is wrong with it
    backbone, rules = contender.backbone, PROTOCOLS[PROTOCOL]
    move(contender, device, target)
    console.answer(f"{contender.name}, on {device}")
    console.answer(*(f"note   {note}" for note in contender.notes))
    rows = rules.images + rules.tested
    if _print_checks(features.run_checks(backbone, pool=contender.pool, rows=rows, folder=run.runs_root)):
        return 1
    table = _layers(features.layer_shapes(backbone), features.layer_widths(backbone, pool=contender.pool))
    console.answer(*table.split("\n"))
    try:
        costs = features.measure_costs(backbone, pool=contender.pool, progress=run.progress)
    except Exception as error:  # the network may raise anything
        raise UserError(
            f"{contender.name} passes the checks, but its costs cannot be measured: {one_line(error)}"
        ) from error
    console.answer(*_costs(costs))
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
    return 0


def _print_checks(checks: Iterator[features.Finding]) -> int:
    """Print a line for each check as it comes; return 1 if one failed."""
    failed = 0
    for found in checks:
        word = "warn" if found.ok and found.fix else WORDS[found.ok]
        console.answer(f"{word:5}  {found.check:13}  {found.seen}{'; ' if found.fix else ''}{found.fix}")
        failed |= found.ok is False
    return int(failed)


def _layers(shapes: Mapping[str, Sequence[int]], widths: Mapping[str, int]) -> str:
    """Return a table with a row for each layer: its maps, and their number of features."""
    from tabulate import tabulate

    rows = [(name, " x ".join(map(str, shape)), f"{widths[name]:,}") for name, shape in shapes.items()]
    rows.append(("all", "", f"{sum(widths.values()):,}"))
    return "\n" + tabulate(rows, ("layer", "maps", "features"), colalign=("left", "left", "right")) + "\n"


def _costs(costs: features.Costs) -> Iterator[str]:
    """Yield a line for each cost: size, work, speed, and the disk space for the features of each table."""
    from experiments.measure.protocols import PROTOCOLS, TABLES

    yield f"parameters     {costs.parameters:,}"
    yield f"multiply-adds  {costs.multiply_adds / 1e6:,.1f} million an image"
    speed = costs.images_per_second
    yield (
        f"speed          {1000 / speed:,.3g} ms an image, {speed:,.4g} a second "
        f"(median of {len(costs.seconds)} batches of {costs.batch})"
    )
    for table in TABLES:
        images = max(p.images + p.tested for p in PROTOCOLS.values() if p.table == table)
        yield f"{table:13}  {images * costs.features * 4 / 1e9:,.1f} GB of features for {images:,} images"
