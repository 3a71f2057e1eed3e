"""fitness: whether a run learnt too little, or learnt its examples by heart, and what to try.

A curve alone misleads: its training loss is of augmented examples under dropout and smoothed
labels. So the bundle answers some of its own training examples as they are, beside validation.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

from shoestring import plugins
from shoestring.autopilot.diagnosis import Advice, Fitness, Measured, State
from shoestring.bundle import bundle as bundles
from shoestring.bundle import grade
from shoestring.core.protocols import Dataset, Outcomes, Progress, Task
from shoestring.core.receipt import Interval, Plain
from shoestring.core.run import Run, name_of
from shoestring.data import resample
from shoestring.data.names import counted
from shoestring.engine import shift, store

MOST_EXAMPLES = 1_000  # of the training split that are answered, evenly spread
BY_HEART = 0.5  # of the validation error, or loss, that is gone on training examples: overfitting
AS_BAD = 0.2  # less than that is gone: the training examples themselves were not learnt
SOLVED = 5  # validation examples' worth of error; with fewer there is nothing to explain
UNSURE = 0.1  # of a perfect quality missing: with so few errors, the examples are too few
ROSE = 1.1  # validation loss at the end over its lowest: it rose
FEW_EPOCHS = 3.0


def judged(run: Run, dataset: Dataset, progress: Progress) -> Fitness:
    """Reads a finished run's curve, and its answers to training and validation examples."""
    import numpy as np

    task = plugins.task(run.task)
    opened = bundles.load(run.path / store.BUNDLE)
    count = min(len(dataset.train), MOST_EXAMPLES)
    positions = np.arange(count, dtype=np.int64) * len(dataset.train) // max(1, count)
    seen = opened.predictor.outcomes(dataset.train.part(positions), progress)
    file = run.path / store.OUTCOMES
    unseen: Outcomes = (
        grade.read_outcomes(file)
        if file.is_file()
        else opened.predictor.outcomes(dataset.validation, progress)
    )
    training, train_bounds = _measured("train", seen, task, run.facts)
    validation, validation_bounds = _measured("validation", unseen, task, run.facts)
    gap = difference(train_bounds, validation_bounds)
    state = state_of(training, validation, gap, task.perfect)
    return Fitness(state, _sentence(state, run, training, validation), training, validation, gap)


def _measured(
    split: str, outcomes: Outcomes, task: Task, facts: Plain
) -> tuple[Measured, Interval]:
    scores = task.scores(outcomes, facts)
    found = shift.statistics(task, outcomes)
    bounds = resample.interval(found.rows_BS, found.metric)
    return Measured(split, scores.examples, bounds.value, scores.loss), bounds


def difference(one: Interval, other: Interval) -> Interval:
    """One less the other, of different examples (MOVER, Zou & Donner 2008)."""
    value = one.value - other.value
    low = value - sqrt((one.value - one.low) ** 2 + (other.high - other.value) ** 2)
    high = value + sqrt((one.high - one.value) ** 2 + (other.value - other.low) ** 2)
    return Interval(value, low, high, one.confidence, "bootstrap over the examples of either split")


def state_of(training: Measured, validation: Measured, gap: Interval, perfect: float) -> State:
    """By how much of the validation error, or of its loss, is not there on training examples."""
    missing = perfect - validation.quality
    if missing * validation.examples < SOLVED * perfect:
        return "solved"
    gone = [gap.value / missing]
    if training.loss is not None and validation.loss:
        gone.append(1 - training.loss / validation.loss)
    if max(gone) >= BY_HEART and gap.low > 0:
        return "overfitting"
    return "underfitting" if max(gone) < AS_BAD else "balanced"


