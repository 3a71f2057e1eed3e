"""pacing: turns a budget in seconds into a recorded number of steps, and keeps to it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace

import torch

from shoestring import plugins
from shoestring.core.budget import Budget
from shoestring.core.listener import Listener
from shoestring.core.placement import Placement
from shoestring.core.plain import from_plain, to_plain
from shoestring.core.run import PlanChange, Recipe, Run
from shoestring.data.names import counted
from shoestring.engine import rates, schedule, store
from shoestring.engine.device import busy as machine_busy
from shoestring.engine.device import default_threads, precisions, wait
from shoestring.engine.loop import TIMED, Feeds, Loop, kind_of

# Between checkpoints on disk, at the least. Tests of killed processes want one at every look.
CHECKPOINT_SECONDS = float(os.environ.get("SHOESTRING_CHECKPOINT_SECONDS", "10"))
TRIAL_STEPS = 3  # thrown away before timing: first calls choose kernels and allocate
TRIAL_SHARE = 0.02  # of the budget, for each precision tried
TRIAL_SECONDS = 1.0  # and at most this long
TRIALS_SHARE = 0.06  # of the budget: where the first precision took more, no other one is tried
EVALUATION_SHARE = 0.04  # of a fit, spent on looking at the validation split
MARGIN = 0.02  # of the fit's seconds, kept back against noise
AFTER_SECONDS = 3.0  # export, the process that grades, latency, card, and this process' end
AFTER_EVALUATIONS = 4.0  # passes over validation after the fit, in looks: float32 and the bundle
# The same for networks that write step by step: in a look torch does that, which takes longer than
# the runtime (2.2 to 2.8 passes were seen; the rest is for a machine that slows down).
AFTER_EVALUATIONS_STEPPED = 3.5
TEST_EVALUATIONS = 3.0  # more of them where the recipe opens the test split, whose size is sealed
MAX_EPOCHS = 300.0  # a budget that gives more gives the rest back: nothing is left to learn
DEFAULT_EPOCHS = 10  # where neither steps nor epochs nor a budget was said
COUNTED_EPOCHS = 20  # whose batches are made to be counted
BUNDLES_SHARE = 0.4  # of a fit's seconds, kept for the bundles of techniques that follow it
SETTLE_SHARE = 0.05  # of a budget, for what a network decides by measuring before it ships
SETTLE_SECONDS = 20.0  # and at most this long
FEW_STEPS = 50  # below it nothing much is learnt
FASTER = 1.05  # by how much a lower precision must win
WINDOW_SHARE = 0.1  # of the seconds left, over which the rate of a running fit is measured
WINDOW_SECONDS = (0.05, 10.0)  # and at least and at most so long
WINDOWS = 2  # that must agree: one slow window may be a hiccup, two are a slower machine
LAST_SECONDS = 3.0  # in which one window is enough
OVERRUN = (
    0.05  # of the seconds left, that a plan may seem to overrun them by before it is shortened
)
OVERRUN_SECONDS = 0.1  # and at least so much
MOST_CUT = 2  # one change leaves at least the MOST_CUT-th part of the steps that were left
SLOWEST_LOOK = 3.0  # times what looks took before, that one slow look counts for at the most
CUT_SECONDS = 30.0  # left, below which a change may cut all that does not fit
LONGER = 1.15  # by how much more must fit before the plan is lengthened
LAST_CALL, LAST_LONGER = 0.6, 1.08  # from this progress on: it is soon too late, and less will do
LENGTHEN_UNTIL = 0.7  # of the progress; after it the rate is too low for more steps to pay


@dataclass(frozen=True)
class Looks:
    """What is known of the seconds of a look, and so of what comes after the fit."""

    seconds: float = 0.0
    passes: float = AFTER_EVALUATIONS  # after the fit, in looks, which may take a part of it
    settling: float = 0.0  # seconds for what is decided between fit and export
    whole: float = AFTER_EVALUATIONS  # passes over validation after the fit
    bundles: int = 0  # that techniques on the finished run will make and grade in turn
    beyond: float = 0.0  # seconds for these behind the fit's own clock
    most: float = 0.0  # of the seconds on it, that they may take as well

    @staticmethod
    def of(run: Run, budget: Budget) -> Looks:
        """Before any was timed."""
        known, recipe = Looks(), run.recipe
        if recipe.then and recipe.budget_seconds is not None and budget.seconds is not None:
            beyond = max(0.0, recipe.budget_seconds - budget.seconds)
            most = BUNDLES_SHARE * budget.remaining()
            known = replace(known, bundles=len(recipe.then), beyond=beyond, most=most)
        if not plugins.task(run.task).network(kind_of(run)).settles:
            return known
        stepped = AFTER_EVALUATIONS_STEPPED
        return replace(known, passes=stepped, settling=settling_seconds(budget), whole=stepped)

    def after(self) -> float:
        """Seconds that the command needs once the fit has ended, of those on the fit's clock."""
        own = AFTER_SECONDS + self.passes * self.seconds + self.settling
        return own + min(self.most, max(0.0, self.bundles * own - self.beyond))


