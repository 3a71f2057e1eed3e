"""tree: writes the README's file tree from the files, one line each, in their own words.

    python scripts/tree.py [check]

The words are the opening sentence of a Python module, the heading of a page, the first comment of
anything else. `check` writes nothing and fails when the README is not up to date.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
START, END = "<!-- tree -->", "<!-- /tree -->"
COLUMN = 28  # where the words begin

# Folders shown file by file, with what stands beside their name.
SHOWN = {
    "src/shoestring": "the package",
    "recipes": "ready recipes, for `train --recipe`",
    "bench": "what is fast and small, measured against peers",
    "docs": "pages for whoever works on this",
    "scripts": "what the Makefile calls",
}
# Folders shown as one line.
TESTS = "the same tree as the package; test_architecture.py holds the rules between its rooms"


def tree() -> str:
    lines: list[str] = []
    for folder, words in SHOWN.items():
        if (ROOT / folder).is_dir():
            lines += [line(f"{folder}/", words), *below(ROOT / folder, 1)]
    return "\n".join([*lines, line("tests/", TESTS)])


def below(folder: Path, depth: int) -> Iterator[str]:
    """A folder's files, then its folders, each with what is in it."""
    entries = sorted(folder.iterdir(), key=lambda path: (path.is_dir(), path.name))
    for entry in entries:
        indent = "  " * depth
        if entry.is_dir() and any(holds(path) for path in entry.rglob("*")):
            yield line(f"{indent}{entry.name}/", summary(entry / "__init__.py"))
            yield from below(entry, depth + 1)
        elif entry.is_file() and holds(entry) and (entry.name != "__init__.py" or depth == 1):
            yield line(f"{indent}{entry.name}", summary(entry))


def holds(path: Path) -> bool:
    """Whether this is a file for the tree: not hidden, not made by running something, not a
    picture of a page, which has no words to say of itself."""
    parts = path.relative_to(ROOT).parts
    made = any(part in ("__pycache__", "results") or part.startswith(".") for part in parts)
    return path.is_file() and not made and path.suffix != ".png"


def line(name: str, words: str) -> str:
    return f"{name:{COLUMN}} {words}".rstrip()


def summary(path: Path) -> str:
    """What a file says of itself, in one sentence without its name."""
    if not path.exists():
        return ""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        first = (ast.get_docstring(ast.parse(text)) or "").partition("\n\n")[0]
        return " ".join(first.partition(": ")[2].split()).removesuffix(".")
    if path.suffix == ".md":
        return text.partition("\n")[0].lstrip("# ")
    if path.name == "py.typed":
        return "says that the package brings its types"
    begun = [line for line in text.splitlines() if line.startswith(("# ", "/* ", "{# "))]
    comments = [line.strip("#/*{} ") for line in begun]
    sentence = comments[0].partition(". ")[0].rstrip(".;") if comments else ""
    return sentence.removeprefix(f"{path.stem}: ")


def with_tree(readme: str) -> str:
    head, _, rest = readme.partition(START)
    _, _, tail = rest.partition(END)
    return f"{head}{START}\n```\n{tree()}\n```\n{END}{tail}"


def main(words: list[str]) -> int:
    path = ROOT / "README.md"
    readme = path.read_text(encoding="utf-8")
    wanted = with_tree(readme)
    if readme == wanted:
        return 0
    if "check" in words:
        print("README.md: the file tree is not up to date; run: make fix")
        return 1
    path.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
