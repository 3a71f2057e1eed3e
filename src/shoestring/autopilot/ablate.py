"""ablate: trains with and without each technique, over seeds, and says what each one buys."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoestring import plugins
from shoestring.autopilot import statements
from shoestring.autopilot.ablation import RUNS, Ablation, Plan, folder_of, read_plan, write
from shoestring.autopilot.design import Cell, Design, name_of
from shoestring.autopilot.train import (
    asked,
    base_recipe,
    clock_of,
    completed,
    equipped,
    free_folder,
    loaded,
    seconds_of,
)
from shoestring.core.budget import Budget
from shoestring.core.errors import DataError, Interrupted, RunError, UserError
from shoestring.core.listener import Listener, Quiet
from shoestring.core.protocols import Dataset
from shoestring.core.run import Recipe, Run
from shoestring.core.techniques import Technique
from shoestring.data.names import counted
from shoestring.engine import store
from shoestring.engine.effects import FEWEST_SEEDS

if TYPE_CHECKING:
    from shoestring.engine.pool import Pool, Rates

LEAST_STEPS = 50  # of a fit that is worth judging
FIT_SECONDS = 2.0  # that each fit spends on measuring its own rate
END_SECONDS = 1.0  # to compute the table and to end
FEWEST_EXAMPLES = 6  # of the validation split
LATE = 0.98  # of a fit's seconds: fewer are worth a note
MOST_JUDGING = 0.3  # of a fit's part of the budget, that is kept back for judging it


def ablate(
    source: str | os.PathLike[str] | None = None,
    *,
    techniques: Sequence[Technique | str] = (),
    seeds: int = 3,
    factorial: bool = False,
    task: str | None = None,
    without: Sequence[str] = (),
    budget: Budget | str | float | None = None,
    steps: int | None = None,
    epochs: float | None = None,
    recipe: str | os.PathLike[str] | Recipe | None = None,
    network: str | None = None,
    seed: int | None = None,
    device: str | None = None,
    threads: int | None = None,
    options: Mapping[str, Any] | None = None,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    listener: Listener | None = None,
) -> Ablation:
    """Trains the recipe without any of the techniques, with each of them, with all, and with all
    but each; or, `factorial`, all combinations. Every recipe is trained with every seed, each fit
    for the same part of the budget (or for the steps or epochs that were asked for).

    A third of the validation split is what the fits decide on; gains are measured on the rest,
    and again on examples that are spoilt. The test split stays closed. With `resume`, `out` (or
    `source`) is an unfinished ablation, and nothing else but `budget` counts.

    Raises UserError where the budget is too small, and says what it would need; Interrupted, with
    all finished fits kept, when asked to stop.
    """
    from shoestring.engine import interrupt

    listener = listener or Quiet()
    equipped()
    with interrupt.listening() as stop:
        if resume:
            home = Path(out or source or "")
            plan = read_plan(home)
            limit = seconds_of(budget) or plan.limit_seconds
            clock = clock_of(budget, limit, plan.used_seconds)
            work = _Work(home, replace(plan, limit_seconds=limit), clock, listener, True)
        else:
            said = {"network": network, "seed": seed, "device": device, "threads": threads}
            lengths = {"steps": steps, "epochs": epochs, "budget_seconds": seconds_of(budget)}
            words = tuple(
                plugins.words(plugins.technique(t) if isinstance(t, str) else t) for t in techniques
            )
            base = asked(
                base_recipe(source, task, recipe), True, without, options or {}, said, lengths
            )
            plan = _planned(base, words, factorial, seeds)
            clock = clock_of(budget, base.budget_seconds)
            plan = replace(plan, limit_seconds=clock.seconds)
            home = Path(out) if out is not None else free_folder(base.source, "ablation")
            work = _Work(home, plan, clock, listener, False)
            store.create(home)
        try:
            work.done(stop)
        except (UserError, KeyboardInterrupt) as error:
            work.left()
            if isinstance(error, Interrupted):
                raise Interrupted(
                    f"stopped; the fits that were finished are kept; go on with: "
                    f"shoestring ablate --resume {home}"
                ) from error
            raise
    return statements.read(home)


def _planned(base: Recipe, techniques: tuple[str, ...], factorial: bool, seeds: int) -> Plan:
    """What is to be trained. UserError for what nothing could come of."""
    if seeds < 1:
        raise UserError(f"seeds is a number of trainings of each recipe from 1, not {seeds}")
    design = Design(techniques, factorial)
    if factorial and seeds == 1:
        raise UserError(
            "--factorial speaks of techniques, and one seed says nothing of these; give "
            f"--seeds {FEWEST_SEEDS}, or leave --factorial out"
        )
    cells = tuple(cell.name for cell in design.cells())
    recipe = replace(base, open_test=False, plan=(), evaluate_every=None)
    return Plan(recipe, techniques, factorial, seeds, cells)


@dataclass
class _Work:
    """One ablation in progress."""

    home: Path
    plan: Plan
    clock: Budget
    listener: Listener
    resumed: bool

    def done(self, stop: Any) -> None:
        """Trains what is not trained yet."""
        from shoestring.engine import device, pool

        if all(self._finished(cell, seed) for cell in self.plan.trained for seed in self._seeds()):
            return  # there is nothing left but to look at it again
        if self.plan.seeds < FEWEST_SEEDS:
            self._note(
                f"{counted(self.plan.seeds, 'seed')} of each recipe can say which run beats which, "
                f"but not whether a technique helps: that takes --seeds {FEWEST_SEEDS} or more"
            )
        recipe = replace(self.plan.recipe, device=device.resolve(self.plan.recipe.device))
        self.plan = replace(self.plan, recipe=recipe)
        bare = Run(self.home, recipe.task, recipe)
        dataset, bare = loaded(bare, self.clock, self.listener)
        recorded = self.plan.recipe.fingerprint
        if recorded and recorded != dataset.fingerprint:
            raise RunError(
                f"the data of {self.home} ({recipe.source}) are not what they were when it began; "
                "put them back, or start a new ablation"
            )
        if len(dataset.validation) < FEWEST_EXAMPLES:
            raise DataError(
                f"the validation split has {counted(len(dataset.validation), 'example')}, on which "
                "no gain can be measured; give a larger one"
            )
        self.plan = replace(self.plan, recipe=replace(recipe, fingerprint=dataset.fingerprint))
        runs = self._prepared(replace(bare, receipts=()), dataset)
        work = pool.Pool(pool.Halves.of(dataset), stop)
        rates = work.rates(next(iter(runs.values())))  # which also warms up for the first fit
        if self.plan.fit_seconds is None and self.clock.seconds is not None:
            self.plan = self._shared(rates, len(runs))
        write(self.home, self.plan)
        self._trained(work, runs)
        self._written()

    def left(self) -> None:
        """What is kept when the work ends early: nothing, where it began here and no fit was
        finished."""
        if (self.home / RUNS).exists() and any((self.home / RUNS).rglob(store.RUN)):
            self._written()
        elif not self.resumed:
            store.remove(self.home)

    def _written(self) -> None:
        self.plan = replace(self.plan, used_seconds=self.clock.elapsed())
        write(self.home, self.plan)

    def _seeds(self) -> range:
        first = self.plan.recipe.seed
        return range(first, first + self.plan.seeds)

    def _finished(self, cell: Cell, seed: int) -> bool:
        return (folder_of(self.home, cell.name, seed) / store.RUN).exists()

    def _note(self, text: str) -> None:
        if text not in self.plan.notes:
            self.listener.say(text)
            self.plan = replace(self.plan, notes=(*self.plan.notes, text))

    def _prepared(self, bare: Run, dataset: Dataset) -> dict[str, Run]:
        """A run of each recipe, complete but for its seed. Techniques that cannot stand together
        are not trained together, which is noted."""
        fits = max(1, len(self.plan.cells) * self.plan.seeds)
        seconds = None
        if self.clock.seconds is not None:
            seconds = self.plan.fit_seconds or max(1.0, self.clock.remaining()) / fits
        found: dict[str, Run] = {}
        for cell in self.plan.trained:
            try:
                found[cell.name] = self._of(cell, bare, dataset, seconds)
            except UserError as error:
                if len(cell.techniques) < 2:
                    raise
                self._note(f"{cell} were not trained in one recipe: {error}")
        self.plan = replace(self.plan, cells=tuple(found))
        return found

    def _of(self, cell: Cell, bare: Run, dataset: Dataset, seconds: float | None) -> Run:
        """The run of a recipe: the base without any of the techniques, and then with its own."""
        own = {name_of(words) for words in cell.techniques}
        absent = [n for n in dict.fromkeys(map(name_of, self.plan.techniques)) if n not in own]
        base = bare.recipe
        recipe = replace(
            base,
            budget_seconds=seconds,
            hooks=tuple(h for h in base.hooks if name_of(h) not in {*own, *absent}),
            without=(*(n for n in base.without if n not in own), *absent),
        )
        chosen = tuple(map(plugins.technique, cell.techniques))
        return completed(replace(bare, recipe=recipe), chosen, dataset, Budget(seconds), seconds)

    def _shared(self, rates: Rates, recipes: int) -> Plan:
        """The plan with the seconds of each fit, the same for all. UserError, with what it would
        need, where they are too few."""
        count = recipes * self.plan.seeds
        asked = self.clock.seconds or 0.0
        each = (self.clock.remaining() - END_SECONDS) / count
        least = LEAST_STEPS * rates.step_seconds + FIT_SECONDS + rates.judge_seconds
        if each < least:
            needed = count * least + self.clock.elapsed() + END_SECONDS
            raise UserError(
                f"{counted(recipes, 'recipe')} with {counted(self.plan.seeds, 'seed')} each are "
                f"{counted(count, 'fit')}; with {LEAST_STEPS} steps each that would need about "
                f"{needed:.0f} s, and {asked:.0f} s were asked for; give --budget "
                f"{_rounded(needed)}, fewer techniques, or fewer seeds"
            )
        judging = min(rates.judge_seconds, MOST_JUDGING * each)
        return replace(
            self.plan,
            fit_seconds=each - judging,
            judge_seconds=judging,
            idle_seconds=rates.idle_seconds,
        )

    def _trained(self, work: Pool, runs: Mapping[str, Run]) -> None:
        """Every fit that is not finished yet, seed by seed, so that a slow hour of the machine
        meets all the recipes alike."""
        cells = [cell for cell in self.plan.trained if cell.name in runs]
        todo = [
            (cell, seed)
            for number, seed in enumerate(self._seeds())
            for cell in (*cells[number % len(cells) :], *cells[: number % len(cells)])
        ]
        # Recipes of one network are fitted in one precision, whichever of them was measured first.
        precisions: dict[str, tuple[str | None, int | None]] = {}
        late = 0
        for number, (cell, seed) in enumerate(todo):
            if cell.name in self.plan.failures:
                continue
            path, run = folder_of(self.home, cell.name, seed), runs[cell.name]
            network = repr(run.recipe.network)
            if self._finished(cell, seed):
                kept = store.read(path).recipe
                precisions.setdefault(network, (kept.precision, kept.threads))
                continue
            if path.exists():  # it was killed
                store.remove(path)
            store.create(path)
            known = precisions.get(network, (None, None))
            recipe = replace(
                run.recipe,
                seed=seed,
                precision=run.recipe.precision or known[0],
                threads=run.recipe.threads or known[1],
            )
            seconds = self.plan.fit_seconds
            if seconds is not None:
                each = (self.clock.remaining() - END_SECONDS) / (len(todo) - number)
                most = each - self.plan.judge_seconds
                late += most < LATE * seconds
                seconds = max(0.0, min(seconds, most)) + self.plan.idle_seconds
            try:
                done = work.fitted(replace(run, path=path, recipe=recipe), seconds)
            except RunError as error:
                self._failed(cell, error)
                continue
            precisions.setdefault(network, (done.recipe.precision, done.recipe.threads))
            self._told(number + 1, len(todo), cell, done)
            self._written()
        if late:
            self._note(
                f"the machine slowed down: {counted(late, 'fit')} of {len(todo)} had fewer seconds "
                "than the others"
            )

    def _failed(self, cell: Cell, error: RunError) -> None:
        self.listener.say(f"{cell}: {error}")
        self.plan = replace(self.plan, failures={**self.plan.failures, cell.name: str(error)})
        self._written()

    def _told(self, number: int, total: int, cell: Cell, done: Run) -> None:
        scores = done.scores
        assert scores is not None
        seconds = sum(r.cost.wall_seconds for r in done.receipts if r.technique == "fit")
        self.listener.say(
            f"fit {number} of {total}: {cell}, seed {done.recipe.seed}: {scores.metric} "
            f"{scores.quality:.4f}, {seconds:.1f} s"
        )


def _rounded(seconds: float) -> str:
    """A little more than so many seconds, as a person writes it."""
    return f"{int(seconds * 1.1) + 1}s" if seconds < 100 else f"{int(seconds * 1.1 / 60) + 1}m"
