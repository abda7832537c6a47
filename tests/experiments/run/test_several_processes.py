"""`eval` and `extract` under torchrun: what one process does, bit for bit; an end told in one line; going on."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from experiments.data.packed import pack
from experiments.run.context import ROOT
from tests.workplace import learnable

PROGRAM = Path(__file__).with_name("process_of_test.py")
NETWORK = ("random:imagenet32,width=2", "--subset", "2500")  # three chunks of training images, one of test images
BATCHES = 20 + 4  # of 128 images
GO_ON = "run the same command again to go on"


@dataclass
class Done:
    """A start that has ended: exit code, outputs, and the calls that its processes logged."""

    code: int
    out: str
    err: str
    calls: list[str]

    @property
    def said(self) -> list[str]:
        """The lines of our own program: not torchrun's, no notes, no progress."""
        return [line for line in self.err.splitlines() if GO_ON in line or line.startswith("dcgan-eval: ")]


class Place:
    """A made-up CIFAR-10, and a RUNS_ROOT for each of its names."""

    def __init__(self, root: Path) -> None:
        self.root, rng, self.digests = root, np.random.default_rng(0), {}
        for split, n in (("train", 2600), ("test", 520)):
            images, labels = learnable(n, rng)
            folder = root / "packed" / f"cifar10-{split}"
            pack(folder, [images], shape=images.shape, labels=labels, source="made up", transform="none")
            for what, array in (("images", images), ("labels", labels.astype(np.uint8))):
                self.digests[f"{split} {what}"] = hashlib.sha256(array).hexdigest()

    def begin(self, runs: str, processes: int, *arguments: str, die: str = "", choice: str = "") -> subprocess.Popen:
        """Start a command in RUNS_ROOT `runs`."""
        folder, log = self.root / runs, self.root / f"{runs}.log"
        folder.mkdir(exist_ok=True)
        if not (folder / "packed").exists():
            (folder / "packed").symlink_to(self.root / "packed")
        log.write_text("")
        how = {"DIGESTS": json.dumps(self.digests), "LOG": str(log), "DIE": die, "CHOICE": choice}
        how |= {"PROJECT": str(ROOT), "DEVICE": "cpu"}
        how |= {"RUNS_ROOT": str(folder), "DATA_ROOT": str(self.root / "data"), "OMP_NUM_THREADS": "1"}
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        return subprocess.Popen(
            [sys.executable, *(torchrun if processes > 1 else []), str(PROGRAM), *arguments],
            cwd=self.root,
            env=os.environ | how,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self, process: subprocess.Popen, runs: str) -> Done:
        """Wait for a started command."""
        out, err = process.communicate(timeout=300)
        return Done(process.returncode, out, err, self.calls(runs))

    def calls(self, runs: str) -> list[str]:
        """What the last start has logged so far."""
        return (self.root / f"{runs}.log").read_text().splitlines()

    def run(self, runs: str, processes: int, *arguments: str, **how: str) -> Done:
        """Start a command and wait for it."""
        return self.end(self.begin(runs, processes, *arguments, **how), runs)

    def features(self, runs: str) -> dict[str, bytes]:
        """Every file of stored features with its content."""
        files = sorted((self.root / runs / "features").glob("*/*"))
        return {str(file.relative_to(self.root / runs)): file.read_bytes() for file in files}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("several"))


