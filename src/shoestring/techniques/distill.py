"""distill: a student learns from what a trained model thinks, and not from the labels alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from shoestring import plugins
from shoestring.core.budget import Budget
from shoestring.core.errors import UserError
from shoestring.core.protocols import Batch, Draws, Feed, Network, Task
from shoestring.core.receipt import Finding
from shoestring.core.run import Run, name_of
from shoestring.core.teaching import Learned, Lesson, Tutor
from shoestring.core.techniques import Finisher, Hook

if TYPE_CHECKING:
    import torch
Level = Literal["word", "sequence", "both"]
MANY = 64  # labels, from which nothing is softened where no temperature was said
SOFT = 2.0  # the temperature otherwise


@dataclass(frozen=True)
class Distill(Finisher, Hook):
    """Trains a student on what a teacher thinks of each label, or on what it answers. On a
    finished run that run is the teacher, an ensemble perhaps, and a student is trained from
    nothing: another network (student=compact-small, or compact:width=16+depth=2), the same one, or
    that of another run, one that was pruned say, which with start=weights goes on with what it
    knows. In a training, teacher= names a run, a bundle, a file of outputs or hf:FOLDER.

    level=word compares the probabilities of each label: the teacher sees the very input that the
    student sees, changes and all, and what it thinks of inputs that never change is computed once.
    level=sequence learns from the teacher's whole answers to the training inputs, which a file
    holds as well: a line for each, several answers to one with or without scores. Unlabelled
    inputs are more to learn from.

    Helps where the student is too small to learn it alone, or the teacher is an ensemble, or there
    are more inputs than labels. Costs the teacher's forward pass at each step, or its answers
    once; a long training pays, for a student learns a function better than it learns labels.

    Source: Hinton et al. 2015, "Distilling the knowledge in a neural network"; Kim & Rush 2016,
    "Sequence-level knowledge distillation"; Beyer et al. 2022, "Knowledge distillation: a good
    teacher is patient and consistent".
    """

    portion = 1.0

    student: str = field(
        default="same", metadata={"help": "of a finished run: a network, or a run that has it"}
    )
    teacher: str = field(
        default="", metadata={"help": "in a training: a run, a bundle, a file of outputs, hf:NAME"}
    )
    level: Level | None = field(
        default=None, metadata={"help": "None: word where the teacher tells probabilities"}
    )
    temperature: float | None = field(
        default=None, metadata={"help": f"softens both; None: {SOFT:g}, or 1 of many labels"}
    )
    mix: float = field(
        default=0.9,
        metadata={"help": "share of the teacher in the loss; 1: the data's own labels are unused"},
    )
    start: Literal["nothing", "weights"] = field(
        default="nothing", metadata={"help": "weights: the student's own run goes on with its"}
    )
    epochs: float | None = field(
        default=None, metadata={"help": "None: what the budget gives, or as the run had"}
    )
    rate: float = field(default=1.0, metadata={"help": "factor on the learning rate"})
    beam: int = field(default=1, metadata={"help": "of a search for whole answers; 1: greedy"})
    pick: Literal["best", "closest"] = field(
        default="best", metadata={"help": "of several answers; closest: to the data's own"}
    )
    unlabelled: str = field(
        default="", metadata={"help": "more inputs: a folder of them, or a file"}
    )
    weights: str = field(
        default="", metadata={"help": "digest of the teacher; recorded, not given"}
    )
    lesson: str = field(
        default="", metadata={"help": "key of the teacher's answers; recorded, not given"}
    )

    def __post_init__(self) -> None:
        if self.temperature is not None and not 0 < self.temperature < float("inf"):
            raise ValueError(f"temperature is above 0, not {self.temperature}")
        if not 0 < self.mix <= 1:
            raise ValueError(f"mix is a share above 0 and at most 1, not {self.mix}")
        if self.epochs is not None and not 0 < self.epochs < inf:
            raise ValueError(f"epochs is above 0, not {self.epochs}")
        if not 0 < self.rate < inf:
            raise ValueError(f"rate is above 0, not {self.rate}")
        if self.beam < 1 or (self.pick == "closest" and self.beam == 1 and not self.teacher):
            raise ValueError(f"beam is from 1, with pick=closest from 2, not {self.beam}")
        if self.teacher and (self.student != "same" or self.start != "nothing" or self.epochs):
            raise ValueError(
                "student, start and epochs are of a finished run, its own teacher; in a training "
                "with a teacher, --network and --epochs say them"
            )
        if (self.weights or self.lesson) and not self.teacher:
            raise ValueError("weights and lesson record what a teacher was; name one")

    @property
    def writes(self) -> tuple[str, ...]:  # type: ignore[override]  # a class attribute there
        return ("label_smoothing",) if self.level != "sequence" else ()

    @property
    def renews(self) -> bool:  # type: ignore[override]  # a class attribute there
        return self.start == "nothing"

    @property
    def finishes(self) -> bool:
        return not self.teacher

    def ready(self, task: Task) -> None:
        from shoestring.engine.fuse import student

        student.known(self.student, task, self.start == "weights")

    def apply(self, run: Run, budget: Budget) -> Run:
        return self._trained(run, budget) if self.finishes else self._taught(run, budget)

    # --- a finished run teaches ---

    def _trained(self, run: Run, budget: Budget) -> Run:
        from shoestring.engine import apply, derive
        from shoestring.engine.fuse import student as students

        epochs = self.epochs
        if epochs is None and budget.seconds is None:
            epochs = float(run.curve[-1]["epoch"]) if run.curve else None
        seconds = None if budget.seconds is None else budget.remaining()
        goes_on = self.start == "weights"
        student = students.student(run, self.student, goes_on, epochs, seconds)
        others = () if student.run is None else (student.run,)
        child = derive.child(
            run,
            "distill",
            others,
            architecture=student.architecture,
            quantization={},
            trained_by=student.unlike(run.recipe),
        )
        if student.run is not None and goes_on:  # what it has been through is in its weights
            been = student.run.recipe.then[: derive.done(student.run)]
            child = child.with_recipe(then=been)
        # What its own training is told.
        own = replace(self, teacher=str(run.path), student="same", start="nothing", epochs=None)
        hooks = tuple(w for w in student.recipe.hooks if name_of(w) != "distill")
        told = own._taught(child.with_recipe(hooks=hooks, label_smoothing=None), budget)
        smoothing = told.recipe.label_smoothing
        made, weights, cost = derive.tuned(
            child,
            student.weights,
            budget,
            epochs,
            **student.changes(),
            hooks=told.recipe.hooks,
            label_smoothing=student.recipe.label_smoothing if smoothing is None else smoothing,
        )
        fresh = [finding.message for finding in told.findings[len(child.findings) :]]
        words = plugins.technique(told.recipe.hooks[-1])
        assert isinstance(words, Distill)
        made = apply.noted(made, "fit", reason="; ".join([words._sentence(), *fresh]))
        return derive.sealed(made, weights, budget, cost)

    # --- a teacher in a training ---

    def _taught(self, run: Run, budget: Budget) -> Run:
        """The run with the teacher in its recipe, once it was asked for all that it answers before
        the fit."""
        from shoestring.bundle import bundle
        from shoestring.engine.fuse import teacher

        named, task = teacher.checked(self.teacher, self.weights, run.task), plugins.task(run.task)
        unlike = ""
        if named.kind in ("run", "bundle"):
            unlike = task.unlike(named.facts, named.files, run)
            doubt = teacher.doubtful(named, run)
            if doubt:
                run = replace(run, findings=(*run.findings, Finding("teacher", 0, doubt)))
        level: Level | None = self.level
        if level is None and named.kind == "run":
            level = "sequence" if unlike else "word"
        asks = level != "word" or named.kind == "file" or bool(self.unlabelled)
        opens = named.kind == "bundle" or (asks and named.kind == "run")
        opened = bundle.load(self.teacher) if opens else None
        if level is None and named.kind == "bundle":
            level = "sequence" if task.tutor(run, opened, "") is None else "word"
        file = Path(self.teacher) if named.kind == "file" else None
        lesson = Lesson(
            self.teacher,
            opened,
            file,
            level != "word",
            self.unlabelled,
            self.beam,
            self.pick,
            self.lesson,
        )
        learned = Learned("")
        if asks:
            learned = task.taught(run, lesson, bundle.predictor, budget)
        bundled = opened if named.kind == "bundle" else None
        if named.kind != "run" and task.tutor(run, bundled, learned.key) is None:
            unlike = "it answers whole inputs, and says no probabilities of single labels"
        level = level or ("sequence" if unlike else "word")
        if unlike and level != "sequence":
            raise UserError(f"distill: level={level} of {self.teacher}: {unlike}; take sequence")
        recorded = replace(self, level=level, weights=named.digest, lesson=learned.key)
        run = replace(run, findings=(*run.findings, *learned.findings))
        if run.recipe.label_smoothing is None and level != "sequence":
            # What a teacher thinks is smooth already, and says more.
            run = run.with_recipe(label_smoothing=0.0)
        return run.with_hook(plugins.words(recorded))

    # --- in a fit ---

    def begin(self, model: torch.nn.Module, network: Network, run: Run) -> str:
        return self._sentence() if self.teacher else ""

    def _sentence(self) -> str:
        words = f"learns from {self.teacher}, level={self.level}"
        if self.level == "sequence":
            return words + (", from its answers alone" if self.mix == 1 else "")
        soft = "" if self.temperature is None else f" at a temperature of {self.temperature:g}"
        return f"{words}: {self.mix:.0%} of the loss is how far it is from what that thinks{soft}"

    def gone(self, run: Run) -> str:
        if not self.teacher:
            return ""
        without = "goes on from the labels alone, without the teacher of its training"
        if self.lesson and not plugins.task(run.task).remembers(self.lesson):
            return f"{without}: what {self.teacher} answered is not in the cache any more"
        if self.level == "sequence":  # its answers are all that is wanted of it
            return ""
        from shoestring.engine.fuse import teacher

        try:
            teacher.checked(self.teacher, self.weights, run.task)
        except UserError as error:
            return f"{without}: {error}"
        return ""

    def change_feed(
        self, task: Task, feed: Feed, draws: Callable[[int, int, torch.Tensor], Draws]
    ) -> Feed:
        if not self.lesson:
            return feed
        return task.learning(feed, self.lesson, self.level != "word" and self.mix == 1)

    def tutor(self, run: Run, feed: Feed, device: str) -> Tutor | None:
        if not self.teacher or self.level == "sequence":
            return None
        from shoestring.engine.fuse import teacher

        named = teacher.checked(self.teacher, self.weights, run.task)
        return teacher.tutor(named, run, feed, device, self.lesson)

    def change_loss(
        self, loss: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor, batch: Batch
    ) -> torch.Tensor:
        if batch.taught is None:
            return loss
        from shoestring.engine.fuse import imitation

        soft = SOFT if logits.shape[1] < MANY else 1.0
        apart = imitation.divergence(logits, batch.taught, self.temperature or soft)
        return apart if self.mix == 1 else (1 - self.mix) * loss + self.mix * apart

    def learning_rate(self, progress: float) -> float:
        return self.rate


TECHNIQUE = Distill
