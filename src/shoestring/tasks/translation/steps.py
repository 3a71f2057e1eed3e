"""steps: the step function of a search, over the graphs of a bundle.

States and memory stay in values of the runtime; what numpy sees of a step is the few best pieces.

Shapes: A sentences, S source pieces, R rows, W rows a sentence, K candidates, V pieces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shoestring.core.errors import BundleError
from shoestring.tasks.translation.hypotheses import Floats, Ids
from shoestring.tasks.translation.search import Found
from shoestring.tasks.translation.special import BOS, EOS, PAD

if TYPE_CHECKING:
    from onnxruntime import InferenceSession as Session

ENCODER, DECODER = "encoder.onnx", "decoder.onnx"
GREEDY, FORCED = "greedy.onnx", "forced.onnx"  # the decoder with less to answer, and with more
WHOLE = "whole.onnx"  # the encoder and greedy search in one; older bundles have none
TARGET = "target."  # before what of its inputs the decoder reads, as the encoder has its own
TABLE = "table.onnx"  # run once; "target.table.onnx" as well where target pieces have their own
ROUNDED = "int8"  # the doc_string of graphs whose weights are
_ANSWERS = {DECODER: ["values", "top", "attention"], GREEDY: ["best"], FORCED: ["logits"]}
_POSITIONS = ("positions", f"{TARGET}positions")
_NOTHING: Floats = np.zeros((0, 0), np.float32)


class State(NamedTuple):
    """What a row goes on from, and what its sentence was."""

    memory: dict[str, Any]  # by input of the decoder; the same for all steps
    rows: dict[str, Any]  # the states after the last step
    candidates: NDArray[np.int64]  # (1,)
    plain: bool  # the best piece is all that is asked for
    step: int
    sentences: Ids  # (R,) that `grid` and `slots` are of
    grid: Ids  # (A, W)
    slots: Ids  # (R,)


class GraphSteps:
    """`files` are a bundle's, with sessions of the graphs that `graph` writes."""

    def __init__(self, files: Mapping[str, Any]) -> None:
        missing = [n for n in (ENCODER, DECODER, GREEDY, FORCED) if n not in files]
        if missing:
            raise BundleError(f"the bundle has no {missing[0]}")
        self._encoder: Session = files[ENCODER]
        self._decoders: dict[str, Session] = {n: files[n] for n in (DECODER, GREEDY, FORCED)}
        inputs = {i.name: i.shape for i in self._decoders[DECODER].get_inputs()}
        shape = {o.name: o.shape for o in self._decoders[FORCED].get_outputs()}.get("logits", [""])
        if not isinstance(shape[-1], int):
            raise BundleError(f"{FORCED} does not say how many pieces it chooses from")
        self.pieces: int = shape[-1]
        self.int8: bool = self._encoder.get_modelmeta().description == ROUNDED
        self._memory = [name for name in inputs if name.startswith("memory.")]
        self._states = [name for name in inputs if name.startswith("state.")]
        self._nexts = [f"next.{name.removeprefix('state.')}" for name in self._states]
        self._wanted = {name: [*self._nexts, *_ANSWERS[name]] for name in _ANSWERS}
        self._encoded = [o.name for o in self._encoder.get_outputs()]
        # A state that the encoder does not give is one of pieces so far, of which there are none.
        self._empty = {n: inputs[n] for n in self._states if n not in self._encoded}
        # Of members of an ensemble each has its own, or shares them with those of its size.
        self._units: dict[str, int] = {
            name: shape[-1]
            for name, shape in inputs.items()
            if name.partition(".")[0] == "positions" and isinstance(shape[-1], int)
        }
        for name, session in self._decoders.items():
            given = [o.name for o in session.get_outputs()]
            lacking = [n for n in self._memory if n not in self._encoded]
            lacking += [n for n in self._wanted[name] if n not in given]
            if lacking:
                raise BundleError(f"{ENCODER} and {name} do not fit: {lacking[0]} is missing")
        # What graphs look pieces up in, where they do not hold it themselves.
        tables: dict[str, Any] = {}
        wanted = [
            {i.name for i in session.get_inputs()} for session in (self._encoder, files[DECODER])
        ]
        for name, names in zip((TABLE, f"target.{TABLE}"), wanted, strict=True):
            if name in files:
                tables |= _made(files[name])
            looked_up = {n for n in names if n.partition(".")[0] in ("table", "gates")}
            lacking = [n for n in looked_up if n not in tables]
            if lacking:
                raise BundleError(f"the bundle has no {TABLE} with what its graphs look up")
            found = {n: tables[n] for n in names if n in tables}
            if name == TABLE:
                self._source_tables = found
        self._target_tables = found
        self._whole: Whole | None = None
        if WHOLE in files:
            target = {f"{TARGET}{name}": made for name, made in self._target_tables.items()}
            self._whole = Whole(files[WHOLE], self._source_tables | target)

    def whole(self, source: Ids, limit: int) -> list[int] | None:
        return None if self._whole is None else self._whole.found(source, limit)

    def start(
        self, sources: Sequence[Ids], candidates: int, scores: bool, attention: bool
    ) -> tuple[State, int]:
        lengths_A = np.array([len(source) for source in sources], np.int32)
        width = int(lengths_A.max())
        pieces_AS = np.full((len(sources), width), PAD, np.int64)
        pieces_AS[np.arange(width) < lengths_A[:, None]] = np.concatenate(sources)
        feeds = {"pieces": pieces_AS, "lengths": lengths_A, **self._source_tables}
        feeds |= {name: positions(0, width, units) for name, units in self._units.items()}
        outputs = self._encoder.run(self._encoded, feeds)
        found = dict(zip(self._encoded, outputs, strict=True))
        memory = {name: found[name] for name in self._memory}
        rows = {name: found[name] for name in self._states if name in found}
        for name, shape in self._empty.items():
            sizes = [n if isinstance(n, int) else 0 for n in shape]
            rows[name] = np.zeros((len(sources), *sizes[1:]), np.float32)
        count = np.array([candidates], np.int64)
        plain = candidates == 1 and not scores and not attention
        return State(memory, rows, count, plain, 0, *_grid(np.arange(len(sources)), None)), width

    def step(self, state: State, parents_R: Ids, pieces_R: Ids, sentences_R: Ids) -> Found:
        if state.plain:
            (best_R1,), after = self._run(GREEDY, state, parents_R, pieces_R, sentences_R)
            return Found(_NOTHING, best_R1, after, None)
        found, after = self._run(DECODER, state, parents_R, pieces_R, sentences_R)
        return Found(found[0], found[1], after, found[2])

    def logits(
        self, state: State, parents_R: Ids, pieces_R: Ids, sentences_R: Ids
    ) -> tuple[Floats, State]:
        """(R, V) instead of the best pieces."""
        (logits_RV,), after = self._run(FORCED, state, parents_R, pieces_R, sentences_R)
        return logits_RV, after

    def _run(
        self, name: str, state: State, parents_R: Ids, pieces_R: Ids, sentences_R: Ids
    ) -> tuple[list[Any], State]:
        memory, rows, candidates, plain, step, sentences, grid_AW, slots_R = state
        if sentences_R is not sentences:
            sentences, grid_AW, slots_R = _grid(sentences_R, grid_AW)
        feeds = {
            **memory,
            **rows,
            **self._target_tables,
            "pieces": pieces_R,
            "parents": parents_R,
            "grid": grid_AW,
            "slots": slots_R,
        }
        if name == DECODER:
            feeds["candidates"] = candidates
        feeds |= {name: positions(step, 1, units) for name, units in self._units.items()}
        outputs = self._decoders[name].run(self._wanted[name], feeds)
        rows = dict(zip(self._states, outputs, strict=False))
        after = State(memory, rows, candidates, plain, step + 1, sentences, grid_AW, slots_R)
        return outputs[len(rows) :], after


