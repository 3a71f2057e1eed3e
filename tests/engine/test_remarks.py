"""What is said once a fit has ended: seconds saved, zeros, layers that hold nothing else."""

from __future__ import annotations

from pathlib import Path

import torch

from shoestring.core.budget import Cost
from shoestring.core.listener import Quiet
from shoestring.core.run import PlanChange, Recipe, Run
from shoestring.engine.remarks import Zeros, remarked, stopped_early

RUN = Run(Path("run"), "images", Recipe("images", "photos"))
WHOLE = {"a.weight": torch.ones(2, 3), "b.weight": torch.ones(4, 2), "b.bias": torch.zeros(4)}


class Says(Quiet):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def test_a_fit_that_went_to_its_end_leaves_nothing_to_say() -> None:
    plan = (PlanChange(0, 100, "as asked"), PlanChange(40, 90, "slower"))
    assert stopped_early(plan, Cost(wall_seconds=10, steps=90)) == ""
    listener = Says()
    assert remarked(RUN, WHOLE, Cost(), listener) == RUN
    assert not listener.said


def test_seconds_saved_are_net_of_the_cool_down() -> None:
    plan = (
        PlanChange(0, 1000, "first"),
        PlanChange(100, 800, "slower"),
        PlanChange(300, 400, "should_stop"),
    )
    said = stopped_early(plan, Cost(wall_seconds=40.0, steps=400))
    assert (
        said == "stopped after 400 of 800 steps, 100 of them a cool-down: about 40.0 s were saved"
    )
    run = remarked(RUN.with_recipe(plan=plan), WHOLE, Cost(wall_seconds=40.0, steps=400), Quiet())
    assert [receipt.technique for receipt in run.receipts] == ["stopped early"]


def test_zeros_are_counted_in_matrices_alone() -> None:
    half = {**WHOLE, "a.weight": torch.tensor([[0.0, 1.0], [0.0, 1.0]])}
    zeros = Zeros.of(half)
    assert (zeros.count, zeros.total, zeros.layers) == (2, 12, ())
    run = remarked(RUN, half, Cost(), Quiet())
    (line,) = run.receipts
    assert (line.technique, line.reason) == ("zeros", "16.7% of 12 weights are exactly zero")


def test_a_layer_of_nothing_but_zeros_is_named() -> None:
    listener = Says()
    run = remarked(RUN, {**WHOLE, "a.weight": torch.zeros(2, 3)}, Cost(), listener)
    (finding,) = run.findings
    assert finding.kind == "zero layer"
    assert finding.examples == ("a.weight",)
    assert "1 layer of the network came to hold nothing but zeros" in finding.message
    assert "smaller l1" in finding.message
    assert finding.message in listener.said
