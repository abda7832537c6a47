"""Options that commands share, and the run that a command line asks for."""

import argparse
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments.measure.protocols import BATCHNORM, MIRRORED, STORES
from experiments.networks.kinds import LAYERS_HELP, listing, parse_layers
from experiments.run import console
from experiments.run.context import RESULTS, Run, in_clone
from experiments.run.errors import UserError, closest
from experiments.run.files import check_place, refuse_irregular
from experiments.run.progress import silent

# table -> the network that is measured by default
DEFAULTS = {"cifar10": "imagenet32-contrast", "svhn": "svhn32"}
DEFAULTS |= dict.fromkeys(("tiny-imagenet", "imagenet32"), DEFAULTS["cifar10"])
LAST_SEED = 2**63 - 1
USUAL = f"the variable BACKBONE, else {DEFAULTS['cifar10']}"


def add_roots(parser: argparse.ArgumentParser, *, device: bool = False) -> None:
    """Add --data-root and --runs-root, whose defaults are environment variables. With `device`, also add --device."""
    for root, text in (("data", "official files, read only"), ("runs", "downloads, packed sets, features, runs")):
        variable = f"{root.upper()}_ROOT"
        parser.add_argument(
            f"--{root}-root",
            type=Path,
            default=Path(os.environ.get(variable) or root),
            help=f"{text} (default: {variable}, or {root}/)",
        )
    if device:
        parser.add_argument(
            "--device",
            default=os.environ.get("DEVICE") or "auto",
            help="torch device, such as cpu or cuda (default: DEVICE, or the best available)",
        )


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    """Add --dry-run."""
    parser.add_argument("--dry-run", action="store_true", help="say what would be done and stop")


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add --json and --quiet."""
    parser.add_argument("--json", action="store_true", help="print the answer as one line of JSON, one object")
    parser.add_argument("--quiet", action="store_true", help="no notes and no progress; warnings and errors stay")


def add_allow_skipped(parser: argparse.ArgumentParser) -> None:
    """Add --allow-skipped."""
    parser.add_argument("--allow-skipped", action="store_true", help="exit with 0 even if files could not be read")


def answer(arguments: argparse.Namespace, found: Mapping[str, Any], lines: Iterable[str]) -> None:
    """Print an answer: with --json the object `found`, which holds JSON values, on one line, else the lines."""
    console.answer(*([json.dumps(found, allow_nan=False)] if arguments.json else lines))


def answer_plan(arguments: argparse.Namespace, lines: Iterable[str]) -> None:
    """Print what would be done (--dry-run); with --json an object with the key `plan`."""
    lines = list(lines)
    answer(arguments, {"plan": lines}, lines)


# a dry run reads names only
UNKNOWN = "images that turn out to be damaged are skipped, too; only reading them tells"


def unread(skipped: int, listed: object) -> list[str]:
    """Return the line of a summary that says how many files could not be read, and where they are listed, if any."""
    return [f"{console.counted(skipped, 'file')} could not be read: listed in {listed}"] if skipped else []


def exit_code(arguments: argparse.Namespace, skipped: int) -> int:
    """Return the exit code of a command that skipped files: 1, unless there are none or --allow-skipped is given."""
    return 1 if skipped and not arguments.allow_skipped else 0


def add_record(parser: argparse.ArgumentParser, what: str) -> None:
    """Add --record, an option for maintainers; its help is `what`."""
    parser.add_argument("--record", action="store_true", help=f"{what} (maintainers)")


def one_of(names: Iterable[str]) -> Callable[[str], str]:
    """Return the type of an argument that must be one of `names`; its error lists them and suggests the closest."""
    known = list(names)

    def checked(text: str) -> str:
        if text not in known:
            raise argparse.ArgumentTypeError(
                f"invalid choice: {text!r} (choose from {', '.join(known)}){closest(text, known)}"
            )
        return text

    return checked


def whole(option: str, least: int, most: int) -> Callable[[str], int]:
    """Return the type of an option that takes a whole number from `least` to `most`. UserError for another one."""

    def checked(text: str) -> int:
        value = int(text)
        if value < least:
            raise UserError(f"{option} must be at least {least:,}, got {value:,}")
        if value > most:
            raise UserError(f"{option} must be at most {most:,}, got {value:,}")
        return value

    checked.__name__ = "int"  # for argparse's own message about a text that is no number
    return checked


def check_words(words: Sequence[str]) -> None:
    """Raise UserError for an argument that is empty, or that names what a command would wait for: a pipe, a device.

    An empty environment variable is as good as none, since make exports those that nobody set.
    """
    for before, word in zip(["", *words], words, strict=False):
        option, equals, value = word.partition("=")
        if not word.strip():
            name = f"the value of {before}" if before.startswith("--") and "=" not in before else "an argument"
            raise UserError(f"{name} is empty; leave it out for the default")
        if option.startswith("--") and equals and not value.strip():
            raise UserError(f"the value of {option} is empty; leave it out for the default")
        for named in {word, value, word.rpartition(":")[0], word.rpartition(":")[2], value.rpartition(":")[0]} - {""}:
            refuse_irregular(Path(named))


def check_before(run: Run, *folders: Path) -> None:
    """Raise UserError if the run's device cannot be used, or a folder cannot be written to. Nothing is made."""
    check_place(*folders)
    run.device  # noqa: B018  it is looked up here, before any work