@pytest.fixture(scope="module")
def one(place: Place) -> dict:
    """What a single process answers; its features are in `one`."""
    done = place.run("one", 1, "eval", *NETWORK, "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 3])
def test_several_processes_measure_what_one_does(place: Place, one: dict, processes: int) -> None:
    runs = f"n{processes}"
    done = place.run(runs, processes, "eval", *NETWORK, "--json")
    assert done.code == 0, done.err
    answer = json.loads(done.out)  # one of them speaks
    assert answer.pop("processes") == processes and one["processes"] == 1
    assert answer == {name: value for name, value in one.items() if name != "processes"}
    assert place.features(runs) == place.features("one")
    assert {call.split()[0] for call in done.calls} == {str(rank) for rank in range(processes)}
    assert sum("write" in call for call in done.calls) == BATCHES
    records = [json.loads((place.root / r / "records" / "cifar10.jsonl").read_text()) for r in ("one", runs)]
    assert records[0]["outcomes"] == records[1]["outcomes"]
    assert [r["hardware"].get("processes") for r in records] == [None, processes]
    assert records[1]["solver"]["objective"] == pytest.approx(records[0]["solver"]["objective"], rel=1e-6)
    again = place.run(runs, processes, "eval", *NETWORK, "--json")
    assert (again.code, again.out, again.calls) == (0, done.out, []) and "measured before" in again.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "choice"),
    [((NETWORK[0], "--protocol", "cifar10/400-per-class"), ""), (NETWORK, "700")],
    ids=["draws", "some choose C"],
)
def test_several_processes_choose_as_one_does(place: Place, arguments: tuple[str, ...], choice: str) -> None:
    answers = []
    for processes in (1, 2):
        runs = f"choice{choice}n{processes}"
        done = place.run(runs, processes, "eval", *arguments, choice=choice)
        assert done.code == 0, done.err
        (file,) = (place.root / runs / "records").glob("*.jsonl")
        answers.append(json.loads(file.read_text()))
    alone, together = answers
    assert together["outcomes"] == alone["outcomes"] and together["value"] == alone["value"]
    tried = [[entry["accuracy"] for entry in answer["selection"]["grid"]] for answer in answers]
    assert tried[0] == tried[1] and together["selection"]["C"] == alone["selection"]["C"]
    assert [answer["selection"].get("rows") for answer in answers] == [int(choice) if choice else None] * 2


@pytest.mark.slow
def test_a_killed_process_ends_extraction_in_one_line_and_costs_its_chunk(place: Place, one: dict) -> None:
    done = place.run("killed", 3, "extract", *NETWORK, die="1 write 5")
    (line,) = done.said
    assert line.startswith("process 1 ended; finished chunks of features stay in ") and done.code != 0
    assert done.out == "" and "dcgan" not in done.err.replace(line, "")
    held = [f for f in place.features("killed") if "/chunks." in f]
    assert held and not any(f.endswith("/chunks.json") for f in held)
    done = place.run("killed", 2, "extract", *NETWORK, die="0 write 3")  # its share: two chunks
    assert "process 0 ended" in done.said[0] and len(done.said) == 1 and done.code != 0
    done = place.run("killed", 1, "extract", *NETWORK)
    assert done.code == 0 and len(done.calls) < BATCHES
    assert place.features("killed") == place.features("one")


@pytest.mark.slow
@pytest.mark.parametrize("die", ["1 fit_selected 1", "1 there_and_back 6"])
def test_a_killed_process_ends_the_solver_in_one_line_and_the_features_stay(place: Place, one: dict, die: str) -> None:
    runs = die.replace(" ", "")
    done = place.run(runs, 2, "eval", *NETWORK, die=die)
    (line,) = done.said
    assert line.startswith("process 1 ended; finished chunks of features stay in ") and done.code != 0
    assert "experiments/run/torchrun.py" not in done.err and done.out == ""  # the only traceback is torchrun's
    again = place.run(runs, 2, "eval", *NETWORK, "--json")
    assert again.code == 0 and not any("write" in call for call in again.calls)
    assert json.loads(again.out)["value"] == one["value"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_told_in_one_line(place: Place, number: signal.Signals) -> None:
    runs = f"signal{number}"
    process = place.begin(runs, 2, "extract", *NETWORK)
    while len(place.calls(runs)) < 2 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(number)
    done = place.end(process, runs)
    assert done.said == [f"interrupted; {GO_ON}"] and done.code != 0 and done.out == ""
    assert set(re.findall(r"exitcode *: *(-?\d+)", done.err)) <= {"130"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["eval", "random:imagenet32,width=2", "--layers", "conv9"], "no layer 'conv9'"),  # found by the first one
        (["eval", "real", "--table", "mnist"], "--table mnist runs in one process; start it without torchrun"),
        (["eval", "pixels", "--C", "a"], "--C takes numbers"),
        (["eval", "pixels", "--seeed", "1"], "unrecognized arguments"),
    ],
)
def test_a_mistake_is_told_once(place: Place, arguments: list[str], text: str) -> None:
    done = place.run("mistake", 2, *arguments)
    assert done.err.count(text) == 1 and done.code != 0 and done.out == ""
    assert GO_ON not in done.err
