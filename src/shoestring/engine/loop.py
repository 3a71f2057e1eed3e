"""loop: one fit's state: model, optimizers, batches, a step, a look, a snapshot."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from shoestring import plugins
from shoestring.core.placement import Placement
from shoestring.core.protocols import Batch, Dataset, Feed, Network, Quality, Task
from shoestring.core.run import Recipe, Run
from shoestring.core.techniques import Hook
from shoestring.engine import refresh, schedule
from shoestring.engine.device import KeyedDraws, autocast, has_bfloat16, seed_step
from shoestring.engine.loss import MANY_CLASSES, cross_entropy
from shoestring.engine.optimizer import restore_state, state_tensors, steppers

# The progress of steps that are timed and thrown away: whatever learns at all learns by then.
TIMED = 1.0
NO_BFLOAT16 = "this device has no bfloat16, which the recipe asks for: steps are taken in float32"


@dataclass
class Progress:
    """What a fit has reached; with the tensors, all that a checkpoint holds."""

    step: int = 0
    epoch: int = 0
    offset: int = 0  # batches of the epoch that were taken
    best_quality: float = -math.inf  # of the weights that are kept
    highest_quality: float = -math.inf  # ever seen: what is kept lies within the noise of it
    best_loss: float = math.inf
    curve: list[dict[str, Any]] = field(default_factory=list)


class Stepped(NamedTuple):
    """What a step was made of."""

    loss: torch.Tensor  # mean over the labels, still on the device
    labels: int
    examples: int


@dataclass(frozen=True)
class Feeds:
    """The data on the device, made once and used by every trial and the fit."""

    train: Feed
    validation: Feed

    @staticmethod
    def of(run: Run, dataset: Dataset, placement: Placement) -> Feeds:
        task = plugins.task(run.task)
        facts, device = dataset.facts, placement.device
        train = task.feed(dataset.train, facts, device)
        for hook in hooks_of(run.recipe):
            train = hook.change_feed(task, train, KeyedDraws)
        return Feeds(train, task.feed(dataset.validation, facts, device))


def hooks_of(recipe: Recipe) -> list[Hook]:
    """The techniques of a recipe that change the fit, in order."""
    return [hook for hook in map(plugins.technique, recipe.hooks) if isinstance(hook, Hook)]


def kind_of(run: Run) -> str:
    """The network of a run: that of its architecture, or before there is one of its recipe."""
    return str((run.architecture or run.recipe.network)["kind"])


class Loop:
    """One fit in progress: model, optimizer, feeds and Progress."""

    def __init__(
        self,
        run: Run,
        feeds: Feeds,
        placement: Placement,
        weights: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        recipe = run.recipe
        self.recipe, self.placement = recipe, placement
        self.task: Task = plugins.task(recipe.task)
        self.hooks = hooks_of(recipe)
        self.network: Network = self.task.network(kind_of(run))
        self.architecture = run.architecture or self.network.architecture(recipe.network, run.facts)
        self.train, self.validation = feeds.train, feeds.validation
        seed_step(recipe.seed, -1, placement.device)
        model = self._fresh(weights)
        # What the hooks have to say of where this fit begins.
        told = [hook.begin(model, self.network, run) for hook in self.hooks]
        self.beginnings = [line for line in told if line]
        if recipe.precision == "bfloat16" and not has_bfloat16(placement.device):
            self.beginnings.append(NO_BFLOAT16)
        tutors = [hook.tutor(run, feeds.train, placement.device) for hook in self.hooks]
        self.tutor = next((tutor for tutor in tutors if tutor is not None), None)
        self.raw = model  # its state dict has the names that are stored
        self.model = placement.place(model, self.network, self.architecture)
        self.judged = placement.judge(self.raw, self._fresh)  # what looks look at, in the lead
        self.steppers = steppers(self.raw, recipe, self.network, self.hooks, placement)
        self.progress = Progress()
        self.tensors: dict[str, Any] = {}  # the hooks' tensors and numbers
        self.best: dict[str, torch.Tensor] = {}
        # Loss times labels, labels right, labels, since the beginning.
        exact = torch.float32 if placement.device == "mps" else torch.float64  # MPS has no double
        self.sums = torch.zeros(3, dtype=exact, device=placement.device)
        self.looked = torch.zeros(3, dtype=exact)  # the sums at the last look
        self.looked_share = 1.0  # of the validation split, that a look takes
        self.classes = 0  # known after the first step
        self._order: Sequence[torch.Tensor] = ()
        self._order_epoch = -1
        self._foreseen: tuple[int, int, list[Batch]] | None = None  # epoch, offset, the batch

    def _fresh(self, weights: Mapping[str, torch.Tensor] | None = None) -> torch.nn.Module:
        model = self.network.build(self.architecture)
        if weights is not None:
            model.load_state_dict({name: t.clone() for name, t in weights.items()})
        for hook in self.hooks:
            model = hook.prepare(model, self.network)
        return model

    # --- one step ---

    def batches(self) -> list[Batch]:
        """The next batch of the epoch, changed by the hooks and ready for the network, in the
        pieces that the placement wants."""
        p = self.progress
        self.foresee()
        assert self._foreseen is not None
        found, self._foreseen = self._foreseen[2], None
        p.offset += 1
        if p.offset == len(self._order):
            p.epoch, p.offset = p.epoch + 1, 0
        return found

    def foresee(self) -> None:
        """Makes the next batch, unless it is there. What it holds hangs on where it stands in
        which epoch alone, so that when it is made changes nothing."""
        p, recipe = self.progress, self.recipe
        if self._foreseen is not None and self._foreseen[:2] == (p.epoch, p.offset):
            return
        if self._order_epoch != p.epoch:
            self._order = self.train.order(recipe.batch_size or 1, recipe.seed, p.epoch)
            self._order_epoch = p.epoch
        together = self._order[p.offset]
        pieces = [self._piece(ids, together) for ids in self.placement.shares(together)]
        self._foreseen = (p.epoch, p.offset, pieces)

    def _piece(self, ids: torch.Tensor, together: torch.Tensor) -> Batch:
        """Some examples of a batch. Where there are none, one that counts for nothing, so that the
        process goes along."""
        batch = self.train.batch(ids if len(ids) else together[:1])
        if self.hooks:
            draws = KeyedDraws(self.recipe.seed, self.progress.epoch, batch.ids)
            for hook in self.hooks:
                batch = hook.change_batch(self.task, batch, draws)
        size = batch.size if len(ids) else 0
        return replace(batch, inputs=self.train.prepare(batch.inputs), size=size)

    def step(self, progress: float, factor: float) -> Stepped:
        """One optimizer step."""
        recipe, p = self.recipe, self.progress
        seed_step(recipe.seed, p.step, self.placement.device, self.placement.stream)
        rate = (recipe.learning_rate or 0.0) * factor
        rate *= schedule.shape(recipe.schedule or "constant", progress, recipe.warm_up)
        for hook in self.hooks:
            rate *= hook.learning_rate(progress)
        for stepper in self.steppers:
            stepper.zero_grad()
        for hook in self.hooks:
            hook.set_modes(self.raw, self.network, progress)
            hook.begin_step(self.raw, self.network, progress)
        batches = [piece for _ in range(recipe.accumulate or 1) for piece in self.batches()]
        found = self.placement.backward(self, batches)
        if recipe.clip:
            self.placement.clip(self.raw.parameters(), recipe.clip)
        for hook in self.hooks:
            hook.before_step(self.raw)
        for stepper in self.steppers:
            stepper.step(rate)
        self.tensors["progress"] = progress  # for averages over the last part of a fit
        for hook in self.hooks:
            hook.after_step(self.raw, rate, self.tensors)
        p.step += 1
        self.sums[0] += found.loss_sum
        self.sums[1] += found.right
        self.sums[2] += found.labels
        return Stepped(found.loss_sum / found.labels, found.labels, found.examples)

    def logits(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        with self.autocast():
            return self.network.logits(self.model, batch.inputs, batch.targets)

    def loss_of(
        self, logits_NC: torch.Tensor, labels_N: torch.Tensor, batch: Batch
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The mean loss over the labels of a batch, and how many of them were right."""
        if self.tutor is not None:
            with self.autocast(), torch.no_grad():
                batch = replace(batch, taught=self.tutor(batch))
        self.classes = logits_NC.shape[1]
        smoothing = self.recipe.label_smoothing or 0.0
        if batch.soft_targets is None and self.classes >= MANY_CLASSES:
            loss, right = cross_entropy(logits_NC, labels_N, smoothing)
        else:
            logits_NC = logits_NC.float()
            targets = labels_N if batch.soft_targets is None else batch.soft_targets
            loss = F.cross_entropy(logits_NC, targets, label_smoothing=smoothing)
            right = (logits_NC.detach().argmax(1) == labels_N).sum()
        for hook in self.hooks:
            loss = hook.change_loss(loss, logits_NC, labels_N, batch)
        return loss, right

    def autocast(self) -> AbstractContextManager[None]:
        return autocast(self.placement.device, self.recipe.precision)

    # --- quality ---

    def evaluation_weights(self) -> dict[str, torch.Tensor]:
        """The weights to judge and keep: the model's own unless a hook has better ones."""
        weights = dict(self.raw.state_dict())
        for hook in self.hooks:
            weights.update(hook.evaluation_weights(self.raw, self.tensors) or {})
        return weights

    def result(self) -> dict[str, torch.Tensor]:
        """The best weights, in the lead."""
        if self.progress.best_quality > -math.inf:
            return self.best
        return self.placement.whole(self.evaluation_weights())

    def evaluate(self) -> dict[str, Any]:
        """Looks at the validation split and keeps the weights if they are the best so far. The
        line for the curve also holds the training means since the look before."""
        p, placement = self.progress, self.placement
        placement.settle(self.raw)
        kept = placement.whole(self.evaluation_weights())
        seen = None
        if placement.lead:
            seen, kept = self._seen(kept)
        found = Quality(**placement.told(None if seen is None else vars(seen)))
        gained = found.quality - p.best_quality
        near = found.quality >= p.highest_quality - found.noise
        p.highest_quality = max(p.highest_quality, found.quality)
        if gained > found.noise or (near and found.loss < p.best_loss):
            p.best_quality, p.best_loss = found.quality, found.loss
            self.best = kept if placement.lead else {}
        sums = self.sums.cpu().clone()
        loss_sum, right, labels = (float(x) for x in sums - self.looked)
        self.looked = sums
        line = {
            "step": p.step,
            "epoch": round(p.epoch + p.offset / max(1, len(self._order)), 3),
            "train_loss": loss_sum / max(labels, 1.0),
            "train_accuracy": right / max(labels, 1.0),
            "quality": found.quality,
            "validation_loss": found.loss,
        }
        if self.train.padding:
            line["padding"] = round(self.train.padding, 4)
        p.curve.append(line)
        self.looked_share = max(1, found.examples) / max(1, len(self.validation))
        return line

    def _seen(self, kept: dict[str, torch.Tensor]) -> tuple[Quality, dict[str, torch.Tensor]]:
        """What the validation split says of these weights, and the weights with the statistics of
        normalisation that a hook asked to refresh. The judged model is left as it was."""
        judged = self.judged
        own = {name: t.clone() for name, t in judged.state_dict().items()}
        judged.load_state_dict(kept)
        refreshed = max((hook.refreshed_batches for hook in self.hooks), default=0)
        if refreshed and refresh.normalizes(judged):
            judged.train()
            for hook in self.hooks:  # what they freeze keeps its statistics
                hook.set_modes(judged, self.network, self.tensors.get("progress", 0.0))
            refresh.statistics(judged, self._some(refreshed), self._forward)
            kept = {name: t.detach().clone() for name, t in judged.state_dict().items()}
        judged.eval()
        with torch.no_grad(), self.autocast():
            found = self.task.quality(self.network, judged, self.validation)
        judged.train()
        judged.load_state_dict(own)
        return found, kept

    def _some(self, count: int) -> Iterator[Batch]:
        """The first batches of the first epoch, as the hooks do not change them."""
        order = self.train.order(self.recipe.batch_size or 1, self.recipe.seed, 0)
        for ids in order[:count]:
            batch = self.train.batch(ids)
            yield replace(batch, inputs=self.train.prepare(batch.inputs))

    def _forward(self, batch: Batch) -> None:
        with self.autocast():
            self.network.logits(self.judged, batch.inputs, batch.targets)

    # --- checkpoints ---

    def snapshot(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Tensors and values from which `restore` goes on exactly."""
        self.placement.settle(self.raw)
        tensors = {f"model.{n}": t.clone() for n, t in self.raw.state_dict().items()}
        tensors |= {f"best.{n}": t for n, t in self.best.items()}
        tensors |= {"sums": self.sums.clone(), "looked": self.looked.clone()}
        tensors |= {f"optimizer.{n}": t for n, t in state_tensors(self.steppers).items()}
        numbers = {}
        for name, value in self.tensors.items():
            if isinstance(value, torch.Tensor):
                tensors[f"state.{name}"] = value.clone()
            else:
                numbers[name] = value
        progress = {**vars(self.progress), "curve": list(self.progress.curve)}
        values = {"progress": progress, "numbers": numbers}
        return tensors, values

    def restore(self, tensors: dict[str, torch.Tensor], values: dict[str, Any]) -> None:
        def part(prefix: str) -> dict[str, torch.Tensor]:
            return {
                n[len(prefix) :]: t.to(self.placement.device, copy=True)
                for n, t in tensors.items()
                if n.startswith(prefix)
            }

        like, own = self.placement.like, self.raw.state_dict()
        self.raw.load_state_dict({n: like(t, own[n]) for n, t in part("model.").items()})
        self.best = part("best.")
        self.sums = tensors["sums"].to(self.placement.device, copy=True)
        self.looked = tensors["looked"].clone()
        progress = values["progress"]
        self.progress = Progress(**{**progress, "curve": list(progress["curve"])})
        self.tensors = {**values["numbers"]}
        for name, tensor in part("state.").items():  # one that is named for a weight lies as it
            weight = next((w for n, w in own.items() if name.endswith(n)), tensor)
            self.tensors[name] = like(tensor, weight)
        restore_state(self.steppers, part("optimizer."), like)
        self._order_epoch, self._foreseen = -1, None
