"""`dcgan-eval extract`, `eval` and `table`: features, rows of the tables, and the tables from the records."""

import argparse
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import features
import results
from experiments.commands.options import LAYERS_HELP, Command, add_roots
from experiments.measure import mnist as nearest_digits
from experiments.measure import pairs as paired
from experiments.measure import protocols, supervised
from experiments.measure.ablation import TABLE as ABLATION
from experiments.measure.classify import CLASSIFIERS
from experiments.measure.protocols import PROTOCOLS
from experiments.measure.svm import (
    MODES,
    PROTOCOL,
    WITHOUT_LEAKED,
    EvalSpec,
    Prepared,
    evaluate,
    extract_features,
    identity,
    method,
    prepare,
)
from experiments.measure.tables import load_table, table_names
from experiments.networks.backbones import resolve
from experiments.run import console
from experiments.run.context import ROOT, device_of, named_roots
from experiments.run.errors import UserError
from experiments.run.files import check_writable, write_bytes

__all__ = ["add", "add_record", "regenerated"]


SHIPPED = {  # what each table measures by default
    table: ROOT / "results" / "weights" / f"{name}.safetensors"
    for table, name in (("cifar10", "imagenet32-half"), ("svhn", "svhn32"))
}
RECORDS, TABLES = (ROOT / "results" / name for name in ("runs", "tables"))
LEADERBOARD = "leaderboard"
OTHERS = (LEADERBOARD, ABLATION)  # tables without a TOML of their own


def add(command: Command) -> None:
    """Add the three commands."""
    for name, run, text, example in (
        (
            "extract",
            _extract,
            "Extract features of CIFAR-10.",
            "dcgan-eval extract random:imagenet32,width=64",
        ),
        (
            "eval",
            _eval,
            "Measure one row of a table.",
            "dcgan-eval eval random:imagenet32 --table cifar10\n"
            "  dcgan-eval eval torchvision:resnet18,size=64 --layers 'layer[34]'\n"
            "  dcgan-eval eval supervised:svhn32 --table svhn --trials 16\n"
            "  dcgan-eval eval real --table mnist\n"
            "  dcgan-eval eval runs/train/mnist-conditional/generator.safetensors --table mnist --samples 1000000",
        ),
    ):
        added = command(name, run, text, example)
        added.add_argument(
            "target",
            nargs="?",
            help="the backbone, as --backbone; supervised:PRESET[,width=N], a network trained with the labels alone; "
            "of the MNIST table a class-conditional generator's file, or real",
        )
        added.add_argument(
            "--backbone",
            help="FILE.safetensors, random:PRESET[,width=N], theano:PRESET:FOLDER, pixels, kmeans:K, module:factory, "
            "file.py:factory, torchvision:NAME[,size=N], timm:NAME, netD.pth (a DCGAN port's state dict) or FILE.pt2 "
            "(torch.export.save) (default: BACKBONE, or the network that comes with the project)",
        )
        added.add_argument("--layers", help=LAYERS_HELP)
        added.add_argument("--batchnorm", choices=MODES, default="calibrated", help="default: %(default)s")
        added.add_argument("--subset", type=int, help="use so many training images and a fifth of it for testing")
        added.add_argument("--seed", type=int, default=0, help="default: %(default)s")
        added.add_argument("--dry-run", action="store_true", help="say what would be done and stop")
        add_roots(added, device=True)
        if name == "eval":
            added.add_argument(
                "--table", choices=[*protocols.TABLES, "mnist"], default="cifar10", help="default: %(default)s"
            )
            added.add_argument(
                "--protocol",
                help=f"{', '.join(PROTOCOLS)}; of supervised: {', '.join(protocols.SUPERVISED)} "
                "(default: the table's first)",
            )
            added.add_argument("--classifier", choices=CLASSIFIERS, default="l2-svm", help="default: %(default)s")
            added.add_argument(
                "--samples", type=int, metavar="N", help="of the MNIST table's generator (default: 50000)"
            )
            added.add_argument(
                "--trials", type=int, metavar="N", help="of supervised:, drawn at random (default: 64, as the paper)"
            )
            added.add_argument("--C", help="comma-separated values to choose from on held-out training images")
            added.add_argument("--fresh", action="store_true", help="measure again although a record is at hand")
            added.add_argument("--record", action="store_true", help="add the record to results/ (maintainers)")

    table = command("table", _table, "Regenerate the committed tables from the records.", "dcgan-eval table cifar10")
    names = [*table_names(), *OTHERS]
    table.add_argument("name", nargs="?", choices=names, help="default: every table")
    table.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 where a file is not what it should be"
    )


