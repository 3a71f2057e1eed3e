"""cell_runs: a run of each recipe of an ablation, complete but for its seed, and not trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

from shoestring import plugins
from shoestring.autopilot.ablation import Plan
from shoestring.autopilot.design import Cell
from shoestring.autopilot.train import completed
from shoestring.core.budget import Budget, Cost
from shoestring.core.errors import UserError
from shoestring.core.protocols import Dataset
from shoestring.core.receipt import Plain
from shoestring.core.run import Run, name_of
from shoestring.core.techniques import Hook, Technique


def prepared(
    plan: Plan, bare: Run, dataset: Dataset, seconds: float | None, note: Callable[[str], None]
) -> tuple[Plan, dict[str, Run]]:
    """The run of each recipe, and the plan with the recipes that there are and with what their
    techniques made for them. Techniques that cannot stand together are not trained together,
    which is noted. `dataset` holds nothing that gains are measured on."""
    found: dict[str, Run] = {}
    for cell in plan.trained:
        try:
            plan, found[cell.name] = _of(cell, plan, bare, dataset, seconds)
        except UserError as error:
            if len(cell.techniques) < 2:
                raise
            note(f"{cell} were not trained in one recipe: {error}")
    return replace(plan, cells=tuple(found)), found


def _of(
    cell: Cell, plan: Plan, bare: Run, dataset: Dataset, seconds: float | None
) -> tuple[Plan, Run]:
    """The run of a recipe: the base without any of the techniques, and then with its own."""
    own = {name_of(words) for words in cell.techniques}
    absent = [n for n in dict.fromkeys(map(name_of, plan.techniques)) if n not in own]
    base = bare.recipe
    recipe = replace(
        base,
        budget_seconds=seconds,
        hooks=tuple(h for h in base.hooks if name_of(h) not in {*own, *absent}),
        without=(*(n for n in base.without if n not in own), *absent),
    )
    chosen = [_remade(words, plan) for words in cell.techniques]
    run = completed(replace(bare, recipe=recipe), chosen, dataset, Budget(seconds), seconds)
    for words, technique in zip(cell.techniques, chosen, strict=True):
        plan = _made(words, plan, run)
        run = _charged(run, plugins.words(technique), plan.made.get(words, {}))
    return plan, run


# What a technique makes before a fit, pairs that it translates for example, is made once and serves
# every recipe that holds it: two recipes then differ in nothing else, and each is charged for it.


def _remade(words: str, plan: Plan) -> Technique:
    """The technique, told what it made for an earlier recipe."""
    technique = plugins.technique(words)
    made = plan.made.get(words, {}).get("options", {})
    return replace(technique, **made) if made else technique  # type: ignore[type-var]  # a dataclass


def _made(words: str, plan: Plan, run: Run) -> Plan:
    """The plan with what the technique of these words made for a run, and the seconds that took."""
    recorded = run.recipe.hook(name_of(words))
    technique = None if recorded is None else plugins.technique(recorded)
    if words in plan.made or not isinstance(technique, Hook):
        return plan
    options = {
        option.name: getattr(technique, option.name)
        for option in fields(technique)
        if option.name in technique.makes and getattr(technique, option.name) != option.default
    }
    if not options:
        return plan
    lines = [line for line in run.receipts if line.technique == words]
    kept = {"options": options, "seconds": sum(line.cost.wall_seconds for line in lines)}
    return replace(plan, made={**plan.made, words: kept})


def _charged(run: Run, words: str, made: Plain) -> Run:
    """The run whose line for a technique that made something costs what the making did."""
    if not made:
        return run
    cost = Cost(wall_seconds=float(made["seconds"]))
    lines = (replace(r, cost=cost) if r.technique == words else r for r in run.receipts)
    return replace(run, receipts=tuple(lines))
