"""A fit of a translator repeats bit for bit, and one taken up again ends where one goes through."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from shoestring.engine import device, placement
from shoestring.engine.loop import Feeds, Loop
from tests import tiny
from tests.tasks.translation.tiny import NETWORKS, write

STEPS = 6


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("exact"))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", NETWORKS)
def test_a_fit_taken_up_again_ends_with_the_same_bits(
    kind: str, precision: str, source: Path, tmp_path: Path
) -> None:
    run, dataset = tiny.prepared(
        tmp_path,
        source,
        network={"kind": kind, **NETWORKS[kind], "dropout": 0.3},
        precision=precision,
        label_smoothing=0.1,
        hooks=("augment:bpe_dropout=0.2,word_dropout=0.1",),
    )

    def fresh() -> Loop:
        where = placement.Local("cpu")
        return Loop(run, Feeds.of(run, dataset, where), where)

    with device.settled(1):
        through, taken_up = fresh(), fresh()
        losses = [float(through.step(0.3, 1.0).loss) for _ in range(STEPS)]
        for _ in range(STEPS // 2):
            taken_up.step(0.3, 1.0)
        snapshot = taken_up.snapshot()
        torch.rand(5)  # nothing may hang on the generator's history
        taken_up = fresh()
        taken_up.restore(*snapshot)
        again = [float(taken_up.step(0.3, 1.0).loss) for _ in range(STEPS // 2)]
    assert again == losses[STEPS // 2 :]
    weights = taken_up.raw.state_dict()
    assert all(torch.equal(weights[n], t) for n, t in through.raw.state_dict().items())