def _extract(arguments: argparse.Namespace) -> int:
    if arguments.dry_run:
        return _describe(_spec(arguments), arguments)
    prepared = _prepare(arguments)
    for X in extract_features(prepared, runs_root=arguments.runs_root, say=console.say, progress=console.progress):
        print(f"float32 {list(X.shape)} {getattr(X, 'filename', '')}")
    return 0


def _eval(arguments: argparse.Namespace) -> int:
    if arguments.table == "mnist":
        return _eval_mnist(arguments)
    if _source(arguments).startswith(supervised.PREFIX):
        return _eval_supervised(arguments)
    _refuse(arguments, "a row of features", samples=None, trials=None)
    if arguments.dry_run:
        return _describe(_spec(arguments), arguments)
    table = load_table(arguments.table)
    if arguments.record:
        if (protocol := _spec(arguments).column) not in PROTOCOLS:
            raise UserError(f"{protocol} cannot be recorded among the committed results, {', '.join(PROTOCOLS)} can")
        check_writable(RECORDS, TABLES)
    own_records, own_tables = arguments.runs_root / "records", arguments.runs_root / "tables"
    check_writable(own_records, own_tables)
    prepared = _prepare(arguments)
    roots = named_roots(arguments)
    measured = _at_hand(arguments, identity(prepared, roots), {prepared.spec.column, *prepared.leaked}) or evaluate(
        prepared,
        runs_root=arguments.runs_root,
        command=arguments.command,
        say=console.say,
        progress=console.progress,
        roots=roots,
    )
    written = _write(arguments, table, measured)
    chosen = CLASSIFIERS[prepared.spec.classifier].setting
    for found in measured:
        on = f"{found.n_test:,} images, {found.protocol}"
        bar = "" if found.error_bar is None else f" +-{found.error_bar:.2f} ({found.error_bar_kind})"
        what = f"{found.value:.2f}{bar} % {found.metric.removesuffix('_percent')}"
        console.say(f"{found.method}: {what} on {on} ({chosen} = {found.solver[chosen]:g}, run {found.run_id})")
    if prepared.spec.column == PROTOCOL and WITHOUT_LEAKED not in prepared.leaked:
        console.say("not audited: which test images its training images hold (see dcgan-eval dedup --help)")
    console.say(f"written to {', '.join(str(p) for p in written)}")
    return 0


def _eval_mnist(arguments: argparse.Namespace) -> int:
    """Rows of the table of nearest neighbours: real digits, or samples of a class-conditional generator."""
    source = arguments.target or arguments.backbone
    if source is None:
        raise UserError("name the file of a class-conditional generator, or real: dcgan-eval eval real --table mnist")
    _refuse(arguments, "--table mnist", layers=None, subset=None, C=None, protocol=None, trials=None)
    _refuse(arguments, "--table mnist", batchnorm="calibrated")
    if source == nearest_digits.REAL and arguments.samples is not None:
        raise UserError("--samples is of a generator; real digits are all used")
    samples = nearest_digits.PAPER if arguments.samples is None else arguments.samples
    run = nearest_digits.NearestSpec(source, samples, arguments.seed)
    table, rows = load_table("mnist"), {nearest_digits.protocol(n) for n in run.recorded}
    if arguments.dry_run:
        print(f"{run.method}: {run.samples:,} images, {', '.join(sorted(rows))}, on {arguments.device}")
        return 0
    if arguments.record:
        if unknown := sorted(rows - set(table.protocols)):
            raise UserError(
                f"{unknown[0]} cannot be recorded among the committed results, {', '.join(table.protocols)} can"
            )
        check_writable(RECORDS, TABLES)
    check_writable(*(arguments.runs_root / name for name in ("records", "tables", "nearest")))
    prepared = nearest_digits.prepare(
        run,
        data_root=arguments.data_root,
        runs_root=arguments.runs_root,
        device=device_of(arguments.device),
        progress=console.progress,
    )
    roots = named_roots(arguments)
    measured = _at_hand(arguments, nearest_digits.identity(prepared, roots), rows) or nearest_digits.measure(
        prepared,
        command=arguments.command,
        roots=roots,
        keep=arguments.runs_root / "nearest",
        progress=console.progress,
    )
    curve = arguments.runs_root / "tables" / f"mnist-curve-{measured[0].run_id}.csv"
    written = _write(arguments, table, measured)
    write_bytes(curve, nearest_digits.curve_csv(measured))
    for found in measured:
        console.say(f"{found.method}: {found.value:.2f} % error, {found.protocol} (run {found.run_id})")
    console.say(f"written to {', '.join(str(p) for p in [*written, curve])}")
    return 0


