"""techniques: what each technique buys alone, on three small data sets, three seeds each.

    python bench/techniques.py --only mnist          # or another one; all without it
    python bench/techniques.py --processes 2         # two fits at once

The fits are those of `shoestring ablate`, kept in --folder, so that a run that was stopped goes on.
sign-digits is trained on five folds by groups, whose answers are taken together. Multi30k's
back-translation is by a run of the other direction, trained on the same pairs, of targets that are
not among them. mnist-long has fits long enough for `early_stop` to end. Each table is written to
results/techniques_NAME.json, all that are there to techniques.md, and the gains alone to the
README.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from _figures import HERE, RESULTS, arguments, data_folder, machine

import shoestring
from shoestring import plugins
from shoestring.autopilot.ablation import PLAN, Ablation, Line
from shoestring.core.plain import to_plain
from shoestring.core.protocols import silent
from shoestring.core.run import Recipe
from shoestring.engine import store
from shoestring.report.words import gain

README = HERE.parent / "README.md"
REVERSE_STEPS = 300
MORE_TARGETS = 10_000  # sentences to translate
START, END = "<!-- techniques -->", "<!-- /techniques -->"
PICTURES = (
    "augment",
    "augment:policy=rand",
    "augment:policy=trivial",
    "augment:elastic=0.05",
    "augment:mixup=0.2",
    "augment:cutmix=1.0",
    "augment:erase=0.25",
    "augment:flip=auto",
    "regularize:l1=0.001",
    "regularize:l2=0.05",
    "regularize:dropout=0.2",
    "regularize:label_smoothing=0.2",
    "regularize:clip=1.0",
    "regularize:l2=0.05,dropout=0.2",
    "schedule:shape=cosine",
    "schedule:shape=linear",
    "schedule:find=rate",
    "schedule:find=batch",
    "early_stop",
    "average",
    "average:kind=swa",
)
LONG = ("early_stop", "early_stop:patience=2", "average", "average:kind=swa")
TEXT = (
    "augment:bpe_dropout=0.1",
    "augment:word_dropout=0.1",
    "augment:case=0.1",
    "augment:swap=0.1",
    "regularize:l1=0.0001",
    "regularize:l2=0.1",
    "regularize:dropout=0.3",
    "regularize:label_smoothing=0.0",
    "regularize:clip=1.0",
    "schedule:shape=cosine",
    "schedule:shape=linear",
    "schedule:find=rate",
    "early_stop",
    "average",
    "average:kind=swa",
)


@dataclass(frozen=True)
class Case:
    """A data set, what is tried on it, and how long each fit is."""

    name: str
    title: str
    source: str
    techniques: tuple[str, ...]
    steps: int
    folds: int | None = None
    reverse: bool = False  # whether back-translation is tried, by a run of the other direction
    options: dict[str, Any] = field(default_factory=dict)
    said: dict[str, Any] = field(default_factory=dict)


CASES = (
    Case(
        "mnist",
        "1,000 digits of MNIST (100 a class)",
        "mnist",
        PICTURES,
        400,
        options={"per_class": 100},
        said={"without": ["augment"]},
    ),
    Case(
        "sign-digits",
        "sign-digits, people kept together, five folds",
        "sign-digits",
        PICTURES,
        150,
        folds=5,
        options={"group_by": "groups.csv"},
        said={"without": ["augment"]},
    ),
    Case(
        "mnist-long",
        "1,000 digits of MNIST, five times the steps",
        "mnist",
        LONG,
        2000,
        options={"per_class": 100},
        said={"without": ["augment"]},
    ),
    Case(
        "multi30k",
        "5,000 pairs of Multi30k, English to German",
        "multi30k",
        TEXT,
        300,
        reverse=True,
        options={"source": "en", "target": "de", "train_share": 0.1725, "pieces": 2000},
        said={"network": "lstm:encoder_units=96,decoder_units=192,embedding=192"},
    ),
)


def main() -> None:
    parser = arguments("What each technique buys alone.", 3)
    parser.add_argument("--only", choices=[case.name for case in CASES])
    parser.add_argument("--folder", type=Path, default=Path("runs/techniques"))
    parser.add_argument("--threads", type=int, default=1, help="of each fit")
    parser.add_argument("--processes", type=int, default=1, help="fits at once")
    given = parser.parse_args()
    home = RESULTS / "quick" if given.quick else RESULTS
    for case in CASES:
        if given.only in (None, case.name):
            found = _ablated(case, given)
            facts = {"command": _command(case), "processes": given.processes, "machine": machine()}
            plain = {"title": case.title, **facts, **to_plain(found)}
            path = home / f"techniques_{case.name}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps(_without_paths(plain), indent=1).replace(f"{given.folder}/", "")
            path.write_text(text + "\n", encoding="utf-8")
    if not given.quick:
        (HERE / "techniques.md").write_text(page(), encoding="utf-8")
        text = README.read_text(encoding="utf-8")
        before, _, rest = text.partition(START)
        README.write_text(
            f"{before}{START}\n{summary()}\n{END}{rest.partition(END)[2]}", encoding="utf-8"
        )


def _ablated(case: Case, given: Any) -> Ablation:
    source = case.source
    if case.options.get("group_by"):
        source = str(data_folder(source))
    path = given.folder / f"{case.name}-0"
    if (path / PLAN).is_file():
        return shoestring.ablate(out=path, resume=True)
    return shoestring.ablate(
        source,
        techniques=_techniques(case, given),
        seeds=given.seeds,
        folds=case.folds,
        steps=20 if given.quick else case.steps,
        options=case.options,
        threads=given.threads,
        processes=given.processes,
        out=path,
        **case.said,
    )


def _techniques(case: Case, given: Any) -> tuple[str, ...]:
    """Those of a case, of which some need what is made here."""
    if given.quick:
        return case.techniques[:2]
    if not case.reverse:
        return case.techniques
    run, more = given.folder / f"{case.name}-reverse", given.folder / f"{case.name}-targets.txt"
    sides = {"source": case.options["target"], "target": case.options["source"]}
    if not (run / store.RUN).is_file():
        shoestring.train(
            case.source,
            steps=REVERSE_STEPS,
            options={**case.options, **sides},
            threads=given.threads,
            out=run,
            **case.said,
        )
    few, every = (
        plugins.task("translation").load(Recipe("translation", case.source, options=o), silent)
        for o in (case.options, {**case.options, "train_share": 1.0})
    )
    known = set(few.train.targets)  # type: ignore[attr-defined]  # sentence pairs have them
    others = [line for line in every.train.targets if line not in known]  # type: ignore[attr-defined]  # as above
    more.write_text("\n".join(others[:MORE_TARGETS]) + "\n", encoding="utf-8")
    found = plugins.technique_class("augment")(back_translate=str(run), monolingual=str(more))
    return (*case.techniques, plugins.words(found))


def _command(case: Case) -> str:
    return f"python bench/techniques.py --only {case.name}"


def _without_paths(plain: dict[str, Any]) -> dict[str, Any]:
    """Folders of the machine that made them are nobody's business."""
    kept = {name: value for name, value in plain.items() if name not in ("path", "source")}
    for result in kept["results"]:
        result.pop("paths")
    return kept


