"""prune: takes out units that matter least, so that file and latency fall, and trains on."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from math import inf
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakKeyDictionary

from shoestring import plugins
from shoestring.core.budget import Budget, Cost
from shoestring.core.errors import Skipped, UserError
from shoestring.core.protocols import Dataset, Quality
from shoestring.core.quantity import plain_quality
from shoestring.core.run import Run
from shoestring.core.techniques import Finisher, Hook

if TYPE_CHECKING:
    import torch

    from shoestring.engine.shrink.thinning import Thin

# Shares that are tried one after the other where `until` says how much may be lost.
SHARES = (0.3, 0.5, 0.65, 0.75, 0.82, 0.88, 0.92, 0.95, 0.97, 0.98)
HALVINGS = 1  # of the step to the first share that lost too much
WEIGHING = 0.1  # of the seconds there are, for what tells how much units matter
RUINED = 0.1  # of a perfect quality, lost to a cut that there were no seconds to go on after
SHORT = 0.02  # of a ratio: what stays beside it is worth a word
# Where one deciding example counts for more than the loss allowed, the loss of probabilities is
# asked as well: a label that is answered wrong costs about so many nats.
NATS = 3.0
FEW = ", one of which counts for more than that, so that nats are asked as well,"
STALE = "; it ships in floats, for ranges were measured with other weights: quantize it again"
# Of models in a fit after structure=weights: each weight with zeros, and where it has none.
_PLACES: WeakKeyDictionary[torch.nn.Module, list[tuple[torch.nn.Parameter, torch.Tensor]]] = (
    WeakKeyDictionary()
)


@dataclass(frozen=True)
class Prune(Finisher, Hook):
    """Takes units out of a trained network: channels and dense units, hidden units of LSTMs with
    both of an embedding's ends, attention heads, feed-forward units. They leave every weight that
    makes or reads them, so that what ships is smaller and faster without any special runtime; then
    the fit goes on. At least 2 units of a group stay (1 head, `multiple` of a large group).

    What matters is told by the loss to first order (criterion=taylor), by the weights
    (magnitude), or by what a normalisation multiplies a unit by (scale). Of each layer the same
    share leaves, or with scope=global whatever matters least for what it saves of units,
    parameters or multiply-accumulates (`of`). With until=0.2pp as much leaves as loses at most 0.2
    points on a third of validation; the gain is measured on the rest.

    With structure=weights single weights become zero instead. That makes no file smaller and
    nothing faster by itself: the receipt says what compression would make of it.

    Helps where a network is larger than its data need. Costs a fit: the more leaves, the longer it
    has to go on; several `steps` lose less than one where much leaves.

    Source: Li et al. 2017, "Pruning filters for efficient ConvNets" (magnitude); Liu et al. 2017,
    "Network slimming" (scale); Molchanov et al. 2019, "Importance estimation for neural network
    pruning" (taylor); Zhu & Gupta 2017, "To prune, or not to prune" (steps).
    """

    portion = 0.5

    ratio: float = field(default=0.5, metadata={"help": "the share that leaves; see `of`"})
    of: Literal["units", "parameters", "macs"] = field(
        default="units", metadata={"help": "what `ratio` is a share of"}
    )
    until: str = field(
        default="", metadata={"help": "instead of a ratio: the loss allowed, as 0.2pp, in points"}
    )
    criterion: Literal["taylor", "magnitude", "scale"] = field(
        default="taylor", metadata={"help": "what tells how much a unit matters"}
    )
    scope: Literal["layer", "global"] = field(
        default="layer", metadata={"help": "layer: every layer loses the same share"}
    )
    steps: int = field(
        default=1, metadata={"help": "in how many the ratio is reached, with a fit after each"}
    )
    epochs: float = field(
        default=2.0, metadata={"help": "of the fits after it together; of each one with until="}
    )
    rate: float = field(
        default=0.5, metadata={"help": "factor on the run's learning rate for these fits"}
    )
    multiple: int = field(
        default=8, metadata={"help": "large groups keep multiples of it: what processors take"}
    )
    structure: Literal["units", "weights"] = field(
        default="units", metadata={"help": "weights: zeros in place, which make no file smaller"}
    )

    def __post_init__(self) -> None:
        if not 0 < self.ratio < 1:
            raise ValueError(f"ratio is a share above 0 and below 1, not {self.ratio}")
        if self.steps < 1 or self.multiple < 1:
            raise ValueError(f"steps and multiple are from 1, not {self.steps} and {self.multiple}")
        if not 0 <= self.epochs < inf or not 0 < self.rate < inf:
            raise ValueError(
                f"epochs is from 0 and rate above 0, not {self.epochs} and {self.rate}"
            )
        if self.until and not re.fullmatch(r"\d+(\.\d+)?pp", self.until):
            raise ValueError(f"until is a number of points, written like 0.2pp, not {self.until!r}")
        if self.structure == "weights" and (self.until or self.of != "units"):
            raise ValueError("structure=weights takes a ratio of the weights, and no until or of")

    @property
    def lasts(self) -> bool:  # type: ignore[override]  # a class attribute there
        return self.structure == "weights"

    @property
    def chooses(self) -> bool:  # type: ignore[override]  # a class attribute there
        return bool(self.until)

    def apply(self, run: Run, budget: Budget) -> Run:
        from shoestring.engine import apply, derive, pacing
        from shoestring.engine.shrink import thinning

        if self.structure == "weights":
            return self._sparse(run, budget)
        network = plugins.task(run.task).network(str((run.architecture or {})["kind"]))
        if not network.groups(run.architecture or {}):
            raise UserError(
                f"no units are known that could be taken out of a network {network.kind}; distill "
                "it into another one, or take prune:structure=weights"
            )
        model, dataset = derive.model_of(run), derive.dataset_of(run)
        begun = thinning.Thin(_child(run), model.state_dict(), Cost())
        whole = begun.size_of(self.of)({})
        made = (self._as_far if self.until else self._at_once)(begun, whole, dataset, budget)
        left = made.size_of(self.of)({}) / whole
        if not self.until and left > 1 - self.ratio + SHORT:
            short = f"of the {self.of} {1 - left:.0%} left, and not {self.ratio:.0%}: the rest is "
            made = replace(made, said=short + "what always stays")
        hurried = budget.seconds is not None and made.cost.steps < pacing.FEW_STEPS * self.steps
        if hurried and self.epochs and not self.until:
            self._not_ruined(begun, made, dataset)
        stale = run.quantization and not begun.run.quantization
        child = apply.noted(
            made.run, "fit", reason=thinning.told(begun, made) + (STALE if stale else "")
        )
        cost = made.cost if made.cost.steps else None
        return derive.sealed(child, made.weights, budget, cost)

    # --- units ---

    def _at_once(self, thin: Thin, whole: float, dataset: Dataset, budget: Budget) -> Thin:
        """After `steps` cuts, the first ones the larger, the goal is reached; the fit after the
        last is twice as long as the others. A fit keeps seconds back for an export; none follows
        but the last, so that the others have them too."""
        from shoestring.engine import pacing

        for number in range(1, self.steps + 1):
            share = self.ratio * (1 - (1 - number / self.steps) ** 3)
            thin = self._cut(thin, (1 - share) * whole, dataset, budget)
            last = number == self.steps
            part = (2 if last else 1) / (self.steps + 1)
            left = (1 + self.steps - number + 1) / (self.steps + 1)
            clock = budget if last else budget.part(part / left, pacing.AFTER_SECONDS)
            thin = self._tuned(thin, dataset, clock, part * self.epochs)
        return thin

    def _as_far(self, thin: Thin, whole: float, dataset: Dataset, budget: Budget) -> Thin:
        """The smallest network that loses no more than allowed on the deciding examples: step by
        step, and once half a step where the next one lost too much."""
        from shoestring.engine import derive, pacing

        task = plugins.task(thin.run.task)
        feed = task.feed(derive.deciding(dataset), dataset.facts, "cpu")
        before = thin.quality(feed)
        allowed = float(self.until.removesuffix("pp")) * task.perfect / 100
        begun, reached, shares, halvings = thin, 0.0, list(SHARES), 0
        few = task.perfect / len(feed) > allowed
        nats = NATS * allowed / task.perfect if few else inf

        def told(found: Quality) -> str:
            quality = plain_quality(found.quality, task.metric)
            return quality + (f" at {found.loss:.4f} nats" if few else "")

        said = f"{told(before)} {task.metric} on {len(feed)} deciding examples{few * FEW} before"
        while shares:
            share = shares.pop(0)
            clock = budget.part(1 / (2 + min(len(shares), 4)), pacing.AFTER_SECONDS)
            began = budget.elapsed()
            tried = self._cut(thin, (1 - share) * whole, dataset, clock)
            if tried.run.architecture == thin.run.architecture:
                break  # only what always stays is left
            tried = self._tuned(tried, dataset, clock, self.epochs)
            found = tried.quality(feed)
            said += f", {told(found)} without {share:.0%} of the {self.of}"
            lost, worse = before.quality - found.quality, found.loss - before.loss
            if lost <= allowed + 1e-9 and worse <= nats:
                thin, reached = tried, share
            elif halvings < HALVINGS:
                shares, halvings = [(reached + share) / 2], halvings + 1
                thin = replace(thin, cost=tried.cost)
            else:
                thin = replace(thin, cost=tried.cost)
                break
            took = budget.elapsed() - began
            if budget.seconds is not None and budget.remaining() < 2 * took:
                break
        if thin.run.architecture == begun.run.architecture:
            raise Skipped(f"nothing could be taken out within {self.until}: {said}")
        return replace(thin, said=said)

    def _not_ruined(self, begun: Thin, made: Thin, dataset: Dataset) -> None:
        """Raises Skipped where the seconds were too few to go on after the cut, and what is left
        of the network is no good."""
        from shoestring.engine import derive

        task = plugins.task(begun.run.task)
        feed = task.feed(derive.deciding(dataset), dataset.facts, "cpu")
        before, after = begun.quality(feed).quality, made.quality(feed).quality
        if before - after > RUINED * task.perfect:
            had, has = (plain_quality(value, task.metric) for value in (before, after))
            raise Skipped(
                f"{made.cost.steps:,} steps after the cut were too few: {has} {task.metric} "
                f"on {len(feed)} deciding examples, and {had} before; give more seconds, or "
                "take a smaller ratio"
            )

    def _cut(self, thin: Thin, goal: float, dataset: Dataset, clock: Budget) -> Thin:
        """The network at most as large as the goal, as far as what stays allows it."""
        from shoestring.engine.shrink import allot, importance
        from shoestring.engine.shrink import thin as surgery

        network, model = thin.network(), thin.model()
        architecture = thin.run.architecture or {}
        groups = network.groups(architecture)
        if self.criterion == "taylor":
            seconds = WEIGHING * max(0.0, clock.remaining())
            scores = importance.taylor(thin.run, model, dataset, groups, seconds)
        elif self.criterion == "scale":
            scores = importance.scale(model, groups)
        else:
            scores = importance.magnitude(model, groups)
        found = allot.families(groups, scores)
        shares = allot.even if self.scope == "layer" else allot.worst_first
        counts = shares(found, thin.size_of(self.of), goal, self.multiple)
        kept = allot.best(found, counts, scores)
        return replace(
            thin,
            run=replace(thin.run, architecture=network.thinned(architecture, kept)),
            weights=surgery.cut(thin.weights, groups, kept),
        )

    def _tuned(
        self,
        thin: Thin,
        dataset: Dataset,
        clock: Budget,
        epochs: float,
        hooks: tuple[str, ...] = (),
    ) -> Thin:
        """Trained on for so long; with no epochs at all, its statistics alone are made anew."""
        from shoestring.engine import derive
        from shoestring.engine.shrink import importance

        if not epochs:
            model = thin.model()
            importance.refreshed(thin.run, model, dataset)
            return replace(thin, weights=model.state_dict())
        recipe = thin.run.own_recipe
        changes: dict[str, Any] = {"hooks": (*recipe.hooks, *hooks)} if hooks else {}
        if recipe.learning_rate is not None:
            changes["learning_rate"] = recipe.learning_rate * self.rate
        run, weights, cost = derive.tuned(thin.run, thin.weights, clock, epochs, **changes)
        weights = {name: tensor.detach().cpu() for name, tensor in weights.items()}
        return replace(thin, run=run, weights=weights, cost=thin.cost + cost)

    # --- single weights ---

    def _sparse(self, run: Run, budget: Budget) -> Run:
        """Zeros in place of the smallest weights of convolutions and matrices."""
        from shoestring.engine import apply, derive, pacing, store
        from shoestring.engine.shrink import sparse, thinning

        model, dataset = derive.model_of(run), derive.dataset_of(run)
        thin = thinning.Thin(_child(run), model.state_dict(), Cost())
        hook = plugins.words(replace(Prune(), structure="weights"))
        for number in range(1, self.steps + 1):
            share = self.ratio * (1 - (1 - number / self.steps) ** 3)
            weights = sparse.zeroed(thin.model(), share, self.scope == "global")
            last = number == self.steps
            clock = (
                budget if last else budget.part(1 / (2 + self.steps - number), pacing.AFTER_SECONDS)
            )
            thin = replace(thin, weights=weights)
            part = (2 if last else 1) / (self.steps + 1)
            thin = self._tuned(thin, dataset, clock, part * self.epochs, (hook,))
        zeros, count = sparse.counted(thin.model())
        made = derive.sealed(thin.run, thin.weights, budget, thin.cost if thin.cost.steps else None)
        compressed = [sparse.compressed(one.path / store.BUNDLE) for one in (run, made)]
        said = (
            f"{zeros:,} of {count:,} weights are zero and take as many bytes as any other: what "
            f"ships is no smaller and no faster; compressed it would be {compressed[1]:,} bytes "
            f"after {compressed[0]:,}"
        )
        return apply.noted(made, "export", reason=said)

    def before_step(self, model: torch.nn.Module) -> None:
        """In a fit after structure=weights: notes where weights are zero, once."""
        if self.structure == "weights" and model not in _PLACES:
            from shoestring.engine.shrink import sparse

            _PLACES[model] = sparse.places(model)

    def after_step(self, model: torch.nn.Module, rate: float, state: dict[str, Any]) -> None:
        if self.structure == "weights":
            for weight, stays in _PLACES[model]:
                weight.data.mul_(stays)


def _child(run: Run) -> Run:
    """The new run. Ranges that a quantization was measured with are those of other weights."""
    from shoestring.engine import derive

    members = run.quantization.get("members", ())
    stale = any("layers" in one for one in (run.quantization, *members))
    return derive.child(run, "prune", quantization={} if stale else run.quantization)


TECHNIQUE = Prune
