"""The command line: `dcgan-eval data|dedup|train|extract|eval|table`.

Exit codes: 0 done, 1 done but the answer is no or an unexpected failure, 2 the user's mistake (one line that names
the fix), 130 interrupted (run the same command again to go on).
"""

import argparse
import dataclasses
import errno
import json
import os
import shutil
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch

import features
import results
from experiments import console, data_commands, datasets, nearest_digits, paired, protocols, sources, spec
from experiments.allocator import keep_freed_memory
from experiments.atomic import write_bytes
from experiments.backbones import resolve
from experiments.classify import CLASSIFIERS
from experiments.deduplicate import check, deduplicate, is_audit
from experiments.errors import UserError
from experiments.evaluate import (
    LEAKAGE,
    MODES,
    PROTOCOL,
    ROOT,
    WITHOUT_LEAKED,
    EvalSpec,
    Prepared,
    evaluate,
    extract_features,
    identity,
    method,
    prepare,
)
from experiments.pretrain import STATE, pretrain, record
from experiments.processes import joined
from experiments.protocols import PROTOCOLS
from gan import parallel

SHIPPED = {  # what each table measures by default
    table: ROOT / "results" / "weights" / f"{name}.safetensors"
    for table, name in (("cifar10", "imagenet32-half"), ("svhn", "svhn32"))
}
RECORDS, TABLES, TRAINING = (ROOT / "results" / name for name in ("runs", "tables", "training"))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    arguments = _parser().parse_args(data_commands.one_word(list(sys.argv[1:] if argv is None else argv)))
    arguments.command = ["dcgan-eval", *(sys.argv[1:] if argv is None else argv)]
    keep_freed_memory()
    signal.signal(signal.SIGTERM, lambda *_: _interrupt())
    # libraries' warnings (a rebuilt cache, say) are for the user too, but as plain lines
    warnings.showwarning = lambda message, *_, **__: console.say(f"warning: {message}")
    try:
        return arguments.run(arguments)
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    except (UserError, ValueError, OSError) as error:
        print(f"dcgan-eval: {_one_line(error)}", file=sys.stderr)
        return 2
    except FloatingPointError as error:
        print(f"dcgan-eval: {_one_line(error)}", file=sys.stderr)
        return 1


