"""Recorded updates: equal to the same updates one by one, without a wait, and given up where recording fails."""

import dataclasses

import pytest
import torch

import gan
from gan import graphs, minibatches, training
from tests.gan.recorder import WAITING, StandIn
from tests.gan.small import ARCH, IMAGES

LARGER = torch.randint(0, 256, (37, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
CONFIG = gan.TrainingConfig(images=30 * 8, decay_from=15 * 8, batch_size=8, seed=5)
RUNS = {
    "plain": {},
    "all objectives": {
        "rotation": 1.0,
        "r1": 1.0,
        "augment": ("color", "translation", "cutout"),
        "discriminator_steps": 2,
    },
    "views": {"crop": 0.75, "mirror": True, "rotation": 1.0, "contrast": 1.0},
    "without the GAN": {"crop": 0.75, "contrast": 1.0, "adversarial": 0.0},
}


def tensors(state):
    """Weights, batch-norm buffers and Adam's moments by name."""
    found = {f"{n} {k}": t for n, network in state.networks.items() for k, t in network.state_dict().items()}
    for name, optimizer in state.optimizers.items():
        found |= {f"adam {name} {i} {k}": t for i, s in enumerate(optimizer.state.values()) for k, t in s.items()}
    return {name: t.clone() for name, t in found.items()}


def recorded_by(state, monkeypatch=None):
    """Let a stand-in record the state's updates, if there is a monkeypatch; return it."""
    recorder = StandIn(state)
    for optimizer in state.optimizers.values():
        optimizer.param_groups[0]["lr"] = torch.tensor(optimizer.param_groups[0]["lr"])
    if monkeypatch is not None:
        monkeypatch.setattr(training, "recorder_for", lambda device: recorder)
    return recorder


def run(config, monkeypatch=None, images=IMAGES, spectral=False):
    """(losses, tensors, stand-in) of a run, recorded if there is a monkeypatch; its rate is a tensor, as on a GPU."""
    state = gan.new_state(dataclasses.replace(ARCH, spectral_norm=spectral), config)
    recorder = recorded_by(state, monkeypatch)
    losses = [float(step.loss) for step in gan.train(state, images, config)]
    return losses, tensors(state), recorder


@pytest.mark.parametrize("name", RUNS)
def test_replayed_updates_equal_those_one_by_one(monkeypatch, name):
    config = dataclasses.replace(CONFIG, **RUNS[name])
    images = LARGER if "crop" in RUNS[name] else IMAGES
    monkeypatch.setattr(minibatches, "AHEAD", 7)  # indices are copied several times in a run
    losses, learnt, _ = run(config, images=images)
    theirs, replayed, recorder = run(config, monkeypatch, images=images)
    assert recorder.replayed >= 15 and recorder.alone + recorder.replayed == 30
    # the rate falls while updates are replayed; a rate from recording would show
    assert losses == theirs
    assert learnt.keys() == replayed.keys()
    assert [key for key in learnt if not torch.equal(learnt[key], replayed[key])] == []


def test_spectral_norm_is_recorded_too(monkeypatch):
    losses, learnt, _ = run(CONFIG, spectral=True)
    theirs, replayed, recorder = run(CONFIG, monkeypatch, spectral=True)
    assert recorder.replayed
    assert losses == theirs and all(torch.equal(learnt[key], replayed[key]) for key in learnt)


@pytest.mark.parametrize("name", RUNS)
def test_a_step_never_waits(monkeypatch, name):
    images = LARGER if "crop" in RUNS[name] else IMAGES
    _, _, recorder = run(dataclasses.replace(CONFIG, **RUNS[name]), monkeypatch, images=images)
    called = {operator for operators in recorder.recorded for operator in operators}
    assert len(recorder.recorded) == (1 if name == "without the GAN" else 2) and "convolution" in called
    assert called.isdisjoint(WAITING)


def test_the_stand_in_repeats_no_python():
    scale = [2.0]
    kept = torch.ones(3)
    state = gan.new_state(ARCH, CONFIG)
    replay = StandIn(state).record(lambda: (kept * scale[0]).sum(), state.noise)
    kept.fill_(10.0)
    scale[0] = 100.0
    assert float(replay()) == 60.0


def test_an_update_that_cannot_be_recorded_runs_one_by_one(monkeypatch):
    losses, learnt, _ = run(CONFIG)

    used = []

    def refused(self, update, noise):
        torch.rand(5, generator=noise)  # a capture that fails midway
        used.append(noise)
        raise RuntimeError("operation not permitted\nwhen stream is capturing")

    monkeypatch.setattr(StandIn, "record", refused)
    with pytest.warns(UserWarning, match="without CUDA graphs, more slowly: operation not permitted when") as seen:
        theirs, afterwards, recorder = run(CONFIG, monkeypatch)
    assert len(seen) == 1 and recorder.alone == 30
    assert used and recorder.state.noise not in used  # CUDA goes on refusing the generator of a failed capture
    assert losses == theirs and all(torch.equal(learnt[key], afterwards[key]) for key in learnt)


def test_the_first_updates_of_each_network_run_one_by_one(monkeypatch):
    config = dataclasses.replace(CONFIG, discriminator_steps=4)
    _, _, recorder = run(config, monkeypatch)
    assert recorder.alone == graphs.WARM * 5 - 4  # the last of the generator's comes first in its round
    assert run(dataclasses.replace(CONFIG, images=16, decay_from=8), monkeypatch)[2].replayed == 0


def test_a_resumed_recorded_run_equals_the_uninterrupted_one(monkeypatch, tmp_path):
    losses, learnt, _ = run(CONFIG, monkeypatch)
    state = gan.new_state(ARCH, CONFIG)
    recorded_by(state, monkeypatch)
    steps = gan.train(state, IMAGES, CONFIG)
    begun = [float(next(steps).loss) for _ in range(17)]
    gan.save_state(tmp_path / "state", state, CONFIG)
    resumed = gan.load_state(tmp_path / "state", ARCH, CONFIG)
    recorder = recorded_by(resumed, monkeypatch)
    assert begun + [float(step.loss) for step in gan.train(resumed, IMAGES, CONFIG)] == losses
    assert recorder.replayed and all(torch.equal(value, learnt[key]) for key, value in tensors(resumed).items())


def test_without_graphs_updates_run_one_by_one(monkeypatch):
    state = gan.new_state(ARCH, CONFIG)
    recorder = recorded_by(state, monkeypatch)
    list(gan.train(state, IMAGES, CONFIG, graphs=False))
    assert state.step == 30 and not (recorder.alone or recorder.replayed)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_cuda_graphs_equal_the_same_steps_one_by_one(monkeypatch, precision):
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    config = dataclasses.replace(CONFIG, crop=0.75, mirror=True, rotation=1.0, contrast=1.0, precision=precision)
    ended = []
    for replayed in (True, False):
        state = gan.new_state(ARCH, config, "cuda")
        losses = [float(step.loss) for step in gan.train(state, LARGER.cuda(), config, graphs=replayed)]
        ended.append((losses, tensors(state)))
    (losses, ours), (others, theirs) = ended
    assert losses == pytest.approx(others, rel=1e-5)
    for key in ours:
        torch.testing.assert_close(ours[key], theirs[key], rtol=1e-4, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_checkpoint_continues_the_draws_of_the_gpu(tmp_path):
    state = gan.new_state(ARCH, CONFIG, "cuda")
    steps = gan.train(state, IMAGES.cuda(), CONFIG)
    for _ in range(11):
        next(steps)
    gan.save_state(tmp_path / "state", state, CONFIG)
    resumed = gan.load_state(tmp_path / "state", ARCH, CONFIG, "cuda")
    drawn = [torch.rand(9, generator=s.noise, device="cuda") for s in (state, resumed)]
    assert torch.equal(*drawn)
    with pytest.warns(UserWarning, match="new draws, made on the CPU"):
        gan.load_state(tmp_path / "state", ARCH, CONFIG)
