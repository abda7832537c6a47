"""Round trips, what the header says, refusals of what is damaged or another's, and writes that fail half-way."""

import dataclasses
import json
import random

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

import gan
import gan.checkpoint

ARCH = dataclasses.replace(gan.PRESETS["svhn32"], width=2, channels=1)
CONFIG = gan.TrainingConfig(images=64, decay_from=32, batch_size=4)
NETWORKS = {"discriminator": gan.Discriminator, "generator": gan.Generator}


def network(kind="discriminator", seed=0):
    made = NETWORKS[kind](ARCH)
    gan.initialise(made, torch.Generator().manual_seed(seed))
    for name, buffer in made.named_buffers():  # statistics unlike a fresh network's
        buffer.copy_(torch.full_like(buffer, 3 + len(name)))
    return made


def rewrite(file, tensors=None, **header):
    """The same tensors, or these, under a changed header, without a seal: as versions before the seal wrote files."""
    with safe_open(file, "pt") as opened:
        whole = json.loads(opened.metadata()["dcgan-eval"]) | {"format": "dcgan-eval-1"} | header
    whole.pop("digest", None)
    new = file.with_name("new")  # the tensors may be those of the file as it is mapped, which must not change
    save_file(load_file(file) if tensors is None else tensors, new, {"dcgan-eval": json.dumps(whole)})
    new.replace(file)


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_network_round_trips_with_its_architecture(tmp_path, kind):
    saved = network(kind)
    gan.save(tmp_path / "n.safetensors", saved)
    loaded = gan.load(str(tmp_path / "n.safetensors"))
    assert type(loaded) is NETWORKS[kind] and loaded.arch == ARCH and not loaded.training
    assert loaded.state_dict().keys() == saved.state_dict().keys()
    for name, t in saved.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], t) and loaded.state_dict()[name].dtype == t.dtype


def test_half_precision_halves_the_file_and_rounds_once(tmp_path):
    saved = network()
    gan.save(tmp_path / "full", saved)
    gan.save(tmp_path / "half", saved, dtype=torch.float16)
    halved = load_file(tmp_path / "half")
    assert {t.dtype for t in halved.values()} == {torch.float16, torch.int64}
    sizes = [sum(t.nbytes for t in load_file(tmp_path / f).values() if t.is_floating_point()) for f in ("full", "half")]
    assert sizes[0] == 2 * sizes[1]
    loaded = gan.load(tmp_path / "half")
    for name, t in saved.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], t.half().float() if t.is_floating_point() else t)
        assert loaded.state_dict()[name].dtype == t.dtype


def test_the_header_says_what_the_file_is(tmp_path):
    gan.save(tmp_path / "n", network("generator"))
    with safe_open(tmp_path / "n", "pt") as opened:
        metadata = opened.metadata()
    assert list(metadata) == ["dcgan-eval"]  # one entry: their order in the file is not ours to choose
    header = json.loads(metadata["dcgan-eval"])
    assert header.keys() == {"format", "kind", "architecture", "digest"}
    assert (header["format"], header["kind"]) == ("dcgan-eval-sealed-2", "generator")
    assert gan.checkpoint.architecture_from(header["architecture"]) == ARCH
    assert header["architecture"]["strides"] == [2, 2, 2] and header["architecture"]["width"] == 2


def test_the_states_header_holds_configuration_and_step(tmp_path):
    state = gan.new_state(ARCH, CONFIG)
    state.step = 7
    gan.save_state(tmp_path / "s", state, CONFIG)
    with safe_open(tmp_path / "s", "pt") as opened:
        header = json.loads(opened.metadata()["dcgan-eval"])
    assert header["kind"] == "training-state" and header["step"] == 7
    assert gan.TrainingConfig(**header["config"]) == CONFIG
    assert gan.load_state(tmp_path / "s", ARCH, CONFIG).step == 7


@pytest.mark.parametrize("keep", [0, 4, 200, -1])
@pytest.mark.parametrize("read", ["load", "load_state"])
def test_truncated_files_are_refused(tmp_path, keep, read):
    file = tmp_path / "n"
    gan.save(file, network())
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(ValueError, match="n is not a whole safetensors file"):
        gan.load(file) if read == "load" else gan.load_state(file, ARCH, CONFIG)


def test_files_of_others_are_refused(tmp_path):
    save_file({"x": torch.zeros(2)}, tmp_path / "bare")
    with pytest.raises(ValueError, match=r"safetensors file of another program \(format None\)"):
        gan.load(tmp_path / "bare")
    torch.save({"x": torch.zeros(2)}, tmp_path / "pickle.pt")
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        gan.load(tmp_path / "pickle.pt")
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*absent"):
        gan.load(tmp_path / "absent")


