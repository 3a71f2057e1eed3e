"""shift: sentences written as people write them in a hurry: typos, case, no punctuation.

After Belinkov & Bisk 2018, "Synthetic and natural noise both break neural machine translation".
Only the source is changed; what it should be translated into stays as it is.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence

import numpy as np

from shoestring.tasks.translation.examples import Texts, TranslationExamples

_SHARE = (0.1, 0.2, 0.35, 0.6, 1.0)  # of the words that are changed, by severity
_TYPOS = (0.05, 0.1, 0.15, 0.25, 0.4)  # of the words that get a typo
_LETTERS_FROM = 3  # a shorter word gets no typo: nobody could read it


def shifted(examples: TranslationExamples, kind: str, severity: int) -> TranslationExamples:
    """The pairs with corrupted sources. What is drawn is drawn by the pair's content."""
    corrupt, share = KINDS[kind]
    texts = examples.sources.all() if isinstance(examples.sources, Texts) else examples.sources
    return examples.respelt(
        [
            corrupt(text, np.random.Generator(np.random.Philox(key=key)), share[severity - 1])
            for text, key in zip(texts, examples.hashes.tolist(), strict=True)
        ]
    )


def _in_words(change: Callable[[str, np.random.Generator], str]) -> _Corrupt:
    """Changes so large a share of the words, blanks kept as they are. A word that is changed at
    one share is changed at every larger one."""

    def corrupt(text: str, random: np.random.Generator, share: float) -> str:
        words = text.split(" ")
        drawn = random.random(len(words))
        pairs = zip(words, drawn.tolist(), strict=True)
        return " ".join(change(word, random) if draw < share else word for word, draw in pairs)

    return corrupt


def _typo(word: str, random: np.random.Generator) -> str:
    """Two letters exchanged, one left out, or one doubled: the slips of every script."""
    letters = list(word)
    if len(letters) < _LETTERS_FROM or not all(map(str.isalpha, letters[:_LETTERS_FROM])):
        return word
    at, slip = int(random.integers(0, len(letters) - 1)), int(random.integers(0, 3))
    if slip == 0:
        letters[at], letters[at + 1] = letters[at + 1], letters[at]
    elif slip == 1:
        del letters[at]
    else:
        letters.insert(at, letters[at])
    return "".join(letters)


def _lower(word: str, random: np.random.Generator) -> str:
    return word.lower()


def _upper(word: str, random: np.random.Generator) -> str:
    return word.upper()


def _bare(word: str, random: np.random.Generator) -> str:
    """Without punctuation, unless it is nothing else."""
    left = "".join(c for c in word if not unicodedata.category(c).startswith("P"))
    return left or word


_Corrupt = Callable[[str, np.random.Generator, float], str]
KINDS: dict[str, tuple[_Corrupt, Sequence[float]]] = {
    "typos": (_in_words(_typo), _TYPOS),
    "lower case": (_in_words(_lower), _SHARE),
    "upper case": (_in_words(_upper), _SHARE),
    "no punctuation": (_in_words(_bare), _SHARE),
}
