"""What joins the discriminator's objective: R1 in closed form, rotation, spectral norm, precision, resuming."""

import dataclasses
import math

import pytest
import torch

import gan
from gan.augmentation import rotate
from gan.losses import r1_penalty
from gan.updates import to_range
from tests.gan.small import ARCH, IMAGES

CONFIG = gan.TrainingConfig(images=96, decay_from=48, batch_size=8, seed=5)
OBJECTIVES = {
    "rotation": {"rotation": 1.0},
    "r1": {"r1": 10.0},
    "augmented": {"augment": ["color", "translation", "cutout"]},
    "three discriminator steps": {"discriminator_steps": 3},
    "contrast": {"contrast": 1.0},
    "views": {"crop": 0.5, "mirror": True},
    "without the GAN": {"contrast": 1.0, "rotation": 1.0, "adversarial": 0.0},
    "half of the GAN's loss": {"adversarial": 0.5},
    "all": {"rotation": 0.5, "r1": 1.0, "augment": ["translation"], "discriminator_steps": 2, "contrast": 0.5},
}


def trained(state, config):
    return [s for s in gan.train(state, IMAGES, config)]


def flat(state):
    return torch.cat(
        [t.flatten().float() for network in state.networks.values() for t in network.state_dict().values()]
    )


def test_r1_is_half_the_squared_gradient():
    images = torch.randn(5, 2, 3, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    weight = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(1))
    linear = (images * weight).sum((1, 2, 3))
    assert float(r1_penalty(linear, images).detach()) == pytest.approx(0.5 * float(weight.square().sum()), rel=1e-6)
    squares = images.square().sum((1, 2, 3))  # gradient 2 x: half its squared norm is 2 |x|^2
    penalty = r1_penalty(squares, images)
    assert float(penalty.detach()) == pytest.approx(2 * float(images.detach().square().sum((1, 2, 3)).mean()), rel=1e-6)
    penalty.backward()  # and it has a gradient of its own: 4 x / n
    torch.testing.assert_close(images.grad, 4 * images.detach() / 5)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_each_objective_trains_otherwise_and_resumes_exactly(tmp_path, name):
    config = dataclasses.replace(CONFIG, **OBJECTIVES[name])
    whole, first = gan.new_state(ARCH, config), gan.new_state(ARCH, config)
    plain = gan.new_state(ARCH, CONFIG)
    losses = [float(s.loss) for s in trained(whole, config)]
    assert losses != [float(s.loss) for s in trained(plain, CONFIG)]
    steps = gan.train(first, IMAGES, config)
    begun = [float(next(steps).loss) for _ in range(5)]
    gan.save_state(tmp_path / "state", first, config)
    resumed = gan.load_state(tmp_path / "state", ARCH, config)
    assert begun + [float(s.loss) for s in trained(resumed, config)] == losses
    assert torch.equal(flat(resumed), flat(whole))


def test_discriminator_steps_come_between_the_generators():
    config = dataclasses.replace(CONFIG, discriminator_steps=3)
    order = "".join(s.network[0] for s in trained(gan.new_state(ARCH, config), config))
    assert order == "gdddgdddgddd"


def test_without_the_gan_the_generator_stays_as_it_was():
    config = dataclasses.replace(CONFIG, rotation=1.0, adversarial=0.0)
    state = gan.new_state(ARCH, config)
    before = [t.clone() for t in (*state.generator.state_dict().values(), state.discriminator.logit.weight)]
    steps = trained(state, config)
    assert {step.network for step in steps} == {"discriminator"} and len(steps) == 12
    after = (*state.generator.state_dict().values(), state.discriminator.logit.weight)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert float(steps[0].loss) == pytest.approx(math.log(4), abs=0.3)  # all of the objective: a guess among four turns


def test_the_contrastive_task_is_learnt():
    task = {"contrast": 1.0, "contrast_crop": 0.9, "adversarial": 0.0}
    config = dataclasses.replace(CONFIG, images=960, decay_from=960, lr=2e-3, **task)
    losses = [float(step.loss) for step in trained(gan.new_state(ARCH, config), config)]
    assert sum(losses[-20:]) < 0.85 * sum(losses[:20])  # from 2.7, as of guessing among 15 views


