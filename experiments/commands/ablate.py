"""`dcgan-eval ablate`: measure a network's accuracy with one choice of the protocol varied at a time, as one table."""

import argparse
import re

from experiments.commands import options as shared
from experiments.measure.protocols import ABLATION
from experiments.run import console
from experiments.run.context import Run
from experiments.run.errors import UserError
from experiments.run.files import check_writable, write_bytes

EXAMPLE = "dcgan-eval ablate random:imagenet32,width=64 --subset 10000\n  dcgan-eval ablate --layers conv5,conv6"


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ablate`."""
    shared.add_network(parser)
    parser.add_argument("--subset", type=int, metavar="N", help="use N training images; a fifth of them is scored")
    shared.add_seed(parser)
    shared.add_dry_run(parser)
    shared.add_record(parser, "add the record to results/")
    shared.add_roots(parser, device=True)


def execute(arguments: argparse.Namespace, run: Run) -> int:
    """Print the table; write it, its picture and, with --record, the committed table."""
    from experiments.measure import ablation

    layers = shared.layers_of(arguments)
    spec = ablation.AblationSpec(shared.network_of(arguments), layers, arguments.subset, arguments.seed)
    if arguments.record and spec.subset is not None:
        raise UserError("a subset cannot be recorded among the committed results; leave --subset or --record out")
    tables = run.runs_root / "tables"
    folders = tables, run.runs_root / "ablations", *((run.records, run.tables) if arguments.record else ())
    shared.check_before(run, *folders)
    if arguments.dry_run:
        console.answer(*ablation.describe(spec, run))
        return 0
    import results
    from experiments.measure.measurement import recorded
    from experiments.measure.records import keep_record
    from experiments.measure.tables import regenerate

    check_writable(*folders)
    measurement = ablation.prepare(spec, run)
    (record,) = recorded(measurement, run, fresh=True)  # stored variants are not measured again
    plain = re.sub(r"[^a-z0-9.]+", "-", measurement.contender.name.lower()).strip("-")
    name = f"{ABLATION}-{plain}" + ("" if spec.subset is None else f"-subset-{spec.subset}")
    files = results.ablation_files(name, [record]) | {f"{name}.svg": ablation.picture(record)}
    for file, content in files.items():
        write_bytes(tables / file, content)
    if arguments.record:
        keep_record(run.records / f"{ABLATION}.jsonl", record, run)
        for path, content in regenerate([ABLATION], run).items():
            write_bytes(path, content)
    console.answer(*files[f"{name}.md"].decode().split("\n"))
    run.say(f"written to {', '.join(str(tables / file) for file in files)}")
    return 0
