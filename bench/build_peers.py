"""build_peers: `build` beside what a user would pick instead: same data, seconds and machine.

    sh bench/peers/setup.sh keras joeynmt fastai autogluon ludwig
    python bench/build_peers.py --seconds 300 --seeds 3
    python bench/build_peers.py --kept answers        # goes on where an earlier call was stopped

On the data sets of build_data.py, which nobody tuned for. Pictures: Keras with KerasTuner, fastai,
AutoGluon, Ludwig; language pairs: JoeyNMT. Each is written as its documentation has it
(peers/pictures, peers/joeynmt) and reads the same splits; each ships something that then answers
the test split in a process of its own. One program runs at a time. Seconds are of whole processes.
A program that fails has its last words in the results and a dash in the table.

Scores are accuracy and lowercased BLEU (JoeyNMT's configurations lowercase). The interval is of
ours less theirs over test examples, the answers of all seeds together, by a paired bootstrap; it
holds the variance of examples, not of seeds, which stand in the lines.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import _picture_sets
import _text_sets
import build_data
import numpy as np
from _figures import HERE, Figures, arguments, child
from _one_build import asked, built, test_lines
from _packages import home
from numpy.typing import NDArray

from shoestring.core.protocols import Statistics
from shoestring.data import resample

OURS = "shoestring"
ROOT = HERE.parent
PICTURES = {
    "kerastuner": (".env-keras", "kerastuner.py"),
    "fastai": (".env-fastai", "fastai_learner.py"),
    "autogluon": (".env-autogluon", "autogluon_predictor.py"),
    "ludwig": (".env-ludwig", "ludwig_model.py"),
}
JOEY = "joeynmt"
JOEY_ENVIRONMENT, JOEY_FOLDER = ".env-joeynmt", HERE / "peers" / "joeynmt"
JOEY_PIECES_LINES = 12  # that train a sentencepiece model and list its pieces, in joey.py
JOEY_START = 20  # seconds that its minutes do not hold: imports, reading
# No program may look for weights on a hub that is not there, minute after minute.
OFFLINE = {"HF_HUB_OFFLINE": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}


@dataclass(frozen=True)
class Shipped:
    """One program on one data set with one seed."""

    seconds: float
    size_bytes: int
    latency_ms: float
    answers: Sequence[str]
    details: Mapping[str, Any]


def main() -> None:
    sets = [*_picture_sets.SETS, *_text_sets.SETS]
    parser = arguments("`build` beside what a user would pick instead.", 3)
    parser.add_argument("--seconds", type=float, default=300.0, help="of each program on each set")
    parser.add_argument("--sets", nargs="+", choices=sets, default=sets)
    programs = [OURS, *PICTURES, JOEY]
    parser.add_argument("--programs", nargs="+", choices=programs, default=programs)
    parser.add_argument("--verb", choices=["build", "train"], default="build", help="of ours")
    parser.add_argument("--joey-kind", choices=["rnn", "transformer"], default="transformer")
    parser.add_argument("--folder", type=Path, default=home(), help="of the data sets")
    parser.add_argument("--kept", type=Path, help="a folder of what was shipped; read and added to")
    given = parser.parse_args()
    if given.quick:
        given.seeds, given.seconds, given.sets = 1, 30.0, ["digits"]
        given.programs = [OURS, "kerastuner"]
    kinds = {"pictures" if name in _picture_sets.SETS else "texts" for name in given.sets}
    figures = Figures("build_peers", given, None if len(kinds) > 1 else sorted(kinds))
    rows, summary = [], {}
    for name in given.sets:
        data = build_data.made(name, given.folder)
        found = {p: _all_seeds(p, name, data, given, figures) for p in _who(name, given.programs)}
        more, values = _concluded(name, data, found, given)
        rows += more
        summary[name] = values
    head = ["data", "program", "score", "rank", "ours less theirs", "bytes", "latency"]
    figures.finish([*head, "seconds asked, used", "lines"], rows, summary)


def _anonymous(words: str) -> str:
    """The end of an error, without the folders of this machine."""
    return re.sub(r"(/[\w.+-]+)+/(?=[\w.+-]+)", "", words)[-500:]


def _who(name: str, programs: Sequence[str]) -> list[str]:
    able = [OURS, *PICTURES] if name in _picture_sets.SETS else [OURS, JOEY]
    return [program for program in able if program in programs]


def _all_seeds(
    program: str, name: str, data: Path, given: argparse.Namespace, figures: Figures
) -> list[Shipped]:
    """What it shipped with each seed; nothing of a program that failed with one of them."""
    done = []
    for seed in range(given.seeds):
        said = {"data": name, "program": program, "seed": seed, "asked": given.seconds}
        kept = None if given.kept is None else given.kept / f"{name}-{program}-{seed}.json"
        shipped = _read(kept, given.seconds)
        if shipped is None:
            with tempfile.TemporaryDirectory(prefix="build-peers-") as folder:
                try:
                    shipped = _one(program, data, Path(folder), seed, given)
                except SystemExit as failed:  # of `child`, with the last words of the process
                    figures.line("failed", {**said, "words": _anonymous(str(failed))})
                    return []
            if kept is not None:
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_text(json.dumps({"asked": given.seconds, **asdict(shipped)}))
        done.append(shipped)
        score = _score([_rows(data, shipped)])
        values = {"score": score, "seconds": shipped.seconds, "size_bytes": shipped.size_bytes}
        values |= {"latency_ms": shipped.latency_ms, **shipped.details}
        figures.line("shipped", {**said, **values})
    return done


def _read(kept: Path | None, seconds: float) -> Shipped | None:
    """What an earlier call kept there, if it was given the same seconds."""
    if kept is None or not kept.is_file():
        return None
    found = json.loads(kept.read_text(encoding="utf-8"))
    return Shipped(**found) if found.pop("asked") == seconds else None


def _one(program: str, data: Path, folder: Path, seed: int, given: argparse.Namespace) -> Shipped:
    if program == OURS:
        words = ["--seed", str(seed), *_direction(data)]
        done = built(given.verb, data, given.seconds, folder / "run", *words)
        if not done.shipped:
            raise SystemExit(f"shoestring {given.verb} failed ({done.code}):\n{done.said}")
        found = asked(folder / "run", data)
        return Shipped(done.seconds, found["size_bytes"], found["latency_ms"], found["answers"], {})
    if program == JOEY:
        return _joey(data, folder, seed, given)
    environment, script = PICTURES[program]
    words: list[str | Path] = [_python(environment), HERE / "peers" / "pictures" / script]
    place: list[str | Path] = ["--data", data, "--out", folder / "out"]
    said = ["--seconds", str(given.seconds), "--seed", str(seed)]
    trained = child([*words, "train", *place, *said], f"{program}'s training", **OFFLINE)
    answered = child([*words, "answer", *place], f"{program}'s answers", **OFFLINE).found
    size = _bytes(folder / "out" / "ship")
    return Shipped(
        trained.seconds, size, answered["latency_ms"], answered["answers"], trained.found
    )


def _languages(data: Path) -> list[str]:
    """Source and target; nothing of pictures."""
    found: dict[str, Any] = json.loads((data / "made.json").read_text(encoding="utf-8"))
    return list(found.get("languages", ()))


def _direction(data: Path) -> list[str]:
    """Which language is translated into which has to be said; nothing has of pictures."""
    languages = _languages(data)
    return ["--source", languages[0], "--target", languages[1]] if languages else []


def _joey(data: Path, folder: Path, seed: int, given: argparse.Namespace) -> Shipped:
    """Its pieces are learned on the clock too; then it has the rest."""
    languages = _languages(data)
    python, script = _python(JOEY_ENVIRONMENT), JOEY_FOLDER / "joey.py"
    began = time.perf_counter()
    splits = ["--splits", "train", "validation", "test", "--languages", *languages]
    place: list[str | Path] = ["--work", folder]
    child([python, script, "prepare", *place, "--data", data, *splits], "JoeyNMT's pieces")
    left = given.seconds - (time.perf_counter() - began) - JOEY_START
    kind = ["--kind", given.joey_kind]
    length = ["--minutes", f"{max(left, 5.0) / 60:.4f}", "--seed", str(42 + seed)]
    trained = child([python, script, "train", *place, *kind, *length], "JoeyNMT's training").found
    seconds = time.perf_counter() - began
    decode: list[str | Path] = [python, script, "decode", *place, *kind, "--beam", "5"]
    child([*decode, "--out", folder / "answers.txt"], "JoeyNMT's translations")
    single = child([*decode, "--batch", "1", "--sentences", "50"], "JoeyNMT, one by one").found
    model = folder / given.joey_kind / "best.ckpt"
    files = [model, folder / "tokenizer.model", folder / "pieces.txt"]
    kept = ("steps", "best_validation_bleu", "parameters")
    return Shipped(
        seconds,
        sum(path.stat().st_size for path in files),
        1000 * single["seconds"][0] / single["sentences"],
        (folder / "answers.txt").read_text(encoding="utf-8").splitlines(),
        {name: trained[name] for name in kept},
    )


def _python(environment: str) -> Path:
    path = ROOT / environment / "bin" / "python"
    if not path.is_file():
        raise SystemExit(f"{environment} is not there: sh bench/peers/setup.sh makes it")
    return path


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


# --- scores --------------------------------------------------------------------------------------


def _rows(data: Path, shipped: Shipped) -> Statistics:
    """Numbers of each test example whose sums give the score, in 0 to 100."""
    if (data / "test").is_dir():
        truths = [
            path.parent.name for path in sorted((data / "test").glob("*/*.png"), key=Path.as_posix)
        ]
        right = [answer == truth for answer, truth in zip(shipped.answers, truths, strict=True)]
        rows = np.array([[100.0 * r, 1.0] for r in right])
        return Statistics(rows, _share)
    from shoestring.tasks.translation import scores

    lowered = [[text.lower() for text in texts] for texts in (shipped.answers, test_lines(data)[1])]
    found = scores.statistics(scores.sentence_statistics(lowered[0], lowered[1], {}))
    assert found is not None
    return found


def _share(sums_RS: NDArray[np.float64]) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = sums_RS[:, 0] / sums_RS[:, 1]
    return shares


def _score(found: Sequence[Statistics]) -> float:
    return fmean(float(one.metric(one.rows_BS.sum(axis=0)[None])[0]) for one in found)


def _concluded(
    name: str, data: Path, found: Mapping[str, Sequence[Shipped]], given: argparse.Namespace
) -> tuple[list[list[str]], dict[str, Any]]:
    rows_of = {p: [_rows(data, shipped) for shipped in done] for p, done in found.items() if done}
    scores = {program: _score(rows) for program, rows in rows_of.items()}
    ranked = sorted(scores, key=scores.__getitem__, reverse=True)
    rows, values = [], {}
    for program in [*ranked, *(p for p in found if p not in scores)]:
        done, lines = found[program], _lines(program, given)
        if not done:
            rows.append([name, program, "failed", *["-"] * 5, str(lines)])
            values[program] = {"failed": True}
            continue
        interval = None
        if program != OURS and OURS in rows_of:
            ours, theirs = rows_of[OURS], rows_of[program]
            interval = resample.paired_interval(
                np.concatenate([one.rows_BS for one in theirs]),
                np.concatenate([one.rows_BS for one in ours]),
                ours[0].metric,
            )
        used = [shipped.seconds for shipped in done]
        size, latency = (
            fmean(shipped.size_bytes for shipped in done),
            fmean(shipped.latency_ms for shipped in done),
        )
        gap = (
            ""
            if interval is None
            else f"{interval.value:+.2f} ({interval.low:+.2f} to {interval.high:+.2f})"
        )
        rows.append(
            [
                name,
                program,
                f"{scores[program]:.2f}",
                f"{ranked.index(program) + 1} of {len(found)}",
                gap,
                f"{size:,.0f}",
                f"{latency:.2f} ms",
                f"{given.seconds:.0f}, {min(used):.0f} to {max(used):.0f}",
                str(lines),
            ]
        )
        values[program] = {
            "score": scores[program],
            "rank": ranked.index(program) + 1,
            "size_bytes": size,
            "latency_ms": latency,
            "used": used,
            "lines": lines,
        }
        if interval is not None:
            values[program] |= {"gap": [interval.value, interval.low, interval.high]}
    return rows, values


def _lines(program: str, given: argparse.Namespace) -> int:
    """That a user writes; one command of ours."""
    if program == OURS:
        return 1
    if program == JOEY:
        text = (JOEY_FOLDER / f"{given.joey_kind}.yaml").read_text(encoding="utf-8")
        rows = [row for row in text.splitlines() if row.strip() and not row.strip().startswith("#")]
        return len(rows) + JOEY_PIECES_LINES + 1
    text = (HERE / "peers" / "pictures" / PICTURES[program][1]).read_text(encoding="utf-8")
    blocks = re.findall(r"# user\n(.*?)# end\n", text, re.DOTALL)
    rows = [row.strip() for block in blocks for row in block.splitlines()]
    return sum(1 for row in rows if row and not row.startswith("#"))


if __name__ == "__main__":
    main()
