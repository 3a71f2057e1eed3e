"""The recipes of an ablation before any is trained: they differ in their techniques alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from shoestring import plugins
from shoestring.autopilot import cell_runs
from shoestring.autopilot.ablation import Plan, spent
from shoestring.autopilot.design import Design
from shoestring.bundle import bundle
from shoestring.core.plain import from_plain, to_plain
from shoestring.core.protocols import silent
from shoestring.core.run import Recipe, Run
from shoestring.tasks.translation.data import load
from shoestring.tasks.translation.options import TranslationOptions
from tests.tasks.translation.test_backtranslate import Reverse
from tests.tasks.translation.tiny import RECIPE, write

BACK, CLIP = "augment:back_translate=runs/de-en", "regularize:clip=1.0"


def test_what_a_technique_makes_is_made_once_and_each_recipe_is_charged_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path)
    dataset = load(str(source), TranslationOptions(), silent)
    recipe = Recipe("translation", str(source), **RECIPE)
    cells = tuple(cell.name for cell in Design((BACK, CLIP), False).cells())
    plan = Plan(recipe, (BACK, CLIP), cells=cells)
    bare = Run(tmp_path, "translation", recipe, facts=dataset.facts)
    opened = list[str]()

    def reverse(path: str) -> Reverse:
        opened.append(path)
        return Reverse()

    monkeypatch.setattr(bundle, "load", reverse)
    plan, runs = cell_runs.prepared(plan, bare, dataset, None, lambda note: None)
    assert opened == ["runs/de-en"]
    (kept,) = plan.made.values()
    with_it = [run for name, run in runs.items() if "augment" in name or name == "all"]
    assert len(with_it) == 2
    for run in with_it:
        hook = plugins.technique(run.recipe.hook("augment") or "")
        assert vars(hook)["synthetic"] == kept["options"]["synthetic"]
    assert len({round(spent(run), 2) for run in with_it}) == 1
    assert spent(with_it[1]) >= kept["seconds"] > 0
    # So it is for a process that joins, which reads the plan.
    joined = from_plain(Plan, to_plain(plan))
    _, others = cell_runs.prepared(joined, bare, dataset, None, lambda note: None)
    assert opened == ["runs/de-en"]
    assert {name: run.recipe for name, run in others.items()} == {
        name: run.recipe for name, run in runs.items()
    }
    assert replace(joined, cells=()) == replace(plan, cells=())
