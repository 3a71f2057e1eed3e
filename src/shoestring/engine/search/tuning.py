"""tuning: a search for better values of a recipe: planned, done, and what came of it."""

from __future__ import annotations

import errno
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

from shoestring import plugins
from shoestring.core import jobs
from shoestring.core.budget import Budget
from shoestring.core.errors import Interrupted, RunError, Skipped, UserError
from shoestring.core.plain import from_plain, to_plain
from shoestring.core.receipt import Interval, Receipt, Verdict
from shoestring.core.run import Run
from shoestring.core.trials import TrialLine, Trials
from shoestring.data.names import counted
from shoestring.engine import derive, store
from shoestring.engine.search import trial_words
from shoestring.engine.search.search_plan import Asked, moved, planned
from shoestring.engine.search.space import values_in, with_values
from shoestring.engine.search.study import DEFAULTS, LOCK, Study, hopeless, repaired
from shoestring.engine.search.trial import SEARCH, Bench, Search, ranked
from shoestring.engine.search.trial_gain import gained
from shoestring.engine.search.trial_words import summary
from shoestring.engine.search.workers import Crew

SPENT_SECONDS = 2.0  # between two notes of the seconds used, for whoever resumes
# Standard errors of the best quality, taken as a share of right answers: what lies within is told
# apart by its loss. A metric that is no share has about half the error of one.
NOISE, NOISE_OF_OTHERS = 1.0, 0.5


def tuned(run: Run, words: str, asked: Asked, budget: Budget) -> Run:
    """The run with the best values that a search found in its recipe, in the place of the words of
    the technique that asked, and its line. The data lie on the desk; a search that was begun in
    the run's folder goes on. Raises UserError for ranges that do not fit, Skipped where the budget
    is too small, Interrupted where somebody asked to stop, RunError where every trial failed."""
    hooks = tuple(hook for hook in run.recipe.hooks if hook != words)
    run = run.with_recipe(hooks=hooks)
    folder = run.path / store.TRIALS_FOLDER
    if (folder / SEARCH).exists():
        search = moved(read(folder), run, asked, budget)
    else:
        search = planned(run, asked, budget)
        folder.mkdir(exist_ok=True)
        store.write_atomically(folder / SEARCH, json.dumps(to_plain(search), indent=1) + "\n")
    try:
        return Tuning(run, search, budget, words).done()
    except OSError as error:  # of the journal; all else that is written says so itself
        why = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        raise RunError(
            f"cannot write the trials to {folder}: {why}; those that ended are kept; make room, "
            f"then: shoestring train --resume {run.path}"
        ) from error