def _interrupt() -> None:
    raise KeyboardInterrupt


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename else ""
        fix = "; free space there, or set RUNS_ROOT or --out elsewhere" if error.errno == errno.ENOSPC else ""
        return f"{' '.join(error.strerror.split())}{where}{fix}"
    return " ".join(str(error).split()) or type(error).__name__


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line instead of the usage."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="dcgan-eval", description="DCGAN discriminators as feature extractors.")
    commands = parser.add_subparsers(required=True, metavar="data|dedup|train|extract|eval|table")

    def command(name, run, text, example):
        added = commands.add_parser(
            name,
            help=text,
            description=text,
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        added.set_defaults(run=run)
        return added

    data_commands.add(command, _add_roots)

    dedup = command(
        "dedup",
        _dedup,
        "Find near-duplicates within images, or the images that occur among others: mask, groups and gallery.",
        "dcgan-eval dedup cifar10-test --against cifar10-train\n  dcgan-eval dedup ~/photos --method phash --radius 6",
    )
    dedup.add_argument(
        "name",
        metavar="SOURCE",
        help=f"{', '.join(datasets.NAMES)}, a set packed before, or a folder or zip of image files",
    )
    dedup.add_argument("--against", metavar="SOURCE", help="the other images")
    dedup.add_argument("--method", choices=spec.METHODS, default=spec.METHODS[0], help="default: %(default)s")
    dedup.add_argument("--radius", type=int, help="of the hashes: Hamming distance in bits of 64 (default: 4)")
    dedup.add_argument("--out", type=Path, help="folder (default: RUNS_ROOT/dedup/SOURCE[-against-SOURCE])")
    dedup.add_argument("--record", action="store_true", help="add the audit to results/leakage (maintainers)")
    dedup.add_argument("--dry-run", action="store_true", help="say what would be done and stop")
    _add_roots(dedup)

    train = command("train", _train, "Train a recipe.", "dcgan-eval train imagenet32-half --out runs/train/mine")
    train.add_argument("recipe", help=f"{', '.join(spec.recipe_names())}, or a .toml file")
    train.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a key of the recipe, e.g. width=16 or training.images=1000 (repeatable; another --out for each)",
    )
    train.add_argument("--out", type=Path, help="folder of the run (default: RUNS_ROOT/train/RECIPE)")
    train.add_argument(
        "--checkpoint-images",
        type=int,
        default=25_600,
        metavar="N",
        help="save every N images, and every 5 minutes (default: %(default)s)",
    )
    train.add_argument("--record", action="store_true", help="keep its pictures in results/training (maintainers)")
    train.add_argument("--dry-run", action="store_true", help="say what would be done and stop")
    _add_roots(train, device=True)

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
            "  dcgan-eval eval real --table mnist\n"
            "  dcgan-eval eval runs/train/mnist-conditional/generator.safetensors --table mnist --samples 1000000",
        ),
    ):
        added = command(name, run, text, example)
        added.add_argument(
            "target",
            nargs="?",
            help="the backbone, as --backbone; of the MNIST table a class-conditional generator's file, or real",
        )
        added.add_argument(
            "--backbone",
            help="FILE.safetensors, random:PRESET[,width=N], theano:PRESET:FOLDER, pixels, module:factory or "
            "file.py:factory (default: BACKBONE, or the network that comes with the project)",
        )
        added.add_argument("--layers", help="comma-separated stages, e.g. conv1,conv2 (default: LAYERS, or all)")
        added.add_argument("--batchnorm", choices=MODES, default="calibrated", help="default: %(default)s")
        added.add_argument("--subset", type=int, help="use so many training images and a fifth of it for testing")
        added.add_argument("--seed", type=int, default=0, help="default: %(default)s")
        added.add_argument("--dry-run", action="store_true", help="say what would be done and stop")
        _add_roots(added, device=True)
        if name == "eval":
            added.add_argument(
                "--table", choices=[*protocols.TABLES, "mnist"], default="cifar10", help="default: %(default)s"
            )
            added.add_argument("--protocol", help=f"{', '.join(PROTOCOLS)} (default: the table's first)")
            added.add_argument("--classifier", choices=CLASSIFIERS, default="l2-svm", help="default: %(default)s")
            added.add_argument(
                "--samples", type=int, metavar="N", help="of the MNIST table's generator (default: 50000)"
            )
            added.add_argument("--C", help="comma-separated values to choose from on held-out training images")
            added.add_argument("--fresh", action="store_true", help="measure again although a record is at hand")
            added.add_argument("--record", action="store_true", help="add the record to results/ (maintainers)")

    table = command("table", _table, "Regenerate the committed tables from the records.", "dcgan-eval table cifar10")
    table.add_argument("name", nargs="?", choices=spec.table_names(), help="default: every table")
    table.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 where a file is not what it should be"
    )
    return parser


def _add_roots(parser: argparse.ArgumentParser, *, device: bool = False) -> None:
    for root, default, text in (
        ("data", "data", "official files, read only"),
        ("runs", "runs", "downloads, packed sets, features, runs"),
    ):
        env = f"{root.upper()}_ROOT"
        parser.add_argument(
            f"--{root}-root",
            type=Path,
            default=Path(os.environ.get(env) or default),
            help=f"{text} (default: {env}, or {default}/)",
        )
    if device:
        best = "cuda" if torch.cuda.is_available() else "cpu"
        parser.add_argument(
            "--device", default=os.environ.get("DEVICE") or best, help="default: DEVICE, or %(default)s"
        )


