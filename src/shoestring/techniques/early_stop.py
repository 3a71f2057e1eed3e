"""early_stop: ends a fit that no longer gets better, and ships the best weights it had."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from shoestring import plugins
from shoestring.core.budget import Budget
from shoestring.core.protocols import State
from shoestring.core.receipt import Plain
from shoestring.core.run import Run
from shoestring.core.techniques import Hook


@dataclass(frozen=True)
class EarlyStop(Hook):
    """Stops once `patience` evaluations in a row on the validation split brought no gain, after a
    cool-down: over a tenth of the planned steps the learning rate falls to its end as it would
    have, which is often worth more than what came before. The best weights of all evaluations ship.

    Helps where the budget is larger than what the data can use: it saves seconds, and the weights
    before the network learned by heart. Costs nothing but the chance that a longer fit would have
    gone on to gain, since under a falling rate the last steps gain most. The receipt says how
    many seconds were saved, net of the cool-down.

    Source: Prechelt 1998, "Early stopping - but when?".
    """

    patience: int = field(
        default=5, metadata={"help": "evaluations without a gain before it stops"}
    )
    minimum_gain: float = field(
        default=0.0, metadata={"help": "of the metric, above the best: 0.001, or 0.2 of BLEU"}
    )
    after: float = field(
        default=0.2, metadata={"help": "share of the fit before which it does not stop"}
    )

    def __post_init__(self) -> None:
        if self.patience < 1:
            raise ValueError(
                f"patience is a number of evaluations from 1, not {self.patience}; to train to "
                "the end, leave early_stop out"
            )
        if not 0 <= self.minimum_gain < float("inf"):
            raise ValueError(f"minimum_gain is a number from 0, not {self.minimum_gain}")
        if not 0 <= self.after < 1:
            raise ValueError(f"after is a share of the fit from 0 to below 1, not {self.after}")

    def apply(self, run: Run, budget: Budget) -> Run:
        return run.with_hook(plugins.words(self))

    def should_stop(self, curve: Sequence[Plain], state: State) -> bool:
        if state.get("progress", 1.0) < self.after:  # the rate still climbs
            return False
        best, waited = float("-inf"), 0
        for look in curve:
            if look["quality"] > best + self.minimum_gain:
                best, waited = look["quality"], 0
            else:
                waited += 1
        return waited >= self.patience


TECHNIQUE = EarlyStop
