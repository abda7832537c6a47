"""The command line starts at once: no heavy import before a command runs, little time, mistakes answered in a line."""

import importlib
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import experiments
from experiments import cli
from experiments.cli import COMMANDS

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "torchvision", "sklearn", "scipy", "pandas", "numpy", "PIL", "matplotlib", "lmdb")
HELP = [[*name.split(), "--help"] for name in COMMANDS]
MISTAKES = [
    (["evla"], "no command 'evla'; did you mean 'eval'?"),
    (["look", "wakl"], "no command 'wakl'; did you mean 'walk'?"),
    (["look"], "name a command: walk, arithmetic, filters, forget, memorised"),
    ([], "name a command: data, data pack, dedup"),
    (["eval", "--subset", "many"], "argument --subset: invalid int value: 'many'"),
    (["eval", "--subst"], "unrecognized arguments: --subst; did you mean '--subset'?"),
    (
        ["eval", "--table", "cifar"],
        "(choose from cifar10, svhn, tiny-imagenet, imagenet32, mnist); did you mean 'cifar10'?",
    ),
    (
        ["eval", "--table", "svhn", "--protocol", "svhn/1000"],
        "for features it has svhn/1000-balanced, svhn/1000-of-1083;",
    ),
    (["table", "cifar"], "did you mean 'cifar10'?"),
    (["extract", "pixels", "--table", "svhn"], "unrecognized arguments: --table svhn (see"),
]


def started(*arguments: str) -> subprocess.CompletedProcess:
    """The command in a process of its own, which at its end says on stderr which heavy packages it has imported."""
    code = (
        f"import atexit, sys; from experiments.cli import main\n"
        f"atexit.register(lambda: print('HEAVY', *[m for m in {HEAVY} if m in sys.modules], file=sys.stderr))\n"
        f"sys.exit(main({list(arguments)!r}))"
    )
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["look", "--help"], *HELP], ids=" ".join)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    done = started(*arguments)
    assert (done.returncode, done.stderr) == (0, "HEAVY\n") and done.stdout
    if arguments in HELP:
        name = " ".join(arguments[:-1])
        assert f"dcgan-eval {name}" in done.stdout.partition("example:")[2]


@pytest.mark.parametrize(("arguments", "text"), MISTAKES, ids=[" ".join(words) or "none" for words, _ in MISTAKES])
def test_a_mistake_is_one_line_and_imports_nothing_heavy(arguments: list[str], text: str) -> None:
    done = started(*arguments)
    line, heavy = done.stderr.splitlines()
    assert done.returncode == 2 and text in line and line.startswith("dcgan-eval") and heavy == "HEAVY"


def test_every_command_is_a_module_with_the_three_names() -> None:
    for command in COMMANDS.values():
        module = importlib.import_module(f"experiments.commands.{command.module}")
        assert module.EXAMPLE.startswith("dcgan-eval ") and callable(module.options) and callable(module.execute)
    files = {path.stem for path in (ROOT / "experiments" / "commands").glob("*.py")}
    assert files - {command.module for command in COMMANDS.values()} <= {"__init__", "answers", "options", "look"}


def test_usage_names_the_program_and_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["look"], *([*name.split()] for name in COMMANDS)):
        with pytest.raises(SystemExit):
            cli.main([*words, "--help"])
        named = " ".join(["usage: dcgan-eval", *words])
        assert re.match(rf"{named} (COMMAND \.\.\.|\[-h\])", capsys.readouterr().out), words


def test_version_is_the_distributions(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--version"])
    assert stopped.value.code == 0 and capsys.readouterr().out == f"dcgan-eval {experiments.__version__}\n"
    assert experiments.__version__ == "0.1.0"


def cpu_seconds(*command: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("arguments", [["--help"], ["eval", "--help"], ["evla"]], ids=" ".join)
def test_it_starts_in_the_time_of_three_imports_of_numpy(arguments: list[str]) -> None:
    """Processor time, the least of three alternating runs each: the least is what other programs disturb least."""
    pairs = [(cpu_seconds("-c", "import numpy"), cpu_seconds("-m", "experiments", *arguments)) for _ in range(3)]
    numpy, ours = (min(pair[i] for pair in pairs) for i in (0, 1))
    assert ours <= 3 * numpy
