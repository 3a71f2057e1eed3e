"""_engines: one trained network in one program that translates: ours, CTranslate2, JoeyNMT.

An engine decodes the test sentences in all ways in a process of its own, opened anew each time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from _figures import HERE, Figures, child
from _translation import CTRANSLATE2, WAYS, Joey, Way, lines, scored


@dataclass
class Engine:
    """One model in one program. `decode` does every way once and leaves texts in `folder`."""

    family: str
    model: str
    folder: Path
    decode: Callable[[], list[dict[str, Any]]]
    seconds: dict[Way, list[float]] = field(default_factory=dict)  # of each round
    bleu: dict[Way, float] = field(default_factory=dict)  # lowercased
    peak_bytes: int | None = None

    @property
    def name(self) -> str:
        return f"{self.family} {short(self.model)}"

    def rate(self, way: Way) -> float:
        """Sentences a second, the median round."""
        return len(lines("en")) / median(self.seconds[way])


def bundle(model: str, run: Path, text: Path, folder: Path) -> Engine:
    out = folder / f"ours-{run.name}"
    ways = [f"{batch}-{beam}" for batch, beam in WAYS]
    script = HERE / "_one_decode.py"

    def decode() -> list[dict[str, Any]]:
        # One thread for all: onnxruntime is told by the bundle, numpy by its environment.
        words: list[str | Path] = [sys.executable, script, run, text, out, *ways]
        return _noted(engine, words, "decoding with a bundle")

    engine = Engine("shoestring", model, out, decode)
    return engine


def convert(python: Path, run: Path, work: Path, quantization: str) -> None:
    words: list[str | Path] = [
        "convert",
        "--run",
        run,
        "--work",
        work,
        "--quantization",
        quantization,
    ]
    child([python, CTRANSLATE2, *words], "converting for CTranslate2")


def ctranslate2(python: Path, model: str, work: Path, text: Path, backend: str) -> Engine:
    def decode() -> list[dict[str, Any]]:
        return _noted(engine, _translating(python, work, text, backend), "CTranslate2")

    engine = Engine("CTranslate2", model, work / "out", decode)
    return engine


def _translating(python: Path, work: Path, text: Path, backend: str) -> list[str | Path]:
    words: list[str | Path] = [python, CTRANSLATE2, "translate", "--work", work, "--text", text]
    words += ["--out", work / "out", "--backend", backend]
    for beam in {beam for _, beam in WAYS}:
        words += ["--beam", str(beam)]
    for batch in {batch for batch, _ in WAYS}:
        words += ["--batch", str(batch)]
    return words


def _noted(engine: Engine, words: Sequence[str | Path], what: str) -> list[dict[str, Any]]:
    """What the process says, its memory noted."""
    done = child(words, what, OMP_NUM_THREADS="1")
    engine.peak_bytes = max(engine.peak_bytes or 0, done.peak_bytes or 0) or None
    found: list[dict[str, Any]] = done.found
    return found


def faster_backend(python: Path, work: Path, text: Path, folder: Path, figures: Figures) -> str:
    """The library of products with which CTranslate2 is faster on this processor."""
    few = folder / "few.txt"
    few.write_text("".join(f"{line}\n" for line in lines("en")[:200]), encoding="utf-8")
    spent = {}
    for backend in ("mkl", "onednn"):
        done = child(_translating(python, work, few, backend), "CTranslate2").found
        spent[backend] = sum(sum(way["seconds"]) for way in done)
    figures.line("CTranslate2's seconds by backend", spent)
    return min(spent, key=lambda backend: spent[backend])


def joeynmt(joey: Joey, ways: Sequence[Way]) -> Engine:
    """The best checkpoint of its RNN, which is trained."""
    out = joey.work / "out"
    out.mkdir()

    def decode() -> list[dict[str, Any]]:
        found = []
        for way in ways:
            values, answers = joey.decoded("rnn", way)
            engine.peak_bytes = max(engine.peak_bytes or 0, values["peak_bytes"] or 0) or None
            batch, beam = way
            text = "".join(f"{line}\n" for line in answers)
            (out / f"{beam}-{batch}.txt").write_text(text, encoding="utf-8")
            found.append(values)
        return found

    engine = Engine("JoeyNMT", "rnn", out, decode)
    return engine


def decode_round(engine: Engine, number: int, figures: Figures) -> None:
    """All ways once, with BLEU of the first time: later rounds give the same text."""
    for found in engine.decode():
        way = (found["batch"], found["beam"])
        engine.seconds.setdefault(way, []).extend(found["seconds"])
        if way not in engine.bleu:
            answers = answers_of(engine, way)
            scores = scored(answers, lines("de"), cased=engine.family != "JoeyNMT")
            engine.bleu[way] = scores["lowercased_bleu"]
            said = {"engine": engine.name, "batch": way[0], "beam": way[1]}
            figures.line("quality", {**said, **scores})
        figures.line("round", {"engine": engine.name, "round": number, **found})


def answers_of(engine: Engine, way: Way) -> list[str]:
    path = engine.folder / f"{way[1]}-{way[0]}.txt"
    return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")


def short(model: str) -> str:
    """`transformer d128 4+4` of the words of a network."""
    kind, _, rest = model.partition(":")
    given = dict(piece.partition("=")[::2] for piece in rest.split(",") if piece)
    if "units" not in given:
        return model
    layers = f"{given.get('encoder_layers', '?')}+{given.get('decoder_layers', '?')}"
    return f"{kind} d{given['units']} {layers}"
