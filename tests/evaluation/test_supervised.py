"""One trial of the supervised control: toy data learnt, test rows apart, the same again for the same trial."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from evaluation import Space, SupervisedData, draw_trials, run_trial

TRAIN, VALIDATION, TEST = np.arange(0, 60), np.arange(60, 120), np.arange(120, 180)
FAST = draw_trials(1, seed=0, space=Space(lr=(1e-2, 3e-2), batch_size=(25,)))[0]


def toy(**changed):
    """Images uint8 [180, 8, 8, 1], bright above, below, or left, under noise; their names."""
    rng = np.random.default_rng(0)
    labels = np.array(["above", "below", "left"])[rng.integers(3, size=180)]
    images = rng.integers(0, 100, (180, 8, 8, 1))
    images[labels == "above", :4] += 100
    images[labels == "below", 4:] += 100
    images[labels == "left", :, :4] += 100
    return SupervisedData(
        **{
            "images": images.astype(np.uint8),
            "labels": labels,
            "train": TRAIN,
            "validation": VALIDATION,
            "test": TEST,
            **changed,
        }
    )


def make(trial, generator):
    """Linear on dropped-out pixels, drawn from the generator, with batch norm."""
    linear = nn.Linear(64, 3)
    nn.init.normal_(linear.weight, 0, 0.02, generator=generator)
    return nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Dropout(trial.dropout), linear)


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_separable_classes_are_learnt():
    data = toy()
    found = run_trial(data, FAST, make, epochs=20)
    assert min(found.train_accuracy, found.validation_accuracy) > 0.95
    assert data.classes.tolist() == ["above", "below", "left"]
    right = data.right(found.network, TEST)
    assert right.shape == (60,) and right.dtype == bool and right.mean() > 0.95
    assert toy(labels=np.roll(data.labels, 1)).right(found.network, TEST).mean() < 0.6
    assert found.validation_accuracy == data.right(found.network, VALIDATION).mean()


def test_only_train_rows_train():
    data = toy()
    labels, images = data.labels.copy(), data.images.copy()
    labels[60:] = np.random.default_rng(1).permutation(labels[60:])
    images[120:] = 0
    one, two = (run_trial(d, FAST, make, epochs=3) for d in (data, toy(images=images, labels=labels)))
    assert equal(one.network, two.network) and one.train_accuracy == two.train_accuracy
    assert one.validation_accuracy != two.validation_accuracy


def test_same_trial_same_network_whatever_ran_before_and_nothing_is_seeded_outside():
    torch.manual_seed(1)
    one = run_trial(toy(), FAST, make, epochs=2)
    torch.manual_seed(2)
    expected = torch.rand(3)
    torch.manual_seed(2)
    two = run_trial(toy(), FAST, make, epochs=2)
    assert torch.equal(torch.rand(3), expected)
    assert equal(one.network, two.network) and one.validation_accuracy == two.validation_accuracy
    other = run_trial(toy(), dataclasses.replace(FAST, seed=FAST.seed + 1), make, epochs=2)
    assert not equal(other.network, one.network)


def test_trials_stay_within_the_space_and_spread_over_decades():
    space = Space()
    trials = draw_trials(300, seed=0)
    assert trials[:7] == draw_trials(7, seed=0) != draw_trials(7, seed=1)
    for name in ("lr", "weight_decay", "dropout"):
        low, high = getattr(space, name)
        assert all(low <= getattr(trial, name) <= high for trial in trials)
    assert {t.beta1 for t in trials} == set(space.beta1) and {t.batch_size for t in trials} == set(space.batch_size)
    assert 0.4 < np.mean([t.lr < 1e-3 for t in trials]) < 0.6  # half of them below the middle of two decades
    assert len({t.seed for t in trials}) == 300


def test_inputs_are_scaled_and_batches_are_whole():
    seen = []

    class Spy(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(3))

        def forward(self, x):
            if self.training:
                seen.append(x)
            return self.weight.expand(len(x), 3) * 1

    data = toy()
    run_trial(data, FAST, lambda trial, generator: Spy(), epochs=2)
    assert [list(x.shape) for x in seen] == [[25, 1, 8, 8]] * 4
    expected = {(image / np.float32(127.5) - 1).astype(np.float32).tobytes() for image in data.images[TRAIN, :, :, 0]}
    epoch = [image.numpy().tobytes() for x in seen[:2] for image in x[:, 0]]
    assert set(epoch) <= expected and len(set(epoch)) == 50
    assert not torch.equal(seen[0], seen[2])  # dealt anew
    seen.clear()
    run_trial(data, dataclasses.replace(FAST, batch_size=128), lambda trial, generator: Spy(), epochs=1)
    assert [len(x) for x in seen] == [60]  # all there are


def test_rows_of_no_class_trained_on_are_missed():
    data = toy(labels=np.where(np.arange(180) < 120, toy().labels, "down"))
    assert not data.right(run_trial(data, FAST, make, epochs=2).network, TEST).any()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"validation": np.arange(59, 100)}, "train and validation must have no row in common, got 1 in both"),
        ({"test": np.array([130, 0])}, "test and train must have no row in common, got 1 in both"),
        ({"test": np.arange(110, 180)}, "test and validation must have no row in common, got 10 in both"),
        ({"train": np.array([0, 0])}, "train must hold distinct row indices from 0 to 179"),
        ({"validation": np.array([180])}, "validation must hold distinct row indices from 0 to 179"),
        ({"validation": np.array([], int)}, r"validation must hold row indices, int \[m > 0\]"),
        ({"train": np.zeros(180, bool)}, r"train must hold row indices, int \[m > 0\], got bool \[180\]"),
        ({"images": toy().images.astype(float)}, r"images must be uint8 \[N, H, W, C\], got float64"),
        ({"labels": toy().labels[:-1]}, "labels must number 180, one for each image, got 179"),
    ],
)
def test_what_does_not_fit_is_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        toy(**changed)


def test_epochs_and_networks_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="epochs must be at least 1, got 0"):
        run_trial(toy(), FAST, make, epochs=0)
    with pytest.raises(ValueError, match=r"must give logits \[25, 3\], got \[25, 2\]"):
        run_trial(toy(), FAST, lambda trial, generator: nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), epochs=1)
