"""direction: which language is translated into which, from options, names and files."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from shoestring.core.errors import DataError
from shoestring.core.receipt import Finding
from shoestring.data.names import printable
from shoestring.tasks.translation.languages import matches
from shoestring.tasks.translation.options import TranslationOptions
from shoestring.tasks.translation.reading import formats, tsv
from shoestring.tasks.translation.reading.sources import Part, Source


def languages_of(part: Part) -> tuple[str, ...]:
    """Those that a part holds, as far as it says. Aligned files have no order."""
    if part.kind == "aligned":
        return () if "1" in part.files else tuple(part.files)
    path = part.files[""]
    info = path.stat()
    return _in_file(part.kind, path, info.st_size, info.st_mtime_ns)


@cache
def _in_file(kind: str, path: Path, size: int, time: int) -> tuple[str, ...]:
    """Size and time are there for the memory: a file that was replaced is looked at again."""
    return tuple(formats.languages(kind, path))


def chosen(found: Source, learned: Sequence[Part], options: TranslationOptions) -> tuple[str, str]:
    """Source and target. Raises DataError where they are not there, or not told."""
    one, other = options.source, options.target
    there = list(dict.fromkeys(code for part in learned for code in languages_of(part)))
    if found.direction is not None and one is None and other is None:
        return found.direction
    shown = printable(found.words)
    for code, name in ((one, "source"), (other, "target")):
        if code is not None and there and not any(matches(have, code) for have in there):
            raise DataError(
                f"{shown} has no {code!r}, asked for as {name}; it has {', '.join(there)}"
                f"{by_first_line(learned)}"
            )
    if one is None and other is None:
        if len(there) == 2 and all(part.kind != "aligned" for part in learned):
            return there[0], there[1]
        if len(there) == 2:
            raise DataError(
                f"{shown} has {there[0]} and {there[1]}: say which is translated into which, "
                f"--source {there[0]} --target {there[1]} or --source {there[1]} "
                f"--target {there[0]}"
            )
    if one is not None and other is not None:
        return one, other
    given = one or other
    rest = [code for code in there if given is None or not matches(code, given)]
    if given is not None and len(rest) == 1:
        return (given, rest[0]) if one is not None else (rest[0], given)
    if there:
        raise DataError(
            f"{shown} has {', '.join(there)}: name the two languages, for example "
            f"--source {there[0]} --target {there[-1] if len(there) > 1 else 'en'}"
        )
    raise DataError(
        f"{shown} does not say which languages it holds: name both, for example "
        f"--source en --target de (what stands first is the source)"
    )


def by_first_line(parts: Sequence[Part]) -> str:
    """What to do where a line of names is none: two words can be codes of languages."""
    headed = [p for p in parts if p.kind == "tsv" and tsv.headed(p.files[""])]
    if not headed:
        return ""
    name = printable(headed[0].files[""].name)
    return (
        f", by the first line of {name}; if that is a pair of sentences, put a line with "
        "`source`, a tab and `target` above it"
    )


def told(
    parts: Sequence[Part], options: TranslationOptions, source: str, target: str
) -> list[Finding]:
    """What is to be said of tables whose first line was taken for languages: that they do not
    serve, or, where nobody asked for languages, which these are."""
    found = []
    for part in parts:
        because = by_first_line([part])
        if not because:
            continue
        words = f"{printable(part.name)} has {', '.join(languages_of(part))}"
        if not serves(part, source, target):
            found.append(Finding("languages", 1, f"{words}{because}; not used"))
        elif options.source is None and options.target is None:
            found.append(Finding("languages", 1, f"{words}, as its first line says"))
    return found


def serves(part: Part, source: str, target: str) -> bool:
    """Whether a part has both languages, or does not say."""
    there = languages_of(part)
    return not there or all(any(matches(have, code) for have in there) for code in (source, target))


def files(part: Part, source: str, target: str) -> tuple[Path, Path]:
    """Of aligned files."""
    if "1" in part.files:
        return part.files["1"], part.files["2"]
    return part.files[_best(part, source)], part.files[_best(part, target)]


def _best(part: Part, code: str) -> str:
    if code in part.files:
        return code
    return next(have for have in part.files if matches(have, code))
