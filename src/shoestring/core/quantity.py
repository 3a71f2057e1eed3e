"""quantity: counts as people write them, 350M or 1.3B, and back; qualities as they read them."""

from __future__ import annotations

from math import isfinite

from shoestring.core.errors import UserError

OF_A_HUNDRED = ("bleu", "chrf")  # metrics whose perfect answer has a hundred, as printed
_LETTERS = {"": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "G": 1e9, "T": 1e12}


def parse_count(words: str | float, what: str) -> float:
    """`1.3B` as 1.3e9. `what` names the option in the UserError for anything that is no positive
    number with K, M, B (or G) or T behind it."""
    text = str(words).strip().replace(",", "").replace("_", "").upper()
    letter = text[-1:] if text[-1:] in _LETTERS else ""
    try:
        number = float(text.removesuffix(letter)) * _LETTERS[letter]
    except ValueError:
        number = float("nan")
    if not isfinite(number) or number <= 0:
        raise UserError(f"{what} is a positive number such as 350M, 1.3B or 20e9, not {words!r}")
    return number


def count_words(number: float) -> str:
    """`1.3B` of 1.3e9: three digits and a letter."""
    for letter, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("K", 1e3)):
        if number >= size * 0.9995:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"


def plain_quality(value: float, metric: str) -> str:
    """A quality without a percent sign, for lines that programs read as well: four digits of a
    share, two of what counts to a hundred."""
    return f"{value:.2f}" if last_word(metric) in OF_A_HUNDRED else f"{value:.4f}"


def last_word(metric: str) -> str:
    """The word that says what a metric is: `accuracy` of `balanced_accuracy`."""
    return metric.rpartition("_")[2].rpartition(" ")[2].lower()
