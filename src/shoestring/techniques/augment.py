"""augment: trains on changed copies of each example, so that small data goes further."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Literal

from shoestring import plugins
from shoestring.core.budget import Budget
from shoestring.core.errors import UserError
from shoestring.core.protocols import Batch, Draws, Feed, Task
from shoestring.core.run import Run
from shoestring.core.techniques import Hook

if TYPE_CHECKING:
    import torch

_KEY = re.compile(r"\d{1,12}-[0-9a-f]{16}")  # of what was made for a fit


@dataclass(frozen=True)
class Augment(Hook):
    """Changes every training example a little, at random, in ways that keep its label.

    Helps where there are few examples and time for many epochs. Costs a few percent of each step,
    and more epochs until the fit has converged. Without options it takes the task's default for
    the data and the time at hand; strength=0.5 takes half of that; with other options, those that
    are not named stay off. Flipping is never assumed: a mirrored 2 is no 2. flip=yes states that
    classes survive it; flip=auto has it found on the validation split before the fit. mixup and
    cutmix change the label as well: to the shares of the two pictures that were mixed.

    Text: bpe_dropout cuts words into other pieces, swap lets words of the source change places,
    word_dropout hides pieces, case writes sources in capitals or small letters. back_translate has
    a run of the other direction write sources for text of the target language, which is more data;
    it takes a quarter of the seconds at most.

    Source: Simard et al. 2003, "Best practices for convolutional neural networks" (shift to
    elastic); Cubuk et al. 2020, "RandAugment"; Mueller & Hutter 2021, "TrivialAugment"; Zhang et
    al. 2018, "mixup"; Yun et al. 2019, "CutMix"; DeVries & Taylor 2017, "Cutout" (erase);
    Provilkov et al. 2020, "BPE-dropout"; Lample et al. 2018 (swaps); Sennrich et al. 2016
    (back-translation).
    """

    makes = ("synthetic",)

    shift: float = field(default=0.0, metadata={"help": "share of the side, at most, each way"})
    rotation: float = field(default=0.0, metadata={"help": "degrees, at most, each way"})
    scale: float = field(default=0.0, metadata={"help": "0.1: between 1/1.1 and 1.1 times"})
    shear: float = field(default=0.0, metadata={"help": "share of the side, at most, each way"})
    elastic: float = field(
        default=0.0, metadata={"help": "bent: points moved by a share of the side, at most"}
    )
    flip: Literal["yes", "no", "auto"] | None = field(
        default=None, metadata={"help": "left to right; auto: found on the validation split"}
    )
    color: float = field(default=0.0, metadata={"help": "brightness, contrast, saturation"})
    erase: float = field(default=0.0, metadata={"help": "side of a grey square, share of the side"})
    policy: Literal["rand", "trivial"] | None = field(
        default=None, metadata={"help": "RandAugment or TrivialAugment: 14 operations"}
    )
    operations: int = field(default=2, metadata={"help": "that RandAugment draws for a picture"})
    strength: float | None = field(
        default=None, metadata={"help": "of the usual changes, or of a policy; 1 is the usual"}
    )
    mixup: float = field(default=0.0, metadata={"help": "alpha of Beta; 0.2 is usual, 1 strong"})
    cutmix: float = field(default=0.0, metadata={"help": "alpha of Beta; 1 is usual"})
    bpe_dropout: float = field(default=0.0, metadata={"help": "share of BPE merges left out"})
    word_dropout: float = field(default=0.0, metadata={"help": "share of pieces made unknown"})
    case: float = field(
        default=0.0, metadata={"help": "share of the sources in capitals or in small letters"}
    )
    swap: float = field(
        default=0.0, metadata={"help": "share of the source's words that the next one passes"}
    )
    back_translate: str | None = field(
        default=None, metadata={"help": "a run or bundle of the other direction: runs/de-en"}
    )
    monolingual: str | None = field(
        default=None, metadata={"help": "text for it, a line each; none: the targets of train"}
    )
    synthetic: str | None = field(
        default=None, metadata={"help": "key of the pairs it made; recorded, not given"}
    )

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, float) and not 0 <= value < float("inf"):
                raise ValueError(f"{name} is a number from 0, not {value}")
        if self.strength == 0:
            raise ValueError("strength is above 0; to leave it all out, use --without augment")
        if self.operations < 1:
            raise ValueError(f"operations is a number from 1, not {self.operations}")
        if self.operations != 2 and self.policy != "rand":
            raise ValueError("operations is of policy=rand; say that too, or leave it out")
        if self.back_translate is None and (self.monolingual or self.synthetic):
            raise ValueError("monolingual is text for back_translate; name a run for it")
        if self.synthetic is not None and not _KEY.fullmatch(self.synthetic):
            raise ValueError(f"synthetic is a key that was recorded, not {self.synthetic!r}")
        for name in ("shift", "elastic", "erase", "bpe_dropout", "word_dropout", "case", "swap"):
            if getattr(self, name) > 1:
                raise ValueError(f"{name} is a share from 0 to 1, not {getattr(self, name)}")

    def apply(self, run: Run, budget: Budget) -> Run:
        known = plugins.task(run.task).augment_options()
        for option in fields(self):
            if getattr(self, option.name) != option.default and option.name not in known:
                raise UserError(_unfit(option.name, run.task, known))
        from shoestring.bundle import bundle

        gathered, findings = plugins.task(run.task).gather(run, vars(self), bundle.load, budget)
        run = replace(run, findings=(*run.findings, *findings))
        return run.with_hook(plugins.words(replace(self, **gathered)))

    def gone(self, run: Run) -> str:
        if self.synthetic is None or plugins.task(run.task).remembers(self.synthetic):
            return ""
        return (
            "goes on without augment: the examples that it wrote for the fit are not in the cache "
            "any more"
        )

    def change_feed(
        self, task: Task, feed: Feed, draws: Callable[[int, int, torch.Tensor], Draws]
    ) -> Feed:
        return task.augmented(feed, vars(self), draws)

    def change_batch(self, task: Task, batch: Batch, draws: Draws) -> Batch:
        return task.augment(batch, draws, vars(self))


def _unfit(option: str, task: str, known: Iterable[str]) -> str:
    """What is said of an option that the task does not have."""
    others = [t for t in plugins.task_names() if option in plugins.task(t).augment_options()]
    return (
        f"augment: {option} does not fit {task}, but {' and '.join(others)}; "
        f"{task} takes: {', '.join(known)}"
    )


TECHNIQUE = Augment
