"""transfer: begins with the weights of another model, and says which of its parts learn on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from shoestring import plugins
from shoestring.bundle import bundle as bundles
from shoestring.bundle import manifest as manifests
from shoestring.core import voting
from shoestring.core.budget import Budget
from shoestring.core.errors import BundleError, RunError, UserError
from shoestring.core.protocols import Donor, Network
from shoestring.core.receipt import Plain
from shoestring.core.run import Run
from shoestring.core.techniques import Hook
from shoestring.data.names import counted
from shoestring.engine import store, tensorfile, unseen

if TYPE_CHECKING:
    import torch

THAWED = 0.5  # of the fit, by which gradual unfreezing has reached the last frozen part
_SHOWN = 6  # weights that are named where they did not match
_RUN, _BUNDLE = "run-", "bundle-"  # in front of the recorded digest


@dataclass(frozen=True)
class Transfer(Hook):
    """Begins with the weights of a run, of a bundle, or of a model from elsewhere, as far as names
    and shapes match; the rest begins from nothing, and the receipt says what that is.

    Helps where there are few examples and the other model learned from many that are like them.
    `freeze=all` trains the last part alone, a linear probe: quick, and hard to overfit. Costs
    reading a file; a large network from elsewhere costs its own seconds at every step, and its
    bytes. Frozen parts need no backward, and their normalisation keeps its statistics. A bundle's
    normalisations were folded into its weights: they are kept as they are. Rates of their own
    for parts, or a bundle as the start, take the place of Muon.

    Source: Yosinski et al. 2014, "How transferable are features in deep neural networks?"; Howard
    & Ruder 2018, "Universal language model fine-tuning" (gradual unfreezing, discriminative rates).
    """

    begins = True

    start: str = field(
        default="", metadata={"help": "a run, a bundle, or weights from elsewhere, by their name"}
    )
    parts: tuple[str, ...] = field(
        default=(), metadata={"help": "only these parts of it: encoder+decoder; none: all that fit"}
    )
    freeze: str = field(
        default="none",
        metadata={"help": "none, all (but the last part), or a part, with those before it"},
    )
    unfreeze: Literal["none", "gradual"] = field(
        default="none", metadata={"help": "gradual: from the last part on, in half of the fit"}
    )
    discriminative: float = field(
        default=1.0, metadata={"help": "rate of a part over that of the next: 0.38; 1: all alike"}
    )
    rate: float = field(default=1.0, metadata={"help": "times the learning rate"})
    weights: str = field(default="", metadata={"help": "digest of the start; recorded, not given"})

    def __post_init__(self) -> None:
        if not 0 < self.discriminative <= 1:
            raise ValueError(f"discriminative is above 0 and at most 1, not {self.discriminative}")
        if not 0 < self.rate < inf:
            raise ValueError(f"rate is above 0, not {self.rate}")
        if self.freeze == "all" and self.unfreeze == "gradual":
            raise ValueError("freeze=all and unfreeze=gradual contradict each other; take one")

    @property
    def writes(self) -> tuple[str, ...]:  # type: ignore[override]  # a class attribute there
        return ("network",)  # that of the start

    def apply(self, run: Run, budget: Budget) -> Run:
        task = plugins.task(run.task)
        if not self.start:
            raise UserError(
                "transfer needs a start, for example start=runs/a: a run or a bundle of this task "
                f"(train one first), or {' or '.join(task.starts)}"
            )
        folder = Path(self.start)
        if (folder / store.RUN).exists() or (folder / store.STARTED).exists():
            parent = store.read(folder)
            _same_task(self.start, parent.task, run.task)
            if (parent.architecture or {}).get("kind") == voting.KIND:
                raise UserError(f"{self.start} is an ensemble; start from one of its members")
            unseen.by_start(self.start, parent, run)
            offered, kind = parent.recipe.network, ""
            recorded = _RUN + _digest(folder / store.WEIGHTS)
        elif folder.is_dir():
            bundle = bundles.find(folder)
            manifest = manifests.read(bundle / bundles.MANIFEST)
            _same_task(self.start, manifest["task"], run.task)
            if (bundle.parent / store.RUN).exists():  # it lies in the run that made it
                unseen.by_start(self.start, store.read(bundle.parent), run)
            offered, kind = {"kind": manifest["network"], **manifest.get("options", {})}, ""
            recorded = _BUNDLE + _digest(bundle / bundles.MANIFEST)
        else:
            offered = task.pretrained(self.start)
            kind, recorded = offered["kind"], ""
        if self.weights and self.weights != recorded:
            raise UserError(
                f"{self.start} is not what it was when this recipe was recorded; put it back, or "
                "name the start without the recorded digest"
            )
        said = run.recipe.network
        if kind and said.get("kind", kind) != kind:
            raise UserError(
                f"{self.start} are weights of the network {kind}, and the network was said to be "
                f"{said['kind']}; leave --network out"
            )
        if said.get("kind", offered["kind"]) == offered["kind"]:
            run = run.with_recipe(network={**offered, **said})
        run = replace(run, parents=(*run.parents, self.start))
        return run.with_hook(plugins.words(replace(self, weights=recorded)))

    # --- in a fit ---

    def begin(self, model: torch.nn.Module, network: Network, run: Run) -> str:
        told = self._taken_over(model, network, run) if self.start else ""
        frozen = self._frozen(network.parts(model))
        for weights in _weights(network.parts(model)[:frozen]):
            for weight in weights:
                weight.requires_grad_(False)
        if not any(w.ndim > 1 and w.requires_grad for w in model.parameters()):
            raise UserError(
                f"freeze={self.freeze} leaves no matrix to learn: the last part shares its matrix "
                "with a frozen one; give the network a matrix of its own there (tied=false), or "
                "freeze less"
            )
        return told

    @property
    def whole_weights(self) -> bool:  # type: ignore[override]  # a class attribute there
        return self.freeze != "none" or self.unfreeze != "none"

    def begin_step(self, model: torch.nn.Module, network: Network, progress: float) -> None:
        if self.whole_weights:
            parts = network.parts(model)
            learning = self._learning(parts, progress)
            for place, weights in enumerate(_weights(parts)):
                for weight in weights:
                    weight.requires_grad_(place >= learning)

    def set_modes(self, model: torch.nn.Module, network: Network, progress: float) -> None:
        from torch.nn.modules.batchnorm import _BatchNorm

        if self.whole_weights:
            parts = network.parts(model)
            learning = self._learning(parts, progress)
            for place, (_, part) in enumerate(parts):
                part.train(place >= learning)
        if self.weights.startswith(_BUNDLE):
            for module in model.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()

    def parameter_groups(
        self, model: torch.nn.Module, network: Network
    ) -> Sequence[Mapping[str, Any]] | None:
        if self.discriminative == 1.0 and not self.weights.startswith(_BUNDLE):
            return None
        parts = network.parts(model)
        groups = [
            {
                "params": [w for w in weights if w.requires_grad],
                "rate_factor": self.discriminative ** (len(parts) - 1 - place),
            }
            for place, weights in enumerate(_weights(parts))
        ]
        return [group for group in groups if group["params"]]

    def learning_rate(self, progress: float) -> float:
        return self.rate

    def _frozen(self, parts: Sequence[tuple[str, torch.nn.Module]]) -> int:
        """How many parts, from the input on, are frozen for the whole fit."""
        if self.freeze == "none":
            return 0
        names = [name for name, _ in parts]
        if self.freeze == "all":
            return len(parts) - 1
        if self.freeze not in names:
            raise UserError(
                f"transfer: the network has no part {self.freeze!r} to freeze; there are none, "
                f"{', '.join(names[:-1])}, all"
            )
        last = max(place for place, name in enumerate(names) if _belongs(name, self.freeze))
        if last == len(parts) - 1:
            raise UserError(
                f"freeze={self.freeze} leaves nothing to learn; the last part that can be frozen "
                f"is {names[-2]}"
            )
        return last + 1

    def _learning(self, parts: Sequence[tuple[str, torch.nn.Module]], progress: float) -> int:
        """The first part that learns at a progress of 0 to 1."""
        first = self._frozen(parts)
        if self.unfreeze == "none":
            return first
        most = len(parts) - first
        thawed = 1 + int(progress / THAWED * (most - 1) + 1e-9)
        return len(parts) - min(most, thawed)

    # --- the weights of the start ---

    def _taken_over(self, model: torch.nn.Module, network: Network, run: Run) -> str:
        """Copies what fits, and says what that was."""
        import torch

        donor = self._donor(network)
        aligned = network.aligned(model, donor, run)
        state = model.state_dict()
        wanted = self._wanted(model, network)
        fitting, missed = [], []
        for name, tensor in state.items():
            given = aligned.tensors.get(name)
            if name not in wanted or name in aligned.own or not tensor.is_floating_point():
                continue
            if given is None:
                missed.append(f"{name} (not there)")
            elif given.shape != tensor.shape:
                missed.append(f"{name} ({_sides(tensor)} here, {_sides(given)} there)")
            else:
                fitting.append(name)
        # The last bias has one shape in all networks of as many classes: it alone is no start.
        if not fitting or (missed and not any(state[name].ndim > 1 for name in fitting)):
            unlike = ", ".join(missed[:_SHOWN]) or "its parts do not count here"
            raise UserError(f"nothing of {self.start} fits this network: {unlike}")
        with torch.no_grad():
            for name in fitting:
                state[name].copy_(aligned.tensors[name])
        return _sentence(self.start, network.parts(model), state, fitting, missed, aligned.notes)

    def _donor(self, network: Network) -> Donor:
        folder = Path(self.start)
        if (folder / store.RUN).exists():
            parent = store.read(folder)
            self._unchanged(_RUN + _digest(folder / store.WEIGHTS))
            tensors, _ = tensorfile.load(folder / store.WEIGHTS)
            beside = bundles.find(folder)
            listed = manifests.read(beside / bundles.MANIFEST)["files"]
            kept = [name for name in listed if (folder / name).is_file()]
            return Donor(tensors, parent.facts, {n: (folder / n).read_bytes() for n in kept})
        if folder.is_dir():
            beside = bundles.find(folder)
            self._unchanged(_BUNDLE + _digest(beside / bundles.MANIFEST))
            manifest = manifests.read(beside / bundles.MANIFEST)
            files = {name: bundles.read_file(beside, name, manifest) for name in manifest["files"]}
            bundles.predictor(manifest, files)  # refuses whatever is no bundle of ours
            if manifest["network"] != network.kind:
                raise UserError(
                    f"{self.start} holds a network {manifest['network']}, and a {network.kind} "
                    "cannot take over its weights; leave --network out, or start from its run"
                )
            return network.unpacked(manifest, files)
        return network.donor(self.start)

    def _unchanged(self, found: str) -> None:
        if self.weights and self.weights != found:
            raise RunError(f"{self.start} has changed since this run began; put it back")

    def _wanted(self, model: torch.nn.Module, network: Network) -> set[str]:
        """The names of the weights in the parts that were asked for."""
        state = model.state_dict(keep_vars=True)
        if not self.parts:
            return set(state)
        parts = network.parts(model)
        for asked in self.parts:
            if not any(_belongs(name, asked) for name, _ in parts):
                names = ", ".join(name for name, _ in parts)
                raise UserError(f"transfer: the network has no part {asked!r}; it has: {names}")
        chosen = [p for name, p in parts if any(_belongs(name, asked) for asked in self.parts)]
        inside = {id(t) for part in chosen for t in part.state_dict(keep_vars=True).values()}
        return {name for name, tensor in state.items() if id(tensor) in inside}


def _weights(
    parts: Sequence[tuple[str, torch.nn.Module]],
) -> Iterator[list[torch.nn.Parameter]]:
    """The weights of each part; one that parts share belongs to the first of them."""
    seen: set[int] = set()
    for _, part in parts:
        own = [weight for weight in part.parameters() if id(weight) not in seen]
        seen |= {id(weight) for weight in own}
        yield own


def _belongs(name: str, asked: str) -> bool:
    """Whether a part is the one that was asked for, or goes with it: encoder_norm with encoder."""
    return name == asked or name == f"{asked}_norm"


def _sentence(
    start: str,
    parts: Sequence[tuple[str, torch.nn.Module]],
    state: Plain,
    fitting: Sequence[str],
    missed: Sequence[str],
    notes: Sequence[str],
) -> str:
    """Which parts came over whole, which in part and which not at all, and why."""
    places = {t.data_ptr() for name in fitting for t in (state[name],)}
    found: dict[str, list[str]] = {"whole": [], "in part": [], "fresh": []}
    for name, part in parts:
        held = [t.data_ptr() in places for t in part.state_dict().values() if t.is_floating_point()]
        if held:
            kind = "whole" if all(held) else "in part" if any(held) else "fresh"
            found[kind].append(name)
    words = [f"begins with {counted(len(fitting), 'tensor')} of {start}"]
    if found["whole"]:
        words.append(f"whole: {', '.join(found['whole'])}")
    if found["in part"]:
        words.append(f"in part: {', '.join(found['in part'])}")
    if found["fresh"]:
        words.append(f"from nothing: {', '.join(found['fresh'])}")
    if missed:
        more = f" and {len(missed) - _SHOWN} more" if len(missed) > _SHOWN else ""
        words.append(f"did not match: {', '.join(missed[:_SHOWN])}{more}")
    return "; ".join([*words, *notes])


def _sides(tensor: torch.Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "one number"


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror or error}") from error


def _same_task(start: str, found: str, wanted: str) -> None:
    if found != wanted:
        raise UserError(f"{start} was trained for {found}, and cannot be the start for {wanted}")


TECHNIQUE = Transfer
