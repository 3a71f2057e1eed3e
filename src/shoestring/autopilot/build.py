"""build: data, a budget and limits in; the best verified bundle that keeps to them out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from shoestring import plugins
from shoestring.autopilot import asking, build_record, finish, reaching, searching, train
from shoestring.autopilot.build_record import Record
from shoestring.autopilot.building import Work
from shoestring.core.budget import Budget
from shoestring.core.decisions import BuildPlan
from shoestring.core.errors import Interrupted, LimitsMissed, RunError, UserError
from shoestring.core.limits import Limits, parse_bytes, parse_milliseconds, parse_quality
from shoestring.core.listener import Listener, Quiet
from shoestring.core.run import Run
from shoestring.core.techniques import Technique
from shoestring.engine import alone, store


def build(
    source: str | os.PathLike[str] | None = None,
    *,
    budget: Budget | str | float | None = None,
    max_size: str | float | None = None,
    max_latency: str | float | None = None,
    min_quality: str | float | None = None,
    out: str | os.PathLike[str] | None = None,
    options: Mapping[str, Any] | None = None,
    seed: int | None = None,
    task: str | None = None,
    techniques: Sequence[Technique | str] = (),
    without: Sequence[str] = (),
    network: str | None = None,
    threads: int | None = None,
    dry_run: bool = False,
    resume: bool = False,
    listener: Listener | None = None,
) -> Run | BuildPlan:
    """Builds the best bundle that the budget and the limits allow, and returns the finished run;
    with `dry_run` the plan, before anything is trained.

    `budget` is the wall-clock of the whole call (`"5m"`, seconds, or a running Budget).
    `max_size` is of all files that are needed to predict (`"200KB"`, bytes), `max_latency` of one
    example on one thread (`"2ms"`, milliseconds), `min_quality` of the task's metric on validation
    (`0.9`, `"90%"`). `out` becomes a run's folder: the bundle lies in it, the runs on the way
    under `steps/`. With `resume`, `out` is an unfinished build and nothing else but `budget`
    counts.

    Raises UserError (and its kinds) for anything a person can put right; LimitsMissed where a
    limit was not reached, once the nearest bundle lies at `out`; Interrupted when asked to stop.
    """
    listener = listener or Quiet()
    train.equipped()
    if resume:
        if not (unfinished := out or source):
            raise UserError(
                "say which unfinished build to resume: shoestring build --resume --out bundle"
            )
        with alone.working_in(Path(unfinished)):
            return _built(_resumed(unfinished, budget, listener), resumed=True)
    record = _asked(
        source, task, techniques, without, options or {}, network, seed, threads,
        budget, (max_size, max_latency, min_quality),
    )  # fmt: skip
    home = Path(out) if out is not None else train.free_folder(record.recipe.source, "build")
    clock = train.clock_of(budget, record.budget_seconds)
    if dry_run:
        work = Work(Path(os.devnull) / "plan", record, clock, listener)
        work.looked()
        return work.plan()
    store.create(home)
    work = Work(home, record, clock, listener)
    with alone.working_in(home):
        return _built(work, resumed=False)


def _built(work: Work, resumed: bool) -> Run:
    from shoestring.engine import interrupt, seal

    try:
        build_record.write(work.home, work.record)
        seal.warmed()
        with build_record.beating(work.home, work.clock), interrupt.listening() as asked:
            work.looked()
            run = work.done(asked)
    except (UserError, KeyboardInterrupt) as error:
        nothing = not work.record.results and work.record.current is None
        if nothing and not resumed:  # nothing was begun: leave nothing that looks unfinished
            store.remove(work.home)
        if isinstance(error, KeyboardInterrupt) and not nothing:
            raise Interrupted(
                f"stopped; what is finished is kept; go on with: shoestring build --resume --out "
                f"{work.home}"
            ) from error
        raise
    missed = reaching.missed(run, work.record)
    if missed:
        raise LimitsMissed(missed, run.path)
    return run


def _asked(
    source: str | os.PathLike[str] | None,
    task: str | None,
    techniques: Sequence[Technique | str],
    without: Sequence[str],
    options: Mapping[str, Any],
    network: str | None,
    seed: int | None,
    threads: int | None,
    budget: Budget | str | float | None,
    limits: tuple[str | float | None, str | float | None, str | float | None],
) -> Record:
    """The record of a build that has not begun. UserError for what can be seen to be wrong before
    any data are read."""
    base = asking.base_recipe(source, task, None)
    given = [plugins.technique(t) if isinstance(t, str) else t for t in techniques]
    before, after = finish.divided(given, ())
    said: dict[str, Any] = {"network": network, "seed": seed, "threads": threads}
    seconds = train.seconds_of(budget)
    if seconds is None:
        raise UserError("say how long it may take: --budget 5m")
    recipe = asking.asked(base, bool(given), without, options, said, {"budget_seconds": seconds})
    before = searching.ready(before, {**said, "network": recipe.network if network else None})
    kind, (size, latency, quality) = plugins.task(recipe.task), limits
    finish.ready(kind, after)
    asked = Limits(
        None if size is None else parse_bytes(size),
        None if latency is None else parse_milliseconds(latency),
        None if quality is None else parse_quality(quality, kind.perfect, kind.metric),
    )
    words = tuple(plugins.words(technique) for technique in before)
    return Record(recipe, asked, seconds, words, after)


def _resumed(
    path: str | os.PathLike[str], budget: Budget | str | float | None, listener: Listener
) -> Work:
    home = Path(path)
    if (home / store.RUN).exists():
        raise RunError(f"{home} is finished; there is nothing to resume")
    record = build_record.read(home)
    said = train.seconds_of(budget)
    if said is not None:
        record = replace(record, budget_seconds=said)
    record, gone = build_record.standing(home, record)
    if gone:
        listener.say(f"the run of the {gone} is gone: it and what came after it are done again")
    spent = store.read_spent(home).seconds
    clock = train.clock_of(budget, record.budget_seconds, spent)
    listener.say(f"resuming {home}; {spent:.0f} s were used before")
    return Work(home, record, clock, listener)
