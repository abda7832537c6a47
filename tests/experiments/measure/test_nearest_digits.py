"""The MNIST table end to end on fabricated digits: figures, curve, records, one-line errors."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

import gan
import results
from experiments import cli
from experiments.data.packed import PackedSet, pack
from experiments.measure import nearest_digits
from experiments.measure.measurement import recorded
from experiments.measure.nearest_digits import NearestDigits, NearestSpec, protocol
from experiments.run.context import Run

SMALL = gan.ConditionalArchitecture(width=2, units=4, nz=3)


def digits(folder: Path, n: int, seed: int) -> PackedSet:
    """Bars whose place says the class, in noise that leaves some of them unclear."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 10
    images = rng.integers(0, 120, (n, 28, 28, 1), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[:, 2 * label : 2 * label + 3] += 30
    return pack(folder, [images], shape=images.shape, labels=labels, source="fabricated", transform="none")


@pytest.fixture
def real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NearestDigits:
    monkeypatch.setattr(nearest_digits, "ALL", 2_000)
    train, test = digits(tmp_path / "train", 2_000, 0), digits(tmp_path / "test", 200, 1)
    return NearestDigits(NearestSpec("real"), test, train, train.digest)


def test_a_generator_that_knows_the_digits_has_their_error(real, workplace, tmp_path, monkeypatch):
    (record,) = recorded(real, workplace.run)
    generator = gan.ConditionalGenerator(SMALL)
    spec = NearestSpec("g.safetensors", samples=2_000)
    batches = iter(torch.from_numpy(np.array(real.references.images)).split(spec.batch))
    monkeypatch.setattr(gan, "sample", lambda network, z, labels: next(batches))
    (drawn,) = recorded(dataclasses.replace(real, spec=spec, references=generator), workplace.run)
    assert 0 < record.value < 90 and drawn.value == record.value
    assert drawn.solver == record.solver and [c["references"] for c in record.solver["curve"]] == [1000, 2000]
    assert (record.protocol, record.method, record.seed) == ("mnist-1nn/2k", "real data", None)
    assert (drawn.method, drawn.seed, drawn.n_test, drawn.features) == ("class-conditional DCGAN", 0, 200, 784)
    assert nearest_digits.curve_csv([record]).startswith(b"method,run_id,references,error_percent\nreal data,")
    results.append_record(tmp_path / "r.jsonl", drawn)
    assert results.read_records(tmp_path / "r.jsonl") == [drawn]


def test_more_samples_begin_with_the_same_ones(real):
    generator = gan.ConditionalGenerator(SMALL)
    few, many = (
        [
            image
            for image, _ in nearest_digits.references(dataclasses.replace(real, spec=s, references=generator), "cpu")
        ]
        for s in (NearestSpec("g", samples=1_000), NearestSpec("g", samples=2_000))
    )
    assert len(many) == 2 and torch.equal(few[0], many[0]) and not torch.equal(many[0], many[1])


class Stopped(Exception):
    pass


def stopping(after: int):
    """A progress bar whose user gives up after so many chunks."""

    def progress(chunks, **_):
        for n, chunk in enumerate(chunks):
            if n == after:
                raise Stopped
            yield chunk

    return progress


def test_a_search_that_was_stopped_goes_on_and_a_longer_one_begins_where_it_ended(real, workplace, monkeypatch):
    generator = gan.ConditionalGenerator(SMALL)
    gan.initialise(generator, torch.Generator().manual_seed(0))
    drawn = []
    sample = gan.sample
    monkeypatch.setattr(gan, "sample", lambda *given: drawn.append(0) or sample(*given))

    def errors(samples: int, runs: str = "runs", **how):
        drawn.clear()
        spec = NearestSpec("g", samples=samples)
        digits = dataclasses.replace(real, spec=spec, references=generator, saved=2_000)
        (figure,) = digits.measure(dataclasses.replace(workplace.run, runs_root=workplace.root / runs, **how))
        return figure.solver["curve"], len(drawn) * spec.batch

    whole, _ = errors(5_000, "fresh")
    with pytest.raises(Stopped):
        errors(5_000, progress=stopping(3))
    assert errors(5_000) == (whole, 3_000)  # 2,000 were on disk
    longer, _ = errors(6_000, "another")
    assert errors(6_000) == (longer, 1_000)
    assert errors(5_000) == (whole, 5_000)  # the kept one went farther
    (file,) = (workplace.run.runs_root / "nearest").iterdir()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    for damage in (bytes(content), b""):
        file.write_bytes(damage)
        with pytest.warns(UserWarning, match="searching from the beginning: .* is damaged"):
            assert errors(5_000) == (whole, 5_000)


def test_names_of_protocols():
    names = [protocol(n) for n in (50_000, 1_000_000, 1_500_000)]
    assert names == ["mnist-1nn/50k", "mnist-1nn/1m", "mnist-1nn/1500k"]
    assert NearestSpec("g", samples=200_000).counts == [50_000, 200_000]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["D"], "holds a ConditionalDiscriminator; this table takes a class-conditional generator"),
        (["G"], "holds a Generator; this table takes"),
        (["none.safetensors"], "no checkpoint at none.safetensors"),
        (["C", "--samples", "0"], "samples must be a positive multiple of 1,000, got 0"),
        (["real", "--samples", "1000"], "--samples has no meaning for real digits"),
        ([], "or real"),
        (["real", "--layers", "conv1"], "--layers has no meaning"),
    ],
)
def test_mistakes_are_one_line(arguments, text, tmp_path, capsys):
    networks = {
        "D": gan.ConditionalDiscriminator(SMALL),
        "C": gan.ConditionalGenerator(SMALL),
        "G": gan.Generator(dataclasses.replace(gan.PRESETS["dcgan32"], width=2)),
    }
    for name, network in networks.items():
        gan.save(tmp_path / name, network)
    named = [str(tmp_path / a) if a in networks else a for a in arguments]
    assert cli.main(["eval", *named, "--table", "mnist", "--runs-root", str(tmp_path), "--device", "cpu"]) == 2
    error = capsys.readouterr().err
    assert text in error and error.count("\n") == 1


@pytest.mark.data
def test_real_digits_give_the_known_figures(data_root, tmp_path):
    run = Run(data_root, tmp_path)
    assert [round(f.value, 2) for f in nearest_digits.prepare(NearestSpec("real"), run).measure(run)] == [3.34, 3.09]
