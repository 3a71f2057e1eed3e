"""filters: which pairs are unfit to learn from, each kind counted and each an option.

Shapes: N pairs; masks are (N,).
"""

from __future__ import annotations

import numpy as np

from shoestring.core.receipt import Finding
from shoestring.data import duplicates
from shoestring.tasks.translation import scripts
from shoestring.tasks.translation.asked import sentence
from shoestring.tasks.translation.languages import has_spaces, is_language, script
from shoestring.tasks.translation.options import TranslationOptions
from shoestring.tasks.translation.rows import Mask, Rows, hashes

_SMOOTHING = {"words": 3.0, "characters": 10.0}  # short pairs may well differ in length
_FEW_LETTERS = 5  # so many of another script are needed before it is a wrong one


def empty(rows: Rows, good: Mask) -> tuple[Mask, list[Finding]]:
    """Pairs with a side that holds nothing; out of every split."""
    has = zip(rows.sources, rows.targets, strict=True)
    out = good & ~np.fromiter((bool(s and t) for s, t in has), np.bool_, len(rows))
    what = "with an empty side"
    return out, rows.found(
        "empty",
        out,
        f"pair {what} was left out",
        f"pairs {what} were left out",
        dropped=True,
    )


def too_long(rows: Rows, options: TranslationOptions, good: Mask) -> tuple[Mask, list[Finding]]:
    """Pairs to be left out of train and validation: one could fill the memory by itself."""
    longer = zip(rows.sources, rows.targets, strict=True)
    lengths = (max(len(s), len(t)) for s, t in longer)
    out = good & (np.fromiter(lengths, np.int64, len(rows)) > options.longest_characters)
    what = f"longer than {options.longest_characters:,} characters"
    one, several = f"pair {what} was left out", f"pairs {what} were left out"
    return out, rows.found("too long", out, one, several, dropped=True)


def unfit(
    rows: Rows, options: TranslationOptions, source: str, target: str, good: Mask
) -> tuple[Mask, list[Finding]]:
    """Of the pairs in `good`, those that are not to be learned from, and what is to be said."""
    left, findings = good.copy(), list[Finding]()

    def leave_out(kind: str, mask: Mask, what: str, *, keep: bool) -> None:
        """`what` begins with a word that is the same of one and of several."""
        found = mask & left
        end = "kept" if keep else "left out"
        one, several = f"pair {what} was {end}", f"pairs {what} were {end}"
        findings.extend(rows.found(kind, found, one, several, dropped=not keep))
        if not keep:
            left[found] = False

    ours = scripts.counts(rows.sources, script(source))
    theirs = scripts.counts(rows.targets, script(target))
    if options.length_ratio:
        unit = "words" if has_spaces(source) and has_spaces(target) else "characters"
        unequal = _unequal(getattr(ours, unit), getattr(theirs, unit), options, unit, left)
        what = f"of very unequal length (in {unit}, more than {options.length_ratio:g} to 1)"
        leave_out("length ratio", unequal, what, keep=False)
    same = np.fromiter(
        (s == sentence(t) for s, t in zip(rows.sources, rows.targets, strict=True)),
        np.bool_,
        len(rows),
    )
    what = "with source and target the same"
    languages = is_language(source) and is_language(target)
    leave_out("identical", same, what, keep=options.keep_identical or not languages)
    wrong = _foreign(ours) | _foreign(theirs)
    what = "with a side in another script than its language's"
    leave_out("wrong script", wrong, what, keep=options.keep_wrong_script)
    repeated = np.zeros(len(rows), np.bool_)
    at = np.flatnonzero(left)
    codes = hashes([rows.sources[i] for i in at.tolist()], [rows.targets[i] for i in at.tolist()])
    repeated[at] = duplicates.repeats(codes)
    what = "that stood there before"
    leave_out("duplicate", repeated, what, keep=options.keep_duplicates)
    return good & ~left, findings


def _foreign(found: scripts.Counts) -> Mask:
    return np.asarray((found.foreign > found.expected) & (found.foreign >= _FEW_LETTERS), np.bool_)


def _unequal(
    ours: np.typing.NDArray[np.int64],
    theirs: np.typing.NDArray[np.int64],
    options: TranslationOptions,
    unit: str,
    good: Mask,
) -> Mask:
    """Against the usual ratio of these data, since one language may need twice the characters."""
    if not good.any():
        return good
    usual = float(np.median((theirs[good] + 1.0) / (ours[good] + 1.0)))
    a, b = ours * usual, theirs.astype(np.float64)
    more = np.maximum(a, b) + _SMOOTHING[unit]
    return np.asarray(more > options.length_ratio * (np.minimum(a, b) + _SMOOTHING[unit]), np.bool_)
