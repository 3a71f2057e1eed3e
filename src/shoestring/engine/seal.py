"""seal: what follows a fit: weights stored, bundle exported, graded, and the test opened once."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from shoestring import plugins
from shoestring.bundle import grade
from shoestring.core.budget import Budget, Cost
from shoestring.core.errors import Interrupted
from shoestring.core.listener import Listener
from shoestring.core.plain import to_plain
from shoestring.core.protocols import Dataset
from shoestring.core.quantity import plain_quality
from shoestring.core.receipt import Scores
from shoestring.core.run import Run
from shoestring.engine import measure, pacing, store, tensorfile
from shoestring.engine.apply import noted
from shoestring.engine.interrupt import Interrupt

if TYPE_CHECKING:
    import torch

EXPORT_MODULES = ("onnx", "onnxruntime", "safetensors.torch")
TEST_SECONDS = 3600.0  # after which grading the test split is taken to hang


def load_model(run: Run) -> torch.nn.Module:
    """A fresh model of a trained run, in evaluation mode, on the CPU."""
    assert run.architecture is not None
    tensors, _ = tensorfile.load(run.path / store.WEIGHTS)
    return _model(run, tensors)


def _model(run: Run, weights: Mapping[str, torch.Tensor]) -> torch.nn.Module:
    assert run.architecture is not None
    model = plugins.task(run.task).network(run.architecture["kind"]).build(run.architecture)
    model.load_state_dict({name: t.detach().cpu() for name, t in weights.items()})
    return model.eval()


def warmed() -> None:
    """Imports what comes after the fit before it, so that a budget is divided knowing that cost."""
    for name in EXPORT_MODULES:
        importlib.import_module(name)


def sealed(
    run: Run,
    weights: Mapping[str, torch.Tensor],
    dataset: Dataset,
    budget: Budget,
    fit_cost: Cost | None,
    interrupt: Interrupt,
) -> Run:
    """The run with weights on disk, a bundle that agrees with them, and scores read off it; no
    line for a fit where there was none. Raises
    Interrupted between two of these where somebody asked."""
    from shoestring.engine.export import export_run, settled

    model = _model(run, weights)
    tensorfile.save(run.path / store.WEIGHTS, model.state_dict(), {})
    _go_on(run, interrupt)
    with budget.meter() as settle_meter:
        seconds, left = pacing.settling_seconds(budget), budget.remaining()
        run, settling = settled(run, model, dataset.validation, seconds, left)
    _go_on(run, interrupt)
    with budget.meter() as export_meter:
        bundle = run.path / store.BUNDLE
        store.remove(bundle)
        agreement = export_run(run, model, dataset.validation, bundle)
    _go_on(run, interrupt)
    with budget.meter() as grade_meter:
        scores = measure.measure(
            bundle,
            run.recipe,
            run.path / store.OUTCOMES,
            findings=run.findings,
            latency_seconds=_latency(budget),
            allowance=budget.share(1.0),
        )
    run = replace(run, scores=scores)
    padding = run.curve[-1].get("padding", 0.0) if run.curve else 0.0
    padded = f"{padding:.1%} of the positions in its batches were padding" if padding else ""
    if fit_cost is not None:
        run = noted(run, "fit", cost=fit_cost, after=scores, reason=padded)
    if settling:
        run = noted(run, "settle", cost=settle_meter.cost, reason=settling)
    run = noted(run, "export", cost=export_meter.cost, reason=agreement)
    return noted(run, "grade", cost=grade_meter.cost)


def _go_on(run: Run, interrupt: Interrupt) -> None:
    if interrupt.asked:
        raise Interrupted(
            f"stopped after the fit, before the bundle was ready; "
            f"go on with: shoestring train --resume {run.path}"
        )


def _latency(budget: Budget) -> float:
    """Seconds that may go into timing the bundle: less where the budget is nearly spent."""
    return max(0.1, min(1.0, budget.remaining() / 6))


def opened(run: Run, budget: Budget, listener: Listener, most_seconds: float = TEST_SECONDS) -> Run:
    """Opens the test split of the recipe once, on the bundle, and writes it down. UserError where
    that takes longer than `most_seconds`."""
    job = grade.Job(
        bundle=str((run.path / store.BUNDLE).resolve()), recipe=to_plain(run.recipe), split="test"
    )
    opening = measure.begin_opening(run.path, run.recipe.source)
    with budget.meter() as meter:
        scores = measure.run_job(job, most_seconds)
    opening.complete(scores)
    for line in _told(scores):
        listener.say(line)
    return noted(run, "test opened", cost=meter.cost, after=scores)


def _told(scores: Scores) -> Iterator[str]:
    """The figures of the test split, a line each, as the lines of the fit before them."""
    quality = plain_quality(scores.quality or 0.0, scores.metric)
    yield f"test {scores.metric} {quality} on {scores.examples} examples"
    if scores.loss is not None:
        yield f"test loss {scores.loss:.4f}"
    for name, value in scores.details.items():
        if isinstance(value, float) and not name.endswith("_per_second"):
            yield f"test {name.replace('_', ' ')} {plain_quality(value, name)}"
