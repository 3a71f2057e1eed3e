"""Shapes: N labels, C classes, K the likeliest of them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from shoestring.core.teaching import Opinion
from shoestring.engine.fuse import imitation


def logits(count: int, classes: int, seed: int) -> torch.Tensor:
    return 3 * torch.randn(count, classes, generator=torch.Generator().manual_seed(seed))


def by_hand(student_NC: torch.Tensor, teacher_NC: torch.Tensor, soft: float) -> torch.Tensor:
    """Kullback-Leibler, as it is written in books."""
    p_NC = (teacher_NC.double() / soft).softmax(1)
    q_NC = (student_NC.double() / soft).softmax(1)
    return (p_NC * (p_NC / q_NC).log()).sum(1).mean() * soft**2


@pytest.mark.parametrize("soft", [1.0, 4.0])
def test_of_few_classes_all_count(soft: float) -> None:
    student, teacher = logits(7, 5, 0), logits(7, 5, 1)
    found = imitation.divergence(student, imitation.opinion(teacher), soft)
    torch.testing.assert_close(found.double(), by_hand(student, teacher, soft))
    same = imitation.divergence(student, imitation.opinion(student), soft)
    assert float(same) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("soft", [1.0, 2.0])
@pytest.mark.parametrize("count", [1, 300])  # within a slice, and over more than one
def test_of_many_classes_the_likeliest_count_and_the_gradient_is_theirs(
    soft: float, count: int
) -> None:
    classes = 2 * imitation.TOP + 3
    student, teacher = logits(count, classes, 0), logits(count, classes, 1)
    taught = imitation.opinion(teacher)
    assert taught.classes_NK is not None
    kept = torch.full_like(teacher, -1e9).scatter(1, taught.classes_NK, taught.logs_NK)
    one, other = (student.clone().requires_grad_() for _ in range(2))
    found = imitation.divergence(one, taught, soft)
    wanted = (kept / soft).log_softmax(1)
    expected = F.kl_div(
        (other / soft).log_softmax(1), wanted, reduction="batchmean", log_target=True
    )
    expected = expected * soft**2
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    (3 * found).backward()
    (3 * expected).backward()
    assert one.grad is not None and other.grad is not None
    torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-7)


def test_a_gradient_has_the_precision_of_its_logits() -> None:
    student = logits(4, 100, 0).bfloat16().requires_grad_()
    imitation.divergence(student, imitation.opinion(logits(4, 100, 1))).backward()
    assert student.grad is not None and student.grad.dtype is torch.bfloat16


def test_an_opinion_may_miss_a_constant() -> None:
    student, teacher = logits(5, 4, 0), logits(5, 4, 1)
    shifted = Opinion(teacher + torch.randn(5, 1))
    torch.testing.assert_close(
        imitation.divergence(student, shifted, 2.0),
        imitation.divergence(student, Opinion(teacher), 2.0),
    )
