"""lineage: what a run was made from, as a tree, with the figures of each."""

from __future__ import annotations

from rich.text import Text
from rich.tree import Tree

from shoestring.core.receipt import Plain
from shoestring.report.words import duration, milliseconds, quality, size


def tree(branch: Plain) -> Tree:
    """The run at the root, its parents below it, down to those that were trained from nothing."""
    root = Tree(_words(branch), guide_style="dim")
    _grow(root, branch)
    return root


def _grow(node: Tree, branch: Plain) -> None:
    for parent in branch["parents"]:
        _grow(node.add(_words(parent)), parent)


def _words(branch: Plain) -> Text:
    made = str(branch["technique"]).replace(",", ", ")
    return Text.assemble((str(branch["path"]), "bold"), f" {made}: ", ", ".join(figures(branch)))


def figures(branch: Plain) -> list[str]:
    """How good, large, fast and dear a run of a lineage is, as far as that is known."""
    latency = (branch.get("latency_ms") or {}).get("median")
    found = [
        "" if branch["quality"] is None else quality(branch["quality"], branch["metric"]),
        "" if branch["size_bytes"] is None else size(branch["size_bytes"]),
        "" if latency is None else milliseconds(latency),
        duration(branch["seconds"]) if branch["seconds"] else "",
    ]
    return [figure for figure in found if figure]