class Whole:
    """Greedy search of one sentence in one call."""

    def __init__(self, session: Session, tables: Mapping[str, Any]) -> None:
        self._session = session
        shapes = {i.name: i.shape for i in session.get_inputs()}
        self._tables = {name: tables[name] for name in shapes if name in tables}
        self._units: dict[str, int] = {
            name: shapes[name][-1] for name in _POSITIONS if name in shapes
        }
        lacking = set(shapes) - {*self._tables, *self._units, "pieces", "lengths", "limit"}
        known = "found" in [o.name for o in session.get_outputs()]
        if lacking or not known or not all(isinstance(n, int) for n in self._units.values()):
            what = min(lacking, default="found or positions")
            raise BundleError(f"{ENCODER} and {WHOLE} do not fit: {what} is missing")

    def found(self, source: Ids, limit: int) -> list[int]:
        """The pieces, the end last where it came to it within so many."""
        feeds: dict[str, Any] = {
            **self._tables,
            "pieces": source[None],
            "lengths": np.array([len(source)], np.int32),
            "limit": np.array(limit, np.int64),
        }
        for name, count in zip(_POSITIONS, (len(source), limit), strict=True):
            if name in self._units:
                feeds[name] = positions(0, count, self._units[name])
        (found_T11,) = self._session.run(["found"], feeds)
        pieces: list[int] = found_T11.ravel().tolist()
        return pieces


