"""Weights that have no dense values are named with the fix, before anything fails on them."""

import pytest
import torch
from torch import nn

from features import weights_digest
from features.weights import as_bytes, check_readable


class Refuses(nn.Conv2d):
    def named_parameters(self, *args, **options):
        raise RuntimeError("no parameters here")


class Exits(nn.Conv2d):
    def state_dict(self, *args, **options):
        raise SystemExit(0)


class Mute(nn.Conv2d):
    def __repr__(self):
        raise RuntimeError("nameless")


def sparse():
    model = nn.Conv2d(3, 4, 3)
    model.weight = nn.Parameter(model.weight.detach().to_sparse())
    return model


UNREADABLE = {
    "meta": (lambda: nn.Conv2d(3, 4, 3, device="meta"), "weight is on the meta device, without values; make the"),
    "lazy": (lambda: nn.LazyConv2d(4, 3), "weight is not made yet; pass a batch through"),
    "sparse": (sparse, "weight is not dense, but torch.sparse_coo; convert it"),
    "parameters raise": (lambda: Refuses(3, 4, 3), "reading its weights raises RuntimeError: no parameters here"),
    "state_dict exits": (lambda: Exits(3, 4, 3), "reading its weights raises .*SystemExit: 0 .*; keep nn.Module's own"),
    "repr raises": (lambda: Mute(3, 4, 3), "reading its weights raises RuntimeError: nameless"),
}


@pytest.mark.parametrize(("make", "told"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_named(make, told):
    with pytest.raises(ValueError, match=f"^{told}"):
        check_readable(make())


@pytest.mark.parametrize("name", ["meta", "lazy", "sparse"])
def test_the_digest_names_it_too(name):
    with pytest.raises(ValueError, match=r"(weight|bias) is"):
        weights_digest(UNREADABLE[name][0]())


def test_complex_and_conjugated_weights_are_read():
    model = nn.Conv2d(3, 4, 3)
    model.register_buffer("frequencies", torch.tensor([1 + 2j]))
    check_readable(model)
    value = torch.tensor([1 + 2j, 3 - 1j])
    assert as_bytes("x", value.conj()).tobytes() == as_bytes("x", value.conj().resolve_conj()).tobytes()
    assert as_bytes("x", value).tobytes() == value.numpy().tobytes()
