"""The class-conditional networks: shapes read off the authors' script, the label at every layer, the value range."""

import pytest
import torch

import gan

ARCH = gan.ConditionalArchitecture(width=4, units=16)


def pair(seed=0):
    networks = gan.ConditionalGenerator(ARCH), gan.ConditionalDiscriminator(ARCH)
    for network in networks:
        gan.initialise(network, torch.Generator().manual_seed(seed))
    return networks


def test_weights_have_the_authors_shapes():
    g, d = (
        gan.ConditionalGenerator(gan.ConditionalArchitecture()),
        gan.ConditionalDiscriminator(gan.ConditionalArchitecture()),
    )
    assert {name: tuple(p.shape) for name, p in g.named_parameters()} == {
        "linear1.weight": (1024, 110),
        "linear2.weight": (128 * 7 * 7, 1034),
        "deconv3.weight": (138, 64, 5, 5),
        "deconv4.weight": (74, 1, 5, 5),
    }
    assert {name: tuple(p.shape) for name, p in d.named_parameters()} == {
        "conv1.weight": (64, 11, 5, 5),
        "conv2.weight": (128, 74, 5, 5),
        "linear3.weight": (1024, 128 * 7 * 7 + 10),
        "logit.weight": (1, 1034),
    }


def test_images_and_logits():
    g, d = pair()
    labels = torch.arange(12) % 10
    images = g(gan.sample_z(ARCH, 12, torch.Generator().manual_seed(1)), labels).detach()
    assert images.shape == (12, 1, 28, 28) and 0 <= float(images.min()) and float(images.max()) <= 1
    assert d(images, labels).shape == (12,)


def test_the_label_matters_to_both():
    g, d = pair()
    z = gan.sample_z(ARCH, 8, torch.Generator().manual_seed(1))
    zeros, ones = torch.zeros(8, dtype=torch.int64), torch.ones(8, dtype=torch.int64)
    assert not torch.equal(g.eval()(z, zeros), g(z, ones))
    images = g(z, zeros).detach()
    assert not torch.equal(d.eval()(images, zeros), d(images, ones))


def test_a_round_trip_and_training(tmp_path):
    config = gan.TrainingConfig(images=64, decay_from=64, batch_size=8)
    images = torch.randint(0, 256, (40, 28, 28, 1), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    labels = torch.arange(40) % 10
    whole, first = gan.new_state(ARCH, config), gan.new_state(ARCH, config)
    losses = [s.loss for s in gan.train(whole, images, config, labels=labels)]
    steps = gan.train(first, images, config, labels=labels)
    for _ in range(3):
        next(steps)
    gan.save_state(tmp_path / "state", first, config)
    resumed = gan.load_state(tmp_path / "state", ARCH, config)
    assert torch.equal(
        torch.stack([s.loss for s in gan.train(resumed, images, config, labels=labels)]), torch.stack(losses[3:])
    )
    gan.save(tmp_path / "g", whole.generator)
    loaded = gan.load(tmp_path / "g")
    assert isinstance(loaded, gan.ConditionalGenerator) and loaded.arch == ARCH
    z = gan.sample_z(ARCH, 4, torch.Generator())
    assert torch.equal(loaded(z, labels[:4]), whole.generator.eval()(z, labels[:4]))
    sampled = gan.sample(whole.generator, z, labels[:4])
    assert sampled.shape == (4, 28, 28, 1) and sampled.dtype == torch.uint8 and sampled.float().std() > 0


@pytest.mark.parametrize(
    "arch, labels, text",
    [
        (ARCH, None, "labels must be given for class-conditional networks"),
        (ARCH, torch.arange(7), r"labels must be int64 \[16\] in \[0, 10\)"),
        (ARCH, torch.full((16,), 10), r"labels must be int64 \[16\] in \[0, 10\)"),
    ],
)
def test_labels_that_do_not_fit_are_refused(arch, labels, text):
    config = gan.TrainingConfig(images=64, decay_from=64, batch_size=8)
    with pytest.raises(ValueError, match=text):
        next(
            gan.train(gan.new_state(arch, config), torch.zeros(16, 28, 28, 1, dtype=torch.uint8), config, labels=labels)
        )


def test_rotation_needs_an_unconditional_network():
    with pytest.raises(ValueError, match="rotation must be 0 for class-conditional networks"):
        gan.new_state(ARCH, gan.TrainingConfig(images=64, decay_from=64, batch_size=8, rotation=1.0))
