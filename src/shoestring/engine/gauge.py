"""gauge: what training and shipping a network costs here, measured on steps and weights that are
thrown away."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median

import torch

from shoestring import plugins
from shoestring.bundle import bundle as bundles
from shoestring.bundle import manifest as manifests
from shoestring.core.budget import Budget
from shoestring.core.listener import Listener
from shoestring.core.plain import to_plain
from shoestring.core.protocols import Dataset, Network
from shoestring.core.quantizing import METHOD
from shoestring.core.receipt import Plain
from shoestring.core.run import Run
from shoestring.core.sizing import Gauge, Weight
from shoestring.engine import device, pacing, store
from shoestring.engine.loop import Feeds
from shoestring.engine.placement import Local
from shoestring.engine.shrink import candidates

CALIBRATING = 64  # training examples that ranges are measured on: only bytes are looked at
HEADLINE_BYTES = 2_150  # of scores, lineage and versions in a manifest, about
TIMED_CALLS, TIMED_SECONDS = 5, 0.05  # of one example
AGAIN_SHARE = 0.06  # of the seconds left, that a look may take to be taken twice
WEIGHTS = "weights"  # the method that ships the fewest bytes, where a network has it


def gauged(run: Run, dataset: Dataset, budget: Budget, listener: Listener) -> Gauge:
    """Measures a complete recipe on steps and a look that are thrown away: seconds."""
    place = Local(device.resolve(run.recipe.device))
    store.keep(run.path, dataset.files)
    with device.settled(run.recipe.threads or device.default_threads(), run.recipe.device):
        feeds = Feeds.of(run, dataset, place)
        listener.say("measuring the rate on throw-away steps")
        trial = pacing.fastest(run, feeds, budget, place)
        recipe = replace(run.recipe, precision=trial.precision, threads=trial.threads)
        own, before = replace(run, recipe=recipe), pacing.Looks.of(run, budget)
        looks = pacing.timed_look(own, feeds, place, before)
        if looks.seconds <= AGAIN_SHARE * budget.remaining():  # the first one imports, too
            again = pacing.timed_look(own, feeds, place, before)
            looks = min(looks, again, key=lambda one: one.seconds * one.passes)
        steps = pacing.steps_of(recipe, feeds, 1.0)
    return Gauge(
        trial.precision,
        trial.threads,
        trial.step_seconds,
        steps,
        looks.after(),
        looks.seconds * looks.passes / looks.whole,
        recipe.batch_size or 0,
        looks.seconds,
        looks.passes,
    )


def weighed(run: Run, dataset: Dataset, network: Plain) -> Weight:
    """The bytes and the latency of a network whose weights are random. Neither depends on what
    it has learned, but for a translator's latency, which is not told."""
    task = plugins.task(run.task)
    kind = task.network(str(network["kind"]))
    architecture = kind.architecture(network, dataset.facts)
    model = kind.build(architecture).eval()
    own = replace(run, architecture=architecture, facts=dataset.facts)
    store.keep(own.path, dataset.files)
    rest = _manifest_bytes(own)
    files = kind.graphs(model, own)
    small = kind.graphs(model, replace(own, quantization=_quantization(kind, model, own, dataset)))
    predictor = bundles.predictor(
        {"task": own.task, "facts": to_plain(own.facts)}, files, threads=1
    )
    return Weight(
        sum(p.numel() for p in model.parameters()),
        rest + sum(map(len, files.values())),
        rest + sum(map(len, small.values())),
        None if kind.settles else _milliseconds(predictor.latency_inputs().get("model")),
    )


def _quantization(kind: Network, model: torch.nn.Module, run: Run, dataset: Dataset) -> Plain:
    method = WEIGHTS if WEIGHTS in kind.quantizations else kind.quantizations[0]
    examples = candidates.evenly(dataset.train, CALIBRATING)
    return kind.calibrated(model, run, examples, {METHOD: method})


def _manifest_bytes(run: Run) -> int:
    composed = manifests.compose(run.task, to_plain(run.facts), {}, "golden.npz", {})
    return len(manifests.to_bytes(composed)) + HEADLINE_BYTES


def _milliseconds(call: Callable[[], object] | None) -> float | None:
    if call is None:
        return None
    call()
    taken, end = list[float](), time.perf_counter() + TIMED_SECONDS
    while len(taken) < TIMED_CALLS or time.perf_counter() < end:
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return 1000 * median(taken)
