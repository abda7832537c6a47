"""`dcgan-eval eval`: measure a row of a table, or show it from its record if it was measured before."""

import argparse
import shlex
from types import ModuleType
from typing import Any

from experiments.commands import options as shared
from experiments.commands.answers import CONTROL, as_lines, row_object, standing
from experiments.measure.protocols import BATCHNORM, CLASSIFIERS, PROTOCOLS, SUPERVISED, TABLES, protocol_of
from experiments.run import console
from experiments.run.context import Run
from experiments.run.errors import UserError
from experiments.run.files import check_writable

EXAMPLE = """dcgan-eval eval imagenet32-half --subset 1000
  dcgan-eval eval torchvision:resnet18,size=64 --layers 'layer[34]'
  dcgan-eval eval imagenet32-half --mirrored --store float16
  dcgan-eval eval supervised:svhn32 --table svhn --trials 16
  dcgan-eval eval real --table mnist
  dcgan-eval eval runs/train/mnist-conditional/generator.safetensors --table mnist --samples 1000000

The answer is at most four lines of at most 100 characters. The last is the figure: method, value with its 95 %
interval, n, protocol, run id. --json prints it as {"method", "protocol", "metric", "value", "interval": [low, high],
"n_test", "C", "run_id", "processes"}; interval and C are null where there is none.

torchrun --nproc-per-node N -m experiments eval ... measures in N processes, each with its share of the images and,
where there are GPUs, its own GPU. This is for an L2-SVM on a network's features; other rows need one process."""
SUPERVISED_PREFIX, MNIST = "supervised:", "mnist"


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `eval`."""
    default = f"{shared.USUAL}, or {shared.DEFAULTS['svhn']} for --table svhn"
    more = "for --table mnist: the file of a class-conditional generator, or `real`"
    shared.add_features(parser, more, default=default)
    shared.add_choice(parser, "--table", [*TABLES, MNIST], "the row's table")
    parser.add_argument(
        "--protocol",
        help=f"{', '.join(PROTOCOLS)}; for supervised: {', '.join(SUPERVISED)} (default: the table's first)",
    )
    shared.add_choice(parser, "--classifier", CLASSIFIERS, "what is fitted to the features")
    parser.add_argument(
        "--samples", type=int, metavar="N", help="for --table mnist: samples drawn from the generator (default: 50000)"
    )
    parser.add_argument(
        "--trials", type=int, metavar="N", help="for supervised: trials of the search (default: 64, as in the paper)"
    )
    parser.add_argument("--C", help="comma-separated values; one of them is chosen on held-out training images")
    parser.add_argument("--fresh", action="store_true", help="measure again even if there is a record")
    parser.add_argument("--show-table", action="store_true", help="print the whole table before the answer")
    shared.add_output(parser)
    shared.add_record(parser, "add the records to results/")


def execute(arguments: argparse.Namespace, run: Run) -> int:
    """Print the row's figure, how it stands beside others and, if wanted, the whole table."""
    if arguments.json and arguments.show_table:
        raise UserError("--json prints one object and nothing else; leave out --show-table")
    with shared.joined_for_features(run) as run:
        return _measured(arguments, run)


def _measured(arguments: argparse.Namespace, run: Run) -> int:
    module, spec = _spec(arguments)
    import results
    from experiments.measure.measurement import recorded
    from experiments.measure.records import check_recordable, publish
    from experiments.measure.tables import load_table
    from experiments.run.torchrun import after_first, is_first

    table, recording = load_table(arguments.table), (run.records, run.tables) if arguments.record else ()
    if arguments.record:
        check_recordable(spec, table)
    folders = run.own_records, run.runs_root / "tables", *recording
    shared.check_before(run, *folders)
    if arguments.dry_run:
        shared.answer_plan(arguments, module.describe(spec, run))
        return 0
    check_writable(*folders)
    measurement = after_first(lambda: module.prepare(spec, run))
    measured = recorded(measurement, run, fresh=arguments.fresh)
    if not is_first():
        return 0
    made = publish(table, measured, run, commit=arguments.record)
    if arguments.show_table:
        console.answer(*results.render_markdown(made.table, made.records).split("\n"))
    main = measured[-1 if arguments.samples else 0]  # with --samples, the last row is of that number
    others = [record for record in measured if record is not main]
    own = results.read_records(run.own_records / f"{arguments.table}.jsonl")
    beside = standing(main, made.table, [*results.answering(made.table, made.records), *own[::-1]])
    lines = as_lines(main, others, beside, _control(arguments, main.method))
    shared.answer(arguments, row_object(main), lines)
    run.say(f"written to {', '.join(map(str, made.files))}")
    return 0


