"""dates: dates as people write them in 27 languages, each with its ISO 8601 form; made here.

The patterns and names are those of the Unicode CLDR, through Babel. A source opens with the tag
of its locale (`<de> 5. März 1987`), and all dates lie in one window of a hundred years, so that a
year of two digits has one meaning and every answer is exact.
"""

from __future__ import annotations

import datetime
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from shoestring.core.errors import MissingExtra
from shoestring.core.protocols import Progress
from shoestring.data.cache import existing, writing

FIRST, LAST = datetime.date(1950, 1, 1), datetime.date(2049, 12, 31)
SIZES = {"train": 50_000, "validation": 2_000, "test": 2_000}
DIRECTION = ("mul", "zxx")  # ISO 639 for several languages, and for none
LOCALES = tuple(
    "en-US en-GB ar cs da de el es fi fr he hi hu id it ja ko nl pl pt-BR ro ru sv th tr uk vi zh"
    .split()
)  # fmt: skip
_FORMATS = ("short", "medium", "long", "full")
_SKELETONS = ("yMd", "yMMMEd")
_FORM = 2  # any change of what is made raises it
_SEED = 20_001
_TAG = re.compile(r"<([A-Za-z-]+)> (.*)", re.DOTALL)


def here() -> Path | None:
    return existing(_key("tagged"))


def get(progress: Progress) -> Path:
    """A folder with train.tsv, validation.tsv and test.tsv. Raises MissingExtra."""
    return _made("tagged", progress)


def untagged_here() -> Path | None:
    return existing(_key("untagged"))


def get_untagged(progress: Progress) -> Path:
    """The same dates without their tags: day and month are often anyone's guess."""
    return _made("untagged", progress)


def _key(variant: str) -> str:
    try:
        version = metadata.version("babel")
    except metadata.PackageNotFoundError:
        version = "none"
    return f"catalog/dates-{variant}-{_FORM}-{version}"


def _made(variant: str, progress: Progress) -> Path:
    folder = existing(_key(variant))
    if folder is None:
        _need_babel()
        with writing(_key(variant)) as fresh:
            start = 0
            every = pairs(sum(SIZES.values()), progress)
            for split, count in SIZES.items():
                rows = ["\t".join(DIRECTION)]
                for source, target in every[start : start + count]:
                    text = source if variant == "tagged" else without_tag(source)
                    rows.append(f"{text}\t{target}")
                (fresh / f"{split}.tsv").write_text("\n".join(rows) + "\n", "utf-8")
                start += count
        folder = existing(_key(variant))
        assert folder is not None
    return folder


def pairs(count: int, progress: Progress, seed: int = _SEED) -> list[tuple[str, str]]:
    """Different sources, each a locale, a pattern and a date drawn evenly, with their targets.
    The same for the same count, seed and release of Babel."""
    _need_babel()
    draws = random.Random(seed)  # its `random` is promised to stay as it is
    days = (LAST - FIRST).days + 1
    found: dict[str, str] = {}
    while len(found) < count:
        locale = LOCALES[int(draws.random() * len(LOCALES))]
        ways = _ways(locale)
        way = ways[int(draws.random() * len(ways))]
        day = FIRST + datetime.timedelta(int(draws.random() * days))
        found.setdefault(f"<{locale}> {way.written(day)}", day.isoformat())
        if len(found) % 1000 == 0:
            progress("writing dates", len(found), count)
    return list(found.items())


def without_tag(source: str) -> str:
    match = _TAG.fullmatch(source)
    return match[2] if match else source


def ceiling(sources: Sequence[str]) -> float:
    """The share of exact answers that the best of all answerers could expect on these sources: for
    each, the probability of its likeliest date, given how dates, locales and patterns are drawn.
    One for sources with tags. Raises ValueError for what is no date of this data set."""
    _need_babel()
    total = 0.0
    for source in sources:
        match = _TAG.fullmatch(source)
        text, locales = (match[2], (match[1],)) if match else (source, LOCALES)
        weights: dict[datetime.date, float] = {}
        for locale in locales:
            for way in _ways(locale):
                for day in way.meant(text):
                    weights[day] = weights.get(day, 0.0) + 1 / len(_ways(locale))
        if not weights:
            raise ValueError(f"{source!r} is none of these dates")
        total += max(weights.values()) / sum(weights.values())
    return total / len(sources) if sources else 1.0


@dataclass(frozen=True)
class _Way:
    """One pattern of one locale, for writing and for reading back."""

    locale: Any  # babel's
    pattern: Any
    reading: re.Pattern[str]
    months: dict[str, int]  # by name

    def written(self, day: datetime.date) -> str:
        return _typed(str(self.pattern.apply(day, self.locale))).strip()

    def meant(self, text: str) -> list[datetime.date]:
        """Every date of the window that is written so."""
        match = self.reading.fullmatch(text)
        if match is None:
            return []
        year, month, day = match["year"], match["month"], int(match["day"])
        number = int(month) if month.isdecimal() else self.months[month]
        centuries = (1900, 2000) if len(year) == 2 else (0,)
        found = []
        for century in centuries:
            try:
                date = datetime.date(century + int(year), number, day)
            except ValueError:
                continue  # a 30th of February
            if FIRST <= date <= LAST and self.written(date) == text:
                found.append(date)
        return found


@cache
def _ways(locale: str) -> tuple[_Way, ...]:
    from babel import Locale
    from babel.dates import parse_pattern

    known = Locale.parse(locale, sep="-")
    patterns = [known.date_formats[name].pattern for name in _FORMATS]
    patterns += [known.datetime_skeletons[name].pattern for name in _SKELETONS]
    return tuple(_way(known, parse_pattern(p)) for p in dict.fromkeys(patterns))


def _way(locale: Any, pattern: Any) -> _Way:
    from babel.dates import tokenize_pattern

    months = {
        _typed(str(name)): number
        for names in locale.months.values()
        for width in ("abbreviated", "wide")
        for number, name in names[width].items()
    }
    expressions: list[str] = []
    for _, value in tokenize_pattern(pattern.pattern):
        if isinstance(value, str):  # what stands between the fields
            expressions.append(re.escape(_typed(value)))
            continue
        letter, width = value
        if letter == "y":
            expressions.append(r"(?P<year>\d{2})" if width == 2 else r"(?P<year>\d{4})")
        elif letter in "ML" and width > 2:
            names = sorted(months, key=len, reverse=True)
            expressions.append(f"(?P<month>{'|'.join(map(re.escape, names))})")
        elif letter in "MLd":
            name = "day" if letter == "d" else "month"
            expressions.append(rf"(?P<{name}>\d{{2}})" if width == 2 else rf"(?P<{name}>\d{{1,2}})")
        else:
            expressions.append(".+")  # a weekday or an era: writing the date again will tell
    return _Way(locale, pattern, re.compile("".join(expressions)), months)


def _typed(text: str) -> str:
    """With the blanks that people type, where typographers set narrow ones that do not break."""
    return re.sub(r"\s+", " ", text)


def _need_babel() -> None:
    try:
        import babel.dates  # noqa: F401
    except ImportError as error:
        raise MissingExtra("babel", "locales", "the catalogue entry 'dates'") from error
