"""cells: trains what an ablation asks for: every recipe with every seed, one process or several.

Each fit leaves a run in its folder, so that a stopped ablation goes on, and so that processes can
work on one ablation side by side: a fit belongs to whoever holds its lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from shoestring.autopilot import asking, cell_runs, cell_seconds
from shoestring.autopilot.ablation import RUNS, Plan, folder_of, spent, write
from shoestring.autopilot.beside import Mates, claimed
from shoestring.autopilot.design import Cell
from shoestring.autopilot.train import loaded
from shoestring.core import jobs
from shoestring.core.budget import Budget
from shoestring.core.errors import DataError, Interrupted, RunError
from shoestring.core.jobs import Job
from shoestring.core.listener import Listener
from shoestring.core.plain import to_plain
from shoestring.core.quantity import plain_quality
from shoestring.core.run import Recipe, Run
from shoestring.data.names import counted
from shoestring.engine import store
from shoestring.engine.effects import FEWEST_SEEDS

if TYPE_CHECKING:
    from shoestring.engine.interrupt import Interrupt
    from shoestring.engine.pool import Halves, Pool, Rates

FEWEST_EXAMPLES = 6  # of the validation split
LATE = 0.98  # of a fit's seconds: fewer are worth a note


@dataclass
class Work:
    """One ablation in progress."""

    home: Path
    plan: Plan
    clock: Budget
    listener: Listener
    resumed: bool
    leads: bool = True  # or is a mate of the process that does
    parts: int = 1  # equal ones of a larger ablation, of which this is one

    def done(self, stop: Interrupt) -> None:
        """Trains what is not trained yet."""
        from shoestring.engine import device, pool

        if not self._unfinished():
            return  # there is nothing left but to look at it again
        if self.plan.seeds < FEWEST_SEEDS:
            self._note(
                f"{counted(self.plan.seeds, 'seed')} of each recipe can say which run beats which, "
                f"but not whether a technique helps: that takes --seeds {FEWEST_SEEDS} or more"
            )
        if self.plan.recipe.options.get(asking.GROUPS):
            self._note(
                "intervals count examples of one group as independent; where a group is mostly "
                "right or mostly wrong as a whole they are too narrow"
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
        halves = (pool.Halves.held_out if self.plan.held_out else pool.Halves.of)(dataset)
        runs = self._prepared(replace(bare, receipts=()), halves)
        work = pool.Pool(halves, stop)
        if self.leads:
            self._timed(work, runs)
            write(self.home, self.plan)
        where = jobs.pool()
        if where is not None:
            self._spread(where, runs, stop)
            self._written()
            return
        with Mates(
            self.home, self.plan.processes - 1 if self.leads else 0, recipe.threads
        ) as mates:
            in_time = self._trained(work, runs, mates)
            # What a mate left unfinished, because it failed there or was killed, is tried here.
            while self.leads and mates.ended(self.clock, stop) and in_time and self._unfinished():
                in_time = self._trained(work, runs, mates)
        self._written()

    def left(self) -> None:
        """What is kept when the work ends early: nothing, where it began here and no fit was
        finished."""
        if (self.home / RUNS).exists() and any((self.home / RUNS).rglob(store.RUN)):
            self._written()
        elif not self.resumed:
            store.remove(self.home)

    def _written(self) -> None:
        if not self.leads:
            return
        self.plan = replace(self.plan, used_seconds=self.clock.elapsed())
        write(self.home, self.plan)

    def _seeds(self) -> range:
        first = self.plan.recipe.seed
        return range(first, first + self.plan.seeds)

    def _unfinished(self) -> list[tuple[Cell, int]]:
        """The fits that are still to be made, seed by seed, so that a slow hour of the machine
        meets all the recipes alike."""
        cells = [cell for cell in self.plan.trained if cell.name not in self.plan.failures]
        if not cells:
            return []  # all of them failed
        return [
            (cell, seed)
            for number, seed in enumerate(self._seeds())
            for cell in (*cells[number % len(cells) :], *cells[: number % len(cells)])
            if not self._finished(cell, seed)
        ]

    def _finished(self, cell: Cell, seed: int) -> bool:
        return (folder_of(self.home, cell.name, seed) / store.RUN).exists()

    def _note(self, text: str) -> None:
        if text not in self.plan.notes:
            self.listener.say(text)
            self.plan = replace(self.plan, notes=(*self.plan.notes, text))

    def _prepared(self, bare: Run, halves: Halves) -> dict[str, Run]:
        """A run of each recipe, decided from the part of the data that the fits may see."""
        fits = max(1, len(self.plan.cells) * self.plan.seeds)
        seconds = None
        if self.clock.seconds is not None:
            each = self.plan.processes * max(1.0, self.clock.remaining()) / fits
            seconds = self.plan.fit_seconds or each
        self.plan, runs = cell_runs.prepared(self.plan, bare, halves.dataset, seconds, self._note)
        return runs

    def _timed(self, work: Pool, runs: Mapping[str, Run]) -> None:
        """Measures each network, which also warms up for the first fit, and shares the budget."""
        networks = {name: str(run.recipe.network) for name, run in runs.items()}
        share = self.plan.fit_seconds is None and self.clock.seconds is not None
        rates: dict[str, Rates] = {}
        for name, network in networks.items():
            if network not in rates and (share or not rates):
                rates[network] = work.rates(runs[name])
        if share:
            self.plan = cell_seconds.shared(self.plan, networks, rates, self.clock, self.parts)

    def _trained(self, work: Pool, runs: Mapping[str, Run], mates: Mates) -> bool:
        """Every fit that is not finished yet and that nobody else works on. False where the budget
        was over before."""
        every = len(self.plan.trained) * self.plan.seeds
        late = 0
        for cell, seed in self._unfinished():
            if cell.name not in runs or cell.name in self.plan.failures:
                continue
            path = folder_of(self.home, cell.name, seed)
            with claimed(self.home, f"{cell.name}-{seed}") as mine:
                if not mine or self._finished(cell, seed):
                    continue
                if path.exists():  # it was killed
                    store.remove(path)
                store.create(path)
                run = replace(runs[cell.name], path=path)
                recipe = self._settled(cell, runs) or work.settled(run, self.plan.fit_seconds)
                run = replace(run, recipe=replace(recipe, seed=seed))
                most = self._each()
                if most is not None and self.plan.fit_seconds is not None:
                    if most <= 0:
                        store.remove(path)
                        self._over(every)
                        return False
                    late += most < LATE * self.plan.fit_seconds
                try:
                    done = work.fitted(run, self._seconds(cell.name, run, most))
                except RunError as error:
                    if not self.leads:
                        continue  # who leads tries it again, and notes what comes
                    self._failed(cell, error)
                    continue
            self._told(every - len(self._unfinished()), every, cell, done)
            self._written()
            mates.start(self.clock)
        if late:
            self._note(
                f"{counted(late, 'fit')} of {every} had fewer seconds than the others: the fits "
                "before took longer than was measured beforehand"
            )
        return True

    def _over(self, every: int) -> None:
        """Says that the budget does not hold what is left."""
        done = every - len(self._unfinished())
        self._note(
            f"the budget was over after {done} of {counted(every, 'fit')}; for the others: "
            f"shoestring ablate --resume {self.home} --budget TIME"
        )

    def _spread(self, where: jobs.Pool, runs: Mapping[str, Run], stop: Interrupt) -> None:
        """Every fit that is not finished yet, in a pool. The first is alone: in its precision and
        threads the others are fitted."""
        from shoestring.engine import fits

        left = deque((c, s) for c, s in self._unfinished() if c.name in runs)
        every, going = len(left), dict[str, tuple[Cell, int]]()
        threads = self.plan.recipe.threads or 1
        try:
            while (left or going) and self.clock.remaining() > 0:
                if stop.asked:
                    raise Interrupted("stopped while other processes were at work")
                alone = len(left) + len(going) == every
                while left and not (alone and going) and where.room(threads):
                    cell, seed = left.popleft()
                    if cell.name in self.plan.failures:
                        continue
                    known = self._settled(cell, runs) or runs[cell.name].recipe
                    settled = replace(known, seed=seed)
                    run = replace(runs[cell.name], path=Path(), recipe=settled)
                    seconds = self._seconds(cell.name, run, self._each())
                    values = to_plain(fits.Cell(run, seconds, self.plan.held_out))
                    gpus = int(settled.device.startswith("cuda"))
                    job = Job(f"{cell.name}-{seed}", fits.CELL, values, cpus=threads, gpus=gpus)
                    going[job.name] = cell, seed
                    where.submit(job)
                for done in where.results():
                    cell, seed = going.pop(done.job.name)
                    if done.error:
                        self._failed(cell, RunError(done.error))
                        continue
                    path = folder_of(self.home, cell.name, seed)
                    fits.taken(path, done.files)
                    self._told(every - len(left) - len(going), every, cell, store.read(path))
                    self._written()
        finally:
            where.stop()

    def _seconds(self, name: str, run: Run, most: float | None) -> float | None:
        """Of a fit of this recipe, judging it aside, of which each fit that is left can have so
        many at the `most`; None: as many steps as the recipe says."""
        if self.plan.fit_seconds is None or most is None:
            return None
        return cell_seconds.of_fit(self.plan, name, most, spent(run))

    def _each(self) -> float | None:
        """Seconds to train that each fit that is left can have; None where nothing limits it."""
        if self.clock.seconds is None:
            return None
        left = [cell.name for cell, _ in self._unfinished()]
        return cell_seconds.each(self.plan, left, self.clock)

    def _settled(self, cell: Cell, runs: Mapping[str, Run]) -> Recipe | None:
        """The cell's recipe in the precision and threads of the first fit of its network: recipes
        of one network are fitted alike, whichever of them was measured first. None where none of
        them was."""
        recipe = runs[cell.name].recipe
        if recipe.precision is not None and recipe.threads is not None:
            return recipe
        alike = [name for name in runs if runs[name].recipe.network == recipe.network]
        for name in alike:
            for seed in self._seeds():
                path = folder_of(self.home, name, seed)
                if (path / store.RUN).exists():
                    kept = store.read(path).recipe
                    return replace(
                        recipe,
                        precision=recipe.precision or kept.precision,
                        threads=recipe.threads or kept.threads,
                    )
        return None

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
            f"{plain_quality(scores.quality or 0.0, scores.metric)}, {seconds:.1f} s"
        )
