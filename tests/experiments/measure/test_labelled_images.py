"""Which rows choose C, and by which protocol a network is measured, from what it says it was trained on."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from experiments.measure.labelled_images import choice_rows, of_contender
from experiments.measure.protocols import PROTOCOLS, SEEN
from experiments.networks.contender import Contender
from experiments.networks.resolve import resolve
from experiments.run.context import Run
from experiments.run.errors import UserError

CLEAN, USUAL = "tiny-imagenet/200", f"tiny-imagenet/200{SEEN}"


@pytest.fixture(scope="module")
def control() -> Contender:
    return resolve("random:imagenet32,width=2")


def noted(protocol: str, contender: Contender) -> tuple[str, str]:
    said: list[str] = []
    return of_contender(protocol, contender, Run(Path(), Path(), say=said.append)), " ".join(said)


@pytest.mark.parametrize("network", ["random:imagenet32,width=2", "pixels", "kmeans:4", "svhn32-half"])
def test_networks_that_never_saw_the_photographs_have_the_clean_protocol(network: str) -> None:
    assert noted(USUAL, resolve(network)) == (CLEAN, "") == noted(CLEAN, resolve(network))


@pytest.mark.parametrize("table", ["tiny-imagenet/200", "imagenet32/1000"])
@pytest.mark.parametrize("name", ["imagenet32-half", "imagenet32-contrast"])
def test_networks_trained_on_the_photographs_say_so(table: str, name: str) -> None:
    protocol, said = noted(f"{table}{SEEN}", resolve(name))
    assert protocol == f"{table}{SEEN}" and "trained without labels on tiny-imagenet-" in said
    with pytest.raises(UserError, match=f"choose --protocol {table}{SEEN}"):
        noted(table, resolve(name))


def test_of_an_unknown_network_the_user_decides(control: Contender) -> None:
    """Without a word it gets the protocol that claims less; a folder of the user's may hold the photographs too."""
    for name in (None, "my-photographs"):
        unknown = dataclasses.replace(control, trained_on="0" * 64, trained_set=name)
        protocol, said = noted(USUAL, unknown)
        assert protocol == USUAL and "is not known" in said and f"--protocol {CLEAN}" in said
        assert noted(CLEAN, unknown) == (CLEAN, "")
    known = dataclasses.replace(control, trained_on="0" * 64, trained_set="cifar10-train")
    assert noted(USUAL, known) == (CLEAN, "")


def test_other_tables_are_as_asked_for(control: Contender) -> None:
    assert noted("cifar10/full", resolve("imagenet32-half")) == ("cifar10/full", "")


def test_c_is_chosen_on_a_stratified_draw() -> None:
    labels = np.random.default_rng(0).permutation(np.arange(3000) % 20)
    rules = dataclasses.replace(PROTOCOLS[CLEAN], choice=400)
    rows, held = choice_rows(labels, rules, 80, seed=0)
    assert np.bincount(labels[rows]).tolist() == [20] * 20 and np.bincount(labels[held]).tolist() == [4] * 20
    assert np.isin(held, rows).all() and (np.diff(rows) > 0).all() and (np.diff(held) > 0).all()
    other, _ = choice_rows(labels, rules, 80, seed=1)
    assert not np.array_equal(rows, other)
    whole, none = choice_rows(labels, PROTOCOLS["svhn/1000-of-1083"], 0, seed=0)
    assert len(whole) == 3000 and len(none) == 0
