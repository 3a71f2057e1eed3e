"""transfer: weights of other translators in the vocabulary of one that is about to learn.

Shapes: V pieces, E embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import nn

from shoestring.core.errors import BundleError, RunError
from shoestring.core.protocols import Aligned, Donor
from shoestring.core.receipt import Plain
from shoestring.core.run import Run
from shoestring.tasks.translation import graph, marian
from shoestring.tasks.translation.special import BOS, EOS, FIRST_LEARNED, UNK
from shoestring.tasks.translation.tokenizer import Tokenizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shoestring.tasks.translation.model import Translator

    Slot = tuple[str, int, int]  # a graph, a node in it, an input of that
    Slots = dict[Slot, NDArray[np.float64]]

TABLES = ("embedding.weight", "target_embedding.weight", "output.weight", "output.bias")
_EXACT = 1e-5  # between weights that were taken out of graphs and those in them, of the largest


# --- across vocabularies ------------------------------------------------------------------------


def aligned(model: nn.Module, donor: Donor, run: Run) -> Aligned:
    """Of tables with a row for each piece, the rows of pieces that both vocabularies have."""
    ours = _vocabulary(run)
    if marian.PIECES in donor.files:
        theirs, ends = marian.spellings(donor.files)
        special = {UNK: ends["unknown"], BOS: ends["begin"], EOS: ends["end"]}
        return rows_of_shared(model, donor, ours.spellings(), theirs, special)
    model_file = donor.files.get(graph.TOKENIZER)
    if model_file is None:
        raise BundleError(f"the start has no {graph.TOKENIZER}, so its rows stand for no pieces")
    if model_file == ours.model:
        return Aligned(donor.tensors)
    same = {piece: piece for piece in range(FIRST_LEARNED)}  # they stand there in all of ours
    theirs = Tokenizer(model_file).spellings()
    return rows_of_shared(model, donor, ours.spellings(), theirs, same)


def rows_of_shared(
    model: nn.Module,
    donor: Donor,
    ours: list[bytes],
    theirs: list[bytes],
    known: Mapping[int, int],
) -> Aligned:
    """The donor's tables with a row for each of our pieces; where it has no such piece the row is
    the one that the model begins with. `known` are places of ours with their places there, which
    no spelling says."""
    place = {piece: i for i, piece in enumerate(theirs) if piece}
    pairs = dict(known)
    for i, piece in enumerate(ours):
        if i not in pairs and piece in place:
            pairs[i] = place[piece]
    here, there = torch.tensor(list(pairs)), torch.tensor(list(pairs.values()))
    tensors, state = dict(donor.tensors), model.state_dict()
    for name in TABLES:
        given, own = tensors.get(name), state.get(name)
        if given is not None and own is not None and given.shape[1:] == own.shape[1:]:
            tensors[name] = own.clone().index_copy(0, here, given.index_select(0, there).to(own))
    note = f"{len(pairs)} of {len(ours)} pieces are in both vocabularies and keep their rows"
    return Aligned(tensors, (note,))


def _vocabulary(run: Run) -> Tokenizer:
    path = run.path / graph.TOKENIZER
    try:
        return Tokenizer(path.read_bytes())
    except OSError as error:
        raise RunError(
            f"{path} cannot be read ({error.strerror or error}): the vocabulary of this run is "
            "needed to take over rows of another"
        ) from error


# --- out of a bundle ----------------------------------------------------------------------------


def unpacked(build: Callable[[], Translator], files: Mapping[str, bytes], facts: Plain) -> Donor:
    """The weights in the graphs of a float32 bundle, for a network that `build` makes.

    What a graph holds is each weight, moved and perhaps scaled. Where each went is found by
    exporting networks whose weights are numbers that say so: all one (the scale), the place
    within its tensor, the number of the tensor. Of two biases that a graph adds up, the second
    is taken to be zero.
    """
    given = _slots(files)
    model = build()
    state = {name: torch.zeros_like(tensor) for name, tensor in model.state_dict().items()}
    taken: dict[Slot, NDArray[np.bool_]] = {}
    found: set[str] = set()
    for second in (False, True):
        for slot, went in _whereabouts(build, second).items():
            value = given.get(slot)
            if value is None or value.shape != went.scale.shape:
                raise BundleError(
                    "the bundle's graphs are not those that its network gives now, or hold int8 "
                    "weights; start from its run"
                )
            free = (went.scale != 0) & ~taken.get(slot, np.zeros(value.shape, np.bool_))
            taken[slot] = taken.get(slot, free) | free
            values = value / np.where(went.scale, went.scale, 1)
            for number in np.unique(went.tensor[free]).tolist():
                name, chosen = list(state)[number], free & (went.tensor == number)
                places = torch.from_numpy(went.place[chosen])
                state[name].view(-1)[places] = torch.from_numpy(values[chosen]).float()
                found.add(name)
    for name in state:
        if name not in found and not _second(name):
            tied = _tied(model, name)
            if tied not in found:
                raise BundleError(f"{name} is not in the bundle's graphs; start from its run")
            state[name] = state[tied]
    _check(build, state, given)
    return Donor(state, facts, files)


class Whereabouts(NamedTuple):
    """Of each number in an array of a graph: which weight it is, times what."""

    scale: NDArray[np.float64]  # 0 where it is none
    tensor: NDArray[np.int64]  # its number in the state dict
    place: NDArray[np.int64]  # in that tensor, flattened


def _whereabouts(build: Callable[[], Translator], second: bool) -> dict[Slot, Whereabouts]:
    """Where the first weights went, or the second biases, while the others are zero."""
    names = list(build().state_dict())
    none = _exported(build, second, lambda name, values: np.zeros_like(values))
    ones = _exported(build, second, lambda name, values: np.ones_like(values))
    numbers = _exported(build, second, lambda name, v: np.full_like(v, names.index(name)))
    places = _exported(build, second, lambda name, v: np.arange(v.size).reshape(v.shape))
    found = {}
    for slot, constant in none.items():
        scale = ones[slot] - constant
        divisor = np.where(scale, scale, 1)
        which = np.rint((numbers[slot] - constant) / divisor).astype(np.int64)
        where = np.rint((places[slot] - constant) / divisor).astype(np.int64)
        found[slot] = Whereabouts(scale, which, where)
    return found


def _second(name: str) -> bool:
    """Whether a bias is one that a graph adds to another."""
    return "bias_hh" in name


def _tied(model: nn.Module, name: str) -> str:
    """Another name of the same weight, or nothing."""
    state = model.state_dict(keep_vars=True)
    return next((n for n, t in state.items() if n != name and t is state[name]), "")


def _exported(
    build: Callable[[], Translator],
    second: bool,
    value: Callable[[str, NDArray[Any]], NDArray[Any]],
) -> Slots:
    """The graphs of a network with such values in its first weights, or in its second biases, and
    zeros in the others, as slots."""
    model = build()
    state = model.state_dict()
    for name, tensor in state.items():
        values = value(name, tensor.numpy()) * (_second(name) == second)
        state[name] = torch.from_numpy(np.asarray(values, np.float32))
    model.load_state_dict(state)
    return _slots(graph.graphs(model.eval(), False))


def _slots(files: Mapping[str, bytes]) -> Slots:
    """What every node of every graph reads of the shared weights: by graph, node and input."""
    import onnx

    shared = onnx.load_from_string(files[graph.WEIGHTS]).graph.initializer
    arrays = {t.name: onnx.numpy_helper.to_array(t) for t in shared}
    found: Slots = {}
    for name, data in files.items():
        if name.endswith(".onnx"):
            for at, node in enumerate(onnx.load_from_string(data).graph.node):
                for place, read in enumerate(node.input):
                    if read in arrays and arrays[read].dtype == np.float32:
                        found[name, at, place] = arrays[read].astype(np.float64)
    return found


def _check(
    build: Callable[[], Translator], state: Mapping[str, torch.Tensor], given: Slots
) -> None:
    """Raises BundleError unless these weights give the graphs that they were taken out of."""
    model = build()
    model.load_state_dict(state)
    for slot, value in _slots(graph.graphs(model.eval(), False)).items():
        largest = max(1.0, float(np.abs(value).max(initial=0)))
        if float(np.abs(value - given[slot]).max(initial=0)) > _EXACT * largest:
            raise BundleError(
                "the weights could not be taken out of the bundle; start from its run"
            )
