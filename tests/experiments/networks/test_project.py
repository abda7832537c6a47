"""Networks of this project: those that come with it, files of runs, layers by pattern, the authors' arrays."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

import features
import gan
import results
from experiments.networks import project
from experiments.networks.contender import NOTHING
from experiments.networks.kinds import SHIPPED, WEIGHTS
from experiments.networks.project import architecture
from experiments.networks.resolve import resolve
from experiments.run.errors import UserError

RECORDS = Path(__file__).parents[3] / "results" / "runs"
TABLES = {"imagenet32-half": "cifar10", "svhn32": "svhn"}


@pytest.mark.parametrize("name", SHIPPED)
def test_a_network_that_comes_with_the_project(name: str) -> None:
    """A shipped network equals what training wrote, and opens by its name as by its file."""
    contender, file = resolve(name), WEIGHTS / name / "discriminator.safetensors"
    written = json.loads((WEIGHTS / name / "training.json").read_text())
    assert hashlib.sha256(file.read_bytes()).hexdigest() == written["discriminator"]
    digest = written["data"].get("at_network_size", written["data"]["digest"])
    assert (contender.name, contender.trained_on) == (f"DCGAN {name}", digest)
    assert contender.weights == features.weights_digest(gan.load(file)) == resolve(str(file)).weights


def test_a_network_of_the_project_that_was_changed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the digest in training.json; the file itself may be older than seals are."""
    folder = tmp_path / "svhn32"
    shutil.copytree(WEIGHTS / "svhn32", folder)
    monkeypatch.setattr(project, "WEIGHTS", tmp_path)
    file = folder / "discriminator.safetensors"
    changed = bytearray(file.read_bytes())
    changed[-1000] ^= 4
    file.write_bytes(changed)
    with pytest.raises(
        UserError, match=r"discriminator.safetensors is not the file that its training.json names; restore"
    ):
        resolve("svhn32")


@pytest.mark.parametrize("name", ["imagenet32-half", "svhn32"])
def test_the_newest_record_of_before_is_of_this_network(name: str) -> None:
    """The record names the old path of the file; method and weights are the same."""
    contender, records = resolve(name), results.read_records(RECORDS / f"{TABLES[name]}.jsonl")
    own = [record for record in records if record.method == f"{contender.name} + L2-SVM"]
    before = [record for record in own if record.spec["backbone"].endswith(f"results/weights/{name}.safetensors")]
    assert before[-1].inputs["weights"] == contender.weights


def test_a_file_is_named_after_itself_or_its_run(tmp_path: Path) -> None:
    net = gan.Discriminator(architecture("svhn32,width=2")[0])
    run = tmp_path / "a-run"
    run.mkdir()
    for file, name in ((run / "discriminator.safetensors", "a-run"), (run / "epoch-5.safetensors", "epoch-5")):
        gan.save(file, net)
        contender = resolve(str(file))
        assert (contender.name, contender.trained_on) == (f"DCGAN {name}", None)
        assert contender.weights == features.weights_digest(net)

    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    of_this_file = {"discriminator": sha256, "data": {"digest": "d"}}
    of_larger = of_this_file | {"data": {"digest": "d", "at_network_size": "s"}}
    of_another = of_this_file | {"discriminator": "another's"}
    no_data = of_this_file | {"data": "d"}
    for written, digest in ((of_this_file, "d"), (of_larger, "s"), (of_another, None), (no_data, None), ([], None)):
        (run / "training.json").write_text(json.dumps(written))
        assert resolve(str(file)).trained_on == digest

    gan.save(file, gan.Generator(net.arch))
    with pytest.raises(UserError, match="the file holds a generator; features are taken from a discriminator"):
        resolve(str(file))


@pytest.mark.parametrize(
    ("patterns", "layers"),
    [
        (["conv*"], "conv1 conv2 conv3 conv4 conv5 conv6"),
        (["conv[35]", "conv1"], "conv3 conv5 conv1"),
        (["*2", "conv?"], "conv2 conv1 conv3 conv4 conv5 conv6"),
    ],
)
def test_only_stages_are_layers(patterns: list[str], layers: str) -> None:
    contender = resolve("random:imagenet32,width=2", layers=patterns)
    assert " ".join(contender.backbone.layers) == layers
    assert contender.name == f"random-init imagenet32 width 2 [{layers.replace(' ', ',')}]"
    for other in ("dec*", "conv1.*", "conv1.norm"):
        with pytest.raises(
            UserError, match=r"no layer .*; the layers are conv1 \[2 x 32 x 32\], conv2 \[2 x 16 x 16\]"
        ):
            resolve("random:imagenet32,width=2", layers=[other])


def test_the_controls() -> None:
    one, again, other = (resolve("random:svhn32,width=2", seed=seed) for seed in (0, 0, 1))
    assert one.weights == again.weights != other.weights
    pixels = resolve("pixels")
    assert (one.trained_on, pixels.trained_on, pixels.name) == (NOTHING, NOTHING, "raw pixels")
    assert features.feature_width(pixels.backbone, pool=pixels.pool) == 3 * 32 * 32


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("theano:imagenet32", "write theano:PRESET:FOLDER"),
        ("theano:imagnet32:.", "did you mean 'imagenet32'?"),
        ("theano:imagenet32:nowhere", "no folder nowhere"),
        ("random:imagenet32,wdth=3", "settings are width=N"),
        ("random:imagenet32,width=", "settings are width=N"),
    ],
)
def test_mistakes(target: str, text: str) -> None:
    with pytest.raises(UserError) as told:
        resolve(target)
    assert text in str(told.value)
