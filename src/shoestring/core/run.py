"""run: a recipe (everything that decides a training, as plain values) and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from shoestring.core.decisions import Decision
from shoestring.core.receipt import Finding, Plain, Receipt, Scores

OPTIMIZERS = ("muon", "adamw", "adam", "sgd")
SCHEDULES = ("one_cycle", "linear", "cosine", "constant")
CLIMBING = ("one_cycle", "cosine")  # of them, those that begin with a warm-up
RUN_VERSION = 1  # of run.json; a newer one is refused, an older one is read for ever


def name_of(words: str) -> str:
    """The name of a technique in its words: `augment` of `augment:strength=0.5`."""
    return words.partition(":")[0]


@dataclass(frozen=True)
class PlanChange:
    """One line of the plan. The first is written before step 0, each later one before it takes
    effect, so that a replay of the lines gives the same weights."""

    at_step: int
    total_steps: int
    reason: str
    rate_factor: float = 1.0  # on the learning rate from here on


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training. Two fits of equal recipes on one machine give the same
    bytes. A field at None is decided before step 0 and written back here."""

    task: str
    source: str  # the data, as the person named it
    fingerprint: str = ""  # of the data as read; set when it was loaded
    options: Plain = field(default_factory=dict)  # the task's own, defaults written out
    network: Plain = field(default_factory=dict)  # {"kind": "compact", "width": 32, ...}
    optimizer: str | None = None  # one of OPTIMIZERS
    learning_rate: float | None = None  # peak
    beta2: float | None = None  # decay of Adam's squared gradients; None: the optimizer's usual
    clip: float | None = None  # norm that all gradients together are scaled down to; None: any
    weight_decay: float | None = None  # decoupled: a share of the rate is taken off
    batch_size: int | None = None
    accumulate: int | None = None  # batches whose gradients make one step; None: 1
    schedule: str | None = None  # one of SCHEDULES
    warm_up: float | None = None  # share of the fit in which the rate climbs; None: the usual
    label_smoothing: float | None = None
    seed: int = 0
    precision: str | None = None  # "float32" or "bfloat16"; None: the faster here
    device: str = "auto"
    threads: int | None = None  # of the fit; part of the signature
    steps: int | None = None  # asked for; None: from epochs or the budget
    epochs: float | None = None  # asked for
    budget_seconds: float | None = None  # asked for
    evaluate_every: int | None = None  # steps
    plan: tuple[PlanChange, ...] = ()  # filled by the fit, replayed by a repeat
    hooks: tuple[str, ...] = ()  # techniques that change the fit, in their command-line words
    then: tuple[str, ...] = ()  # techniques on the finished run, in order
    without: tuple[str, ...] = ()  # default techniques that were asked to stay out
    open_test: bool = False  # open the test split once, when the fit has ended

    @property
    def total_steps(self) -> int | None:
        return self.plan[-1].total_steps if self.plan else None

    def hook(self, name: str) -> str | None:
        """The words of the technique of this name, where the recipe has one."""
        return next((words for words in self.hooks if name_of(words) == name), None)


@dataclass(frozen=True)
class Run:
    """What came of a recipe: a folder and the plain values in it. Never changed, only replaced."""

    path: Path
    task: str
    recipe: Recipe
    architecture: Plain | None = None  # enough to rebuild the network; None before the fit
    quantization: Plain = field(default_factory=dict)  # what export applies; weights are float
    facts: Plain = field(default_factory=dict)  # what the data fixed: labels, image size, channels
    scores: Scores | None = None
    curve: tuple[Plain, ...] = ()
    receipts: tuple[Receipt, ...] = ()
    findings: tuple[Finding, ...] = ()
    parents: tuple[str, ...] = ()
    lineage: tuple[Plain, ...] = ()  # a tree: each parent's figures, and its own parents'
    environment: Plain = field(default_factory=dict)  # versions, processor, threads
    decisions: tuple[Decision, ...] = ()  # of a build, in the order in which they were taken
    # Of the recipe, what fits of this network want otherwise: a student of another kind than the
    # network of the recipe, which goes on to say the first fit of the lineage.
    trained_by: Plain = field(default_factory=dict)
    version: int = RUN_VERSION

    @property
    def trained(self) -> bool:
        return self.architecture is not None

    @property
    def own_recipe(self) -> Recipe:
        """The recipe as the network that the run has now is trained on with."""
        return replace(self.recipe, **self.trained_by)

    def with_recipe(self, **changes: Any) -> Run:
        return replace(self, recipe=replace(self.recipe, **changes))

    def with_hook(self, words: str) -> Run:
        """The same run with a technique added to its recipe, in the place of one of that name."""
        name = name_of(words)
        others = tuple(h for h in self.recipe.hooks if name_of(h) != name)
        return self.with_recipe(hooks=(*others, words))

    def with_receipt(self, receipt: Receipt) -> Run:
        return replace(self, receipts=(*self.receipts, receipt))