def test_the_head_of_the_contrast_begins_as_pytorch_s_layers_do_and_is_the_seed_s_alone():
    config = dataclasses.replace(CONFIG, contrast=1.0)
    first, second = (gan.new_state(ARCH, config).contrast_head for _ in range(2))
    for ours, theirs, inputs in zip(first.parameters(), second.parameters(), (8, 8, 512, 512), strict=True):
        assert torch.equal(ours, theirs)
        ours, sd = ours.detach(), (3 * inputs) ** -0.5
        assert float(ours.abs().max()) <= inputs**-0.5 and float(ours.std()) == pytest.approx(sd, rel=0.15)
    assert sum(p.numel() for p in first.parameters()) == 8 * 512 + 512 + 512 * 128 + 128


def test_the_rotation_task_is_learnt():
    """Images with a bright left edge: turned ones are told apart by the discriminator's own units."""
    images = torch.randint(0, 60, (64, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    images[:, :, :4] = 250
    config = gan.TrainingConfig(images=16 * 120, decay_from=16 * 120, batch_size=16, lr=2e-3, rotation=1.0)
    state = gan.new_state(ARCH, config)
    for _ in gan.train(state, images, config):
        pass
    turns = torch.arange(64) % 4
    with torch.no_grad():
        found = state.rotation_head(state.discriminator.units(rotate(to_range(images), turns))).argmax(1)
    assert (found == turns).float().mean() > 0.9


def test_the_discriminator_keeps_spectral_norm_one_and_round_trips(tmp_path):
    arch = dataclasses.replace(ARCH, spectral_norm=True)
    state = gan.new_state(arch, CONFIG)
    trained(state, CONFIG)
    d = state.discriminator
    assert not [m for m in d.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    for _ in range(30):  # power iterations, one a forward pass
        d(torch.zeros(1, 3, 16, 16))
    for layer in (d.conv1.conv, d.conv2.conv, d.logit):
        assert float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)) == pytest.approx(1, abs=1e-3)
    gan.save(tmp_path / "d", d)
    loaded = gan.load(tmp_path / "d")
    images = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    assert torch.equal(loaded(images), d.eval()(images))


def test_a_fresh_discriminator_of_spectral_norm_is_the_seeds_alone_and_right_in_eval_mode():
    arch = dataclasses.replace(ARCH, spectral_norm=True)
    first = gan.new_state(arch, CONFIG)
    torch.manual_seed(99)  # its vectors, too, come from the configuration's seed
    assert torch.equal(flat(gan.new_state(arch, CONFIG)), flat(first))
    d = first.discriminator.eval()
    for layer in (d.conv1.conv, d.conv2.conv, d.logit):
        assert float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)) == pytest.approx(1, abs=0.05)


def test_bfloat16_keeps_float32_weights_and_about_the_same_losses():
    config = dataclasses.replace(CONFIG, precision="bfloat16")
    state = gan.new_state(ARCH, config)
    losses = [float(s.loss) for s in trained(state, config)]
    exact = [float(s.loss) for s in trained(gan.new_state(ARCH, CONFIG), CONFIG)]
    assert losses != exact and losses == pytest.approx(exact, abs=0.1)
    assert {p.dtype for p in state.discriminator.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    "fields, text",
    [
        ({"rotation": -1.0}, "rotation must be 0 or more, got -1.0"),
        ({"r1": float("nan")}, "r1 must be finite, got nan"),
        ({"augment": ["flip"]}, "unknown augmentation 'flip'; known: color, translation, cutout"),
        ({"precision": "float16"}, "precision must be one of float32, bfloat16, got 'float16'"),
        ({"discriminator_steps": 0}, "discriminator_steps must be at least 1, got 0"),
        ({"crop": 0.0}, r"crop must lie in \(0, 1\], got 0.0"),
        ({"contrast_crop": 1.5}, r"contrast_crop must lie in \(0, 1\], got 1.5"),
        ({"contrast_color": -0.1}, r"contrast_color must lie in \[0, 1\], got -0.1"),
        ({"contrast_gray": 2.0}, r"contrast_gray must lie in \[0, 1\], got 2.0"),
        ({"mirror": 1}, "mirror must be true or false, got 1"),
        ({"contrast": -1.0}, "contrast must be 0 or more, got -1.0"),
        ({"temperature": 0.0}, "temperature must be positive, got 0.0"),
        ({"contrast": 1.0, "batch_size": 2}, "contrast needs a batch_size of at least 4, got 2"),
        ({"adversarial": -1.0}, "adversarial must be 0 or more, got -1.0"),
        ({"adversarial": 0.0}, "adversarial = 0 needs another objective"),
        ({"adversarial": 0.0, "rotation": 1.0, "r1": 1.0}, "adversarial = 0 needs another objective.*r1 = 0"),
    ],
)
def test_what_cannot_be_is_refused(fields, text):
    with pytest.raises(ValueError, match=text):
        dataclasses.replace(CONFIG, **fields)