def page() -> str:
    """techniques.md, from the tables that are there."""
    parts = [
        "# What each technique buys alone",
        (
            "Each table holds the gain of one technique over the same recipe without any, on the "
            "two thirds of validation that no fit decided on (over folds: on all examples, each "
            "held out once); then the gain on corrupted examples "
            "(noise, blur, turned pictures; typos and case of text), the seconds that a fit took "
            "more, and the verdict. Intervals are 95% over seeds and examples, Bonferroni over the "
            "lines of a table, verdicts after Holm. The losers stay in. What pays here need not "
            "pay on your data: `shoestring ablate` makes this table of them."
        ),
    ]
    for case in CASES:
        path = RESULTS / f"techniques_{case.name}.json"
        if path.is_file():
            plain = json.loads(path.read_text(encoding="utf-8"))
            parts += [f"## {plain['title']}", _told(plain, case), _table(plain)]
    return "\n\n".join(parts) + "\n"


def summary() -> str:
    """The gains of all tables in one: a row for each technique, a column for each data set."""
    found = {}
    for case in CASES:
        path = RESULTS / f"techniques_{case.name}.json"
        if path.is_file():
            found[case.title] = json.loads(path.read_text(encoding="utf-8"))
    gains = {
        title: {one["technique"]: one for one in plain["lines"] if one["kind"] == "alone"}
        for title, plain in found.items()
    }
    names = list(dict.fromkeys(name for table in gains.values() for name in table))
    rows = [f"| | {' | '.join(found)} |", "|---" * (len(found) + 1) + "|"]
    for name in names:
        cells = [
            _brief(table[name], found[title]["metric"]) if name in table else ""
            for title, table in gains.items()
        ]
        rows.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(rows)


def _brief(one: dict[str, Any], metric: str) -> str:
    from shoestring.core.plain import from_plain

    line = from_plain(Line, one, "line")
    if line.gain is None:
        return line.statement or line.reason
    told = gain(line.gain, metric, unit=False)
    return told if line.statement == "within noise" else f"**{told}**"


def _told(plain: dict[str, Any], case: Case) -> str:
    base = next(one for one in plain["results"] if not one["techniques"])
    qualities = ", ".join(f"{value:.4g}" for value in base["qualities"])
    minutes = plain["used_seconds"] / 60
    return (
        f"`{plain['command']}`: {len(plain['results'])} recipes, {plain['seeds']} seeds, "
        f"{case.steps} steps a fit, {plain['examples']:,} examples judged, {minutes:.0f} minutes. "
        f"Without any of them: {plain['metric']} {qualities}."
    )


def _table(plain: dict[str, Any]) -> str:
    rows = ["| technique | gain | corrupted | seconds more | verdict |", "|---|---|---|---|---|"]
    rows.extend(
        f"| `{one['technique']}` | {' | '.join(_cells(one, plain['metric']))} |"
        for one in plain["lines"]
        if one["kind"] == "alone"
    )
    return "\n".join(rows)


def _cells(one: dict[str, Any], metric: str) -> list[str]:
    from shoestring.core.plain import from_plain

    line = from_plain(Line, one, "line")
    told = "-" if line.gain is None else gain(line.gain, metric)
    corrupted = "-" if line.shifted is None else gain(line.shifted, metric)
    verdict = line.statement or line.reason
    if line.statement != "within noise":
        verdict = f"**{verdict}**"
    return [told, corrupted, f"{line.more_seconds:+.1f}", verdict]


if __name__ == "__main__":
    main()
