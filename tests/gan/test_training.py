"""The recipe: whose weights a step changes, the rate, the minibatches, and a reference step written by hand."""

import copy

import pytest
import torch
from torch.nn.functional import softplus

import gan
from gan.minibatches import minibatch_indices
from gan.updates import to_range
from tests.gan.small import ARCH, IMAGES

CONFIG = gan.TrainingConfig(images=80, decay_from=40, batch_size=8, seed=5)


def flat(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()]).clone()


def test_networks_are_updated_in_turn_and_alone():
    state = gan.new_state(ARCH, CONFIG)
    networks = {"generator": state.generator, "discriminator": state.discriminator}
    before = {name: flat(network) for name, network in networks.items()}
    steps = []
    for step in gan.train(state, IMAGES, CONFIG):
        after = {name: flat(network) for name, network in networks.items()}
        assert [name for name in networks if not torch.equal(before[name], after[name])] == [step.network]
        assert all(p.requires_grad for network in networks.values() for p in network.parameters())
        before = after
        steps.append(step)
    assert [s.network for s in steps] == ["generator", "discriminator"] * 5
    assert [s.step for s in steps] == list(range(1, 11))
    assert [s.images_seen for s in steps] == list(range(8, 88, 8))
    assert [s.lr for s in steps] == [CONFIG.lr_at(i) for i in range(10)]
    assert all(s.loss.shape == () and s.loss.dtype == torch.float32 and s.loss.isfinite() for s in steps)
    assert list(gan.train(state, IMAGES, CONFIG)) == []  # nothing is left to do


@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_first_steps_equal_a_reference_written_by_hand(weight_decay):
    config = gan.TrainingConfig(images=64, decay_from=8, batch_size=8, seed=2, weight_decay=weight_decay)
    state = gan.new_state(ARCH, config)
    g, d = copy.deepcopy(state.generator), copy.deepcopy(state.discriminator)
    noise = torch.Generator()
    noise.set_state(state.noise.get_state())
    adams = [
        torch.optim.Adam(n.parameters(), 2e-4, (0.5, 0.999), weight_decay=weight_decay, fused=True) for n in (g, d)
    ]
    steps = gan.train(state, IMAGES, config)
    for i, lr in enumerate([2e-4, 2e-4, 2e-4 * 6 / 7, 2e-4 * 5 / 7]):  # of 64 images, 8 at full rate
        z = torch.rand(8, 6, generator=noise) * 2 - 1
        adam = adams[i % 2]
        assert config.lr_at(i) == pytest.approx(lr, rel=1e-12)
        adam.param_groups[0]["lr"] = config.lr_at(i)
        g.zero_grad()
        d.zero_grad()
        if i % 2 == 0:
            loss = softplus(-d(g(z))).mean()
        else:
            real = IMAGES[minibatch_indices(37, config, i)].permute(0, 3, 1, 2).float() / 127.5 - 1
            fake = g(z).detach()
            loss = softplus(-d(real)).mean() + softplus(d(fake)).mean()
        loss.backward()
        adam.step()
        step = next(steps)
        assert step.lr == config.lr_at(i)
        assert torch.equal(step.loss, loss)
        for ours, theirs in ((state.generator, g), (state.discriminator, d)):
            assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
            assert all(torch.equal(a, b) for a, b in zip(ours.buffers(), theirs.buffers(), strict=True))


def test_rate_is_constant_and_then_linear_to_zero():
    config = gan.TrainingConfig(images=1000, decay_from=600, batch_size=10, lr=0.5)
    assert config.steps == 100
    expected = [0.5 * min(1.0, (1000 - 10 * i) / 400) for i in range(101)]
    assert [config.lr_at(i) for i in range(101)] == pytest.approx(expected, rel=1e-12)
    assert config.lr_at(100) == 0
    assert {gan.TrainingConfig(images=1000, decay_from=1000).lr_at(i) for i in range(9)} == {2e-4}


def test_defaults_are_the_papers():
    config = gan.TrainingConfig(images=1000, decay_from=1000)
    assert (config.batch_size, config.lr, config.beta1, config.weight_decay) == (128, 2e-4, 0.5, 0.0)
    state = gan.new_state(ARCH, config)
    for optimizer in (state.generator_optimizer, state.discriminator_optimizer):
        assert optimizer.defaults["betas"] == (0.5, 0.999)


def test_a_pass_visits_every_image_at_most_once_and_the_next_in_another_order():
    passes = []
    for epoch in range(3):
        batches = [minibatch_indices(37, CONFIG, epoch * 4 + i) for i in range(4)]
        assert {len(b) for b in batches} == {8}
        passes.append(torch.cat(batches))
        assert len(set(passes[-1].tolist())) == 32 and set(passes[-1].tolist()) <= set(range(37))
    assert not torch.equal(passes[0], passes[1]) and not torch.equal(passes[1], passes[2])
    # the images that a pass drops are others each time
    assert len({tuple(sorted(set(range(37)) - set(p.tolist()))) for p in passes}) == 3


def test_minibatches_depend_on_seed_and_step_alone():
    other = gan.TrainingConfig(images=80, decay_from=40, batch_size=8, seed=6)
    before = torch.get_rng_state()
    forwards = [minibatch_indices(37, CONFIG, i) for i in range(9)]
    backwards = [minibatch_indices(37, CONFIG, i) for i in reversed(range(9))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(forwards, backwards, strict=True))
    assert not torch.equal(forwards[0], minibatch_indices(37, other, 0))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_same_seed_gives_the_same_run_and_another_another():
    ends = []
    for seed in (5, 5, 6):
        config = gan.TrainingConfig(images=80, decay_from=40, batch_size=8, seed=seed)
        state = gan.new_state(ARCH, config)
        torch.rand(seed)  # the global generator plays no part
        for _ in gan.train(state, IMAGES, config):
            pass
        ends.append(torch.cat([flat(state.generator), flat(state.discriminator)]))
    assert torch.equal(ends[0], ends[1]) and not torch.equal(ends[0], ends[2])