def _dedup(arguments: argparse.Namespace) -> int:
    wanted = spec.DedupSpec(arguments.method, arguments.radius)
    roots = {"data_root": arguments.data_root, "runs_root": arguments.runs_root}
    check(arguments.name, wanted, against=arguments.against, record=arguments.record, **roots)
    both = [arguments.name, *([arguments.against] if arguments.against is not None else [])]
    out = arguments.out or arguments.runs_root / "dedup" / "-against-".join(sources.plain_name(name) for name in both)
    if arguments.dry_run:
        for name in both:
            print(sources.describe(name, wanted, **roots))
        print(f"would search by {wanted}, which {spec.COSTS[wanted.method]}; into {out}")
        return 0
    audits = [arguments.runs_root / "leakage", *([LEAKAGE] if arguments.record else [])]
    _check_writable(out, *(audits if is_audit(arguments.name, wanted, arguments.against, **roots) else ()))
    summary = deduplicate(
        arguments.name,
        out,
        wanted,
        against=arguments.against,
        audits=audits,
        **roots,
        say=console.say,
        progress=console.progress,
    )
    print(json.dumps(summary, indent=2))
    console.say(f"written to {out}; judge the groups in {out / 'gallery.html'}")
    return 1 if summary["skipped"] else 0


def _train(arguments: argparse.Namespace) -> int:
    recipe = spec.load_recipe(arguments.recipe, arguments.set)
    out = arguments.out or arguments.runs_root / "train" / recipe.name
    if arguments.dry_run:
        print(json.dumps(dataclasses.asdict(recipe), indent=2))
        begun = "goes on from the checkpoint there" if (out / STATE).exists() else "from the start"
        print(f"would train {recipe.training.steps:,} minibatches on {arguments.device} into {out}, {begun}")
        return 0
    with joined(_device(arguments.device)) as device:
        file = pretrain(
            recipe,
            out,
            data_root=arguments.data_root,
            runs_root=arguments.runs_root,
            device=device,
            say=console.say,
            progress=console.progress,
            checkpoint_images=arguments.checkpoint_images,
            command=arguments.command,
            roots=_roots(arguments),
        )
        if parallel.rank() == 0:
            print(file)
            if arguments.record:
                record(out, TRAINING / recipe.name)
    return 0


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
    if arguments.samples is not None:
        raise UserError("--samples is of --table mnist alone; leave it out")
    if arguments.dry_run:
        return _describe(_spec(arguments), arguments)
    table = spec.load_table(arguments.table)
    if arguments.record:
        if (protocol := _spec(arguments).column) not in PROTOCOLS:
            raise UserError(f"{protocol} cannot be recorded among the committed results, {', '.join(PROTOCOLS)} can")
        _check_writable(RECORDS, TABLES)
    own_records, own_tables = arguments.runs_root / "records", arguments.runs_root / "tables"
    _check_writable(own_records, own_tables)
    prepared = _prepare(arguments)
    roots = _roots(arguments)
    own_file = own_records / f"{arguments.table}.jsonl"
    rows = {prepared.spec.column, *prepared.leaked}
    measured = [] if arguments.fresh else _at_hand(own_file, identity(prepared, roots), rows)
    if measured:
        console.say(f"measured before, as run {measured[0].run_id} ({own_file}); --fresh measures again")
    else:
        measured = evaluate(
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
    for option, usual in (
        ("layers", None),
        ("subset", None),
        ("C", None),
        ("protocol", None),
        ("batchnorm", "calibrated"),
    ):
        if getattr(arguments, option) != usual:
            raise UserError(f"--{option} has no meaning for --table mnist; leave it out")
    if source == nearest_digits.REAL and arguments.samples is not None:
        raise UserError("--samples is of a generator; real digits are all used")
    samples = nearest_digits.PAPER if arguments.samples is None else arguments.samples
    run = nearest_digits.NearestSpec(source, samples, arguments.seed)
    table, rows = spec.load_table("mnist"), {nearest_digits.protocol(n) for n in run.recorded}
    if arguments.dry_run:
        print(f"{run.method}: {run.samples:,} images, {', '.join(sorted(rows))}, on {arguments.device}")
        return 0
    if arguments.record:
        if unknown := sorted(rows - set(table.protocols)):
            raise UserError(
                f"{unknown[0]} cannot be recorded among the committed results, {', '.join(table.protocols)} can"
            )
        _check_writable(RECORDS, TABLES)
    own_file = arguments.runs_root / "records" / "mnist.jsonl"
    _check_writable(own_file.parent, arguments.runs_root / "tables")
    prepared = nearest_digits.prepare(
        run,
        data_root=arguments.data_root,
        runs_root=arguments.runs_root,
        device=_device(arguments.device),
        progress=console.progress,
    )
    roots = _roots(arguments)
    measured = [] if arguments.fresh else _at_hand(own_file, nearest_digits.identity(prepared, roots), rows)
    if measured:
        console.say(f"measured before, as run {measured[0].run_id} ({own_file}); --fresh measures again")
    else:
        measured = nearest_digits.measure(prepared, command=arguments.command, roots=roots, progress=console.progress)
    curve = arguments.runs_root / "tables" / f"mnist-curve-{measured[0].run_id}.csv"
    written = _write(arguments, table, measured)
    write_bytes(curve, nearest_digits.curve_csv(measured))
    for found in measured:
        console.say(f"{found.method}: {found.value:.2f} % error, {found.protocol} (run {found.run_id})")
    console.say(f"written to {', '.join(str(p) for p in [*written, curve])}")
    return 0


def _write(arguments: argparse.Namespace, table: results.Table, measured: list[results.Record]) -> list[Path]:
    """Adds records to the user's own, with --record to the committed ones; writes and prints the table with them."""
    for found in measured:
        _add(arguments.runs_root / "records" / f"{arguments.table}.jsonl", found)
    committed = RECORDS / f"{arguments.table}.jsonl"
    if arguments.record:
        for found in measured:
            _add(committed, found)
        for file, content in _committed([arguments.table]).items():
            write_bytes(file, content)
    for found in measured:
        table = results.with_run(table, found)
    records = [*results.read_records(committed), *measured]
    written = results.write_tables(arguments.runs_root / "tables", arguments.table, table, records)
    print(results.render_markdown(table, records))
    return written


def _table(arguments: argparse.Namespace) -> int:
    names = [arguments.name] if arguments.name else spec.table_names()
    files = _committed(names)
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


def _committed(names: Sequence[str]) -> dict[Path, bytes]:
    """The files of these tables in results/, as the records make them: all before the first is written."""
    files: dict[Path, bytes] = {}
    for name in names:
        table, records = spec.load_table(name), results.read_records(RECORDS / f"{name}.jsonl")
        made = results.render_files(name, table, records) | {f"{name}-paired.csv": paired.as_csv(table, records)}
        files |= {TABLES / file: content for file, content in made.items()}
    return files


def _spec(arguments: argparse.Namespace) -> EvalSpec:
    if arguments.target and arguments.backbone:
        raise UserError("name the backbone once, as TARGET or with --backbone")
    table, layers = getattr(arguments, "table", "cifar10"), arguments.layers or os.environ.get("LAYERS")
    changes: dict[str, Any] = {}
    if getattr(arguments, "C", None):
        try:
            changes["grid"] = tuple(float(value) for value in arguments.C.split(","))
        except ValueError as error:
            raise UserError(f"--C takes numbers separated by commas, got {arguments.C!r}") from error
    return EvalSpec(
        backbone=arguments.target or arguments.backbone or os.environ.get("BACKBONE") or str(SHIPPED[table]),
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
        device=_device(arguments.device),
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


def _at_hand(file: Path, wanted: tuple[dict, dict[str, str]], protocols: set[str]) -> list[results.Record]:
    """The records of exactly this run, the last where it was made again: same spec, data, weights and code."""
    same = [r for r in results.read_records(file) if (r.spec, r.inputs) == wanted]
    last = [r for r in same if r.run_id == same[-1].run_id]
    whole = {r.protocol for r in last} == protocols  # not stopped while writing them
    return last if whole else []


def _add(file: Path, record: results.Record) -> None:
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


def _check_writable(*folders: Path) -> None:
    for folder in folders:
        probe = folder / f".write-test-{os.getpid()}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise UserError(
                f"cannot write to {folder}: {error.strerror}; make it writable, or choose another RUNS_ROOT or --out"
            ) from error


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device {name!r} cannot be used; set DEVICE=cpu ({_one_line(error)[:120]})") from error
    return device


def _roots(arguments: argparse.Namespace) -> dict[str, Path]:
    return {"$DATA_ROOT": arguments.data_root, "$RUNS_ROOT": arguments.runs_root, ".": ROOT}
