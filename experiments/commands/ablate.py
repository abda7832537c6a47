"""`dcgan-eval ablate`: a network's accuracy with one choice of the protocol varied at a time, as one table."""

import argparse
import os
import re
from pathlib import Path

import features
import results
from experiments.commands import eval as eval_commands
from experiments.commands.options import Command, add_roots
from experiments.measure.ablation import POOL, SHARE, TABLE, AblationSpec, ablate, prepare, resolved, variants
from experiments.measure.protocols import PROTOCOLS
from experiments.run import console
from experiments.run.context import device_of, named_roots
from experiments.run.errors import UserError
from experiments.run.files import check_writable, write_bytes
from results.figures import bar_plot

__all__ = ["add"]


def add(command: Command) -> None:
    """Add the command."""
    ablation = command(
        "ablate",
        _ablate,
        "CIFAR-10 accuracy with one choice varied at a time (layers, grid, pooling, batch norm), on training images "
        "held out.",
        "dcgan-eval ablate random:imagenet32,width=64 --subset 10000\n  dcgan-eval ablate --layers conv5,conv6",
    )
    ablation.add_argument("target", nargs="?", help="the backbone, as --backbone of eval (default: BACKBONE)")
    ablation.add_argument("--layers", help="comma-separated stages, e.g. conv1,conv2 (default: LAYERS, or all)")
    ablation.add_argument("--subset", type=int, help=f"use so many training images; one in {SHARE} of them is scored")
    ablation.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    ablation.add_argument("--dry-run", action="store_true", help="say what would be done and stop")
    ablation.add_argument("--record", action="store_true", help="add the record to results/ (maintainers)")
    add_roots(ablation, device=True)


def _ablate(arguments: argparse.Namespace) -> int:
    layers = arguments.layers or os.environ.get("LAYERS")
    target = arguments.target or os.environ.get("BACKBONE") or str(eval_commands.SHIPPED["cifar10"])
    run = AblationSpec(target, tuple(layers.split(",")) if layers else None, arguments.subset, arguments.seed)
    if arguments.record and run.subset is not None:
        raise UserError("a subset cannot be recorded among the committed results; leave --subset or --record out")
    if arguments.dry_run:
        return _describe(run, arguments.runs_root)
    tables = arguments.runs_root / "tables"
    check_writable(tables, arguments.runs_root / "ablations")
    if arguments.record:
        check_writable(eval_commands.RECORDS, eval_commands.TABLES)
    prepared = prepare(
        run,
        data_root=arguments.data_root,
        runs_root=arguments.runs_root,
        device=device_of(arguments.device),
        progress=console.progress,
    )
    record = ablate(
        prepared,
        runs_root=arguments.runs_root,
        command=arguments.command,
        roots=named_roots(arguments),
        say=console.say,
        progress=console.progress,
    )
    name = f"{TABLE}-{_plain(prepared.contender.name)}" + ("" if run.subset is None else f"-subset-{run.subset}")
    files = results.ablation_files(name, [record]) | {f"{name}.svg": _picture(record)}
    for file, content in files.items():
        write_bytes(tables / file, content)
    if arguments.record:
        eval_commands.add_record(eval_commands.RECORDS / f"{TABLE}.jsonl", record)
        for path, content in eval_commands.regenerated([TABLE]).items():
            write_bytes(path, content)
    print(files[f"{name}.md"].decode())
    console.say(f"written to {', '.join(str(tables / file) for file in files)}")
    return 0


def _describe(run: AblationSpec, runs_root: Path) -> int:
    """What a long run would do and need."""
    contender = resolved(run)
    rows = variants(contender.backbone)
    images = run.subset or PROTOCOLS["cifar10/full"].images
    widths = {
        mode: features.feature_width(contender.backbone, pool=POOL if mode == "calibrated" else contender.pool)
        for mode in {row.batchnorm for row in rows}
    }
    for row in rows:
        print(f"{row.kind}: {row.name}")
    print(f"{contender.name}: {len({row.setting for row in rows})} classifiers, {images // SHARE:,} images scored")
    print(f"features: {images * sum(widths.values()) * 4 / 1e9:.1f} GB under {runs_root / 'features'}")
    return 0


def _picture(record: results.Record) -> bytes:
    shown = ("kind", "variant", "accuracy_percent", "ci95_low", "ci95_high")
    bars = [tuple(row[name] for name in shown) for row in record.solver["variants"]]
    label = f"% of {record.n_test:,} training images held out; 95 % intervals"
    return bar_plot(bars, title=record.method, label=label)


def _plain(name: str) -> str:
    """A name as part of a file's."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")
