"""Draws keyed by example, seeds, threads and devices."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shoestring.core.errors import UserError
from shoestring.engine import device


@given(st.integers(0, 2**40), st.integers(0, 10**6), st.permutations(range(8)))
def test_an_example_draws_the_same_in_any_batch(seed: int, epoch: int, order: list[int]) -> None:
    whole = device.KeyedDraws(seed, epoch, torch.arange(8)).uniform(3)
    mixed = device.KeyedDraws(seed, epoch, torch.tensor(order)).uniform(3)
    assert torch.equal(whole[order], mixed)
    alone = device.KeyedDraws(seed, epoch, torch.tensor(order[:1])).uniform(3)
    assert torch.equal(alone[0], mixed[0])


def test_draws_are_uniform_and_differ_by_seed_epoch_and_call() -> None:
    draws = device.KeyedDraws(1, 2, torch.arange(20_000))
    first, second = draws.uniform(2), draws.uniform(2)
    assert 0 <= float(first.min()) and float(first.max()) < 1
    assert float(first.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(first.var()) == pytest.approx(1 / 12, abs=0.002)
    columns = torch.cat([first, second], 1)
    assert torch.corrcoef(columns.T).sub(torch.eye(4)).abs().max() < 0.03
    neighbours = torch.stack([first[:-1, 0], first[1:, 0]])
    assert abs(float(torch.corrcoef(neighbours)[0, 1])) < 0.03
    for other in ((2, 2), (1, 3)):
        assert not torch.equal(device.KeyedDraws(*other, torch.arange(20_000)).uniform(2), first)


def test_a_device_that_is_absent_is_refused_and_never_replaced() -> None:
    assert device.resolve("auto") in device.available()
    assert device.resolve("cpu") == "cpu"
    absent = next(n for n in ("cuda", "mps", "xpu") if n not in device.available())
    with pytest.raises(UserError, match="not here"):
        device.resolve(absent)


def test_settled_puts_threads_and_kernels_back() -> None:
    before = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    with device.settled(1, "cuda"):
        assert not torch.backends.cuda.flash_sdp_enabled()
    with device.settled(1):  # whether a GPU is there or not
        assert torch.backends.cuda.flash_sdp_enabled()
        assert torch.get_num_threads() == 1
        assert torch.get_deterministic_debug_mode() == 1
    assert (torch.get_num_threads(), torch.get_deterministic_debug_mode()) == before


def test_a_step_seeds_dropout() -> None:
    def dropped(seed: int, step: int) -> torch.Tensor:
        device.seed_step(seed, step)
        return torch.nn.functional.dropout(torch.ones(64))

    assert torch.equal(dropped(1, 5), dropped(1, 5))
    assert not torch.equal(dropped(1, 5), dropped(1, 6))
    assert not torch.equal(dropped(1, 5), dropped(2, 5))


def test_the_signature_names_what_decides_the_bytes() -> None:
    line = device.signature(device.environment(2, "cpu"))
    assert "torch:" in line
    assert "threads:2" in line
