"""What every technique must offer. A new file in techniques/ is found and tested here without
being named."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from dataclasses import FrozenInstanceError, fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from shoestring import plugins
from shoestring.core.budget import Budget
from shoestring.core.errors import Interrupted, UserError
from shoestring.core.listener import Look
from shoestring.core.plain import to_plain
from shoestring.core.run import Recipe, Run
from shoestring.core.techniques import Hook, Technique
from shoestring.engine import store
from shoestring.engine.apply import apply
from shoestring.engine.interrupt import Interrupt
from tests import tiny

NAMES = plugins.technique_names()
TASKS = plugins.task_names()


def default(name: str, task: str = TASKS[0]) -> Any:
    """The technique with its defaults, every switch of its options that fits the task turned on a
    little, so that the contract does not test a technique that does nothing."""
    kind = plugins.technique_class(name)
    foreign = {o for other in TASKS for o in plugins.task(other).augment_options()}
    foreign -= set(plugins.task(task).augment_options())
    off = {f.name for f in fields(kind) if isinstance(f.default, float) and f.default == 0.0}
    return kind(**dict.fromkeys(off - foreign, 0.1))


@pytest.mark.parametrize("name", NAMES)
def test_a_technique_is_a_frozen_dataclass_with_a_card(name: str) -> None:
    kind = plugins.technique_class(name)
    assert is_dataclass(kind)
    with pytest.raises(FrozenInstanceError):
        setattr(default(name), fields(kind)[0].name, 1)
    assert isinstance(default(name), Technique)
    module = importlib.import_module(kind.__module__)
    assert (module.__doc__ or "").startswith(f"{name}: ")
    card = inspect.getdoc(kind) or ""
    for part in ("Helps", "Costs", "Source:"):
        assert part in card, f"the card of {name} does not say: {part}"
    assert all(f.metadata.get("help") for f in fields(kind))


@pytest.mark.parametrize("name", NAMES)
def test_its_words_make_it_again(name: str) -> None:
    technique = default(name)
    assert plugins.technique(plugins.words(technique)) == technique
    assert plugins.technique(name) == plugins.technique_class(name)()
    to_plain(technique)  # fit for a receipt


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_option_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(UserError, match=f"{name} has no option 'wrong'; it has: "):
        plugins.technique(f"{name}:wrong=1")


@pytest.mark.parametrize("name", NAMES)
def test_importing_it_brings_no_torch(name: str) -> None:
    words = f"import sys, shoestring.techniques.{name}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", words], check=False).returncode == 0


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", NAMES)
def test_applying_it_leaves_a_receipt_and_the_argument_alone(
    name: str, task: str, tmp_path: Path
) -> None:
    run = Run(tmp_path, task, Recipe(task, "photos"))
    before = to_plain(run)
    try:
        after = apply(default(name, task), run, Budget())
    except UserError as error:
        # One that needs weights says so.
        assert "train one first" in str(error)
        return
    assert to_plain(run) == before
    (receipt,) = after.receipts
    assert receipt.technique == plugins.words(default(name, task))
    assert set(receipt.options) == {f.name for f in fields(default(name))}
    assert receipt.verdict == "not measured"
    assert receipt.reason


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", NAMES)
def test_a_fit_with_it_can_be_stopped_and_resumed_exactly(
    name: str, task: str, tmp_path: Path
) -> None:
    if not isinstance(default(name, task), Hook):
        return
    source = tiny.of_task(task).write(tmp_path)
    hooks = (plugins.words(default(name, task)),)
    _, whole = tiny.fitted(*tiny.prepared(tmp_path / "whole", source, hooks=hooks))
    run, dataset = tiny.prepared(tmp_path / "parts", source, hooks=hooks)
    interrupt = Interrupt()

    class Asks(tiny.Quiet):
        def evaluation(self, look: Look) -> None:
            if look.step == 8:
                interrupt.ask()

    with pytest.raises(Interrupted):
        tiny.fitted(run, dataset, interrupt=interrupt, listener=Asks())
    _, parts = tiny.fitted(store.read_started(run.path), dataset)
    assert tiny.same(whole, parts)
