"""A graph that does not answer as its network is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from shoestring.bundle import bundle
from shoestring.core.errors import BundleError
from shoestring.tasks.images.agreement import agreement
from tests.bundle.making import made, network, pictures


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> bundle.Bundle:
    return bundle.load(made(tmp_path_factory.mktemp("agreement") / "bundle"), threads=1)


def test_a_faithful_graph_agrees(opened: bundle.Bundle) -> None:
    model = network().train()
    words = agreement(model, opened.predictor, pictures(300))
    assert "agrees with the float32 network on 300 validation pictures" in words
    assert model.training  # the argument was left as it was


def test_other_weights_are_refused(opened: bundle.Bundle) -> None:
    model = network()
    with torch.no_grad():
        model[0].weight += 0.01
    with pytest.raises(BundleError, match=r"disagrees with its network on 50 validation pictures"):
        agreement(model, opened.predictor, pictures(50))


def test_a_difference_of_less_than_the_tolerance_is_none(opened: bundle.Bundle) -> None:
    model = network()
    with torch.no_grad():
        model[5].bias += torch.tensor([1e-5, 0.0, -1e-5])
    agreement(model, opened.predictor, pictures(50))


def test_weights_that_are_not_numbers_are_refused(opened: bundle.Bundle) -> None:
    model = network()
    with torch.no_grad():
        model[5].bias[0] = float("nan")
    with pytest.raises(BundleError, match=r"disagrees"):
        agreement(model, opened.predictor, pictures(50))


def test_there_has_to_be_something_to_compare_on(opened: bundle.Bundle) -> None:
    with pytest.raises(BundleError, match=r"there is no example to compare"):
        agreement(network(), opened.predictor, pictures(0))


def test_pictures_have_to_be_at_the_size_of_the_network(tmp_path: Path) -> None:
    some = pictures(3)
    some.data = np.zeros((3, 9, 9, 1), np.uint8)
    other = bundle.load(made(tmp_path / "bundle", resize=True))
    with pytest.raises(BundleError, match=r"were not resized"):
        agreement(network(), other.predictor, some)
