"""tokenizer: text to pieces and back without loss; sentencepiece BPE with bytes as a last resort.

Segmentation goes word by word, a word being what stands between single spaces, with the space
before it. So a table of words gives what the whole sentence would, and is several times faster.
Shapes: B texts, W draws a text, N pieces or words in all.
"""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from shoestring.core.errors import DataError
from shoestring.tasks.translation.asked import MOST_LETTERS, sentence
from shoestring.tasks.translation.merges import LONGEST, Merges
from shoestring.tasks.translation.ragged import Ragged, ends, packed
from shoestring.tasks.translation.special import (
    BOS,
    EOS,
    FIRST_BYTE,
    FIRST_LEARNED,
    PAD,
    UNK,
)

SMALLEST = FIRST_LEARNED + 20  # pieces: special ones, bytes, and some letters
_SPACE = "\u2581"  # stands for a space inside sentencepiece; written in a text, it goes as bytes
_MOST_LINES = 400_000  # that pieces are learned from; evenly spread where there are more
_LONGEST_LINE = 4_000  # characters of a line that pieces are learned from
_LEAST_COVERAGE = 0.98  # that sentencepiece takes
_BLOCK = 50_000  # texts looked at together
_FREQUENT = 5  # a word seen so often gets all its variants, others a quarter


class Tokenizer:
    """Texts as rows of pieces. `decode(encode(text))` is the text in Unicode's normal form C."""

    def __init__(self, model: bytes) -> None:
        from sentencepiece import SentencePieceProcessor

        if not model:  # which sentencepiece takes for no model yet, and complains of at each call
            raise DataError("this is no sentencepiece model: it is empty")
        try:
            self._processor = SentencePieceProcessor(model_proto=model)
        except (RuntimeError, OSError, ValueError) as error:
            raise DataError(f"this is no sentencepiece model: {error}") from error
        self.model = model
        self.size: int = self._processor.vocab_size()
        found = [self._processor.piece_to_id(f"<0x{b:02X}>") for b in (0, 255)]
        if found != [FIRST_BYTE, FIRST_BYTE + 255]:
            raise DataError("this sentencepiece model has no byte pieces where they are expected")
        self._space: int = self._processor.piece_to_id(_SPACE)

    @cached_property
    def _written(self) -> list[bytes]:
        """What each piece stands for."""
        table = [b""] * FIRST_BYTE + [bytes([b]) for b in range(256)]
        pieces = range(FIRST_LEARNED, self.size)
        names: list[str] = self._processor.id_to_piece(list(pieces))
        return table + [name.replace(_SPACE, " ").encode() for name in names]

    def spellings(self) -> list[bytes]:
        """What each piece stands for; nothing for the special ones, which are the first."""
        return list(self._written)

    @cached_property
    def begins_word(self) -> NDArray[np.bool_]:
        """(pieces,) whether a word begins with this piece, which then holds the space before it."""
        names: list[str] = self._processor.id_to_piece(list(range(self.size)))
        return np.array([name.startswith(_SPACE) for name in names], np.bool_)

    def encode(self, text: str) -> list[int]:
        """The pieces of a text, without begin and end."""
        text = unicodedata.normalize("NFC", text)
        if not text.isascii():
            text = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
        if _SPACE in text:
            return [piece for word in words_of(text) for piece in self._word(word)]
        ids: list[int] = self._processor.encode(text)
        return ids

    def source(self, text: str) -> NDArray[np.int64]:
        """(S,) the pieces of what is to be translated, as `asked.sentence` reads it, and its end;
        of a text that is far too long not all of them."""
        return np.array([*self.encode(sentence(text)[: MOST_LETTERS + 1]), EOS], np.int64)

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        return [self.encode(text) for text in texts]

    def decode(self, ids: Iterable[int]) -> str:
        """The text; bytes that are no UTF-8 become U+FFFD."""
        table = self._written
        text = b"".join([table[i] for i in ids]).decode("utf-8", "replace")
        return text.removeprefix(" ")

    def words(self, words: Sequence[str]) -> list[list[int]]:
        """The pieces of single words, each with the space before it."""
        plain = [w for w in words if w and _SPACE not in w]
        found = iter(self._processor.encode(plain, num_threads=1))
        return [next(found) if w and _SPACE not in w else self._word(w) for w in words]

    def _word(self, word: str) -> list[int]:
        if not word:
            return [self._space]
        if _SPACE not in word:
            ids: list[int] = self._processor.encode(word)
            return ids
        return [self._space, *(FIRST_BYTE + byte for byte in word.encode())]

    @cached_property
    def _merges(self) -> Merges:
        names: list[str] = self._processor.id_to_piece(list(range(self.size)))
        return Merges(["" if i < FIRST_LEARNED else name for i, name in enumerate(names)])

    def drawn(self, words: Sequence[str], dropout: float, seed: int) -> Ragged:
        """The pieces of single words with each merge left out at a probability of `dropout`
        (BPE-dropout, Provilkov et al. 2020); the same for the same words and seed, in any
        process. Very long words are segmented as ever."""
        spelled = [_SPACE + w if _SPACE not in w and len(w) < LONGEST else "" for w in words]
        found = self._merges.segmented(spelled, dropout, seed)
        at = np.flatnonzero(found.values >= self.size)
        if len(at):
            found = self._with_bytes(found, at)
        plain = [i for i, word in enumerate(spelled) if not word]
        if not plain:
            return found
        rows = found.rows()
        for i in plain:
            rows[i] = np.array(self._word(words[i]), np.int32)
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        return Ragged(np.concatenate(rows), ends(lengths))

    def _with_bytes(self, found: Ragged, at: NDArray[np.int64]) -> Ragged:
        """The same with letters that have no piece as bytes."""
        points = found.values[at] - self.size
        octets = [np.frombuffer(chr(p).encode(), np.uint8) for p in points.tolist()]
        counts = np.ones(len(found.values), np.int64)
        counts[at] = [len(o) for o in octets]
        places = ends(counts)
        values = np.repeat(found.values, counts)
        for start, o in zip(places[at].tolist(), octets, strict=True):
            values[start : start + len(o)] = o.astype(np.int32) + FIRST_BYTE
        return Ragged(values, places[found.offsets])


