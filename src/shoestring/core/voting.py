"""voting: a network of several members, and how their answers become one.

Its architecture is {"kind": "ensemble", "vote", "weights": [...], "members": [architecture, ...]},
its weights go by "members.0.NAME". Shapes: N labels, C classes or pieces.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from shoestring.core import units
from shoestring.core.dividing import Matrix, Stage
from shoestring.core.errors import UserError
from shoestring.core.protocols import Aligned, Donor, Examples, Network
from shoestring.core.quantizing import KEPT, LAYERS
from shoestring.core.receipt import Plain
from shoestring.core.run import Run

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

KIND = "ensemble"
MEMBERS = "members"  # in an architecture, in a quantization, and before the names of weights
VOTES = ("soft", "hard")  # means of probabilities; of votes for the likeliest label
MOST_MEMBERS = 64
# What a label got of the mean probability counts beside whole votes: it breaks ties, and leaves
# no label without any. Less than a vote of one in MOST_MEMBERS.
TIE = 0.01
FLOOR = 1e-30  # of a probability, so that it has a logarithm in float32


def architecture(vote: str, weights: Sequence[float], members: Sequence[Plain]) -> Plain:
    """The architecture of an ensemble; weights come to 1. Raises UserError for one that is none."""
    if vote not in VOTES:
        raise UserError(f"the vote of an ensemble is one of {', '.join(VOTES)}, not {vote!r}")
    if not 1 <= len(members) <= MOST_MEMBERS or len(weights) != len(members):
        raise UserError(
            f"an ensemble has 1 to {MOST_MEMBERS} members with a weight each, not {len(members)} "
            f"with {len(weights)} weights"
        )
    if not all(0 < weight < float("inf") for weight in weights):
        raise UserError(f"the weights of an ensemble are above zero, not {list(weights)}")
    shares = [weight / sum(weights) for weight in weights]
    return {"kind": KIND, "vote": vote, "weights": shares, MEMBERS: list(members)}


def quantizations(quantization: Plain, count: int) -> list[Plain]:
    """What each of `count` members is quantized by: its own where there is a list of them, else
    all the same, but for layers, whose names begin with the member's number ("0.LAYER")."""
    own = quantization.get(MEMBERS)
    if own is None:
        return [_own(quantization, number) for number in range(count)]
    if not isinstance(own, Sequence) or len(own) != count or set(quantization) != {MEMBERS}:
        raise UserError(f"quantization {dict(quantization)!r} is not that of {count} members")
    return list(own)


def _of_member(named: Mapping[str, T], number: int) -> dict[str, T]:
    """What is said of a member, by its own names."""
    begin = f"{number}."
    return {n.removeprefix(begin): value for n, value in named.items() if n.startswith(begin)}


def _own(quantization: Plain, number: int) -> Plain:
    found: dict[str, Any] = dict(quantization)
    if LAYERS in found:
        found[LAYERS] = _of_member(found[LAYERS], number)
    if KEPT in found:
        found[KEPT] = list(_of_member(dict.fromkeys(found[KEPT]), number))
    return found


def joint_quantization(members: Sequence[Plain]) -> Plain:
    """The quantization of an ensemble of members that are quantized so."""
    rest = [{n: v for n, v in one.items() if n not in (LAYERS, KEPT)} for one in members]
    if any(one != rest[0] for one in rest):
        return {MEMBERS: list(members)}
    found: dict[str, Any] = dict(rest[0])
    if any(LAYERS in one for one in members):
        found[LAYERS] = {
            f"{number}.{name}": value
            for number, one in enumerate(members)
            for name, value in one.get(LAYERS, {}).items()
        }
    if any(KEPT in one for one in members):
        found[KEPT] = [
            f"{number}.{name}" for number, one in enumerate(members) for name in one.get(KEPT, ())
        ]
    return found


def named(number: int, name: str) -> str:
    """What a member's weight is called in the ensemble."""
    return f"{MEMBERS}.{number}.{name}"


