"""Cross-entropy of many classes: value, gradient and count as torch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from shoestring.engine import loss


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(("labels", "classes"), [(1, 600), (300, 513), (513, 700)])
def test_value_gradient_and_count_are_those_of_torch(
    labels: int, classes: int, smoothing: float
) -> None:
    torch.manual_seed(labels)
    logits_NC = (torch.randn(labels, classes) * 5).requires_grad_()
    labels_N = torch.randint(0, classes, (labels,))
    labels_N[::2] = logits_NC.detach().argmax(1)[::2]
    expected = F.cross_entropy(logits_NC, labels_N, label_smoothing=smoothing)
    (3 * expected).backward()
    assert logits_NC.grad is not None
    gradient_NC, logits_NC.grad = logits_NC.grad, None
    found, right = loss.cross_entropy(logits_NC, labels_N, smoothing)
    (3 * found).backward()
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(logits_NC.grad, gradient_NC)
    assert int(right) == int((logits_NC.argmax(1) == labels_N).sum())


def test_bfloat16_logits_are_summed_in_float32() -> None:
    torch.manual_seed(0)
    logits_NC = (torch.randn(400, 4000) * 3).bfloat16()
    labels_N = torch.randint(0, 4000, (400,))
    found, _ = loss.cross_entropy(logits_NC, labels_N, 0.1)
    expected = F.cross_entropy(logits_NC.float(), labels_N, label_smoothing=0.1)
    torch.testing.assert_close(found, expected)


def test_huge_logits_give_no_infinity_and_broken_ones_are_seen() -> None:
    logits_NC = torch.full((3, 600), -1e30)
    logits_NC[:, 5] = 1e30
    found, right = loss.cross_entropy(logits_NC, torch.tensor([5, 5, 5]))
    assert float(found) == 0.0
    assert int(right) == 3
    logits_NC[1, 7] = float("nan")
    assert torch.isnan(loss.cross_entropy(logits_NC, torch.tensor([5, 5, 5]))[0])
