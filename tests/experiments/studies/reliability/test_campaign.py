"""The study finds planted faults; a small, fixed part of the campaign ends well."""

import numpy as np
import pytest

from experiments.studies.reliability import flips, hostile
from experiments.studies.reliability.__main__ import main, table
from experiments.studies.reliability.case import BAD, Case
from tests.experiments.studies.reliability import planted

RUN = {"checkpoint", "state", "own-records", "audit", "report", "run", "beside", "marks", "command", "planted", "lmdb"}


def case(function, *argv, **how):
    return Case("planted", "", argv, call=f"{planted.__name__}:{function.__name__}", **how)


@pytest.mark.parametrize(
    ("planted_case", "kind"),
    [
        (case(planted.traceback), "traceback"),
        (case(planted.death), "traceback"),
        (case(planted.hang, limit=0.5), "hang"),
        (case(planted.executed), "executed"),
        (case(planted.told, "0", "fine"), "accepted"),
        (case(planted.told, "0", "fine", accepts="refused"), "changed"),
        (case(planted.told, "2", "dcgan-eval: name a set"), "refused"),
        (case(planted.told, "2", "dcgan-eval: a\ndcgan-eval: b"), "unexplained"),
        (case(planted.told, "2", "no word of ours"), "unexplained"),
        (case(planted.told, "2", "dcgan-eval: \x1b[31m"), "unexplained"),
        (case(planted.told, "1", "oh"), "unexplained"),
        (case(planted.told, "1", "skipped 3 files"), "answered no"),
        (case(planted.told, "3", "oh"), "unexplained"),
    ],
)
def test_every_class_is_recognised(pool, planted_case, kind):
    assert pool.verdict(0, planted_case).kind == kind


def test_a_result_that_changes_without_a_word_is_seen(pool):
    def write(text):
        return lambda folder: (folder / "tiny.toml").write_text(text) and None

    how = {"accepts": "same", "clean": "tiny.toml", "needs": ("tiny.toml",)}
    assert pool.verdict(0, case(planted.content, prepare=write("other"), **how)).kind == "changed"
    assert pool.verdict(1, case(planted.content, **how)).kind == "unchanged"


def test_cases_are_the_same_for_a_seed_and_others_for_another():
    for name in hostile.GENERATORS:
        assert hostile.case(name, 3, 0).argv == hostile.case(name, 3, 0).argv
    argv = [[hostile.case("command", number, seed).argv for number in range(9)] for seed in (0, 1)]
    assert argv[0] != argv[1]
    assert len(list(hostile.cases(100, 0))) >= 100


def test_a_fixed_part_of_the_inputs_ends_well(pool):
    """Of each reader that needs no trained network, a few inputs."""
    numbered = [(n, hostile.case(name, n, 5)) for name in hostile.GENERATORS if name not in RUN for n in range(3)]
    found = list(pool.verdicts(numbered))
    assert [verdict for verdict in found if verdict.bad] == []
    assert len({verdict.reader for verdict in found}) > 15


@pytest.mark.parametrize(
    "name", ["packed set", "features", "records", "audit", "kept", "ablation", "photos", "packing"]
)
def test_flipped_bits_are_found(pool, name):
    found = [pool.verdict(n, flips.flip(name, np.random.default_rng(n))) for n in range(4)]
    assert [verdict for verdict in found if verdict.bad] == []


def test_the_table_counts_by_reader_and_class(pool):
    found = [pool.verdict(0, case(planted.told, "0", "fine")), pool.verdict(1, case(planted.traceback))]
    (row,) = table(found).to_dict("records")
    assert (row["reader"], row["cases"], row["accepted"], row["traceback"]) == ("planted", 2, 1, 1)
    assert sum(row[kind] for kind in BAD) == 1


@pytest.mark.slow
def test_the_program_writes_its_counts(tmp_path):
    out = tmp_path / "campaign.csv"
    main(["--parts", "inputs", "--count", "1", "--workers", "1", "--out", str(out)])
    lines = out.read_text().splitlines()
    assert lines[0].startswith("reader,cases,refused,") and lines[0].endswith(",seed,versions,command")
    assert len(lines) > 20
