"""tune: tries other values of the recipe in short trainings, and trains with the best of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from shoestring import plugins
from shoestring.core.budget import Budget
from shoestring.core.run import Run
from shoestring.core.techniques import Searcher


@dataclass(frozen=True)
class Tune(Searcher):
    """Trials: short trainings with other values of the recipe, each of them judged on a third of
    the validation split. The best values take the place of the recipe's, and the fit gets what is
    left of the budget. Without a file it searches learning rate, batch size, size of the network,
    dropout, weight decay and strength of augmentation, around their defaults and but for what was
    said; search=space.toml names any field of the recipe, network.OPTION or TECHNIQUE.OPTION.

    Helps on data unlike those that the defaults were found on, with a budget of many short fits.
    Where the defaults fit, the seconds are better spent on the fit itself; the receipt shows what
    the best trial gained over them, on other examples, and which value mattered. Costs its share of
    the seconds (without a budget, that share of all steps). Short fits like higher rates and
    smaller networks than long ones do.

    The first trial has the defaults, the next the values of the best runs beside this one on the
    same data. Others are drawn by TPE. Each is trained for a ninth of a whole trial, and the best
    third for a third of it, and so on, each time anew with a whole schedule (successive halving;
    hyperband keeps some back from the early cuts). One process for each core, of one thread. What
    was tried is in trials.json; a killed search goes on with --resume and loses no finished trial.

    Source: Akiba et al. 2019, "Optuna"; Bergstra et al. 2011 (TPE); Jamieson & Talwalkar 2016 and
    Li et al. 2020 (asynchronous successive halving); Li et al. 2018, "Hyperband"; Watanabe et al.
    2023, "PED-ANOVA" (importance).
    """

    trials: int = field(default=30, metadata={"help": "how many at most"})
    search: str | None = field(
        default=None, metadata={"help": "a TOML file of ranges; none: the usual ones of the task"}
    )
    share: float = field(
        default=0.6, metadata={"help": "of the seconds (or steps), that the trials take"}
    )
    stop: Literal["halving", "hyperband", "none"] = field(
        default="halving", metadata={"help": "how poor trials are ended: halving, hyperband, none"}
    )
    leave: tuple[str, ...] = field(
        default=(), metadata={"help": "fields of the usual ranges that stay: network+batch_size"}
    )
    processes: int | None = field(
        default=None, metadata={"help": "side by side; none: one for each core, if that pays"}
    )
    checkpoints: int = field(
        default=3, metadata={"help": "best trials whose weights stay on disk, beside the defaults'"}
    )
    warm: bool = field(
        default=True, metadata={"help": "whether runs beside this one on the same data are asked"}
    )

    def __post_init__(self) -> None:
        if self.trials < 2:
            raise ValueError(
                f"trials is a number from 2, the defaults' being one: not {self.trials}"
            )
        if not 0 < self.share < 1:
            raise ValueError(f"share is above 0 and below 1, not {self.share}")
        if self.processes is not None and self.processes < 1:
            raise ValueError(f"processes is a number from 1, not {self.processes}")
        if self.checkpoints < 1:
            raise ValueError(f"checkpoints is a number from 1, not {self.checkpoints}")
        if self.search is not None and self.leave:
            raise ValueError("leave is of the usual ranges; take fields out of the file instead")

    @property
    def seconds_share(self) -> float:
        return self.share

    def ready(self) -> None:
        from shoestring.engine.search import space, study

        study.equipped()
        if self.search is not None:
            space.read(Path(self.search))

    def told(self, names: Collection[str]) -> Tune:
        if self.search is not None:
            return self
        return replace(self, leave=tuple(dict.fromkeys((*self.leave, *names))))

    def apply(self, run: Run, budget: Budget) -> Run:
        from shoestring.engine import derive

        words = plugins.words(self)
        if run.recipe.fingerprint not in derive.desk().datasets:
            return run.with_hook(words)  # it is searched when the data are there
        from shoestring.engine.search import search_plan, tuning

        asked = search_plan.Asked(
            trials=self.trials,
            path=None if self.search is None else Path(self.search),
            share=self.share,
            stop=self.stop,
            leave=self.leave,
            processes=self.processes,
            checkpoints=self.checkpoints,
            warm=self.warm,
        )
        return tuning.tuned(run, words, asked, budget)


TECHNIQUE = Tune