def _control(arguments: argparse.Namespace, method: str) -> str | None:
    """Return the command that measures a control by the same protocol; None for a row that is not of features."""
    if arguments.table == MNIST or method.startswith("supervised"):
        return None
    network = "pixels" if method.startswith("random-init") else f"random:{CONTROL[arguments.table]}"
    words = ["dcgan-eval", "eval", network]
    usual: dict[str, Any] = {
        "table": TABLES[0],
        "protocol": None,
        "classifier": CLASSIFIERS[0],
        "batchnorm": BATCHNORM[0],
    }
    usual |= {"subset": None, "seed": 0}
    for option, value in usual.items():
        if (given := getattr(arguments, option)) != value:
            words += [f"--{option}", str(given)]
    return shlex.join([*words, *(["--mirrored"] if arguments.mirrored else [])])


def _spec(arguments: argparse.Namespace) -> tuple[ModuleType, Any]:
    """Return the module of `measure` that measures the row, and its spec."""
    if arguments.table == MNIST:
        return _mnist_spec(arguments)
    source = shared.network_of(arguments, arguments.table)
    if source.startswith(SUPERVISED_PREFIX):
        return _supervised_spec(arguments, source.removeprefix(SUPERVISED_PREFIX))
    _refuse(arguments, "a row of features", samples=None, trials=None)
    protocol, changes = protocol_of(arguments.table, arguments.protocol), shared.feature_settings(arguments)
    if arguments.C is not None:
        try:
            changes["grid"] = tuple(float(value) for value in arguments.C.split(","))
        except ValueError as error:
            raise UserError(f"--C takes numbers separated by commas, got {arguments.C!r}") from error
    from experiments.measure import svm

    return svm, svm.EvalSpec(source, protocol=protocol, classifier=arguments.classifier, **changes)


def _mnist_spec(arguments: argparse.Namespace) -> tuple[ModuleType, Any]:
    source = arguments.target or arguments.backbone
    if source is None:
        raise UserError("name the file of a class-conditional generator, or real: dcgan-eval eval real --table mnist")
    _refuse(arguments, "--table mnist", layers=None, subset=None, C=None, protocol=None, trials=None)
    _refuse(arguments, "--table mnist", batchnorm="calibrated", mirrored=False, store="float32")
    if source == "real" and arguments.samples is not None:
        raise UserError("--samples has no meaning for real digits, which are all used; leave it out")
    from experiments.measure import nearest_digits
    from experiments.run.torchrun import refuse_several

    refuse_several("--table mnist")
    samples = nearest_digits.PAPER if arguments.samples is None else arguments.samples
    return nearest_digits, nearest_digits.NearestSpec(source, samples, arguments.seed)


def _supervised_spec(arguments: argparse.Namespace, network: str) -> tuple[ModuleType, Any]:
    _refuse(arguments, SUPERVISED_PREFIX, layers=None, subset=None, C=None, samples=None)
    _refuse(arguments, SUPERVISED_PREFIX, batchnorm="calibrated", classifier="l2-svm", mirrored=False, store="float32")
    protocol = protocol_of(arguments.table, arguments.protocol, SUPERVISED)
    from experiments.measure import supervised
    from experiments.run.torchrun import refuse_several

    refuse_several(SUPERVISED_PREFIX)
    trials = {} if arguments.trials is None else {"trials": arguments.trials}
    return supervised, supervised.SupervisedSpec(network, protocol, seed=arguments.seed, **trials)


def _refuse(arguments: argparse.Namespace, what: str, **usual: Any) -> None:
    """Raise UserError if one of the options has another value than its usual one. what: the kind of row."""
    for option, value in usual.items():
        if getattr(arguments, option) != value:
            raise UserError(f"--{option} has no meaning for {what}; leave it out")
