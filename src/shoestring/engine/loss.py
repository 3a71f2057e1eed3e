"""loss: mean cross-entropy of many classes and how many labels were right, in one pass.

Shapes: N labels, C classes, K labels of a slice.
"""

from __future__ import annotations

from typing import Any, cast

import torch

MANY_CLASSES = 512  # from here on the pass of our own is taken
SLICE = 256  # labels at a time: what lies between stays in the processor's cache
ELSEWHERE = 8_192  # on other devices, where every slice is a dozen kernels to start


class _CrossEntropy(torch.autograd.Function):
    """The gradient is made on the way forward, slice by slice and in the logits' own precision, so
    that no whole matrix in float32 is written: with thousands of pieces torch's way, of a float32
    copy, its log-softmax, the smoothed part and an argmax, took a fifth of a training step. What
    is summed is float32."""

    @staticmethod
    def forward(
        ctx: Any, logits_NC: torch.Tensor, labels_N: torch.Tensor, smoothing: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        count, classes = logits_NC.shape
        gradient_NC = torch.empty_like(logits_NC)
        loss = torch.zeros((), device=logits_NC.device)
        right = torch.zeros((), dtype=torch.int64, device=logits_NC.device)
        size = SLICE if logits_NC.device.type == "cpu" else ELSEWHERE
        for begin in range(0, count, size):
            x_KC = logits_NC[begin : begin + size].to(torch.float32, copy=True)
            labels_K1 = labels_N[begin : begin + size, None]
            x_KC.sub_(x_KC.amax(1, keepdim=True))  # where it is would take four times as long
            label_K = x_KC.gather(1, labels_K1)[:, 0]
            right += (label_K == 0).sum()
            mean_K = x_KC.mean(1) if smoothing else 0.0
            sum_K1 = x_KC.exp_().sum(1, keepdim=True)
            each_K = sum_K1[:, 0].log() - (1 - smoothing) * label_K - smoothing * mean_K
            loss += each_K.sum()
            x_KC.mul_(1 / (sum_K1 * count))
            if smoothing:
                x_KC.sub_(smoothing / (classes * count))
            less = x_KC.new_full((), -(1 - smoothing) / count).expand(labels_K1.shape)
            x_KC.scatter_add_(1, labels_K1, less)
            gradient_NC[begin : begin + size] = x_KC
        ctx.save_for_backward(gradient_NC)
        ctx.mark_non_differentiable(right)
        return loss / count, right

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (gradient_NC,) = ctx.saved_tensors
        return gradient_NC * gradients[0].to(gradient_NC.dtype), None, None


def cross_entropy(
    logits_NC: torch.Tensor, labels_N: torch.Tensor, smoothing: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean loss with label smoothing (Szegedy et al. 2016) as torch defines it, and how many
    labels had the highest logit, be it of several."""
    found = _CrossEntropy.apply(logits_NC, labels_N, smoothing)  # type: ignore[no-untyped-call]  # torch has no types here
    return cast(tuple[torch.Tensor, torch.Tensor], found)
