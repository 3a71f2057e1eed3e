"""candidates: ways in which one network could ship, made and measured beside each other."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import exp, log
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from shoestring import plugins
from shoestring.bundle import bundle as bundles
from shoestring.core.plain import to_plain
from shoestring.core.protocols import Dataset, Examples, Predictor, silent
from shoestring.core.receipt import Plain, Scores
from shoestring.core.run import Run
from shoestring.engine import derive

if TYPE_CHECKING:
    import torch

TIMED = ("model", "batch")  # of what a predictor can be timed with
ROUNDS = 7  # in which two candidates take turns; medians count
FEWEST_CALLS = 2  # of each in a round


@dataclass(frozen=True)
class Candidate:
    """The files of a bundle, opened on one thread, and its scores on deciding examples."""

    quantization: Plain
    files: Mapping[str, bytes]
    predictor: Predictor
    scores: Scores

    @property
    def size_bytes(self) -> int:
        return sum(map(len, self.files.values()))

    @property
    def quality(self) -> float:
        return 0.0 if self.scores.quality is None else self.scores.quality

    @property
    def rank(self) -> tuple[float, float]:
        """Of two candidates the lower is the better: by loss where there is one."""
        loss = self.scores.loss
        return (-self.quality, 0.0) if loss is None else (loss, -self.quality)


class Weighing:
    """What makes candidates of a run's network and judges them."""

    def __init__(self, run: Run, model: torch.nn.Module, dataset: Dataset) -> None:
        self.run, self.model, self.dataset = run, model, dataset
        self.task = plugins.task(run.task)
        self.network = self.task.network(str((run.architecture or {})["kind"]))
        self.deciding = derive.deciding(dataset)
        self._shown: dict[int, Examples] = {}  # the same each time, so that a task counts once

    def calibrated(self, wanted: Plain, count: int) -> Plain:
        """The quantization, measured on so many training examples, evenly spread."""
        shown = self._shown.setdefault(count, evenly(self.dataset.train, count))
        return self.network.calibrated(self.model, self.run, shown, wanted)

    def made(self, quantization: Plain) -> Candidate:
        """BundleError where this runtime cannot run it."""
        run = replace(self.run, quantization=quantization)
        files = self.network.graphs(self.model, run)
        manifest = {"task": run.task, "facts": to_plain(run.facts)}
        predictor = bundles.predictor(manifest, files, threads=1)
        scores = self.task.scores(predictor.outcomes(self.deciding, silent), run.facts)
        return Candidate(quantization, files, predictor, scores)


def evenly(examples: Examples, count: int) -> Examples:
    """At most so many of them."""
    places = np.linspace(0, len(examples) - 1, min(count, len(examples)))
    return examples.part(np.unique(places.astype(np.int64)))


def speed(one: Candidate, other: Candidate, seconds: float) -> float:
    """How many times as fast as `one` the other is, on one thread: the geometric mean over one
    example and a batch of them, where the task has one. They take turns."""
    inputs = [candidate.predictor.latency_inputs() for candidate in (one, other)]
    names = [name for name in TIMED if name in inputs[0]]
    total = 0.0
    for name in names:
        share = seconds / len(names) / ROUNDS / 2
        medians: list[list[float]] = [[], []]
        for number in range(ROUNDS + 1):
            for place in (0, 1) if number % 2 else (1, 0):
                taken, end = list[float](), time.perf_counter() + share
                while len(taken) < FEWEST_CALLS or time.perf_counter() < end:
                    began = time.perf_counter()
                    inputs[place][name]()
                    taken.append(time.perf_counter() - began)
                if number:  # the first round warms up
                    medians[place].append(median(taken))
        total += log(median(medians[0]) / median(medians[1]))
    return exp(total / len(names))