@pytest.mark.parametrize("stop", [1, 4, 7])
def test_a_resumed_run_equals_the_uninterrupted_one(tmp_path, stop):
    whole, first = gan.new_state(ARCH, CONFIG), gan.new_state(ARCH, CONFIG)
    losses = [s.loss for s in gan.train(whole, IMAGES, CONFIG)]
    steps = gan.train(first, IMAGES, CONFIG)
    resumed_losses = [next(steps).loss for _ in range(stop)]
    gan.save_state(tmp_path / "state", first, CONFIG)
    resumed = gan.load_state(tmp_path / "state", ARCH, CONFIG)
    assert resumed.step == stop
    resumed_losses += [s.loss for s in gan.train(resumed, IMAGES, CONFIG)]
    assert torch.equal(torch.stack(resumed_losses), torch.stack(losses))
    assert torch.equal(resumed.noise.get_state(), whole.noise.get_state())
    for name in ("generator", "discriminator"):
        ours, theirs = getattr(resumed, name).state_dict(), getattr(whole, name).state_dict()
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)
        ours, theirs = (getattr(s, f"{name}_optimizer").state_dict() for s in (resumed, whole))
        assert ours["param_groups"] == theirs["param_groups"] and ours["state"].keys() == theirs["state"].keys()
        for index, slots in theirs["state"].items():
            assert slots.keys() == ours["state"][index].keys()
            for slot, t in slots.items():
                assert torch.equal(ours["state"][index][slot], t)
                assert ours["state"][index][slot].stride() == t.stride()  # same memory layout, same speed


def test_images_are_scaled_to_the_unit_range():
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1)
    scaled = to_range(images)
    assert scaled.shape == (1, 1, 16, 16) and scaled.dtype == torch.float32
    torch.testing.assert_close(scaled.flatten(), torch.arange(256) / 127.5 - 1, rtol=0, atol=1e-7)
    assert float(scaled.min()) == -1 and float(scaled.max()) == 1


@pytest.mark.parametrize(
    "images, text",
    [
        (IMAGES.float(), r"images must be uint8 .*got torch.float32"),
        (IMAGES.permute(0, 3, 1, 2), r"\[N, 16, 16, 3\] or larger squares, got torch.uint8 \(37, 3, 16, 16\)"),
        (IMAGES[:, :15, :15], r"\[N, 16, 16, 3\] or larger squares, got torch.uint8 \(37, 15, 15, 3\)"),
        (IMAGES[..., :1], r"\[N, 16, 16, 3\] or larger squares, got torch.uint8 \(37, 16, 16, 1\)"),
        (IMAGES[:7], "need at least one minibatch of 8 images, got 7"),
    ],
)
def test_other_images_are_refused_before_the_first_step(images, text):
    state = gan.new_state(ARCH, CONFIG)
    with pytest.raises(ValueError, match=text):
        next(gan.train(state, images, CONFIG))
    assert state.step == 0


@pytest.mark.parametrize("rows", [[-1, *range(9)], [*range(9), 37]])
def test_rows_that_are_not_there_are_refused_before_the_first_step(rows):
    with pytest.raises(ValueError, match=r"rows must lie in \[0, 37\), got"):
        next(gan.train(gan.new_state(ARCH, CONFIG), IMAGES, CONFIG, rows=torch.tensor(rows)))


@pytest.mark.parametrize(
    "fields, text",
    [
        ({"images": 100}, "images must be at least one batch of 128, got 100"),
        ({"decay_from": 1001}, r"decay_from must lie in \[0, images = 1000\], got 1001"),
        ({"batch_size": 1}, r"batch_size must be at least 2 \(batch norm\), got 1"),
        ({"lr": 0.0}, "need lr > 0"),
        ({"lr": float("nan")}, "lr must be finite, got nan"),
        ({"beta1": 1.0}, "beta1 < 1"),
        ({"weight_decay": -1.0}, "weight_decay >= 0"),
        ({"lr": float("inf")}, "lr must be finite, got inf"),
        ({"weight_decay": float("inf")}, "weight_decay must be finite"),
        ({"seed": -1}, r"seed must lie in \[0, 2\*\*40\), got -1"),
        ({"seed": 2**41}, r"seed must lie in \[0, 2\*\*40\)"),
        ({"seed": 10**400}, "seed must fit 64 bits, got 1000"),
        ({"lr": 10**400}, "lr must fit 64 bits, got 1000"),
        ({"images": 10**5000}, "images must fit 64 bits, got a int"),
        ({"images": [[]]}, r"images must be a whole number, got \[\[\]\]"),
        ({"mirror": 1}, "mirror must be true or false, got 1"),
        ({"precision": None}, "precision must be text, got None"),
        ({"augment": [1]}, "an entry of augment must be text, got 1"),
        ({"contrast": "yes"}, "contrast must be a number, got 'yes'"),
        ({"crop": True}, "crop must be a number, got True"),
        ({"images": 1000.5}, "images must be a whole number, got 1000.5"),
        ({"augment": 3}, "augment must be a list, got 3"),
    ],
)
def test_impossible_configurations_are_refused(fields, text):
    with pytest.raises(ValueError, match=text):
        gan.TrainingConfig(**{"images": 1000, "decay_from": 500} | fields)