def settling_seconds(budget: Budget) -> float:
    """What may be spent on measuring between fit and export."""
    return min(SETTLE_SECONDS, SETTLE_SHARE * (budget.seconds or SETTLE_SECONDS / SETTLE_SHARE))


def planned(
    run: Run, feeds: Feeds, budget: Budget, placement: Placement, listener: Listener
) -> tuple[Run, Looks]:
    """The run with precision, threads, steps and looks decided and the plan's first line written.

    Steps that were asked for are taken; epochs are counted in batches; a budget is divided by
    the rate of steps that are thrown away.
    """
    recipe = replace(run.recipe, threads=run.recipe.threads or default_threads())
    trial, looks = Trial(recipe.precision or "", recipe.threads or 1, 0.0), Looks.of(run, budget)
    known = rates.read(run.path)
    if known is not None and known.hold_for(recipe):
        trial = Trial(known.precision, known.threads, known.step_seconds)
        looks = replace(looks, seconds=known.look_seconds, passes=known.passes)
    elif recipe.precision is None or budget.seconds is not None:
        listener.say("measuring the rate on throw-away steps")
        trial = fastest(run, feeds, budget, placement)
        recipe = replace(recipe, precision=trial.precision, threads=trial.threads)
        if budget.seconds is not None:
            looks = timed_look(replace(run, recipe=recipe), feeds, placement, looks)
    per_epoch = steps_of(recipe, feeds, 1.0)
    asked = recipe.steps
    if asked is None and recipe.epochs is not None:
        asked = steps_of(recipe, feeds, recipe.epochs)
    steps, reason = asked or DEFAULT_EPOCHS * per_epoch, "as asked"
    if asked is None:
        reason = f"{DEFAULT_EPOCHS} epochs, for want of a budget"
    count = min(20.0, max(1.0, steps / per_epoch))  # one look an epoch
    if budget.seconds is not None:
        left = max(0.0, budget.remaining() - looks.after())
        count = max(1.0, EVALUATION_SHARE * left / max(looks.seconds, 1e-3), left / 60)
        count = min(count, 50.0)
        affordable = int((left - count * looks.seconds) * (1 - MARGIN) / trial.step_seconds)
        steps, reason = asked or round(MAX_EPOCHS * per_epoch), "as asked"
        if affordable < steps:
            steps = affordable
            reason = f"{left:.1f} s for the fit at {1 / trial.step_seconds:.1f} steps a second"
        elif asked is None:
            reason = f"{MAX_EPOCHS:.0f} epochs are enough"
    steps = max(1, steps)
    if steps < FEW_STEPS and steps < (asked or FEW_STEPS):
        listener.say(
            f"the budget gives {counted(steps, 'step')}, {steps / per_epoch:.2f} of an epoch: "
            f"expect little"
        )
    every = recipe.evaluate_every or max(1, -(-steps // round(count)))
    recipe = replace(recipe, evaluate_every=every, plan=(PlanChange(0, steps, reason),))
    recipe = from_plain(Recipe, placement.told(to_plain(recipe)))  # of one clock
    return replace(run, recipe=recipe), looks


def steps_of(recipe: Recipe, feeds: Feeds, epochs: float) -> int:
    """The steps of so many epochs. Where batches are filled by tokens their number varies from
    epoch to epoch, so that the first ones are counted and stand for the rest."""
    counted_epochs = max(1, min(int(epochs), COUNTED_EPOCHS))
    batch_size = recipe.batch_size or 1
    batches = [len(feeds.train.order(batch_size, recipe.seed, e)) for e in range(counted_epochs)]
    rest = (epochs - counted_epochs) * sum(batches) / counted_epochs
    return max(1, round((sum(batches) + rest) / (recipe.accumulate or 1)))


def timed_look(run: Run, feeds: Feeds, placement: Placement, looks: Looks) -> Looks:
    """A look at validation by weights that are thrown away, timed."""
    loop = Loop(run, feeds, placement)
    began = time.perf_counter()
    loop.evaluate()
    seconds = time.perf_counter() - began
    # A look may take a part of the split; what comes after the fit takes all of it.
    return replace(looks, seconds=seconds, passes=_passes(looks, run.recipe, loop.looked_share))


def _passes(looks: Looks, recipe: Recipe, share: float) -> float:
    """Over validation after the fit, in looks that take this share of it."""
    return looks.whole / share + (TEST_EVALUATIONS if recipe.open_test else 0.0)


@dataclass(frozen=True)
class Trial:
    """What some steps that were thrown away showed."""

    precision: str
    threads: int
    step_seconds: float


def fastest(run: Run, feeds: Feeds, budget: Budget, placement: Placement) -> Trial:
    """The fastest precision, and one thread where that is faster still: beside other work, threads
    that wait for each other at every operation can be many times slower than one."""

    def tried(precision: str, threads: int) -> Trial:
        torch.set_num_threads(threads)
        loop = Loop(run.with_recipe(precision=precision, threads=threads), feeds, placement)
        return Trial(precision, threads, placement.told(seconds_a_step(loop, budget)))

    cores, agree = default_threads(), placement.agree
    open_ = run.recipe.threads is None and cores > 1 and placement.device == "cpu"
    busy = open_ and agree(machine_busy(cores))  # several would take too long to try
    threads = 1 if busy else run.recipe.threads or cores
    said = run.recipe.precision
    offered = (said,) if said else precisions(placement.device)
    began, most = time.perf_counter(), TRIALS_SHARE * max(0.0, budget.remaining())
    trials: list[Trial] = []
    for precision in offered:
        if not trials or agree(time.perf_counter() - began <= most):
            trials.append(tried(precision, threads))
    best = min(trials, key=lambda t: t.step_seconds * (1 if t.precision == "float32" else FASTER))
    if open_ and (not busy or agree(time.perf_counter() - began <= most)):
        best = min(best, tried(best.precision, cores if busy else 1), key=lambda t: t.step_seconds)
    torch.set_num_threads(best.threads)
    return best


def seconds_a_step(loop: Loop, budget: Budget) -> float:
    """Seconds a step of a loop that is thrown away afterwards."""
    limit = min(TRIAL_SECONDS, max(0.0, budget.remaining()) * TRIAL_SHARE)
    began = time.perf_counter()
    for _ in range(TRIAL_STEPS):
        loop.step(TIMED, 0.0)
        if loop.placement.agree(time.perf_counter() - began > limit):
            break
    wait(loop.placement.device)
    began, steps = time.perf_counter(), 0
    while steps < 1 or not loop.placement.agree(time.perf_counter() - began >= limit):
        loop.step(TIMED, 0.0)
        steps += 1
    wait(loop.placement.device)
    return (time.perf_counter() - began) / steps


class Pace:
    """Watches the clock during a fit and changes the plan, in writing and before it takes effect,
    where the present rate would overrun the budget, or would leave much of it unused."""

    def __init__(self, run: Run, budget: Budget, looks: Looks, placement: Placement) -> None:
        self.plan = run.recipe.plan
        self._recipe: Recipe = run.recipe
        self._budget, self._looks, self._placement = budget, looks, placement
        self._step_seconds = 0.0
        self._every = run.recipe.evaluate_every or 0
        self._began, self._steps, self._fresh = time.monotonic(), 0, False
        self._over = self._under = 0  # windows in a row

    def stepped(self) -> None:
        """Counts a step; once a window has passed, the rate is what that window showed."""
        self._steps += 1
        seconds = time.monotonic() - self._began
        if seconds >= self._window() and self._steps > TRIAL_STEPS:
            wait(self._placement.device)
            now = time.monotonic()
            self._step_seconds = (now - self._began) / self._steps
            self._began, self._steps, self._fresh = now, 0, True

    def evaluated(self, seconds: float, share: float) -> None:
        """Notes a look at a share of the validation split; its seconds are no step's. What comes
        after the fit is many looks, so that one that was slow alone must not count in full."""
        before = self._looks.seconds or seconds
        seen = min(seconds, SLOWEST_LOOK * before)
        passes = _passes(self._looks, self._recipe, share)
        self._looks = replace(self._looks, seconds=(before + seen) / 2, passes=passes)
        self._began += seconds

    def _window(self) -> float:
        least, most = WINDOW_SECONDS
        return min(most, max(least, WINDOW_SHARE * self._left()))

    def _left(self) -> float:
        """Seconds for the rest of the fit."""
        return self._budget.remaining() - self._looks.after()

    def seconds_left(self, step: int) -> float:
        """What the rest of the fit will take at the present rate."""
        left = self.plan[-1].total_steps - step
        looks = -(-left // self._every) if self._every else 0
        return left * self._step_seconds + looks * self._looks.seconds

    def kept(self, run: Run, step: int) -> Run:
        """The run, with a changed plan where the lead's clock asks for one. A record that reaches
        beyond this step is replayed first."""
        fresh, self._fresh = self._fresh, False
        if self._budget.seconds is None or step < self.plan[-1].at_step:
            return run
        change = self._asked(step) if fresh and self._placement.lead else None
        if not self._placement.agree(change is not None):
            return run
        told = self._placement.told(None if change is None else to_plain(change))
        return self.change(run, from_plain(PlanChange, told))

    def _asked(self, step: int) -> PlanChange | None:
        """What the clock asks for after a window that it has just measured."""
        left = self._left()
        rest = self.plan[-1].total_steps - step
        affordable = max(1, int(left / self._whole_step_seconds()))
        over = self.seconds_left(step) - left > max(OVERRUN_SECONDS, OVERRUN * left)
        late = schedule.progress(self.plan, step) >= LAST_CALL
        longer = LAST_LONGER if late else LONGER
        under = affordable >= longer * rest and self._may_lengthen(step)
        self._over = self._over + 1 if over and affordable < rest else 0
        self._under = self._under + 1 if under else 0
        enough = WINDOWS if left > LAST_SECONDS else 1
        if max(self._over, self._under) < enough:
            return None
        self._over = self._under = 0
        steps = min(affordable, 3 * rest)
        rate = f"{max(0.0, left):.1f} s left at {1 / self._step_seconds:.1f} steps a second"
        least = -(-rest // MOST_CUT)
        if steps < least and left > CUT_SECONDS:
            # A machine that stays slow is met by the next cuts; one that was busy for a while is
            # still early enough in its schedule to get its steps back.
            steps, rate = least, f"{rate}; no more is cut at once"
        return PlanChange(step, step + steps, rate)

    def _whole_step_seconds(self) -> float:
        """Of a step with its part of a look, and the margin."""
        part = self._looks.seconds / self._every if self._every else 0.0
        return (self._step_seconds + part) * (1 + MARGIN)

    def _may_lengthen(self, step: int) -> bool:
        """Only a plan that the clock made, and only while the rate is still high; a resumed fit
        waits for a look, which says what comes after it."""
        by_clock = self._recipe.steps is None and self._recipe.epochs is None
        ended = any(change.reason == "should_stop" for change in self.plan)
        enough = "are enough" in self.plan[0].reason
        early = schedule.progress(self.plan, step) < LENGTHEN_UNTIL
        return by_clock and early and not ended and not enough and self._looks.seconds > 0

    def change(self, run: Run, change: PlanChange) -> Run:
        """Writes a change of the plan down, and only then lets it take effect."""
        plan = (*(c for c in run.recipe.plan if c.at_step <= change.at_step), change)
        run = run.with_recipe(plan=plan)
        if self._placement.lead:
            store.write_started(run)
        self.plan = plan
        return run
