"""Every command that README.md and docs/*.md print is run as printed, on made-up data; a long one, shortened.

A command that is new in the docs is run as it stands. One that cannot be is listed in INSTEAD with the reason.
"""

import argparse
import importlib
import json
import os
import re
import shutil
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import gan.frozen
from experiments import cli
from tests.printed import PAGES, ROOT, blocks, commands, words
from tests.workplace import Workplace, learnable

LONG, SLOW, WHOLE, FACES, OFFICIAL = (
    "takes minutes or hours",
    "takes many seconds",
    "needs all of CIFAR-10",
    "needs the faces that it was trained on",
    "needs the official files of ImageNet-32",
)
INSTEAD = {  # printed -> what is run instead, and why
    "dcgan-eval train mnist-32 --set width=64 --set training.batch_size=32 --set training.images=90_000": (
        "dcgan-eval train mnist-32 --set width=64 --set training.batch_size=32 --set training.images=90_000 --dry-run",
        LONG,
    ),
    "dcgan-eval train my-recipe.toml": ("dcgan-eval train my-recipe.toml --dry-run", LONG),
    "dcgan-eval ablate mynet.py:network --subset 10000": ("dcgan-eval ablate mynet.py:network --subset 1000", LONG),
    "dcgan-eval ablate imagenet32-half": ("dcgan-eval ablate imagenet32-half --dry-run", WHOLE),
    "dcgan-eval eval mynet.py:network --table cifar10 --record": (
        "dcgan-eval eval mynet.py:network --table cifar10 --record --dry-run",
        WHOLE,
    ),
    "dcgan-eval eval mynet.py:network --table cifar10 --fresh": (
        "dcgan-eval eval mynet.py:network --table cifar10 --fresh --dry-run",
        WHOLE,
    ),
    "dcgan-eval look walk faces-64": ("dcgan-eval look walk faces-64 --rows 2 --steps 3", SLOW),
    "dcgan-eval look filters faces-64": ("dcgan-eval look filters faces-64 --data samples", FACES),
    "dcgan-eval look forget faces-64 --boxes boxes.json": (
        "dcgan-eval look forget faces-64 --boxes boxes.json --draws 1",
        SLOW,
    ),
    "dcgan-eval look forget faces-64 --boxes results/look/forget-faces-64/boxes.json --draws 100 "
    "--out results/look/forget-faces-64": (
        "dcgan-eval look forget faces-64 --boxes boxes.json --draws 1 --out results/look/forget-faces-64",
        LONG,
    ),
    "dcgan-eval look memorised faces-64": (
        "dcgan-eval look memorised faces-64 --data tiny-imagenet-64 --samples 100",
        FACES,
    ),
    "dcgan-eval data imagenet32-train imagenet32-val": ("dcgan-eval data cifar10-train cifar10-test", OFFICIAL),
    "dcgan-eval dedup imagenet32-train --method phash --radius 4": (
        "dcgan-eval dedup cifar10-train --method phash --radius 4",
        OFFICIAL,
    ),
    "dcgan-eval train imagenet32-official": ("dcgan-eval train imagenet32-official --dry-run", OFFICIAL),
    "torchrun --nnodes 8 --nproc-per-node 1 --rdzv-backend c10d --rdzv-endpoint node1:29400 "
    "-m experiments eval imagenet32-contrast --table imagenet32 --store float16": (
        "torchrun --nproc-per-node 1 -m experiments eval imagenet32-contrast --table imagenet32 --store float16",
        "takes eight machines",
    ),
    "dcgan-eval compare RUN mynet.py:network": (
        "dcgan-eval compare imagenet32-half imagenet32-contrast",
        "both runs are the reader's",
    ),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder as a reader has it: the sets and files that the docs name, and a copy of results/."""
    root = tmp_path_factory.mktemp("reader")
    rng = np.random.default_rng(0)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "DATA_ROOT": root / "data",
            "RUNS_ROOT": root / "runs",
            "DEVICE": "cpu",
            "HOME": root,
        }.items():
            patch.setenv(name, str(value))
        for name in ("BACKBONE", "LAYERS"):
            patch.delenv(name, raising=False)
        patch.chdir(root)
        patch.setattr(gan.frozen, "BATCHES", 1)  # looks are to run here, not to look good
        workplace = Workplace(root, patch)
        for name, n in {"cifar10-train": 2000, "cifar10-test": 500}.items():
            workplace.pack(name, *learnable(n, rng))
        for name in ("tiny-imagenet-32", "tiny-imagenet-64"):
            side = int(name[-2:])
            workplace.pack(name, rng.integers(0, 256, (300, side, side, 3), dtype=np.uint8))
        _files(root, rng)
        yield root


def _files(root: Path, rng: np.random.Generator) -> None:
    left_out = shutil.ignore_patterns("*.png", "*.webp", "training", "weights")
    shutil.copytree(ROOT / "results", root / "results", ignore=left_out)
    for name in ("training", "weights"):
        (root / "results" / name).symlink_to(ROOT / "results" / name)
    (root / "mynet.py").write_text(re.search(r"```python\n(# mynet.py\n.*?)```", PAGES[0].read_text(), re.S)[1])
    (root / "photos").mkdir()
    for i in range(12):
        Image.fromarray(rng.integers(0, 256, (70, 90, 3), dtype=np.uint8)).save(root / f"photos/{i:02}.png")
    recipe = (ROOT / "experiments/recipes/faces-64.toml").read_text()
    for key, value in {"dataset": '"mine"', "held_out": "4", "batch_size": "4"}.items():
        recipe = re.sub(f"(?m)^{key} = .*", f"{key} = {value}", recipe)
    (root / "my-recipe.toml").write_text(recipe)
    shutil.copy(ROOT / "results/look/arithmetic-faces-64/concepts.json", root)
    boxes = json.loads((ROOT / "results/look/forget-faces-64/boxes.json").read_text())
    boxes["boxes"] = dict(list(boxes["boxes"].items())[:5])
    (root / "boxes.json").write_text(json.dumps(boxes))


LOOKS = "looking-inside"
CASES = [
    pytest.param(page, id=page.stem, marks=[pytest.mark.slow] if page.stem == LOOKS else [])
    for page in PAGES
    if commands(page)
]


@pytest.mark.parametrize("page", CASES)
def test_commands_run_as_printed(page: Path, place: Path, subtests: pytest.Subtests) -> None:
    for command in dict.fromkeys(commands(page)):
        with subtests.test(command):
            run(INSTEAD.get(command, (command,))[0], place)


def test_the_line_for_a_shell_copies_what_stays(place: Path) -> None:
    page = next(page for page in PAGES if page.stem == "deduplication")
    (place / "unique").mkdir()
    assert cli.main(["dedup", str(place / "photos"), "--method", "phash"], results=place / "results") == 0
    (folder,) = (place / "runs/dedup").glob("photos-*")
    line = next(text for language, text in blocks(page) if language == "bash")
    shown = re.search(r"RUNS_ROOT/dedup/photos-\w+", line)
    subprocess.run(["bash", "-c", line.replace(shown[0], str(folder))], check=True)
    scope = {"os": os, "Path": lambda name: folder / name}
    exec(textwrap.dedent(next(text for language, text in blocks(page) if language == "python")), scope)
    assert sorted(path.name for path in (place / "unique").iterdir()) == sorted(scope["names"]) != []


def test_the_script_for_slurm_queues_a_stopped_job_again(tmp_path: Path) -> None:
    page = next(page for page in PAGES if page.stem == "gpus-and-clusters")
    (script,) = (text for language, text in blocks(page) if language == "bash")
    (tmp_path / "job.sh").write_text(script)
    for name, does in {"srun": '[ "$2" != train ] || exit $CODE', "scontrol": "true"}.items():
        (tmp_path / name).write_text(f'#!/bin/bash\necho "{name} $@"\n{does}\n')
        (tmp_path / name).chmod(0o755)
    said = {}
    for code in (0, 2, 130):
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CODE": str(code), "SLURM_JOB_ID": "7"}
        ended = subprocess.run(
            ["bash", "job.sh"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert ended.returncode == code and not ended.stderr
        first, *said[code] = ended.stdout.splitlines()
        assert first == "srun dcgan-eval train imagenet32-contrast"
    trained = "/shared/runs/train/imagenet32-contrast/discriminator.safetensors"
    assert said == {0: [f"srun dcgan-eval eval {trained}"], 2: [], 130: ["scontrol requeue 7"]}


@pytest.mark.slow
def test_the_program_for_a_cluster_runs_on_a_small_one(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    page = next(page for page in PAGES if page.stem == "deduplication-at-scale")
    program = next(text for language, text in blocks(page) if language == "python")
    images = np.random.default_rng(0).integers(0, 256, (50, 32, 32, 3), dtype=np.uint8)
    images[7] = images[3]
    images.tofile(tmp_path / "images.u8")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        here = {"tcp://scheduler:8786": cluster.scheduler_address, "/shared/images.u8": str(tmp_path / "images.u8")}
        for printed, instead in (here | {"/shared/scratch": str(tmp_path), "10**9": "50"}).items():
            assert printed in program
            program = program.replace(printed, instead)
        found: dict = {}
        exec(program, found)
        found["client"].close()
    assert np.flatnonzero(~found["keep"]).tolist() == [7]


def run(command: str, place: Path) -> None:
    """Run one command in this process, as far as its kind can be."""
    match words(command):
        case ["dcgan-eval", *arguments]:
            assert cli.main(arguments, results=place / "results") == 0
        case ["python", "-m", module, *arguments] if module.startswith("experiments.studies."):
            check_arguments(module, arguments)  # the tests of the studies run them, on little
        case ["torchrun", "--nproc-per-node", n, "-m", "experiments", *arguments] if int(n):
            assert cli.main([*arguments, "--dry-run"], results=place / "results") == 0
        case ["make", *arguments]:
            subprocess.run(["make", "--dry-run", *arguments], cwd=ROOT, check=True, capture_output=True)
        case ["tensorboard", "--logdir", "runs/train"]:
            pass  # a server; the tests of training read the event files that it would show
        case ["pytest", *files]:
            assert files and all((ROOT / file).is_file() for file in files)
        case _:
            pytest.fail(f"this test does not know how to run {command!r}")


def check_arguments(module: str, arguments: list[str]) -> None:
    """Check that a program accepts these arguments, and stop it then."""

    class Accepted(Exception):
        pass

    def parse_only(parser: argparse.ArgumentParser, *given: object) -> None:
        parse_known(parser, *given)
        raise Accepted

    parse_known = argparse.ArgumentParser.parse_args
    program = importlib.import_module(f"{module}.__main__" if (ROOT / module.replace(".", "/")).is_dir() else module)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
        with pytest.raises(Accepted):
            program.main(arguments)


def test_what_is_listed_is_printed() -> None:
    printed = {command for page in PAGES for command in commands(page)}
    assert len(printed) > 30 and set(INSTEAD) <= printed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_within_sentences_exist(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.M))
    for program, text in re.findall(r"(?<!`)`(dcgan-eval|make) ([^`]+)`(?!`)", page.read_text()):
        given = text.split()
        if program == "make":
            assert given[0] in targets
            continue
        name = next((n for n in (" ".join(given[:2]), given[0]) if n in cli.COMMANDS), None)
        groups = {name.split()[0] for name in cli.COMMANDS if " " in name}
        assert name or given[0].partition("|")[0] in {"COMMAND", *groups}, text
        if options := {word.strip("[]") for word in given if word.startswith(("--", "[--"))} - {"--help"}:
            assert name, text
            with pytest.raises(SystemExit):
                cli.main([*name.split(), "--help"])
            assert options <= set(re.findall(r"--[\w-]+", capsys.readouterr().out)), text
