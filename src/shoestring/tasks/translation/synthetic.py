"""synthetic: pairs that were made beside the data, kept in the cache under a key of their content.

A key is `COUNT-DIGEST`; it stands in the recipe, so that a repeat learns from the same pairs.
Shapes: B pairs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from shoestring.core.errors import DataError
from shoestring.data import cache
from shoestring.tasks.translation.asked import sentence
from shoestring.tasks.translation.examples import Texts, TranslationExamples
from shoestring.tasks.translation.ragged import Ragged, ends
from shoestring.tasks.translation.rows import hashes
from shoestring.tasks.translation.tokenizer import encoded

Pairs = tuple[Sequence[str], Sequence[str]]


def kept(sources: Sequence[str], targets: Sequence[str]) -> str:
    """Stores pairs, their sources as data are read, and returns their key."""
    sources = [sentence(source) for source in sources]
    digest = hashlib.blake2b(digest_size=8)
    for source, target in zip(sources, targets, strict=True):
        digest.update(f"{source}\t{target}\n".encode())
    key = f"{len(sources)}-{digest.hexdigest()}"
    if not there(key):
        with cache.writing(_entry(key)) as folder:
            Texts.of(sources).write(folder, "source")
            Texts.of(targets).write(folder, "target")
    return key


def there(key: str) -> bool:
    """Whether the pairs of a key are in the cache."""
    return cache.existing(_entry(key)) is not None


def read(key: str) -> Pairs:
    """The pairs of a key; DataError where the cache has them no more."""
    folder: Path | None = cache.existing(_entry(key))
    if folder is None:
        raise DataError(
            f"the pairs {key} that were made for this run are not in the cache any more; start it "
            "anew from its recipe, which makes them again"
        )
    return Texts.read(folder, "source").all(), Texts.read(folder, "target").all()


def joined(examples: TranslationExamples, key: str) -> TranslationExamples:
    """The examples with the pairs of a key behind them, in the same pieces."""
    more = replaced(examples, key)
    one = _behind(examples.source_pieces, more.source_pieces)
    other = _behind(examples.target_pieces, more.target_pieces)
    return TranslationExamples(
        [*_all(examples.sources), *more.sources],
        [*_all(examples.targets), *more.targets],
        np.concatenate([np.asarray(examples.hashes), more.hashes]),
        examples.split,
        examples.tokenizer,
        (one, other),
        examples.findings,
    )


def replaced(examples: TranslationExamples, key: str) -> TranslationExamples:
    """The pairs of a key alone, as a split of the same name in the same pieces."""
    sources, targets = read(key)
    tokenizer = examples.tokenizer
    assert tokenizer is not None, "these examples were read for a bundle's own tokenizer"
    one, other = map(partial(encoded, tokenizer), (sources, targets))
    return TranslationExamples(
        sources,
        targets,
        hashes(sources, targets),
        examples.split,
        tokenizer,
        (one, other),
        examples.findings,
    )


def _behind(first: Ragged, second: Ragged) -> Ragged:
    values = np.concatenate([first.values, second.values])
    return Ragged(values, ends(np.concatenate([first.lengths, second.lengths])))


def _all(texts: Sequence[str]) -> list[str]:
    return texts.all() if isinstance(texts, Texts) else list(texts)


def _entry(key: str) -> str:
    return f"translation/synthetic-{key}"