def _made(session: Session) -> dict[str, Any]:
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {}), strict=True))


def judged(
    steps: GraphSteps, sources: Sequence[Ids], targets: Sequence[Ids]
) -> tuple[NDArray[np.float64], NDArray[np.bool_], Ids]:
    """How given targets are rated, piece by piece and then their end: (A, T) log-probabilities,
    (A, T) whether the piece was the best one, and (A,) how many there are; zero and false behind
    these. Sources come with their ends, targets without."""
    counts_A = np.array([len(target) + 1 for target in targets], np.int64)
    wanted_AT = np.full((len(targets), int(counts_A.max())), EOS, np.int64)
    for row, target in zip(wanted_AT, targets, strict=True):
        row[: len(target)] = target
    logs_AT = np.zeros(wanted_AT.shape)
    right_AT = np.zeros(wanted_AT.shape, np.bool_)
    state, _ = steps.start(sources, 1, False, False)
    rows = np.arange(len(sources))
    parents_R, pieces_R = rows, np.full(len(rows), BOS)
    for place in range(wanted_AT.shape[1]):
        logits_RV, state = steps.logits(state, parents_R, pieces_R, rows)
        wanted_R = wanted_AT[rows, place]
        largest_R = logits_RV.max(axis=1)
        sums_R = np.exp(logits_RV - largest_R[:, None]).sum(axis=1, dtype=np.float64)
        own_R = logits_RV[np.arange(len(rows)), wanted_R]
        logs_AT[rows, place] = own_R - largest_R - np.log(sums_R)
        right_AT[rows, place] = logits_RV.argmax(axis=1) == wanted_R
        parents_R = np.flatnonzero(counts_A[rows] > place + 1)
        rows, pieces_R = rows[parents_R], wanted_R[parents_R]
    return logs_AT, right_AT, counts_A


def looked(steps: GraphSteps, source: Ids, target: Ids) -> Floats:
    """(T, S) how much each piece of a given target, and its end, looks at each piece of a source.
    The source comes with its end, the target without."""
    state, _ = steps.start([source], 1, True, True)
    row, rows = np.zeros(1, np.int64), []
    for piece in [BOS, *target.tolist()]:
        found = steps.step(state, row, np.array([piece], np.int64), row)
        assert found.attention is not None
        rows.append(found.attention[0, : len(source)])
        state = found.state
    return np.stack(rows)


def positions(begin: int, count: int, units: int) -> Floats:
    """(count, units) sines, then cosines, of the positions from `begin` on, Vaswani et al. 2017."""
    half = units // 2
    rates_H = np.exp(np.arange(half, dtype=np.float32) * np.float32(-np.log(10_000.0) / half))
    angles_TH = np.arange(begin, begin + count, dtype=np.float32)[:, None] * rates_H
    return np.concatenate([np.sin(angles_TH), np.cos(angles_TH)], axis=1)


def _grid(sentences_R: Ids, before_AW: Ids | None) -> tuple[Ids, Ids, Ids]:
    """The sentences, (A, W) the rows of each, and (R,) the flat place of each row in that. Of
    `before_AW`, the one of the step before, A is taken; there is none where all rows are there."""
    rows_R = np.arange(len(sentences_R))
    if before_AW is None:
        return sentences_R, rows_R[:, None], rows_R
    count = len(before_AW)
    within_R = rows_R - sentences_R.searchsorted(sentences_R)  # sentences ascend
    width = int(within_R.max()) + 1
    slots_R = sentences_R * width + within_R
    grid_AW = np.zeros(count * width, np.int64)
    grid_AW[slots_R] = rows_R
    return sentences_R, grid_AW.reshape(count, width), slots_R
