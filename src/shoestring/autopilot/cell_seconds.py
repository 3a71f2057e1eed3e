"""cell_seconds: how the budget of an ablation is shared over its fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING

from shoestring.autopilot.ablation import Plan
from shoestring.core.budget import Budget
from shoestring.core.errors import UserError
from shoestring.data.names import counted

if TYPE_CHECKING:
    from shoestring.engine.pool import Rates

LEAST_STEPS = 50  # of a fit that is worth judging
FIT_SECONDS = 2.0  # that each fit spends on measuring its own rate
END_SECONDS = 1.0  # to compute the table and to end
START_SECONDS = 4.0  # until a further process has imported torch and read the data
SETTLING = 0.12  # of a fit's seconds: before the first of a network, its precision is measured


def shared(
    plan: Plan, networks: Mapping[str, str], rates: Mapping[str, Rates], clock: Budget, parts: int
) -> Plan:
    """The plan with the seconds of each fit, the same for all, and with those that are kept back
    for judging it. `networks` names the network of each recipe, `rates` are those of a network;
    the ablation is one of so many equal `parts`. UserError, with what it would need, where they
    are too few."""
    count = len(networks) * plan.seeds
    most = min(plan.processes, count)
    # Mates begin when the first fit has ended.
    rounds = float(count if most == 1 else 1 + ceil((count - 1) / most))
    rounds += SETTLING * len(rates)
    spare = END_SECONDS + START_SECONDS * (most > 1)
    judging = {name: rates[network].judge_seconds for name, network in networks.items()}
    mean_judging = sum(judging.values()) / len(judging)
    each = (clock.remaining() - spare) / rounds - mean_judging
    least = LEAST_STEPS * max(rate.step_seconds for rate in rates.values()) + FIT_SECONDS
    if each < least:
        needed = parts * (rounds * (least + mean_judging) + clock.elapsed() + spare)
        raise UserError(
            f"{counted(len(networks), 'recipe')} with {counted(plan.seeds, 'seed')} each are "
            f"{counted(count * parts, 'fit')}; with {LEAST_STEPS} steps each that would need about "
            f"{needed:.0f} s, and {(clock.seconds or 0.0) * parts:.0f} s were asked for; give "
            f"--budget {_rounded(needed)}, fewer techniques, or fewer seeds"
        )
    idle = {name: rates[network].idle_seconds for name, network in networks.items()}
    return replace(plan, fit_seconds=each, judging=judging, idle=idle)


def each(plan: Plan, unfinished: Sequence[str], clock: Budget) -> float:
    """Seconds to train that each fit that is left can have; `unfinished` names the recipe of
    each. Not above 0 where the budget does not hold them any more."""
    rounds = ceil(len(unfinished) / plan.processes)
    judging = sum(float(plan.judging.get(name, 0.0)) for name in unfinished) / plan.processes
    return (clock.remaining() - END_SECONDS - judging) / max(1, rounds)


def of_fit(plan: Plan, name: str, most: float, spent: float) -> float:
    """Seconds of a fit of this recipe: what the plan or what is left of the budget gives it, less
    those that its techniques have `spent` before it. A fit keeps back what it believes to need
    for a bundle, which there is none of here: so much more it gets."""
    assert plan.fit_seconds is not None
    return max(0.0, min(plan.fit_seconds, most) - spent) + float(plan.idle.get(name, 0.0))


def _rounded(seconds: float) -> str:
    """A little more than so many seconds, as a person writes it."""
    return f"{int(seconds * 1.1) + 1}s" if seconds < 100 else f"{int(seconds * 1.1 / 60) + 1}m"
