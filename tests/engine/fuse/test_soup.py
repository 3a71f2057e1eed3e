from __future__ import annotations

import pytest
import torch

from shoestring.core.protocols import Dataset
from shoestring.core.run import Run
from shoestring.engine.fuse import soup
from tests import tiny

Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Dataset, list[Weights]]:
    """Two ends of fits that begin alike, and random weights."""
    folder = tmp_path_factory.mktemp("soup")
    source = tiny.write_npz(folder / "bars.npz")
    run, dataset = tiny.prepared(folder / "run", source, steps=40)
    run, first = tiny.fitted(run, dataset)
    _, second = tiny.fitted(*tiny.prepared(folder / "other", source, steps=44))
    torch.manual_seed(0)
    noise = {
        n: torch.rand_like(t) if t.is_floating_point() else t.clone() for n, t in first.items()
    }
    return run, dataset, [dict(first), dict(second), noise]


def test_the_mean_keeps_counts_and_types() -> None:
    first = {"weight": torch.tensor([1.0, 3.0]), "count": torch.tensor(4)}
    second = {"weight": torch.tensor([3.0, 3.0]), "count": torch.tensor(9)}
    found = soup.mean([first, second])
    assert found["weight"].tolist() == [2.0, 3.0]
    assert found["weight"].dtype == torch.float32
    assert found["count"] == 4


def test_statistics_of_a_mean_are_its_own(learned: tuple[Run, Dataset, list[Weights]]) -> None:
    run, dataset, (first, second, _) = learned
    pot = soup.Pot(run, dataset, dataset.validation)
    found, plain = pot.stirred([first, second]), soup.mean([first, second])
    changed = {name for name in found if not torch.equal(found[name], plain[name])}
    assert changed and all("running" in name or "num_batches" in name for name in changed)
    assert pot.stirred([first]).keys() == first.keys()


def test_a_greedy_soup_leaves_out_what_spoils_it(
    learned: tuple[Run, Dataset, list[Weights]],
) -> None:
    run, dataset, members = learned
    pot = soup.Pot(run, dataset, dataset.validation)
    kept = pot.greedy(members)
    assert 2 not in kept
    assert pot.quality(pot.stirred([members[i] for i in kept])).quality >= max(
        pot.quality(weights).quality for weights in members
    )
