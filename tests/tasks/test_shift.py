"""What every task's shifts must keep. A new folder in tasks/ is found here without being named."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from shoestring import plugins
from shoestring.core.protocols import Dataset, Examples, silent
from shoestring.core.receipt import Plain
from tests import tiny

SHIFTS = [(task, kind) for task in plugins.task_names() for kind in plugins.task(task).shifts]


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dataset]:
    found = {}
    for name in plugins.task_names():
        source = tiny.of_task(name).write(tmp_path_factory.mktemp(name))
        found[name] = plugins.task(name).load(tiny.recipe(source), silent)
    return found


def seen(task: str, examples: Examples, facts: Plain) -> list[bytes]:
    """What the network would be given of each example."""
    feed = plugins.task(task).feed(examples, facts, "cpu")
    rows = []
    for place in range(len(examples)):
        batch = feed.batch(torch.tensor([place]))
        rows += [np.asarray(row).tobytes() for row in tiny.of_task(task).rows(batch)]
    return rows


@pytest.mark.parametrize(("name", "kind"), SHIFTS)
def test_a_shift_changes_inputs_and_nothing_else(
    name: str, kind: str, datasets: dict[str, Dataset]
) -> None:
    before = datasets[name].validation
    hard = plugins.task(name).shifted(before, kind, 5)
    assert len(hard) == len(before)
    assert hard.split == before.split
    assert np.array_equal(hard.hashes, before.hashes)


@pytest.mark.parametrize(("name", "kind"), SHIFTS)
def test_an_example_is_spoilt_alike_each_time_and_in_any_company(
    name: str, kind: str, datasets: dict[str, Dataset]
) -> None:
    task, before, facts = plugins.task(name), datasets[name].validation, datasets[name].facts
    some = np.arange(1, len(before), 2)
    whole = seen(name, task.shifted(before, kind, 3), facts)
    part = seen(name, task.shifted(before.part(some), kind, 3), facts)
    assert [whole[i] for i in some.tolist()] == part


@pytest.mark.parametrize("name", plugins.task_names())
def test_a_part_holds_the_examples_that_were_asked_for(
    name: str, datasets: dict[str, Dataset]
) -> None:
    before, facts = datasets[name].validation, datasets[name].facts
    some = np.array([0, 3, 4])
    part = before.part(some)
    assert np.array_equal(part.hashes, before.hashes[some])
    assert list(part.names) == [before.names[i] for i in some.tolist()]
    assert [seen(name, before, facts)[i] for i in some.tolist()] == seen(name, part, facts)
