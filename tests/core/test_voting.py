from __future__ import annotations

import numpy as np
import pytest
import torch

from shoestring.core import voting
from shoestring.core.errors import UserError

SHARES = [
    torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1]]),
    torch.tensor([[0.4, 0.6, 0.0], [0.2, 0.7, 0.1]]),
    torch.tensor([[0.1, 0.5, 0.4], [0.9, 0.1, 0.0]]),
]
PLAIN = {"kind": "compact"}


def test_a_soft_vote_is_the_weighted_mean_of_probabilities() -> None:
    weights = [0.5, 0.25, 0.25]
    together = voting.pooled(SHARES, weights, "soft").exp().numpy()
    expected = sum(w * one.numpy() for w, one in zip(weights, SHARES, strict=True))
    np.testing.assert_allclose(together, expected, rtol=1e-5)


def test_a_hard_vote_counts_the_likeliest_labels() -> None:
    together = voting.pooled(SHARES, [1 / 3] * 3, "hard").exp()
    assert together.argmax(1).tolist() == [1, 1]
    np.testing.assert_allclose(together.sum(1).numpy(), 1.0, rtol=1e-5)
    np.testing.assert_allclose(together[0].numpy(), [1 / 3, 2 / 3, 0], atol=0.01)


def test_probabilities_break_the_tie_of_a_hard_vote() -> None:
    shares = [torch.tensor([[0.6, 0.4, 0.0]]), torch.tensor([[0.05, 0.9, 0.05]])]
    assert voting.pooled(shares, [0.5, 0.5], "hard").argmax(1).tolist() == [1]
    assert voting.pooled(shares[::-1], [0.5, 0.5], "hard").argmax(1).tolist() == [1]


def test_a_label_without_probability_has_a_logarithm_all_the_same() -> None:
    assert torch.isfinite(voting.pooled([torch.tensor([[1.0, 0.0]])], [1.0], "soft")).all()


def test_weights_of_an_architecture_come_to_one() -> None:
    found = voting.architecture("soft", [1, 3], [PLAIN, PLAIN])
    assert found["weights"] == [0.25, 0.75]
    assert found["kind"] == voting.KIND


@pytest.mark.parametrize(
    ("vote", "weights", "members", "said"),
    [
        ("loud", [1.0], [PLAIN], "soft, hard"),
        ("soft", [1.0], [PLAIN, PLAIN], "with a weight each"),
        ("soft", [], [], "1 to 64 members"),
        ("soft", [0.0, 1.0], [PLAIN, PLAIN], "above zero"),
    ],
)
def test_what_is_no_ensemble_is_refused(
    vote: str, weights: list[float], members: list[dict[str, str]], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        voting.architecture(vote, weights, members)


ALIKE = {"method": "static", "layers": {"1": [0.0, 1.0]}, "float": ["2"]}
OTHER = {"method": "static", "layers": {"1": [0.0, 2.0], "2": [1.0, 2.0]}, "float": []}


@pytest.mark.parametrize(
    "members",
    [
        [{}, {}],
        [{"method": "dynamic"}, {"method": "dynamic"}],
        [{"method": "dynamic"}, {}],
        [ALIKE, OTHER],
        [ALIKE, {"method": "weights", "bits": 4}],
    ],
)
def test_each_member_keeps_the_quantization_that_it_had(members: list[dict[str, object]]) -> None:
    assert voting.quantizations(voting.joint_quantization(members), 2) == members


def test_layers_of_an_ensemble_go_by_the_members_numbers() -> None:
    found = voting.joint_quantization([ALIKE, OTHER])
    assert list(found["layers"]) == ["0.1", "1.1", "1.2"]
    assert found["float"] == ["0.2"]


def test_one_method_holds_for_all_members() -> None:
    assert voting.quantizations({"method": "dynamic"}, 3) == [{"method": "dynamic"}] * 3
    with pytest.raises(UserError, match="3 members"):
        voting.quantizations({"members": [ALIKE, OTHER]}, 3)
