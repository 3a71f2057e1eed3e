"""imitation: how far a student is from what its teacher thinks of the same labels.

Shapes: N labels, C classes or pieces, K the likeliest of them, J labels of a slice.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F

from shoestring.core.teaching import Opinion
from shoestring.engine.loss import SLICE

# Of many classes only so many count, those that the teacher finds likeliest: the rest is mostly
# what its own label smoothing spread, and takes a hundred times the room.
TOP = 32


def opinion(logits_NC: torch.Tensor) -> Opinion:
    """What logits, or logarithms of probabilities, come to as an opinion."""
    logs_NC = logits_NC.float()
    if logs_NC.shape[1] <= TOP:
        return Opinion(logs_NC)
    logs_NK, classes_NK = logs_NC.topk(TOP, dim=1)
    return Opinion(logs_NK - logs_NC.logsumexp(1, keepdim=True), classes_NK)


def divergence(logits_NC: torch.Tensor, taught: Opinion, temperature: float = 1.0) -> torch.Tensor:
    """The mean Kullback-Leibler divergence from the teacher's probabilities to the student's, both
    softened by a temperature, times its square, so that gradients keep their size whatever it is
    (Hinton et al. 2015, "Distilling the knowledge in a neural network", section 2.1)."""
    if taught.classes_NK is not None:
        inputs = logits_NC, taught.logs_NK, taught.classes_NK, temperature
        return cast(torch.Tensor, _Divergence.apply(*inputs))  # type: ignore[no-untyped-call]  # torch has no types here
    wanted_NC = F.log_softmax(taught.logs_NK.float() / temperature, 1)
    found_NC = F.log_softmax(logits_NC.float() / temperature, 1)
    apart = F.kl_div(found_NC, wanted_NC, reduction="batchmean", log_target=True)
    return apart * temperature**2


class _Divergence(torch.autograd.Function):
    """Of many classes, with the gradient made on the way forward, slice by slice, as that of the
    loss on labels is."""

    @staticmethod
    def forward(
        ctx: Any,
        logits_NC: torch.Tensor,
        logs_NK: torch.Tensor,
        classes_NK: torch.Tensor,
        temperature: float,
    ) -> torch.Tensor:
        count = max(1, logits_NC.shape[0])
        gradient_NC = torch.empty_like(logits_NC)
        apart = torch.zeros((), device=logits_NC.device)
        for begin in range(0, logits_NC.shape[0], SLICE):
            chosen = slice(begin, begin + SLICE)
            x_JC = logits_NC[chosen].to(torch.float32, copy=True).div_(temperature)
            classes_JK = classes_NK[chosen].long()
            wanted_JK = F.log_softmax(logs_NK[chosen].float() / temperature, 1)
            shares_JK = wanted_JK.exp()
            x_JC.sub_(x_JC.max(1, keepdim=True).values)
            own_JK = x_JC.gather(1, classes_JK)
            sum_J1 = x_JC.exp_().sum(1, keepdim=True)
            apart += (shares_JK * (wanted_JK - own_JK + sum_J1.log())).sum()
            x_JC.mul_(temperature / (sum_J1 * count))
            # The classes of a label are distinct, so that no two are added in an order of luck.
            x_JC.scatter_add_(1, classes_JK, shares_JK.mul_(-temperature / count))
            gradient_NC[chosen] = x_JC
        ctx.save_for_backward(gradient_NC)
        return apart * (temperature**2 / count)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        (gradient_NC,) = ctx.saved_tensors
        return gradient_NC * gradients[0].to(gradient_NC.dtype), None, None, None