def test_the_other_kind_is_refused(tmp_path):
    gan.save(tmp_path / "n", network())
    gan.save_state(tmp_path / "s", gan.new_state(ARCH, CONFIG), CONFIG)
    with pytest.raises(ValueError, match=r"must hold a network, one of discriminator, .*; got 'training-state'"):
        gan.load(tmp_path / "s")
    with pytest.raises(ValueError, match="must hold a training state, got 'discriminator'"):
        gan.load_state(tmp_path / "n", ARCH, CONFIG)


def test_the_state_of_another_run_is_refused(tmp_path):
    file = tmp_path / "s"
    gan.save_state(file, gan.new_state(ARCH, CONFIG), CONFIG)
    with pytest.raises(ValueError, match=r"belongs to another run: its config is .*seed=0.* this run's is .*seed=1"):
        gan.load_state(file, ARCH, dataclasses.replace(CONFIG, seed=1))
    with pytest.raises(ValueError, match=r"belongs to another run: its architecture is .*width=2"):
        gan.load_state(file, dataclasses.replace(ARCH, width=4), CONFIG)


def test_tensors_that_do_not_fit_the_header_are_refused(tmp_path):
    file, wider = tmp_path / "n", dataclasses.asdict(dataclasses.replace(ARCH, width=4))
    gan.save(file, network())
    rewrite(file, architecture=wider)
    with pytest.raises(ValueError, match=r"n does not fit its own architecture: conv1.conv.weight must have the shape"):
        gan.load(file)
    rewrite(file, architecture=wider | {"depth": 3})
    with pytest.raises(ValueError, match=r"unknown architecture fields \['depth'\]; known: .*'width'"):
        gan.load(file)
    gan.save_state(file, gan.new_state(ARCH, CONFIG), CONFIG)
    rewrite(file, config=dataclasses.asdict(CONFIG) | {"beta2": 0.9})
    with pytest.raises(ValueError, match=r"was written by another version: .*beta2"):
        gan.load_state(file, ARCH, CONFIG)


def test_a_state_that_lacks_tensors_is_refused(tmp_path):
    file = tmp_path / "s"
    gan.save_state(file, gan.new_state(ARCH, CONFIG), CONFIG)
    whole = load_file(file)
    for name in ("generator.project.weight", "discriminator.conv2.norm.weight", "noise"):
        rewrite(file, {k: t for k, t in whole.items() if k != name})
        with pytest.raises(ValueError, match=name.partition(".")[2] or name):
            gan.load_state(file, ARCH, CONFIG)


def test_files_without_a_seal_are_read(tmp_path):
    """Versions before the seal wrote them."""
    gan.save(tmp_path / "n", network())
    state = gan.new_state(ARCH, CONFIG)
    gan.save_state(tmp_path / "s", state, CONFIG)
    for name in "ns":
        rewrite(tmp_path / name)
    assert torch.equal(gan.load(tmp_path / "n").conv1.conv.weight, network().conv1.conv.weight)
    loaded = gan.load_state(tmp_path / "s", ARCH, CONFIG)
    assert torch.equal(loaded.generator.project.weight, state.generator.project.weight)


@pytest.mark.parametrize("kind", ["network", "state"])
def test_no_file_with_a_flipped_bit_is_read(tmp_path, kind):
    file = tmp_path / "x"
    if kind == "network":
        gan.save(file, network())
    else:
        gan.save_state(file, gan.new_state(ARCH, CONFIG), CONFIG)
    whole = file.read_bytes()
    head = 8 * (8 + int.from_bytes(whole[:8], "little"))
    drawn = random.Random(0)
    flips = [*drawn.sample(range(head), 200), *(drawn.randrange(8 * len(whole)) for _ in range(60))]
    for at in flips:
        changed = bytearray(whole)
        changed[at // 8] ^= 1 << at % 8
        file.write_bytes(changed)
        with pytest.raises(ValueError, match=r"x (is|must|does|was)"):
            gan.load(file) if kind == "network" else gan.load_state(file, ARCH, CONFIG)


def test_equal_networks_give_equal_files(tmp_path):
    for name in "ab":
        gan.save(tmp_path / name, network())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    "text", ["null", "[]", "3", '"x"', "NaN", "[" * 100_000, '{"format": []}', '{"format": 1', "1" + "0" * 5000]
)
def test_headers_of_other_shapes_are_refused(tmp_path, text):
    save_file(network().state_dict(), tmp_path / "n", {"dcgan-eval": text})
    with pytest.raises(ValueError, match=r"n is damaged: its header is no"):
        gan.load(tmp_path / "n")