def words_of(text: str) -> list[str]:
    """What stands between single spaces; nothing for an empty text."""
    return text.split(" ") if text else []


def encoded(tokenizer: Tokenizer, texts: Iterable[str]) -> Ragged:
    """(B rows) the pieces of many texts in normal form C; each word is looked at once."""
    rows, types = _as_words(texts)
    return _joined(rows, packed(tokenizer.words(types)))


def _as_words(texts: Iterable[str]) -> tuple[Ragged, list[str]]:
    """Texts as rows of numbers of words, and the words by number."""
    place: dict[str, int] = {}
    values, lengths = [np.zeros(0, np.int32)], [np.zeros(0, np.int64)]
    waiting = iter(texts)
    while block := list(islice(waiting, _BLOCK)):
        split = list(map(words_of, block))
        words = list(chain.from_iterable(split))
        fresh = [word for word in dict.fromkeys(words) if word not in place]
        place.update(zip(fresh, range(len(place), len(place) + len(fresh)), strict=True))
        values.append(np.fromiter(map(place.__getitem__, words), np.int32, len(words)))
        lengths.append(np.fromiter(map(len, split), np.int64, len(split)))
    return Ragged(np.concatenate(values), ends(np.concatenate(lengths))), list(place)


def _joined(rows: Ragged, table: Ragged) -> Ragged:
    """Rows of places in a table as rows of what stands there."""
    found = table.take(rows.values.astype(np.int64))
    return Ragged(found.values, found.offsets[rows.offsets])


