"""augment: trains on changed copies of each example, so that small data goes further."""

from __future__ import annotations

from dataclasses import dataclass, field

from shoestring import plugins
from shoestring.core.budget import Budget
from shoestring.core.errors import UserError
from shoestring.core.protocols import Batch, Draws, Hook, Task
from shoestring.core.run import Run


@dataclass(frozen=True)
class Augment(Hook):
    """Changes every training example a little, at random, in ways that keep its label.

    Helps where there are few examples and time for many epochs. Costs a few percent of each step,
    and more epochs until the fit has converged. Without options it takes the task's default for
    the data and the time at hand; with any, those that are not named stay off. Flipping is never
    assumed: a mirrored 2 is no 2.

    Source: Simard et al. 2003, "Best practices for convolutional neural networks"; Provilkov et
    al. 2020, "BPE-dropout".
    """

    shift: float = field(default=0.0, metadata={"help": "share of the side, at most, each way"})
    rotation: float = field(default=0.0, metadata={"help": "degrees, at most, each way"})
    scale: float = field(default=0.0, metadata={"help": "0.1: between 1/1.1 and 1.1 times"})
    shear: float = field(default=0.0, metadata={"help": "share of the side, at most, each way"})
    flip: bool = field(default=False, metadata={"help": "left to right, where classes survive it"})
    color: float = field(default=0.0, metadata={"help": "brightness, contrast, saturation"})
    erase: float = field(default=0.0, metadata={"help": "side of a grey square, share of the side"})
    bpe_dropout: float = field(default=0.0, metadata={"help": "share of BPE merges left out"})
    word_dropout: float = field(default=0.0, metadata={"help": "share of pieces made unknown"})

    def apply(self, run: Run, budget: Budget) -> Run:
        known = plugins.task(run.task).augment_options()
        for option, value in vars(self).items():
            if value and option not in known:
                raise UserError(
                    f"augment: {option} does not fit {run.task}; it takes: {', '.join(known)}"
                )
        return run.with_hook(plugins.words(self))

    def change_batch(self, task: Task, batch: Batch, draws: Draws) -> Batch:
        return task.augment(batch, draws, vars(self))


TECHNIQUE = Augment