def pooled(shares_NC: Sequence[torch.Tensor], weights: Sequence[float], vote: str) -> torch.Tensor:
    """(N, C) logarithms of what the probabilities that each member gives come to."""
    mean_NC = votes_NC = None
    for one_NC, weight in zip(shares_NC, weights, strict=True):
        mean_NC = one_NC * weight if mean_NC is None else mean_NC + one_NC * weight
        if vote == "hard":
            best_N1 = one_NC.argmax(1, keepdim=True)
            own_NC = one_NC.new_zeros(one_NC.shape).scatter(1, best_N1, weight)
            votes_NC = own_NC if votes_NC is None else votes_NC + own_NC
    assert mean_NC is not None
    if votes_NC is not None:
        mean_NC = votes_NC * (1 - TIE) + mean_NC * TIE
    return mean_NC.clamp_min(FLOOR).log()


class JoinedNetwork(ABC):
    """A Network of members, as far as it is the same for every task. What it has to say of its
    members it asks their own networks."""

    kind = KIND

    @abstractmethod
    def member(self, kind: str) -> Network:
        """The network of a member."""

    def architecture(self, options: Plain, facts: Plain) -> Plain:
        """Of vote, weights and the members' architectures."""
        if MEMBERS not in options:
            raise UserError(
                "an ensemble is made of runs, not trained: shoestring apply ensemble runs/a runs/b"
            )
        return architecture(options["vote"], options["weights"], options[MEMBERS])

    def members(self, model: torch.nn.Module) -> Iterator[tuple[int, Network, torch.nn.Module]]:
        """Number, network and model of each member."""
        kinds: Sequence[str] = model.kinds  # type: ignore[assignment]  # torch guesses a Tensor
        modules: Any = model.members
        for number, (kind, module) in enumerate(zip(kinds, modules, strict=True)):
            yield number, self.member(kind), module

    def parts(self, model: torch.nn.Module) -> Sequence[tuple[str, torch.nn.Module]]:
        """Each member's, one after the other."""
        return [
            (f"{number}.{name}", part)
            for number, network, member in self.members(model)
            for name, part in network.parts(member)
        ]

    def orthogonal(self, model: torch.nn.Module) -> Mapping[torch.nn.Parameter, int]:
        found: dict[torch.nn.Parameter, int] = {}
        for _, network, member in self.members(model):
            found |= network.orthogonal(member)
        return found

    def macs(self, architecture: Plain) -> int:
        return sum(self.member(one["kind"]).macs(one) for one in architecture[MEMBERS])

    def groups(self, architecture: Plain) -> Sequence[units.UnitGroup]:
        return [
            group
            for number, one in enumerate(architecture[MEMBERS])
            for group in units.prefixed(
                self.member(one["kind"]).groups(one), named(number, ""), f"{number}."
            )
        ]

    def thinned(self, architecture: Plain, kept: units.Kept) -> Plain:
        members = [
            self.member(one["kind"]).thinned(one, _of_member(kept, number))
            for number, one in enumerate(architecture[MEMBERS])
        ]
        return {**architecture, MEMBERS: members}

    def calibrated(
        self, model: torch.nn.Module, run: Run, examples: Examples, wanted: Plain
    ) -> Plain:
        """Each member's own, as one."""
        assert run.architecture is not None
        architectures = run.architecture[MEMBERS]
        own = quantizations(wanted, len(architectures))
        return joint_quantization(
            [
                network.calibrated(
                    member, replace(run, architecture=architectures[i]), examples, own[i]
                )
                for i, network, member in self.members(model)
            ]
        )

    def blocks(self, model: torch.nn.Module) -> Sequence[torch.nn.Module]:
        return [b for _, network, member in self.members(model) for b in network.blocks(member)]

    def matrices(self, model: torch.nn.Module, ways: int) -> Mapping[str, Matrix]:
        return {
            named(number, name): matrix
            for number, network, member in self.members(model)
            for name, matrix in network.matrices(member, ways).items()
        }

    def stages(self, model: torch.nn.Module, architecture: Plain, count: int) -> Sequence[Stage]:
        raise UserError(
            "the members of an ensemble stand side by side, and a pipeline is of layers one after "
            "the other; take strategy=data or fsdp"
        )

    def donor(self, words: str) -> Donor:
        _no_start()

    def unpacked(self, manifest: Plain, files: Mapping[str, bytes]) -> Donor:
        _no_start()

    def aligned(self, model: torch.nn.Module, donor: Donor, run: Run) -> Aligned:
        _no_start()


def _no_start() -> NoReturn:
    raise UserError("an ensemble is no start for a network, nor has it one: name a run of its own")
