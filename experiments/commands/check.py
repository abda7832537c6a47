"""`dcgan-eval check`: whether a network can be compared with others, what to mend where not, and what it costs."""

import argparse
import os
from collections.abc import Iterator
from functools import partial

from tabulate import tabulate

import features
import results
from experiments.commands.options import LAYERS_HELP, Command, add_roots
from experiments.data import load as datasets
from experiments.measure import protocols
from experiments.measure.protocols import PROTOCOLS
from experiments.measure.svm import PROTOCOL
from experiments.networks.backbones import Contender, resolve
from experiments.networks.kmeans import learned
from experiments.run import console
from experiments.run.circumstances import circumstances
from experiments.run.context import ROOT, Run, device_of
from experiments.run.errors import UserError
from experiments.run.files import check_writable

__all__ = ["add"]

COSTS = ROOT / "results" / "runs" / "costs.jsonl"
WORDS = {True: "ok", False: "FAIL", None: "waits"}


def add(command: Command) -> None:
    """Add the command."""
    check = command(
        "check",
        _check,
        "Check a network before it is measured: each problem with its fix; its layers and what it costs.",
        "dcgan-eval check mynet.py:backbone\n  dcgan-eval check random:imagenet32,width=64 --layers conv1,conv2\n"
        "  dcgan-eval check torchvision:resnet18,size=64",
    )
    check.add_argument("target", nargs="?", help="the backbone, as --backbone of eval (default: BACKBONE)")
    check.add_argument("--layers", help=LAYERS_HELP)
    check.add_argument("--seed", type=int, default=0, help="of random: weights (default: %(default)s)")
    check.add_argument("--record", action="store_true", help="add the costs to results/ (maintainers)")
    add_roots(check, device=True)


def _check(arguments: argparse.Namespace) -> int:
    target, layers = arguments.target or os.environ.get("BACKBONE"), arguments.layers or os.environ.get("LAYERS")
    if not target:
        raise UserError("name the backbone: dcgan-eval check mynet.py:backbone")
    if arguments.record:
        check_writable(COSTS.parent)
    device, started = device_of(arguments.device), results.utc_now()
    found = _resolve(target, layers.split(",") if layers else None, arguments)
    if not isinstance(found, Contender):
        return _told(features.run_checks(found))
    backbone, pool, rules = found.backbone, found.pool, PROTOCOLS[PROTOCOL]
    backbone.model.to(device)
    print(f"{found.name}, on {device}", flush=True)
    checks = features.run_checks(backbone, pool=pool, rows=rules.images + rules.tested, folder=arguments.runs_root)
    if _told(checks):
        return 1
    print(_layers(found))
    costs = features.measure_costs(backbone, pool=pool, progress=console.progress)
    print("\n".join(_costs(costs)))
    if arguments.record:
        record = results.CostRecord(
            name=found.name,
            weights=found.weights,
            layers=list(backbone.layers),
            parameters=costs.parameters,
            multiply_adds=costs.multiply_adds,
            features=costs.features,
            images_per_second=round(costs.images_per_second, 2),
            batch=costs.batch,
            **{key: value for key, value in circumstances(device, {}).items() if key != "seconds"},
            started=started,
        )
        results.append_cost(COSTS, record)
        console.say(f"added to {COSTS}")
    return 0


def _resolve(target: str, layers: list[str] | None, arguments: argparse.Namespace) -> Contender | features.Backbone:
    """The contender; of a factory whose Backbone cannot be, that Backbone, for the checks to tell why."""
    roots = {"data_root": arguments.data_root, "runs_root": arguments.runs_root}
    kmeans = partial(
        learned,
        images=lambda: datasets.load("cifar10-train", Run(**roots, progress=console.progress)),
        runs_root=arguments.runs_root,
        progress=console.progress,
    )
    try:
        return resolve(target, layers=layers, seed=arguments.seed, kmeans=kmeans)
    except UserError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, features.BackboneError):
            cause = cause.__cause__
        if cause is None:
            raise
        return cause.backbone


def _told(checks: Iterator[features.Finding]) -> int:
    """Print a line for each as it comes; 1 where one failed."""
    failed = 0
    for found in checks:
        print(f"{WORDS[found.ok]:5}  {found.check:13}  {found.seen}{'; ' if found.fix else ''}{found.fix}", flush=True)
        failed |= found.ok is False
    return int(failed)


def _layers(contender: Contender) -> str:
    """A row for each layer: its maps, and the columns that they give."""
    shapes = features.layer_shapes(contender.backbone)
    widths = features.layer_widths(contender.backbone, pool=contender.pool)
    rows = [(name, " x ".join(map(str, shape)), f"{widths[name]:,}") for name, shape in shapes.items()]
    rows.append(("all", "", f"{sum(widths.values()):,}"))
    return "\n" + tabulate(rows, ("layer", "maps", "features"), colalign=("left", "left", "right")) + "\n"


def _costs(costs: features.Costs) -> Iterator[str]:
    """A line for each: size, work, speed, and what every table's features take."""
    yield f"parameters     {costs.parameters:,}"
    yield f"multiply-adds  {costs.multiply_adds / 1e6:,.1f} million an image"
    speed = costs.images_per_second
    yield (
        f"speed          {1000 / speed:,.3g} ms an image, {speed:,.4g} a second "
        f"(median of {len(costs.seconds)} batches of {costs.batch})"
    )
    for table in protocols.TABLES:
        images = max(p.images + p.tested for p in PROTOCOLS.values() if p.table == table)
        yield f"{table:13}  {images * costs.features * 4 / 1e9:,.1f} GB of features for {images:,} images"
