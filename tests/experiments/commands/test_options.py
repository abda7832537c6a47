"""Options that decide features: mirrored images, the stored type, the default network, what they need of the disk."""

import re
import shutil
from pathlib import Path

import pytest
import torch

from experiments import cli
from experiments.measure import svm
from experiments.measure.records import check_recordable
from experiments.measure.tables import load_table
from experiments.networks.resolve import resolve
from experiments.run.context import Run
from experiments.run.errors import UserError
from tests.experiments.commands.small import RANDOM, USERS, records


@pytest.mark.parametrize(("store", "size"), [("float32", "1.72 GB (float32)"), ("float16", "860 MB (float16)")])
def test_a_dry_run_states_the_disk_that_the_type_needs(
    workplace, store: str, size: str, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.main(["eval", "random:imagenet32,width=32", "--dry-run", "--store", store]) == 0
    assert f"features: {size} under" in (plan := capsys.readouterr().out) and "GPU" not in plan
    spec = svm.EvalSpec("random:imagenet32,width=32", store=store)
    monkeypatch.setattr(svm, "runnable", lambda backbone, run, *, data, **how: resolve(backbone, **how))
    monkeypatch.setattr(Run, "device", torch.device("cuda"))
    assert "\n".join(svm.describe(spec, workplace.run)).count("unless they fit into the GPU's memory") == 1


def test_mirrored_rows_are_rows_of_their_own(roots: Path, capsys: pytest.CaptureFixture) -> None:
    mirrored = [*RANDOM, "--mirrored", "--store", "float16"]
    for arguments in (RANDOM, mirrored, mirrored):
        assert cli.main(["eval", *arguments]) == 0
    assert "measured before" in capsys.readouterr().err
    plain, other = records(roots)
    assert (plain["protocol"], other["protocol"]) == ("cifar10/subset-640", "cifar10/subset-640-mirrored")
    assert other["spec"] == plain["spec"] | {"mirrored": True, "store": "float16"}
    assert plain["run_id"] != other["run_id"] and plain["inputs"]["features"] != other["inputs"]["features"]
    assert len(list((roots / "runs" / "features").iterdir())) == 4
    assert cli.main(["eval", *RANDOM, "--mirrored", "--record"]) == 2
    assert "cifar10/subset-640-mirrored cannot be recorded" in capsys.readouterr().err


def test_a_mirrored_row_of_the_whole_set_can_be_recorded() -> None:
    table = load_table("cifar10")
    check_recordable(svm.EvalSpec("pixels", mirrored=True), table)
    with pytest.raises(UserError, match="cifar10/400-per-class-mirrored cannot be recorded"):
        check_recordable(svm.EvalSpec("pixels", mirrored=True, protocol="cifar10/400-per-class"), table)


def test_the_default_is_at_full_width_and_a_full_disk_names_less(
    roots: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.delenv("BACKBONE", raising=False)
    assert cli.main(["eval", "--table", "cifar10", "--dry-run"]) == 0
    plan = capsys.readouterr().out
    assert "DCGAN imagenet32-contrast + L2-SVM" in plan and "28,672 features" in plan and "features: 6.88 GB" in plan
    assert "half is enough with --store float16 or BACKBONE=imagenet32-half, which also takes less memory" in plan
    assert cli.main(["eval", "imagenet32-half", "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines()[1].endswith("half is enough with --store float16")
    assert cli.main(["eval", *RANDOM, "--dry-run"]) == 0
    assert "half is enough" not in capsys.readouterr().out  # a few megabytes
    usage = type(shutil.disk_usage("."))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**6, 10**6 - 100, 100))
    assert cli.main(["eval", *RANDOM]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "needs 2,293,760 bytes, 100 are free" in error and error.endswith("half is enough with --store float16")


def test_features_beyond_float16_are_one_line(roots: Path, capsys: pytest.CaptureFixture) -> None:
    (roots / "mine.py").write_text(USERS.replace("(-1, 1))", "(0, 1e6))"))
    assert cli.main(["eval", f"{roots / 'mine.py'}:make", "--subset", "640", "--store", "float16"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.search(r"float16, got a larger one in row \d+, layer '1'; use float32 \(--store float32\)$", error)
    assert cli.main(["eval", f"{roots / 'mine.py'}:make", "--subset", "640"]) == 0
