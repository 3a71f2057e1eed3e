"""mixup and CutMix: shares of pixels and labels agree, and hang on no batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from shoestring.core.protocols import Batch
from shoestring.engine.device import KeyedDraws
from shoestring.tasks.images.augment import augment
from shoestring.tasks.images.defaults import AUGMENT
from shoestring.tasks.images.feed import ImageFeed
from shoestring.tasks.images.mixing import beta
from tests import tiny
from tests.tasks.images.drawn import loaded


@pytest.fixture(scope="module")
def feed(tmp_path_factory: pytest.TempPathFactory) -> ImageFeed:
    dataset = loaded(tiny.write_npz(tmp_path_factory.mktemp("mixing") / "bars.npz"))
    return ImageFeed(dataset.train, dataset.facts, "cpu")


def mixed(feed: ImageFeed, ids: torch.Tensor, **options: Any) -> Batch:
    draws = KeyedDraws(3, 1, ids)
    return augment(feed.batch(ids), draws, {**AUGMENT, **options})


@pytest.mark.parametrize("alpha", [0.1, 0.4, 1.0, 3.0])
def test_shares_follow_a_beta_distribution(alpha: float) -> None:
    shares = beta((torch.arange(100_000) + 0.5) / 100_000, alpha)
    assert float(shares.min()) >= 0
    assert float(shares.max()) <= 1
    assert bool((shares.diff() >= 0).all())
    assert float(shares.mean()) == pytest.approx(0.5, abs=1e-3)
    assert float(shares.var()) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.01)


@pytest.mark.parametrize(
    "options", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 1.0, "cutmix": 1.0}]
)
def test_labels_are_shared_as_the_pictures_are(feed: ImageFeed, options: dict[str, float]) -> None:
    ids = torch.arange(150)
    batch = mixed(feed, ids, **options)
    soft = batch.soft_targets
    assert soft is not None
    assert batch.inputs.dtype == torch.uint8
    assert soft.shape == (150, tiny.CLASSES)
    assert torch.allclose(soft.sum(1), torch.ones(150))
    assert torch.allclose(soft.gather(1, batch.targets[:, None])[:, 0], soft.amax(1))
    several = (soft > 0).sum(1) == 2
    assert 0.3 < float(several.float().mean()) < 0.95
    alone = F.one_hot(feed.batch(ids).targets, tiny.CLASSES)
    own = (soft * alone).sum(1)
    assert float(own.min()) < 0.4  # the other picture may be the larger part


def test_mixup_blends_whole_pictures(feed: ImageFeed) -> None:
    ids = torch.arange(40)
    batch = mixed(feed, ids, mixup=1.0)
    draws = KeyedDraws(3, 1, ids).uniform(5)
    other = feed.batch((draws[:, 0] * len(feed)).long())
    share = draws[:, 2].view(-1, 1, 1, 1)
    wanted = feed.batch(ids).inputs * (1 - share) + other.inputs * share
    assert float((batch.inputs - wanted).abs().max()) <= 0.501


def test_cutmix_pastes_a_box(feed: ImageFeed) -> None:
    ids = torch.arange(60)
    batch, own = mixed(feed, ids, cutmix=1.0), feed.batch(ids)
    other = feed.batch((KeyedDraws(3, 1, ids).uniform(5)[:, 0] * len(feed)).long())
    from_own, from_other = batch.inputs == own.inputs, batch.inputs == other.inputs
    assert bool((from_own | from_other).all())
    assert batch.soft_targets is not None
    for n in range(60):
        if own.targets[n] == other.targets[n]:
            continue
        share = float(batch.soft_targets[n, other.targets[n]])
        inside = ~from_own[n, ..., 0]  # chance likeness aside
        rows, columns = inside.any(1).nonzero(), inside.any(0).nonzero()
        if not len(rows):
            assert share < 0.1
            continue
        height, width = int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1)
        assert share == pytest.approx(height * width / tiny.SIDE**2, abs=0.1)


def test_a_mixed_example_is_alike_in_any_batch(feed: ImageFeed) -> None:
    options: dict[str, Any] = {"mixup": 0.4, "cutmix": 1.0, "flip": "yes", "policy": "trivial"}
    whole = mixed(feed, torch.arange(20), **options)
    part = mixed(feed, torch.arange(5, 9), **options)
    assert whole.soft_targets is not None
    assert part.soft_targets is not None
    assert torch.allclose(part.inputs, whole.inputs[5:9], atol=1e-3)
    assert torch.allclose(part.soft_targets, whole.soft_targets[5:9])
    assert torch.equal(part.targets, whole.targets[5:9])


@pytest.mark.parametrize("options", [{"mixup": 0.4}, {"cutmix": 1.0}])
def test_a_fit_learns_from_mixed_pictures(options: dict[str, float], tmp_path: Path) -> None:
    source = tiny.write_npz(tmp_path / "bars.npz")
    words = ",".join(f"{name}={value}" for name, value in options.items())
    run, dataset = tiny.prepared(tmp_path / "run", source, hooks=(f"augment:{words}",), steps=40)
    run, _ = tiny.fitted(run, dataset)
    assert run.curve[-1]["quality"] > 0.9
