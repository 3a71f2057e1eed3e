"""agreement: whether the graphs answer as the float32 network they were made from.

Shapes: B pairs, T target positions, V pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from shoestring.core.errors import BundleError
from shoestring.core.protocols import Examples, Predictor
from shoestring.tasks.translation.examples import TranslationExamples
from shoestring.tasks.translation.hypotheses import Ids
from shoestring.tasks.translation.predict import TranslationPredictor
from shoestring.tasks.translation.search import Found, SearchOptions, search
from shoestring.tasks.translation.special import BOS, EOS, PAD
from shoestring.tasks.translation.steps import judged

if TYPE_CHECKING:
    import torch

    from shoestring.tasks.translation.model import Translator

TOLERANCE = 1e-3  # nats, of every log-probability of a reference, where weights are float32
ROUNDED = 0.1  # nats a piece, of the mean over all references, where they are int8
MOST_PAIRS = 256  # that are compared, evenly spread
_LONGEST = 200  # pieces; longer pairs are compared up to here
_BATCH = 64
_ALONE = 16  # of those that are compared are translated alone as well, by a graph of its own
GREEDY = SearchOptions(beam=1)
CLEAR = 0.999  # of greedy translations that have to be the same: ties fall either way


def agreement(model: torch.nn.Module, predictor: Predictor, examples: Examples) -> str:
    """Runs both over up to `MOST_PAIRS` pairs on the CPU. Returns one sentence; raises BundleError
    where log-probabilities or greedy translations differ by more than stated."""
    assert isinstance(predictor, TranslationPredictor)
    pairs = cast(TranslationExamples, examples)  # a task gets its own back
    if not len(pairs):
        raise BundleError("there is no example to compare the graphs with their network on")
    network = cast("Translator", deepcopy(model).float().cpu().eval())
    chosen = np.unique(np.linspace(0, len(pairs) - 1, MOST_PAIRS).astype(np.int64))
    encode = predictor.tokenizer.encode
    sources = [np.array([*encode(pairs.sources[i])[:_LONGEST], EOS], np.int64) for i in chosen]
    targets = [np.array(encode(pairs.targets[i])[:_LONGEST], np.int64) for i in chosen]
    # Batches of like length: most of what is compared should not be padding.
    order = sorted(range(len(chosen)), key=lambda i: (len(sources[i]), len(targets[i])))
    widest, apart, pieces, same = 0.0, 0.0, 0, 0
    for start in range(0, len(order), _BATCH):
        places = order[start : start + _BATCH]
        batch, wanted = [sources[i] for i in places], [targets[i] for i in places]
        shipped, _, counts = judged(predictor.steps, batch, wanted)
        trained = _judged(network, batch, wanted)
        difference = np.abs(shipped - trained)
        widest = max(widest, float(difference.max())) if np.isfinite(difference).all() else np.inf
        apart, pieces = apart + float(difference.sum()), pieces + int(counts.sum())
        ours = search(predictor.steps, batch, GREEDY, scores=False)
        theirs = search(NetworkSteps(network), batch, GREEDY, scores=False)
        same += sum(a[0].pieces == b[0].pieces for a, b in zip(ours, theirs, strict=True))
    _alone(predictor, [sources[i] for i in order[:: max(1, len(order) // _ALONE)]])
    mean, count = apart / pieces, len(chosen)
    if predictor.steps.int8:
        agreed = mean <= ROUNDED
        allowed = f"{ROUNDED} nats a piece on average"
    else:
        agreed = widest <= TOLERANCE and same >= int(CLEAR * count)
        allowed = f"{TOLERANCE:.0e} nats, and the same greedy translations"
    if not agreed:  # a NaN disagrees as well
        raise BundleError(
            f"the exported graphs disagree with their network on {count} validation pairs: "
            f"log-probabilities by up to {widest:.2g} nats, {mean:.2g} on average (allowed: "
            f"{allowed}), {count - same} greedy translations differ. The bundle was not written; "
            "please report this with the run's folder"
        )
    if predictor.steps.int8:
        return (
            f"the int8 graphs follow the float32 network on {count} validation pairs: "
            f"log-probabilities within {mean:.1g} nats a piece on average, {same} greedy "
            "translations the same"
        )
    return (
        f"the graphs agree with the float32 network on {count} validation pairs: "
        f"log-probabilities within {widest:.1g} nats, {same} greedy translations the same"
    )


def _alone(predictor: TranslationPredictor, sources: Sequence[Ids]) -> None:
    """BundleError where sentences alone are not translated as step by step: twice the same one has
    the ranges in int8 that it has once. Rounding tips a tie now and then, a wrong graph nearly
    all."""
    found = [
        search(predictor.steps, [source], GREEDY, scores=False)[0][0].pieces
        == search(predictor.steps, [source, source], GREEDY, scores=False)[0][0].pieces
        for source in sources
    ]
    apart = len(found) - sum(found)
    if apart > len(found) // 2:
        raise BundleError(
            f"of {len(found)} validation sentences {apart} are translated otherwise alone than "
            "step by step. The bundle was not written; please report this with the run's folder"
        )


def _judged(network: Translator, sources: Sequence[Ids], targets: Sequence[Ids]) -> Any:
    """(A, T) log-probabilities by the fused form, as `judged` has them."""
    import torch

    source_BS, lengths_B = _tensors(sources)
    given_BT, _ = _tensors([np.array([BOS, *target], np.int64) for target in targets])
    wanted_BT, _ = _tensors([np.array([*target, EOS], np.int64) for target in targets])
    flat = wanted_BT.T.flatten()
    rows_N = (flat != PAD).nonzero().squeeze(1)
    with torch.inference_mode():
        logits_NV = network(source_BS, lengths_B, given_BT, rows_N)
        own_N = torch.log_softmax(logits_NV, 1).gather(1, flat[rows_N, None])[:, 0]
        logs = torch.zeros(len(flat)).index_copy(0, rows_N, own_N)
    return logs.view(wanted_BT.shape[1], -1).T.numpy()


def _tensors(rows: Sequence[Ids]) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    lengths = [len(row) for row in rows]
    table = np.full((len(rows), max(lengths)), PAD, np.int64)
    for line, row in zip(table, rows, strict=True):
        line[: len(row)] = row
    return torch.from_numpy(table), torch.tensor(lengths)


class NetworkSteps:
    """torch's stepping form as a step function of a search."""

    def __init__(self, network: Translator) -> None:
        self._network = network
        self.pieces = int(network.output.out_features)

    def whole(self, source: Ids, limit: int) -> list[int] | None:
        return None

    def start(
        self, sources: Sequence[Ids], candidates: int, scores: bool, attention: bool
    ) -> tuple[Any, int]:
        import torch

        source_BS, lengths_B = _tensors(sources)
        with torch.inference_mode():
            memory: Any = self._network.encode(source_BS, lengths_B)  # what its own start takes
            state = self._network.start(memory)
        return (candidates, state), source_BS.shape[1]

    def step(self, state: Any, parents_R: Ids, pieces_R: Ids, sentences_R: Ids) -> Found:
        import torch

        candidates, before = state
        parents = torch.from_numpy(parents_R)
        with torch.inference_mode():
            rows = {name: value.index_select(0, parents) for name, value in before.items()}
            logits_RV, after, attention_RS = self._network.step(rows, torch.from_numpy(pieces_R))
            values, pieces = torch.log_softmax(logits_RV, 1).topk(candidates)
        return Found(values.numpy(), pieces.numpy(), (candidates, after), attention_RS.numpy())