def _sentence(state: State, run: Run, training: Measured, validation: Measured) -> str:
    perfect = plugins.task(run.task).perfect
    seen, unseen = (f"{100 * m.quality / perfect:.1f}%" for m in (training, validation))
    scores = (
        f"it scores {seen} of a perfect {_metric(run)} on examples that it was trained on and "
        f"{unseen} on validation"
    )
    epochs = f" after {epochs_of(run.curve):.1f} epochs" if run.curve else ""
    rest = {
        "overfitting": "it knows its training examples far better than new ones",
        "underfitting": "it has not even learnt its training examples",
        "balanced": "some of the error is memory, some was never learnt",
        "solved": f"{counted(validation.examples, 'validation example')} show too few errors to "
        "say what they come from",
    }[state]
    told = {
        "overfitting": "overfitting",
        "underfitting": "underfitting",
        "balanced": "neither over- nor underfitting stands out",
        "solved": "nothing to mend",
    }[state]
    if state == "solved" and validation.quality < (1 - UNSURE) * perfect:
        told = "too few validation examples to say"
    rising = ""
    if state != "solved" and rose(run.curve):
        rising = "; the validation loss rose again towards the end"
    return f"{told}: {scores}{epochs}: {rest}{rising}"


def _metric(run: Run) -> str:
    return plugins.task(run.task).metric


def epochs_of(curve: Sequence[Plain]) -> float:
    return float(curve[-1]["epoch"]) if curve else 0.0


def rose(curve: Sequence[Plain]) -> bool:
    """Whether the validation loss ended well above its lowest."""
    losses = [float(line["validation_loss"]) for line in curve]
    return len(losses) > 2 and losses[-1] > ROSE * min(losses)


def advice(run: Run, fitness: Fitness, train_examples: int) -> tuple[Advice, ...]:
    """What to try, the first first: only techniques that this shoestring has."""
    used = {name_of(words) for words in run.recipe.hooks}
    epochs = epochs_of(run.curve)
    halved = [c for c in run.recipe.plan if c.rate_factor < 1]
    found: list[tuple[str, str]] = []
    if halved:
        times = counted(len(halved), "time")
        why = f"the loss was not finite {times}: look for the rate that these data take"
        found.append(("schedule:find=rate", why))
    if fitness.state == "overfitting":
        found += _against_memory(used, train_examples, rose(run.curve))
    elif fitness.state == "underfitting":
        found += _for_learning(used, epochs)
    elif fitness.state == "balanced":
        found += _against_memory(used, train_examples, rose(run.curve))
        found.append(("average", "an average of the weights may be better, at next to no cost"))
    names = plugins.technique_names()
    known = [(w, why) for w, why in found if name_of(w) in names or w.startswith("--")]
    return tuple(Advice(w if w.startswith("--") else f"--with {w}", why) for w, why in known)


def _against_memory(used: set[str], train_examples: int, rising: bool) -> list[tuple[str, str]]:
    found = []
    if "augment" in used:
        why = "it is in use, but what is seen is still remembered: make it stronger"
        found.append(("augment:strength=2.0", why))
    else:
        found.append(("augment", "changed examples cannot be learnt by heart"))
    if "transfer" not in used and train_examples < 10_000:
        why = f"{train_examples:,} examples are few: weights that have seen others need fewer"
        found.append(("transfer:start=RUN", why))
    if "regularize" not in used:
        found.append(("regularize", "smaller weights, and units left out at random, remember less"))
    if rising and "early_stop" not in used:
        why = "the validation loss rose again: the steps after its lowest were spent for nothing"
        found.append(("early_stop", why))
    return found


def _for_learning(used: set[str], epochs: float) -> list[tuple[str, str]]:
    found = []
    if epochs < FEW_EPOCHS:
        why = f"it saw its examples {epochs:.1f} times: give it more steps before anything else"
        found.append(("--budget", why))
    if "schedule" not in used:
        why = "a rate too low learns too little in the time, one too high never settles"
        found.append(("schedule:find=rate", why))
    if "regularize" in used or "augment" in used:
        used_ones = " and ".join(sorted(used & {"regularize", "augment"}))
        why = f"{used_ones} make examples harder, which a run that has not learnt them cannot use"
        found.append((f"--without {min(used & {'regularize', 'augment'})}", why))
    found.append(("--network", "a wider or deeper network can hold more, if the time allows it"))
    return found
