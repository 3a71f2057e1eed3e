"""Weights set to zero where they stand."""

from __future__ import annotations

import torch
from torch import nn

from shoestring.engine.shrink import sparse


def network() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 8), nn.Linear(8, 4))
    with torch.no_grad():
        model[1].weight.mul_(100)
    return model


def test_each_tensor_loses_the_same_share_of_its_own() -> None:
    found = sparse.zeroed(network(), 0.25, across=False)
    assert int((found["0.weight"] == 0).sum()) == 20
    assert int((found["1.weight"] == 0).sum()) == 8
    assert bool((found["0.bias"] != 0).all())


def test_across_all_the_smallest_go() -> None:
    model = network()
    found = sparse.zeroed(model, 0.5, across=True)
    assert int((found["0.weight"] == 0).sum()) == 56
    assert bool((found["1.weight"] != 0).all())
    assert sparse.counted(model) == (56, 112 + 12)


def test_the_places_that_stay_are_those_that_are_not_zero() -> None:
    model = network()
    sparse.zeroed(model, 0.25, across=False)
    (weight, stays), _ = sparse.places(model)
    assert int(stays.sum()) == 60
    assert torch.equal(stays, weight != 0)


def test_a_share_of_nothing_changes_nothing() -> None:
    assert sparse.counted(network())[0] == 0
    model = network()
    sparse.zeroed(model, 0.001, across=False)
    assert sparse.counted(model)[0] == 0
