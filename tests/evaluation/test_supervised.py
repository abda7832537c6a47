"""The random search: toy data learnt, the best trial kept, test rows apart, the same again for the same seed."""

import numpy as np
import pytest
import torch
from torch import nn

from evaluation import Space, random_search
from evaluation.supervised import accuracy
from evaluation.trials import draw_trials

TRAIN, VALIDATION, TEST = np.arange(0, 60), np.arange(60, 120), np.arange(120, 180)


def toy(seed=0):
    """Images uint8 [180, 8, 8, 1], bright above, below, or left, under noise; their names."""
    rng = np.random.default_rng(seed)
    labels = np.array(["above", "below", "left"])[rng.integers(3, size=180)]
    images = rng.integers(0, 100, (180, 8, 8, 1))
    images[labels == "above", :4] += 100
    images[labels == "below", 4:] += 100
    images[labels == "left", :, :4] += 100
    return images.astype(np.uint8), labels


def make(trial, generator):
    """Linear on dropped-out pixels, drawn from the generator, with batch norm."""
    linear = nn.Linear(64, 3)
    nn.init.normal_(linear.weight, 0, 0.02, generator=generator)
    return nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Dropout(trial.dropout), linear)


def search(make_network=make, **options):
    return random_search(make_network, *toy(), TRAIN, VALIDATION, **{"trials": 4, "epochs": 20, "seed": 0, **options})


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_separable_classes_are_learnt():
    images, labels = toy()
    found = search(space=Space(lr=(1e-2, 3e-2)))
    assert max(score for _, score in found.trials) > 0.95
    assert found.test_accuracy(images, labels, TEST) > 0.95
    assert found.classes.tolist() == ["above", "below", "left"]
    assert found.test_accuracy(images, np.roll(labels, 1), TEST) < 0.6


def test_the_best_on_validation_is_kept_and_of_equals_the_first():
    rates = Space(lr=(1e-7, 1e-1))  # from learning nothing to learning all
    found = search(space=rates, trials=8)
    scores = [score for _, score in found.trials]
    assert [trial for trial, _ in found.trials] == list(draw_trials(8, seed=0, space=rates))
    assert min(scores) < max(scores)
    assert found.best == found.trials[int(np.argmax(scores))][0]
    images, labels = toy()
    assert accuracy(found.network, images, np.searchsorted(found.classes, labels), VALIDATION) == max(scores)


def test_the_network_kept_is_that_of_its_trial_alone():
    found = search(space=Space(lr=(1e-7, 1e-1)), trials=8)
    made = []

    def only_best(trial, generator):
        made.append(make(trial, generator))
        return made[-1]

    search(only_best, space=Space(lr=(1e-7, 1e-1)), trials=8)
    assert [equal(network, found.network) for network in made] == [trial == found.best for trial, _ in found.trials]


def test_only_train_rows_train():
    images, labels = toy()
    shuffled = labels.copy()
    shuffled[60:] = np.random.default_rng(1).permutation(labels[60:])
    images[120:] = 0
    one = random_search(make, *toy(), TRAIN, VALIDATION, trials=1, epochs=3, seed=0)
    two = random_search(make, images, shuffled, TRAIN, VALIDATION, trials=1, epochs=3, seed=0)
    assert equal(one.network, two.network)
    assert one.trials != two.trials


def test_same_seed_same_search_whatever_ran_before_and_nothing_is_seeded_outside():
    torch.manual_seed(1)
    one = search(epochs=2)
    torch.manual_seed(2)
    expected = torch.rand(3)
    torch.manual_seed(2)
    two = search(epochs=2)
    assert torch.equal(torch.rand(3), expected)
    assert one.trials == two.trials and equal(one.network, two.network)
    other = search(epochs=2, seed=1)
    assert other.trials != one.trials and not equal(other.network, one.network)


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

    search(lambda trial, generator: Spy(), trials=1, epochs=2, space=Space(batch_size=(25,)))
    assert [list(x.shape) for x in seen] == [[25, 1, 8, 8]] * 4
    images, _ = toy()
    expected = {(image / np.float32(127.5) - 1).astype(np.float32).tobytes() for image in images[TRAIN, :, :, 0]}
    epoch = [image.numpy().tobytes() for x in seen[:2] for image in x[:, 0]]
    assert set(epoch) <= expected and len(set(epoch)) == 50
    assert not torch.equal(seen[0], seen[2])  # dealt anew
    seen.clear()
    search(lambda trial, generator: Spy(), trials=1, epochs=1, space=Space(batch_size=(128,)))
    assert [len(x) for x in seen] == [60]  # all there are


def test_progress_sees_every_trial():
    seen = []

    def progress(steps, **labels):
        seen.append(labels)
        yield from steps

    assert len(search(progress=progress, epochs=1).trials) == 4
    assert seen == [{"total": 4, "desc": "random search", "unit": "trial"}]


def test_rows_of_no_class_trained_on_are_missed():
    images, _ = toy()
    found = search(space=Space(lr=(1e-2, 3e-2)))
    assert found.test_accuracy(images, np.full(180, "down"), TEST) == 0


@pytest.mark.parametrize("test", [[119, 130], [0], np.arange(100, 180)])
def test_test_rows_that_were_seen_are_refused(test):
    with pytest.raises(ValueError, match="test rows must not be among those trained or validated on"):
        search(epochs=1, trials=1).test_accuracy(*toy(), test)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"validation": np.arange(59, 100)}, "none in common, 1 are in both"),
        ({"train": np.array([0, 0])}, "train must hold distinct row indices from 0 to 179"),
        ({"validation": np.array([180])}, "validation must hold distinct row indices from 0 to 179"),
        ({"validation": np.array([], int)}, r"validation must hold row indices, int \[m > 0\]"),
        ({"train": np.zeros(180, bool)}, r"train must hold row indices, int \[m > 0\], got bool \[180\]"),
        ({"images": toy()[0].astype(float)}, r"images must be uint8 \[N, H, W, C\], got float64"),
        ({"labels": toy()[1][:-1]}, "labels must number 180, one an image, got 179"),
        ({"epochs": 0}, "at least 1, got 0 and 1"),
        ({"trials": 0}, "at least 1, got 1 and 0"),
        (
            {"make_network": lambda trial, generator: nn.Sequential(nn.Flatten(), nn.Linear(64, 2))},
            r"must give logits \[\d+, 3\], got \[\d+, 2\]",
        ),
    ],
)
def test_what_does_not_fit_is_refused(changed, message):
    images, labels = toy()
    arguments = {"make_network": make, "images": images, "labels": labels, "train": TRAIN, "validation": VALIDATION}
    with pytest.raises(ValueError, match=message):
        random_search(**{**arguments, "epochs": 1, "trials": 1, "seed": 0, **changed})