def _eval_supervised(arguments: argparse.Namespace) -> int:
    """A row of networks trained with the labels alone."""
    _refuse(arguments, supervised.PREFIX, layers=None, subset=None, C=None, samples=None)
    _refuse(arguments, supervised.PREFIX, batchnorm="calibrated", classifier="l2-svm")
    run = supervised.SupervisedSpec(
        _source(arguments).removeprefix(supervised.PREFIX),
        protocols.protocol_of(arguments.table, arguments.protocol, protocols.SUPERVISED),
        seed=arguments.seed,
        **({} if arguments.trials is None else {"trials": arguments.trials}),
    )
    if arguments.dry_run:
        print(f"{run.method}: {run.epochs} epochs each, {run.protocol}, on {arguments.device}")
        return 0
    table = load_table(arguments.table)
    if arguments.record:
        if (run.method, run.protocol) not in {(row.method, row.protocol) for row in table.rows}:
            raise UserError(f"the table {arguments.table} has no row {run.method!r}, {run.protocol!r} to record")
        check_writable(RECORDS, TABLES)
    check_writable(*(arguments.runs_root / name for name in ("records", "tables", "supervised")))
    prepared = supervised.prepare(
        run,
        data_root=arguments.data_root,
        runs_root=arguments.runs_root,
        device=device_of(arguments.device),
        progress=console.progress,
    )
    roots = named_roots(arguments)
    measured = _at_hand(arguments, supervised.identity(prepared, roots), {run.protocol}) or [
        supervised.measure(prepared, command=arguments.command, roots=roots, say=console.say, progress=console.progress)
    ]
    written = _write(arguments, table, measured)
    for found in measured:
        chosen = f"{found.selection['validation_error_percent']:.2f} % on {found.selection['holdout']:,} held out"
        console.say(
            f"{found.method}: {found.value:.2f} % error on {found.n_test:,} images, {found.protocol} "
            f"({chosen}, run {found.run_id})"
        )
    console.say(f"written to {', '.join(str(p) for p in written)}")
    return 0


def _refuse(arguments: argparse.Namespace, what: str, **usual: Any) -> None:
    """UserError where an option that has no meaning for such a row is given."""
    for option, value in usual.items():
        if getattr(arguments, option) != value:
            raise UserError(f"--{option} has no meaning for {what}; leave it out")


def _write(arguments: argparse.Namespace, table: results.Table, measured: list[results.Record]) -> list[Path]:
    """Adds records to the user's own, with --record to the committed ones; writes and prints the table with them."""
    for found in measured:
        add_record(arguments.runs_root / "records" / f"{arguments.table}.jsonl", found)
    committed = RECORDS / f"{arguments.table}.jsonl"
    if arguments.record:
        for found in measured:
            add_record(committed, found)
        for file, content in regenerated([arguments.table, LEADERBOARD]).items():
            write_bytes(file, content)
    for found in measured:
        table = results.with_run(table, found)
    records = [*results.read_records(committed), *measured]
    written = results.write_tables(arguments.runs_root / "tables", arguments.table, table, records)
    print(results.render_markdown(table, records))
    return written


def _table(arguments: argparse.Namespace) -> int:
    if arguments.name == ABLATION and not _recorded(ABLATION):
        raise UserError(f"no record of an ablation in {RECORDS}; dcgan-eval ablate TARGET --record adds one")
    files = regenerated([arguments.name] if arguments.name else [*table_names(), *OTHERS])
    if arguments.check:
        differ = [file.name for file, content in files.items() if not file.exists() or file.read_bytes() != content]
        if differ:
            console.say(f"not what the records make, in {TABLES}: {', '.join(differ)}; dcgan-eval table writes them")
        return 1 if differ else 0
    TABLES.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        write_bytes(file, content)
        console.say(f"written {file}")
    if arguments.name:
        print(files[TABLES / f"{arguments.name}.md"].decode())
    return 0


def regenerated(names: Sequence[str]) -> dict[Path, bytes]:
    """The files of these tables in results/, as the records make them: all before the first is written."""
    files: dict[str, bytes] = {}
    for name in names:
        if name in OTHERS:
            files |= _leaderboard() if name == LEADERBOARD else results.ablation_files(name, _recorded(name))
            continue
        table, records = load_table(name), _recorded(name)
        files |= results.render_files(name, table, records) | {f"{name}-paired.csv": paired.as_csv(table, records)}
        if curves := [r for r in paired.answering(table, records) if "curve" in r.solver]:
            files[f"{name}-curve.csv"] = nearest_digits.curve_csv(curves)
    return {TABLES / file: content for file, content in files.items()}


