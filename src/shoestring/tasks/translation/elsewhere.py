"""elsewhere: a translator of Hugging Face's Marian kind that writes answers for a student.

Its weights go into our own network, whose graphs the search runs, so that it is as quick as a
bundle. Sources are segmented by its own model of the source language.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from shoestring.core.errors import DataError, UserError
from shoestring.core.protocols import Predictor
from shoestring.core.receipt import Plain
from shoestring.tasks.translation import marian, pretrained
from shoestring.tasks.translation.asked import MOST_PIECES
from shoestring.tasks.translation.predict import TOKENIZER, TranslationPredictor
from shoestring.tasks.translation.special import BOS, EOS, PAD, UNK
from shoestring.tasks.translation.tokenizer import Tokenizer

SPACE = "\u2581"


def writer(
    words: str,
    facts: Plain,
    beam: int,
    assembled: Callable[[Plain, Mapping[str, bytes]], Predictor],
) -> Callable[[Sequence[str], int], Iterable[Sequence[str]]]:
    """What answers sentences, each with so many translations. UserError for words that name no
    translator."""
    options = pretrained.pretrained(words)
    folder = marian.folder(words)
    predictor = _predictor(folder, options, facts, assembled)
    segmented = _Segments(folder, predictor.tokenizer)

    def writes(lines: Sequence[str], count: int) -> Iterable[Sequence[str]]:
        sources = [segmented(line) for line in lines]
        wide = max(beam, count)
        found = predictor.translations(
            sources, replace(predictor.search, beam=wide), count, scores=wide > 1
        )
        return [[predictor.tokenizer.decode(one.pieces) for one in row] for row in found]

    return writes


def _predictor(
    folder: Path,
    options: Plain,
    facts: Plain,
    assembled: Callable[[Plain, Mapping[str, bytes]], Predictor],
) -> TranslationPredictor:
    from shoestring.tasks.translation import graph
    from shoestring.tasks.translation.model import TranslationNetwork
    from shoestring.tasks.translation.transfer import rows_of_shared

    network = TranslationNetwork(str(options["kind"]))
    donor = network.donor(f"hf:{folder}")
    model_file = marian.tokenizer(folder)
    tokenizer = Tokenizer(model_file)
    architecture = network.architecture(
        {name: value for name, value in options.items() if name != "kind"},
        {"pieces": tokenizer.size},
    )
    model = network.build(architecture)
    theirs, ends = marian.spellings(donor.files)
    special = {UNK: ends["unknown"], BOS: ends["begin"], EOS: ends["end"]}
    aligned = rows_of_shared(model, donor, tokenizer.spellings(), theirs, special)
    missing, unknown = model.load_state_dict(dict(aligned.tensors), strict=False)
    if missing or unknown:
        raise UserError(
            f"hf:{folder} is no translator that is known here: {(missing or unknown)[0]} is "
            f"{'missing' if missing else 'not expected'}"
        )
    # Pieces that it never had, bytes and the like, are never to be written.
    known = set(theirs) | {b""}
    foreign = [i for i, one in enumerate(tokenizer.spellings()) if one not in known]
    foreign += [PAD, BOS]
    model.output.bias.data[foreign] = graph.MASKED
    files = {**graph.graphs(model.eval(), False), TOKENIZER: model_file}
    languages = {name: facts[name] for name in ("source", "target")}
    manifest = {"task": "translation", "facts": {**languages, "pieces": tokenizer.size}}
    found = assembled(manifest, files)
    assert isinstance(found, TranslationPredictor)
    return found


class _Segments:
    """Sentences to pieces of a tokenizer, cut as the translator's own model cuts them."""

    def __init__(self, folder: Path, tokenizer: Tokenizer) -> None:
        from sentencepiece import SentencePieceProcessor

        path = folder / marian.SIDES[0]
        try:
            self._own = SentencePieceProcessor(model_proto=path.read_bytes())
        except (OSError, RuntimeError) as error:
            raise DataError(f"{path} cannot be read: {error}") from error
        spelled = tokenizer.spellings()
        self._places = {piece: i for i, piece in enumerate(spelled) if piece}

    def __call__(self, line: str) -> np.typing.NDArray[np.int64]:
        pieces: list[str] = self._own.encode(line, out_type=str)
        found = [self._places.get(piece.replace(SPACE, " ").encode(), UNK) for piece in pieces]
        return np.array([*found[: MOST_PIECES - 1], EOS], np.int64)