@dataclass
class Tuning:
    """A search in the folder of a run, begun or gone on with."""

    run: Run  # as it was before: its recipe complete, no weights
    search: Search
    budget: Budget
    words: str  # of the technique, for its line
    _noted: float = 0.0

    def done(self) -> Run:
        """The run with the best values in its recipe, and a line that says how they were found.
        Interrupted where somebody asked; RunError where every trial failed."""
        folder, search = self.folder, self.search
        repaired(folder)
        recipe = search.run.recipe
        study = Study(folder, search.ranges, recipe.seed, search.stop, search.trials)
        before = study.taken_over()
        if before:
            derive.listener().say(f"the search goes on after {counted(before, 'trial')}")
        self._begun(study)
        self._worked(study)
        lines = study.lines()
        if self._asked():
            raise Interrupted(
                f"stopped in the search; {counted(len(lines), 'trial')} are kept; go on with: "
                f"shoestring train --resume {self.run.path}"
            )
        failure = hopeless(lines)
        if failure:
            raise RunError(f"{self.words}: {failure}")
        best = chosen(lines, self._examples(), plugins.task(self.run.task).perfect)
        if best is None:
            raise Skipped("not one trial ended within the seconds of the search")
        trials = self._table(study, lines, best)
        plain = json.dumps(to_plain(trials), indent=1, ensure_ascii=False) + "\n"
        store.write_atomically(self.run.path / store.TRIALS, plain)
        for left in folder.glob(f"{LOCK}*"):
            left.unlink()
        return self._told(trials, best)

    @property
    def folder(self) -> Path:
        return self.run.path / store.TRIALS_FOLDER

    def _begun(self, study: Study) -> None:
        """The trials before any that are drawn: the defaults, and values of other runs."""
        study.enqueue(self.search.given, DEFAULTS, self.search.defaults)
        for path in self.search.warm_starts:
            try:
                other = store.read(path)
            except RunError:  # it is gone since the search was planned
                continue
            architecture = other.architecture or {}
            drawn = values_in(other.recipe, architecture, self.search.ranges)
            study.enqueue(drawn, path)

    def _worked(self, study: Study) -> None:
        search = self.search
        deadline = float("inf")
        if search.until_seconds is not None:
            deadline = time.monotonic() + search.until_seconds - self.budget.elapsed()
        pool = jobs.pool()
        if search.processes > 1 and pool is None:
            threads = search.run.recipe.threads or 1
            Crew(
                self.folder, study, search.processes, threads, deadline, self._asked, self._heard
            ).work()
            return
        derive.dataset_of(self.run)  # lies on the desk for the fits of this process
        Bench(
            self.folder,
            search,
            study,
            self._examples(),
            deadline=deadline,
            asked=self._asked,
            told=self._heard,
            pool=pool,
        ).work()

    def _asked(self) -> bool:
        """Whether somebody asked to stop; asked often, so the seconds used are noted here."""
        if time.monotonic() - self._noted > SPENT_SECONDS:
            self._noted = time.monotonic()
            spent = store.Spent(self.budget.elapsed(), self.budget.seconds)
            store.write_spent(self.run.path, spent)
        return derive.desk().interrupt.asked

    def _heard(self, line: TrialLine) -> None:
        said = trial_words.trial(line, plugins.task(self.run.task).metric)
        counted_so_far = f"{line.number + 1} of {self.search.trials}"
        derive.listener().say(f"trial {line.number} ({counted_so_far}): {said}")

    def _examples(self) -> int:
        return len(derive.deciding(derive.dataset_of(self.run)))

    # --- what came of it -------------------------------------------------------------------------

    def _table(self, study: Study, lines: tuple[TrialLine, ...], best: TrialLine) -> Trials:
        first = next((x.steps for x in lines if x.origin == DEFAULTS), 0)
        return Trials(
            metric=plugins.task(self.run.task).metric,
            examples=self._examples(),
            asked=self.search.trials,
            lines=lines,
            best=best.number,
            importance=study.importance(),
            importance_of="PED-ANOVA of what every trial came to after its first, short fit"
            + (f" (a ninth of a whole trial; the defaults' was {first} steps)" if first else ""),
            ranges={one.name: str(one) for one in self.search.ranges},
            warm_starts=self.search.warm_starts,
            processes=self.search.processes,
            seconds=round(self.budget.elapsed() - self.search.began_seconds, 3),
            notes=self.search.notes,
        )

    def _told(self, trials: Trials, best: TrialLine) -> Run:
        """The run with the values of the best trial, and the line of the technique."""
        after = self.run
        gain: Interval | None = None
        verdict: Verdict = "not measured"
        why = "no trial was better than the defaults, which stay"
        if best.origin != DEFAULTS:
            after = with_values(after, self.search.ranges, best.values)
            gain, verdict, why = gained(self.folder, self.search, trials, best, self.budget)
        reason = "; ".join(filter(None, (summary(self.search, trials, best), why)))
        derive.listener().say(reason)
        line = Receipt(
            technique=self.words,
            options={"importance": dict(trials.importance), "best": to_plain(best.values)},
            gain=gain,
            verdict=verdict,
            reason=reason,
        )
        return after.with_receipt(line)


def chosen(lines: tuple[TrialLine, ...], examples: int, perfect: float) -> TrialLine | None:
    """The trial whose values are taken: of those trained longest, and as good as the best within
    the noise, the one of the least loss, which tells them apart more finely; None for no trial."""
    tried = ranked(list(lines))
    if not tried:
        return None
    longest = [line for line in tried if line.part == tried[0].part]
    best = tried[0].quality or 0.0
    share = min(1.0, max(0.0, best / perfect))
    error = perfect * math.sqrt(share * (1 - share) / max(1, examples))
    error *= NOISE if perfect == 1 else NOISE_OF_OTHERS
    near = [line for line in longest if (line.quality or 0.0) >= best - error]
    return min(near, key=lambda line: (line.loss or 0.0, -(line.quality or 0.0)))


def read(folder: Path) -> Search:
    """The search that was begun in a folder of trials."""
    try:
        plain = json.loads((folder / SEARCH).read_text(encoding="utf-8"))
        return from_plain(Search, plain, SEARCH)
    except (OSError, ValueError, UserError) as error:
        raise RunError(f"{folder / SEARCH} cannot be read: {error}; start a new run") from error
