"""dates: exact match on the built-in dates after two minutes, and what a tag is worth.

    python bench/dates.py

Tagged dates have one right answer each. Without tags 3/4/05 is anyone's guess: beside the accuracy
on those stands their ceiling, which is computed from how the dates were drawn, and which nothing
that reads the text alone can be expected to pass.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, cast

from _figures import Figures, Spread, arguments, spread, verdict
from _one_fit import fitted, shown
from _translation import drawing, drawn, megabytes, ruled, warmed

import shoestring

ASKED = 0.995
SOURCES = {"tagged": "dates", "untagged": "dates:untagged"}


def main() -> None:
    parser = arguments("Exact match on dates.", 3)
    parser.add_argument("--minutes", type=float, default=2.0, help="of each whole command")
    parser.add_argument("--network", default="lstm", metavar="WORDS")
    given = parser.parse_args()
    if given.quick:
        given.seeds = 1
    figures = Figures("dates", given)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in SOURCES}
    ceilings: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="shoestring-bench-") as folder:
        for source in SOURCES.values():
            warmed(source, {})
        for seed in range(given.seeds):
            for name, source in SOURCES.items():
                out = Path(folder) / f"{name}-{seed}"
                job = {"source": source, "seed": seed, "out": str(out), "network": given.network}
                length = {"steps": 60} if given.quick else {"budget": 60.0 * given.minutes}
                fit = fitted({**job, **length})
                scores = shoestring.evaluate(fit.path, f"{source}:test")
                if name not in ceilings:
                    ceilings[name] = _ceiling(fit.path, f"{source}:test")
                values = {"exact_match": scores.details["exact_match"], "ceiling": ceilings[name]}
                values |= {"test_examples": scores.examples}
                figures.line(f"training on {name} dates", {"seed": seed, **shown(fit), **values})
                found[name].append({**values, "peak_bytes": fit.peak_bytes})
    rows, summary = [], {}
    for name, several in found.items():
        exact = spread([one["exact_match"] for one in several])
        peak = max((one["peak_bytes"] for one in several if one["peak_bytes"]), default=None)
        asked = verdict(exact.mean >= ASKED, f"{100 * ASKED:.1f}%") if name == "tagged" else "-"
        cells = [name, _share(exact), f"{100 * ceilings[name]:.2f}%", megabytes(peak), asked]
        rows.append(cells)
        summary[name] = {"exact_match": exact, "ceiling": ceilings[name], "peak_bytes": peak}
    head = ["dates", f"exact match after {given.minutes:g} min", "ceiling", "peak MB", "asked"]
    path = figures.finish(head, rows, summary)
    _plot(summary, given.minutes, path.with_suffix(".png"))


def _ceiling(path: str, words: str) -> float:
    """The computed ceiling of a test split, of exactly the sentences that are graded."""
    from shoestring import plugins
    from shoestring.core.protocols import silent
    from shoestring.data import dates
    from shoestring.engine import store

    run = store.read(path)
    examples = plugins.task(run.task).load_for(words, run.facts, run.recipe.options, silent)
    return dates.ceiling(list(cast(Any, examples).sources))


def _share(found: Spread) -> str:
    return f"{100 * found.mean:.2f}% +- {100 * found.deviation:.2f} (n={found.count})"


def _plot(summary: dict[str, Any], minutes: float, path: Path) -> None:
    """Shares of wrong answers on a log scale: what is left over what cannot be known."""
    made = drawing(6.5, 2.8)
    if made is None:
        return
    figure, ((axes,),) = made
    least = 0.01  # percent; a test of 2,000 cannot tell less apart
    for place, found in enumerate(summary.values()):
        exact: Spread = found["exact_match"]
        wrong, best, worst = (
            max(100 * (1 - share), least) for share in (exact.mean, exact.high, exact.low)
        )
        reach = [[wrong - best], [worst - wrong]]
        axes.errorbar(wrong, place, xerr=reach, fmt="o", color="C0", capsize=4)
        text = {"textcoords": "offset points", "xytext": (0, 9), "ha": "center"}
        axes.annotate(f"{100 * (1 - exact.mean):.2f}%", (wrong, place), **text)
        bound = 100 * (1 - found["ceiling"])
        if bound >= least:
            shape = {"marker": "|", "s": 400, "linewidths": 2.5, "color": "C3"}
            axes.scatter(bound, place, label="computed: cannot be known", **shape)
    axes.scatter([], [], color="C0", label=f"after {minutes:g} minutes")
    axes.axvline(100 * (1 - ASKED), color="black", linestyle=":", label="asked of tagged dates")
    axes.set_xscale("log")
    axes.set_xlim(least / 1.5, 150)
    axes.set_yticks(range(len(summary)), list(summary))
    axes.set_ylim(-0.6, len(summary) - 0.4)
    axes.invert_yaxis()
    axes.set_xlabel("test dates that are not exactly right, %")
    axes.set_title("Dates of 27 languages to ISO 8601")
    ruled(axes)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8, markerscale=0.5)
    drawn(figure, path)


if __name__ == "__main__":
    main()