def make_run(arguments: argparse.Namespace, command: Sequence[str] = (), results: Path = RESULTS) -> Run:
    """Make the run that the options of `add_roots` ask for. Its messages and progress go to the console.

    With --quiet, only messages that are warnings do. Raises UserError for --record outside a clone.
    """
    if getattr(arguments, "record", False) and not in_clone():
        raise UserError("--record changes results/ of a clone, and this is an installed package: clone the project")
    quiet = getattr(arguments, "quiet", False)
    return Run(
        arguments.data_root,
        arguments.runs_root,
        results=results,
        device_name=getattr(arguments, "device", "cpu"),
        command=tuple(command),
        say=console.say_warnings if quiet else console.say,
        progress=silent if quiet else console.progress,
    )


def add_choice(parser: argparse.ArgumentParser, option: str, names: Sequence[str], what: str) -> None:
    """Add an option that takes one of `names`, by default the first. what: begins its help."""
    known = f"{what}: {', '.join(names)} (default: %(default)s)"
    parser.add_argument(option, type=one_of(names), default=names[0], help=known)


def add_seed(parser: argparse.ArgumentParser) -> None:
    """Add --seed."""
    parser.add_argument(
        "--seed", type=whole("--seed", 0, LAST_SEED), default=0, help="seed of all draws (default: %(default)s)"
    )


def add_network(parser: argparse.ArgumentParser, more: str = "", *, default: str = USUAL) -> None:
    """Add the network as a positional argument, the list of kinds of networks, and --layers.

    more: what else the argument may be. default: what is used without the argument; both for the help text.
    """
    parser.add_argument("target", nargs="?", help=f"a network; see below (default: {default}){more and f'; {more}'}")
    parser.add_argument("--layers", help=LAYERS_HELP)
    parser.epilog = f"{parser.epilog}\n\nways to name a network:\n{listing()}"


def add_features(parser: argparse.ArgumentParser, more: str = "", *, default: str = USUAL) -> None:
    """Add the options that decide features, from the network to their stored type, --dry-run, roots and device."""
    add_network(parser, more, default=default)
    parser.add_argument("--backbone", help="the network, instead of the argument")
    add_choice(parser, "--batchnorm", BATCHNORM, "statistics of batch norm")
    parser.add_argument(
        "--mirrored",
        action="store_true",
        help=f"features are means over an image and its mirror image; {MIRRORED} is appended to the protocol",
    )
    add_choice(parser, "--store", STORES, "type of stored features; float16 takes half the disk")
    parser.add_argument("--subset", type=int, metavar="N", help="use N training images, and N/5 test images")
    add_seed(parser)
    add_dry_run(parser)
    add_roots(parser, device=True)


@contextmanager
def joined_for_features(run: Run) -> Iterator[Run]:
    """During the block, join the processes that torchrun started, if any; see `torchrun.joined`.

    Each runs the network by itself: batch norm is not synchronised, as it is in training.
    """
    if console.started() == 1:
        yield run
        return
    from experiments.run.torchrun import joined  # imported here because it imports torch
    from gan import parallel

    stays = f"finished chunks of features stay in {run.runs_root / 'features'}"
    with joined(run, stays=stays) as joint, parallel.apart():
        yield joint


def network_of(arguments: argparse.Namespace, table: str = "cifar10") -> str:
    """Return the network that an argument names, else the one that BACKBONE names, else the table's default."""
    backbone = getattr(arguments, "backbone", None)
    if arguments.target and backbone:
        raise UserError("name the backbone once, as TARGET or with --backbone")
    return arguments.target or backbone or os.environ.get("BACKBONE") or DEFAULTS[table]


def layers_of(arguments: argparse.Namespace) -> tuple[str, ...] | None:
    """Return the layers that --layers names, else those that LAYERS names; None for all."""
    return parse_layers(arguments.layers or os.environ.get("LAYERS"))


def feature_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what the options of `add_features` decide besides the network, as fields of `measure.svm.EvalSpec`."""
    settings = {name: getattr(arguments, name) for name in ("batchnorm", "mirrored", "store", "seed", "subset")}
    return settings | {"layers": layers_of(arguments)}