@pytest.mark.parametrize(
    "header",
    [
        {"kind": [1]},
        {"kind": "conditional-discriminator"},
        {"architecture": None},
        {"architecture": []},
        {"architecture": {"classes": "10"}},
        {"architecture": {"classes": 10, "size": -28}},
        {"architecture": {"classes": 10, "width": 10**9}},
        *({"field": field} for field in ({"width": 10**400}, {"width": "2"}, {"strides": 3}, {"strides": [[2]]})),
        *({"field": field} for field in ({"strides": []}, {"kernel": True}, {"nz": 10**8}, {"multipliers": [1, 2, 0]})),
        *({"field": field} for field in ({"size": None}, {"z_distribution": [1]}, {"flat_batchnorm": 1})),
    ],
)
def test_headers_with_impossible_values_are_refused_before_anything_is_allocated(tmp_path, header):
    gan.save(tmp_path / "n", network())
    if field := header.get("field"):
        header = {"architecture": dataclasses.asdict(ARCH) | field}
    rewrite(tmp_path / "n", **header)
    with pytest.raises(ValueError, match=r"n (does not fit its own architecture|must hold a network)") as caught:
        gan.load(tmp_path / "n")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize("step", [-1, 17, True, "3", None, 1.0, []])
def test_impossible_steps_are_refused(tmp_path, step):
    gan.save_state(tmp_path / "s", gan.new_state(ARCH, CONFIG), CONFIG)
    rewrite(tmp_path / "s", step=step)
    with pytest.raises(ValueError, match=r"was written by another version: step must be a whole number in \[0, 16\]"):
        gan.load_state(tmp_path / "s", ARCH, CONFIG)


def test_notes_are_kept_with_the_state(tmp_path):
    state = gan.new_state(ARCH, CONFIG)
    state.notes = {"seconds": 1.5, "files": {"a": [3, "ff"]}}
    gan.save_state(tmp_path / "s", state, CONFIG)
    assert gan.load_state(tmp_path / "s", ARCH, CONFIG).notes == state.notes
    rewrite(tmp_path / "s", notes=[])
    with pytest.raises(ValueError, match="notes must be a table"):
        gan.load_state(tmp_path / "s", ARCH, CONFIG)


def test_draws_of_another_kind_of_device_are_made_anew_and_said_once(tmp_path):
    file = tmp_path / "s"
    state = gan.new_state(ARCH, CONFIG)
    state.step = 7
    gan.save_state(file, state, CONFIG)
    tensors = load_file(file)
    tensors["noise_cuda"] = tensors.pop("noise")[:16].clone()  # as a run on a GPU writes it
    rewrite(file, tensors)
    with pytest.warns(UserWarning, match="draws were made on another device.*new draws, made on the CPU") as seen:
        loaded = gan.load_state(file, ARCH, CONFIG)
    assert len(seen) == 1 and loaded.step == 7
    with pytest.warns(UserWarning):
        again = gan.load_state(file, ARCH, CONFIG)
    assert torch.equal(loaded.noise.get_state(), again.noise.get_state())
    assert not torch.equal(loaded.noise.get_state(), state.noise.get_state())


@pytest.mark.parametrize("failing", ["save_file", "replace"])
@pytest.mark.parametrize("error", [OSError("disk full"), SafetensorError("No space left"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_the_old_file_whole(tmp_path, monkeypatch, failing, error):
    file = tmp_path / "n"
    gan.save(file, network(seed=0))
    before = file.read_bytes()

    def half_a_file(tensors, temporary, metadata):
        temporary.write_bytes(b"half a fi")
        raise error

    def no_rename(source, target):
        raise error

    if failing == "save_file":
        monkeypatch.setattr(gan.checkpoint, "save_file", half_a_file)
    else:
        monkeypatch.setattr(gan.checkpoint.os, "replace", no_rename)
    with pytest.raises(OSError if isinstance(error, SafetensorError) else type(error)):
        gan.save(file, network(seed=1))
    monkeypatch.undo()
    assert file.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["n"]
    gan.save(file, network(seed=1))
    assert torch.equal(gan.load(file).conv1.conv.weight, network(seed=1).conv1.conv.weight)
