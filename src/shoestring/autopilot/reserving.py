"""reserving: what of a build's seconds is kept back, for what, and when too few are left."""

from __future__ import annotations

from dataclasses import dataclass

from shoestring.autopilot.build_record import Chosen, Record
from shoestring.autopilot.build_steps import LEAST_FIT_SECONDS, QUANTIZE_SECONDS
from shoestring.autopilot.knowledge import PROBE, QUANTIZE, Result
from shoestring.core.budget import Budget
from shoestring.core.errors import UserError
from shoestring.core.sizing import Gauge

END_SECONDS = 1.5  # to put the bundle in its place, to show the receipt, and to end
END_SHARE = 0.45  # and so much of what the start took: both are slow beside other work
MOST_START = 60.0  # seconds of a start that are taken to say how slow the end will be
TEST_START_SECONDS = 2.0  # of the process that grades
SPARE = 1.5  # on what a pass over the test split is expected to take
TEST_ROOM = 1.2  # on that, in what is kept: with less than was expected it is not opened
# Of the seconds after a fit as one look told them, with which a build is begun all the same: beside
# other work it may have been slow alone (multi30k: 73 s told, 17 taken), and what is short of time
# is graded with the quickest search.
BEGUN_WITH = 0.5
FEWEST_STEPS = 5  # that are worth a bundle: a budget buys steps, not epochs


@dataclass(frozen=True)
class Reserve:
    """The seconds of a build as it stands."""

    record: Record
    clock: Budget  # of the whole command
    start_seconds: float  # until there was a clock to ask
    tested: int  # examples of the test split
    validated: int  # and of validation

    # --- left ---

    def for_steps(self) -> float:
        """Left for steps: all but what is kept."""
        return self.clock.remaining() - self.kept()

    def kept(self) -> float:
        """For the test split and the end."""
        return self.for_end() + (0.0 if self._tight() else TEST_ROOM * self.for_test())

    def for_end(self) -> float:
        return END_SECONDS + END_SHARE * min(MOST_START, self.start_seconds)

    def for_test(self) -> float:
        """What opening the test split is expected to take: as the last grading, which starts a
        process and reads the data as well, with the passes of the two that were measured."""
        found = self.record.chosen
        if not self.tested or found is None:
            return 0.0
        each, ratio = found.gauge.pass_seconds, self.tested / max(1, self.validated)
        least = TEST_START_SECONDS + SPARE * each * ratio
        graded = [r.grade_seconds for r in self.record.results if r.grade_seconds > 0]
        return max(least, graded[-1] + each * (ratio - 1)) if graded else least

    def _tight(self) -> bool:
        """Whether nothing is finished yet, and the test split would take longer than training
        had: it can be opened any day."""
        found = self.record.chosen
        if found is None or usable(self.record.results):
            return False
        test = self.for_test()
        left = self.clock.remaining() - self.for_end() - test - self.after(found)
        return left - self.rounding(found) < max(least_fit(found.gauge), test)

    # --- rates ---

    def after(self, found: Chosen) -> float:
        """Seconds from the end of a fit until its bundle is graded, as the last one took them."""
        fits = [r for r in self.record.results if r.fit_seconds > 0 and not r.failure]
        if not fits:
            return found.gauge.after_seconds
        return max(0.5, fits[-1].seconds - fits[-1].fit_seconds)

    def rounding(self, found: Chosen) -> float:
        """Seconds of what makes the bundle keep to a limit of bytes, where it takes that."""
        most, without = self.record.limits.size_bytes, self.record.recipe.without
        if most is None or found.size_bytes <= most or QUANTIZE in without:
            return 0.0
        return QUANTIZE_SECONDS + self.after(found)

    def epoch(self, found: Chosen) -> float:
        """Seconds of an epoch, as the last fit of the chosen network showed; before that as
        throw-away steps did."""
        for one in reversed(self.record.results):
            own = one.step.kind == "fit" and one.step.name != PROBE
            if own and one.epochs > 0 and one.fit_seconds > 0:
                return one.fit_seconds / one.epochs
        return found.gauge.epoch_seconds

    # --- too few ---

    def refuse_no_time(self) -> None:
        """UserError where the start and the data have left nothing to train in."""
        if self.record.chosen is None and self.for_steps() < LEAST_FIT_SECONDS:
            raise self.too_few("the start and reading the data took")

    def refuse_too_small(self, found: Chosen) -> None:
        """UserError where not even some steps fit in before export and grading."""
        after, fit = found.gauge.after_seconds, least_fit(found.gauge)
        if self.for_steps() < BEGUN_WITH * after + fit:
            raise self.too_few(
                "the start, the data and a first look took",
                f"some steps, export and grading take about {after + fit:.0f} s more, ",
                after + fit + self.for_test(),
            )

    def too_few(
        self, taken: str, more: str = "", more_seconds: float = LEAST_FIT_SECONDS
    ) -> UserError:
        """What to say where nothing can be built in the seconds that were asked for."""
        used, end = self.clock.elapsed(), self.for_end()
        needed = used + more_seconds + end
        return UserError(
            f"{self.record.budget_seconds:g} s are too few here and now: {taken} {used:.1f} s, "
            f"{more}and the end about {end:.1f} s; give --budget {int(1.2 * needed) + 5}s or more"
        )


def least_fit(gauge: Gauge) -> float:
    """Seconds of training that are worth a bundle."""
    return min(LEAST_FIT_SECONDS, FEWEST_STEPS * gauge.step_seconds)


def usable(results: tuple[Result, ...]) -> bool:
    """Whether there is something to fall back on."""
    return any(one.bundled and not one.failure for one in results)
