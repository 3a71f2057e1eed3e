"""One step of a fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from shoestring.core.protocols import Quality
from shoestring.engine.loop import Feeds, Loop
from shoestring.engine.placement import Local
from tests import tiny


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tiny.write_npz(tmp_path / "bars.npz")


def test_clipping_bounds_the_step_that_all_gradients_make_together(
    tmp_path: Path, source: Path
) -> None:
    def moved(clip: float | None) -> float:
        run, dataset = tiny.prepared(
            tmp_path / str(clip), source, optimizer="sgd", learning_rate=1.0, clip=clip,
            schedule="constant", weight_decay=0.0, steps=1,
        )  # fmt: skip
        placement = Local("cpu")
        loop = Loop(run, Feeds.of(run, dataset, placement), placement)
        before = [p.detach().clone() for p in loop.raw.parameters()]
        loop.step(0.0, 1.0)
        after = [p.detach() for p in loop.raw.parameters()]
        return sum(float((a - b).square().sum()) for a, b in zip(after, before, strict=True)) ** 0.5

    assert moved(1e-3) == pytest.approx(1.9e-3, rel=1e-3)  # Nesterov's first step: 1 + momentum
    assert moved(None) > 1e-2


def test_of_two_looks_within_the_noise_the_one_of_the_lower_loss_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, dataset = tiny.prepared(tmp_path / "run", tiny.write_npz(tmp_path / "bars.npz"))
    place = Local("cpu")
    loop = Loop(run, Feeds.of(run, dataset, place), place)
    looks = [(30.0, 2.0), (30.2, 2.1), (29.6, 1.9), (29.0, 1.8), (31.0, 3.0), (30.4, 2.9)]
    kept = []
    for quality, loss in looks:
        found = Quality(quality, loss, 256, noise=0.75)
        monkeypatch.setattr(type(loop.task), "quality", lambda *_, found=found: found)
        loop.evaluate()
        kept.append(loop.progress.best_quality)
    assert kept == [30.0, 30.0, 29.6, 29.6, 31.0, 30.4]
