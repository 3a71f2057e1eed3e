"""ensemble: several networks that answer as one, or one network of their mean weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import TYPE_CHECKING, Any, Literal

from shoestring import plugins
from shoestring.core import voting
from shoestring.core.budget import Budget
from shoestring.core.errors import Skipped, UserError
from shoestring.core.protocols import Dataset, Examples, Task
from shoestring.core.quantity import plain_quality
from shoestring.core.run import Run
from shoestring.core.techniques import Finisher

if TYPE_CHECKING:
    import torch

    from shoestring.engine.fuse.members import Member
    from shoestring.engine.fuse.mixture import Net, Together

GROWN = 3  # members where neither their number nor another run was named
CHOOSING = ("weighted", "greedy")
SPOILT = 0.02  # of a perfect quality: a mean of weights that loses so much is no network
CYCLE = 0.5  # of the run's steps, for each snapshot


@dataclass(frozen=True)
class Ensemble(Finisher):
    """Joins trained networks: several answer as one and ship as one bundle, by the mean of their
    probabilities (vote=soft), by votes (vote=hard), by a mean with weights that are found on
    validation (vote=weighted), or by a bag that is filled greedily there (vote=greedy).
    Translators choose each piece by the mean. Or average=weights makes one network of the mean
    weights (vote=greedy: of those that help), which costs nothing when it answers.

    The members are the runs that are named and, up to `members`, more that are trained: from the
    beginning with other seeds, or as snapshots at the ends of further cycles of the rate, which
    are half as long. Means of weights want a common beginning: by=snapshots, or runs with the
    same transfer:start.

    Helps nearly always, the more the less the members agree: the receipt says on how many labels
    they differ, and what each of them adds. Costs a member's bytes and time each; distill makes
    one network of it again.

    Source: Hansen & Salamon 1990 (votes); Caruana et al. 2004, "Ensemble selection from libraries
    of models" (greedy); Huang et al. 2017, "Snapshot ensembles"; Wortsman et al. 2022, "Model
    soups" (weights).
    """

    takes = "runs"

    vote: Literal["soft", "hard", "weighted", "greedy"] = field(
        default="soft", metadata={"help": "how answers are joined; weighted and greedy choose"}
    )
    average: Literal["answers", "weights"] = field(
        default="answers", metadata={"help": "weights: one network of the mean weights, a soup"}
    )
    members: int | None = field(
        default=None,
        metadata={"help": f"in all; None: those named, else {GROWN}. The rest is trained"},
    )
    by: Literal["seeds", "snapshots"] = field(
        default="seeds", metadata={"help": "how members are trained that no run is named for"}
    )
    epochs: float | None = field(
        default=None, metadata={"help": "of a trained member; None: as the run had, or half"}
    )
    runs: tuple[str, ...] = field(
        default=(), metadata={"help": "folders of the other members, joined by +"}
    )

    def __post_init__(self) -> None:
        if self.average == "weights" and self.vote not in ("soft", "greedy"):
            raise ValueError(f"weights are averaged with vote=soft or greedy, not {self.vote}")
        if self.members is not None and not 2 <= self.members <= voting.MOST_MEMBERS:
            raise ValueError(
                f"members is a number from 2 to {voting.MOST_MEMBERS}, not {self.members}"
            )
        if self.epochs is not None and not 0 < self.epochs < inf:
            raise ValueError(f"epochs is above 0, not {self.epochs}")

    @property
    def chooses(self) -> bool:  # type: ignore[override]  # a class attribute there
        """A soup is left out, or shipped, by what it is worth on the deciding examples."""
        return self.vote in CHOOSING or self.average == "weights"

    @property
    def spreads(self) -> bool:  # type: ignore[override]
        """Members from the beginning are trained side by side; a snapshot follows another."""
        return self.by == "seeds" and self._more() > 0

    @property
    def portion(self) -> float:  # type: ignore[override]
        """Of a budget: what each member that is trained takes, and a little for the rest."""
        return 0.1 + self._more() * (CYCLE if self.by == "snapshots" else 1.0)

    def _more(self) -> int:
        """How many members have to be trained."""
        known = 1 + len(self.runs)
        wanted = self.members or (known if self.runs else GROWN)
        if wanted < known:
            raise UserError(f"ensemble: members={wanted} are fewer than the {known} runs named")
        return wanted - known

    def ready(self, task: Task) -> None:
        from shoestring.engine import store

        self._more()
        for path in self.runs:
            other = store.read(path)
            if other.task != task.name:
                raise UserError(f"{path} is of {other.task}, and no member of {task.name}")

    def apply(self, run: Run, budget: Budget) -> Run:
        from shoestring.engine import derive, store
        from shoestring.engine.fuse import members

        more = self._more()
        runs = [run, *(store.read(path) for path in self.runs)]
        known = members.opened(runs)
        if (run.architecture or {}).get("kind") == voting.KIND and (
            more or self.average == "weights"
        ):
            raise UserError(
                f"{run.path} is an ensemble; name runs beside it that it is to be joined with"
            )
        network = plugins.task(run.task).network(voting.KIND)
        if self.average == "answers":  # what it refuses, it refuses before anything is trained
            network.architecture(_options(self._voting(), known, [1.0] * len(known)), run.facts)
        else:
            _one_architecture(known)
        child = derive.child(run, "ensemble", runs[1:])
        if more:
            cycle = CYCLE if self.by == "snapshots" else None
            child, grown = members.grown(child, known[0], more, budget, cycle, self.epochs)
            known += grown
        joined = self._soup if self.average == "weights" else self._joined
        return joined(child, known, budget)

    def _voting(self) -> str:
        return "soft" if self.vote in CHOOSING else self.vote

    # --- answers ---

    def _joined(self, child: Run, members: Sequence[Member], budget: Budget) -> Run:
        from shoestring.engine import apply, derive
        from shoestring.engine.fuse import mixture

        task = plugins.task(child.task)
        dataset = derive.dataset_of(child)
        nets = [_net(child.task, member) for member in members]
        weights = [1 / len(members)] * len(members)
        if self.chooses:
            deciding = task.feed(derive.deciding(dataset), dataset.facts, "cpu")
            finds = mixture.weighted if self.vote == "weighted" else mixture.greedy
            weights = mixture.settled(finds(mixture.truths(nets, deciding)))
        reporting = task.feed(self._reporting(dataset), dataset.facts, "cpu")
        found = mixture.together(nets, weights, self._voting(), reporting)
        kept = [i for i, weight in enumerate(weights) if weight > 0]
        if kept == [0]:
            raise Skipped(f"no other member adds anything to it: {_told(members, weights, found)}")
        chosen = [members[i] for i in kept]
        child = apply.noted(
            child,
            "members",
            reason=_told(members, weights, found),
            options={
                "disagreement": found.disagreement,
                "members": _listed(members, weights, found),
            },
        )
        if len(chosen) == 1:
            (last,) = chosen
            child = replace(child, architecture=last.architecture, quantization=last.quantization)
            return derive.sealed(child, last.weights, budget)
        options = _options(self._voting(), chosen, [weights[i] for i in kept])
        architecture = task.network(voting.KIND).architecture(options, child.facts)
        quantization = voting.joint_quantization([member.quantization for member in chosen])
        child = replace(child, architecture=architecture, quantization=quantization)
        named = {
            voting.named(number, name): tensor
            for number, member in enumerate(chosen)
            for name, tensor in member.weights.items()
        }
        return derive.sealed(child, named, budget)

    def _reporting(self, dataset: Dataset) -> Examples:
        """The validation examples that nothing was decided on."""
        from shoestring.engine import derive

        return derive.reporting(dataset) if self.chooses else dataset.validation

    # --- weights ---

    def _soup(self, child: Run, members: Sequence[Member], budget: Budget) -> Run:
        from shoestring.engine import apply, derive
        from shoestring.engine.fuse import soup
        from shoestring.engine.fuse.members import requantized

        dataset = derive.dataset_of(child)
        pot = soup.Pot(child, dataset, derive.deciding(dataset))
        weights = [member.weights for member in members]
        kept = pot.greedy(weights) if self.vote in CHOOSING else list(range(len(members)))
        if kept == [0]:
            raise Skipped(f"no mean with another of the {len(members)} networks was as good")
        taken = ", ".join(members[i].name for i in kept)
        left = ", ".join(m.name for i, m in enumerate(members) if i not in kept)
        said = f"the mean weights of {taken}" + (f"; left out: {left}" if left else "")
        child = apply.noted(child, "members", reason=said, options={"kept": kept})
        mean = pot.stirred([weights[i] for i in kept])
        if self.vote not in CHOOSING:  # greedily nothing is taken that makes it worse
            best, found = max(pot.quality(w).quality for w in weights), pot.quality(mean).quality
            task = plugins.task(child.task)
            if best - found > SPOILT * task.perfect:
                poor, alone = (plain_quality(value, task.metric) for value in (found, best))
                raise Skipped(
                    f"their mean weights are a poor network: {poor}, and the best of them "
                    f"alone {alone}; weights have a mean where one training branched "
                    "(by=snapshots), and networks of other seeds answer together with "
                    "average=answers"
                )
        quantization = requantized(child, mean, members[kept[0]].quantization)
        return derive.sealed(replace(child, quantization=quantization), mean, budget)


def _options(vote: str, members: Sequence[Member], weights: Sequence[float]) -> dict[str, Any]:
    return {
        "vote": vote,
        "weights": list(weights),
        voting.MEMBERS: [m.architecture for m in members],
    }


def _one_architecture(members: Sequence[Member]) -> None:
    for member in members[1:]:
        if member.architecture != members[0].architecture:
            raise UserError(
                f"{members[0].name} and {member.name} are networks of other shapes, so their "
                "weights have no mean; average=answers joins any"
            )


def _net(task: str, member: Member) -> Net:
    network = plugins.task(task).network(member.architecture["kind"])
    model: torch.nn.Module = network.build(member.architecture)
    model.load_state_dict(dict(member.weights))
    return network, model.eval()


def _listed(
    members: Sequence[Member], weights: Sequence[float], found: Together
) -> list[dict[str, Any]]:
    return [
        {
            "name": member.name,
            "weight": weight,
            "right_alone": added.alone.right,
            "loss_alone": added.alone.loss,
            "right_added": found.whole.right - added.without.right,
            "loss_added": found.whole.loss - added.without.loss,
        }
        for member, weight, added in zip(members, weights, found.members, strict=True)
    ]


def _told(members: Sequence[Member], weights: Sequence[float], found: Together) -> str:
    whole = found.whole
    said = (
        f"of {found.labels:,} labels {whole.right:.2%} are right together, at {whole.loss:.4f} "
        f"nats; two members differ on {found.disagreement:.2%}"
    )
    parts = [said]
    for member, weight, added in zip(members, weights, found.members, strict=True):
        more = 100 * (whole.right - added.without.right)
        parts.append(
            f"{member.name} of weight {weight:.2f}: alone {added.alone.right:.2%} at "
            f"{added.alone.loss:.4f} nats, adds {more:+.2f} points and "
            f"{whole.loss - added.without.loss:+.4f} nats"
        )
    return "; ".join(parts)


TECHNIQUE = Ensemble