class WordTable:
    """Each word of some texts in a number of segmentations drawn with BPE-dropout. Which one is
    taken hangs on the draws that come with a request and on nothing else."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        texts: Iterable[str],
        dropout: float,
        count: int = 16,
        seed: int = 0,
    ) -> None:
        if not 0 <= dropout <= 1:
            raise ValueError(f"dropout is a probability from 0 to 1, not {dropout}")
        self._rows, types = _as_words(texts)
        seen = np.bincount(self._rows.values, minlength=len(types))
        several = max(1, count // 4) if dropout else 1
        self._counts = np.where(seen >= _FREQUENT, count if dropout else 1, several)
        self._starts = ends(self._counts)[:-1]
        spelled = [w for w, n in zip(types, self._counts.tolist(), strict=True) for _ in range(n)]
        if dropout:
            self._table = tokenizer.drawn(spelled, dropout, seed)
        else:
            self._table = packed(tokenizer.words(spelled))

    def __len__(self) -> int:
        return len(self._rows.offsets) - 1

    def batch(self, ids: NDArray[np.int64], draws: NDArray[np.float32]) -> Ragged:
        """Texts `ids` (B,) segmented anew. `draws` (B, W), from 0 to below 1: the n-th word of a
        text takes the n-th, and begins again where there are more words than draws."""
        chosen, offsets = self._chosen(ids, draws)
        found = self._table.take(chosen)
        return Ragged(found.values, found.offsets[offsets])

    def lengths(self, ids: NDArray[np.int64], draws: NDArray[np.float32]) -> NDArray[np.int64]:
        """(B,) pieces of each text that `batch` gives."""
        chosen, offsets = self._chosen(ids, draws)
        return np.diff(ends(self._table.lengths[chosen])[offsets])

    def _chosen(
        self, ids: NDArray[np.int64], draws: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The row of the table that each word takes, and where each text's words begin."""
        rows = self._rows.take(ids)
        words = rows.values.astype(np.int64)
        text = np.repeat(np.arange(len(ids)), rows.lengths)
        within = np.arange(len(words)) - rows.offsets[:-1][text]
        drawn = draws[text, within % draws.shape[1]].astype(np.float64)
        counts = self._counts[words]
        choice = np.minimum((drawn * counts).astype(np.int64), counts - 1)
        return self._starts[words] + choice, rows.offsets


def train(texts: Iterable[str], pieces: int) -> Tokenizer:
    """Learns at most `pieces` pieces (fewer where the texts do not have so many). The same texts
    in the same order give the same bytes, whatever the number of threads. Raises DataError."""
    from sentencepiece import SentencePieceTrainer

    lines = _learned_from([text for text in texts if text])
    if not any(lines):
        raise DataError("there is no text to learn a vocabulary from")
    model = io.BytesIO()
    most = max(pieces, SMALLEST)
    lines, coverage = _with_frequent_letters(lines, (most - FIRST_LEARNED) // 2)
    try:
        SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            model_type="bpe",
            vocab_size=most,
            hard_vocab_limit=False,
            byte_fallback=True,
            character_coverage=coverage,
            required_chars=_SPACE,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            split_digits=True,
            max_sentence_length=4 * _LONGEST_LINE + 1,
            pad_id=PAD,
            unk_id=UNK,
            bos_id=BOS,
            eos_id=EOS,
            num_threads=1,  # is written into the file; learning is as fast with one
            minloglevel=2,
        )
    except RuntimeError as error:
        raise DataError(f"no vocabulary could be learned from these texts: {error}") from error
    return Tokenizer(model.getvalue())


def _learned_from(texts: list[str]) -> list[str]:
    step = -(-len(texts) // _MOST_LINES)
    return [text[:_LONGEST_LINE] for text in (texts[::step] if step > 1 else texts)]


def _with_frequent_letters(lines: list[str], most: int) -> tuple[list[str], float]:
    """Lines to learn from, and the share of their letters that get a piece of their own: the
    `most` frequent ones, those seen once apart. The others go as bytes."""
    seen = np.zeros(0x110000, np.int64)
    for start in range(0, len(lines), _BLOCK):
        whole = "".join(lines[start : start + _BLOCK]).encode("utf-32-le")
        seen += np.bincount(np.frombuffer(whole, np.uint32), minlength=len(seen))
    kept = np.argsort(-seen, kind="stable")[:most]
    several = kept[seen[kept] > 1]
    kept = several if len(several) else kept[seen[kept] > 0]
    share = int(seen[kept].sum()) / int(seen.sum())
    if share >= _LEAST_COVERAGE:
        return lines, min(1.0, share)
    seen[kept] = 0
    blank = dict.fromkeys(np.flatnonzero(seen).tolist(), " ")
    return [line.translate(blank) for line in lines], 1.0
