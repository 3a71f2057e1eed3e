"""schedule: how many steps there will be, and the learning rate at each of them."""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, pi

from shoestring.core.errors import UserError
from shoestring.core.run import SCHEDULES, PlanChange

WARM_UP = 0.2  # of the fit; 0.1 and 0.2 differ by less than seed noise on MNIST


def progress(plan: Sequence[PlanChange], step: int) -> float:
    """How far the fit is at `step`, 0 to 1. A change of the plan keeps the progress of its own
    step and spreads the rest over the steps that are left, so the rate has no jump."""
    reached, since, total = 0.0, 0, plan[0].total_steps
    for change in plan[1:]:
        if change.at_step > step:
            break
        reached += (1 - reached) * (change.at_step - since) / max(1, total - since)
        since, total = change.at_step, change.total_steps
    return min(1.0, reached + (1 - reached) * (step - since) / max(1, total - since))


def total_steps(plan: Sequence[PlanChange], step: int) -> int:
    """The last step of the plan in force at `step`."""
    return [change for change in plan if change.at_step <= step][-1].total_steps


def rate_factor(plan: Sequence[PlanChange], step: int) -> float:
    """The product of the factors that came into force up to `step`."""
    factor = 1.0
    for change in plan:
        if change.at_step <= step:
            factor *= change.rate_factor
    return factor


def shape(name: str, progress: float, warm_up: float | None = None) -> float:
    """The factor on the peak learning rate at a progress of 0 to 1.

    `one_cycle` climbs linearly and falls linearly to zero, which under a fixed number of steps is
    hard to beat (Smith 2018; Li et al. 2020, "Budgeted training"); `cosine` climbs linearly and
    falls along a half cosine (Loshchilov & Hutter 2017); `linear` only falls; `constant` stays.
    `warm_up` is the share of the fit in which those that climb do so.
    """
    if name not in SCHEDULES:
        raise UserError(f"there is no schedule {name!r}; there are: {', '.join(SCHEDULES)}")
    if name == "constant":
        return 1.0
    if name == "linear":
        return 1.0 - progress
    climb = WARM_UP if warm_up is None else warm_up
    if progress < climb:
        return 0.05 + 0.95 * progress / climb
    left = (1 - progress) / (1 - climb)
    if name == "one_cycle":
        return left
    return 0.5 - 0.5 * cos(pi * left)