def _recorded(table: str) -> list[results.Record]:
    return results.read_records(RECORDS / f"{table}.jsonl")


def _leaderboard() -> dict[str, bytes]:
    """Its files, from the records of every table."""
    records: list[results.Record] = []
    protocols: dict[str, str] = {}
    for name in table_names():
        records += _recorded(name)
        protocols |= load_table(name).protocols
    return results.leaderboard_files(records, results.read_costs(RECORDS / "costs.jsonl"), protocols)


def _source(arguments: argparse.Namespace) -> str:
    """What is to be measured, as the user names it, or the network that comes with the project."""
    if arguments.target and arguments.backbone:
        raise UserError("name the backbone once, as TARGET or with --backbone")
    shipped = SHIPPED[getattr(arguments, "table", "cifar10")]
    return arguments.target or arguments.backbone or os.environ.get("BACKBONE") or str(shipped)


def _spec(arguments: argparse.Namespace) -> EvalSpec:
    table, layers = getattr(arguments, "table", "cifar10"), arguments.layers or os.environ.get("LAYERS")
    changes: dict[str, Any] = {}
    if getattr(arguments, "C", None):
        try:
            changes["grid"] = tuple(float(value) for value in arguments.C.split(","))
        except ValueError as error:
            raise UserError(f"--C takes numbers separated by commas, got {arguments.C!r}") from error
    return EvalSpec(
        backbone=_source(arguments),
        layers=tuple(layers.split(",")) if layers else None,
        batchnorm=arguments.batchnorm,
        seed=arguments.seed,
        subset=arguments.subset,
        protocol=protocols.protocol_of(table, getattr(arguments, "protocol", None)),
        classifier=getattr(arguments, "classifier", "l2-svm"),
        **changes,
    )


def _prepare(arguments: argparse.Namespace) -> Prepared:
    return prepare(
        _spec(arguments),
        data_root=arguments.data_root,
        runs_root=arguments.runs_root,
        device=device_of(arguments.device),
        progress=console.progress,
    )


def _describe(run: EvalSpec, arguments: argparse.Namespace) -> int:
    """What a long run would do and need."""
    contender = resolve(run.backbone, layers=run.layers, seed=run.seed)
    width = features.feature_width(contender.backbone, pool=contender.pool)
    images = run.rules.images + run.rules.tested if run.subset is None else run.subset + run.subset // 5
    parent = next(p for p in (arguments.runs_root.resolve(), *arguments.runs_root.resolve().parents) if p.exists())
    print(f"{method(contender, run)}: layers {', '.join(contender.backbone.layers)}, {width:,} features, {run.column}")
    print(f"features: {images * width * 4 / 1e9:.1f} GB under {arguments.runs_root / 'features'}", end="")
    print(f" ({shutil.disk_usage(parent).free / 1e9:.0f} GB free)")
    where = f"{run.held_out:,} held-out training images" if run.held_out else "folds of the training images"
    print(f"{CLASSIFIERS[run.classifier].setting} from {', '.join(f'{C:g}' for C in run.grid or ())} on {where}")
    return 0


def _at_hand(
    arguments: argparse.Namespace, wanted: tuple[dict, dict[str, str]], protocols: set[str]
) -> list[results.Record]:
    """The user's records of exactly this run, the last where it was made again: same spec, data, weights and code.

    Empty where it is to be measured: there is no such run, or --fresh is given.
    """
    if arguments.fresh:
        return []
    file = arguments.runs_root / "records" / f"{arguments.table}.jsonl"
    same = [r for r in results.read_records(file) if (r.spec, r.inputs) == wanted]
    last = [r for r in same if r.run_id == same[-1].run_id]
    if {r.protocol for r in last} != protocols:  # none, or stopped while writing them
        return []
    console.say(f"measured before, as run {last[0].run_id} ({file}); --fresh measures again")
    return last


def add_record(file: Path, record: results.Record) -> None:
    """Appends a record unless that figure is there already."""
    key = (record.run_id, record.method, record.protocol)
    same = [r for r in results.read_records(file) if (r.run_id, r.method, r.protocol) == key]
    if not same:
        results.append_record(file, record)
    elif same[0].value != record.value:
        console.say(
            f"warning: {file} keeps run {record.run_id} with {same[0].value:.2f} %, not this {record.value:.2f} %: "
            "same day and inputs, another figure; delete its line to keep this one"
        )
