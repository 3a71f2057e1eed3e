"""_translation: what the scripts on Multi30k share: text, scores, the peers' commands, plots."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from _figures import HERE, RESULTS, Child, child, cores, data_folder

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SOURCE, OPTIONS = "multi30k", {"source": "en", "target": "de"}
TEST = "test_2016_flickr"
RECURRENT = {"lstm": "rnn", "transformer": "transformer"}  # JoeyNMT's kind beside each of ours
JOEY = HERE / "peers" / "joeynmt" / "joey.py"
CTRANSLATE2 = HERE / "peers" / "ctranslate2" / "ct2.py"
# A batch size and a beam, as the figures name them.
Way = tuple[int, int]
WAYS: Mapping[Way, str] = {
    (64, 1): "greedy, 64 at once",
    (64, 5): "beam 5, 64 at once",
    (1, 1): "greedy, one by one",
    (1, 5): "beam 5, one by one",
}


def lines(language: str, split: str = TEST) -> list[str]:
    """The sentences of one side of a split, as published."""
    folder = data_folder(SOURCE)
    plain = folder / f"{split}.{language}"
    if plain.exists():
        return plain.read_text(encoding="utf-8").splitlines()
    packed = gzip.decompress((folder / f"{split}.{language}.gz").read_bytes())
    return packed.decode("utf-8").splitlines()


def scored(hypotheses: Sequence[str], references: Sequence[str], *, cased: bool) -> dict[str, Any]:
    """sacreBLEU's figures on detokenised text: BLEU of lowercased text, and where the output has
    case BLEU and chrF as they are, each with its signature."""
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    assert len(hypotheses) == len(references), "a translation is missing"
    metrics: dict[str, Any] = {"lowercased_bleu": BLEU(tokenize="13a", lowercase=True)}
    metrics |= {"bleu": BLEU(tokenize="13a"), "chrf": CHRF()} if cased else {}
    found: dict[str, Any] = {}
    for name, metric in metrics.items():
        found[name] = metric.corpus_score(list(hypotheses), [list(references)]).score
        found[f"{name}_signature"] = str(metric.get_signature())
    return found


def peak_of_predict(run: str | Path, beam: int, folder: Path) -> int | None:
    """Bytes of memory of `shoestring predict` on the test sentences."""
    text = folder / "predict.txt"
    text.write_text("".join(f"{line}\n" for line in lines("en")), encoding="utf-8")
    words = [sys.executable, "-m", "shoestring", "predict", run, text, "--beam", str(beam)]
    return child(words, "shoestring predict").peak_bytes


def megabytes(size_bytes: float | None) -> str:
    return "-" if size_bytes is None else f"{size_bytes / 1e6:.0f}"


@dataclass(frozen=True)
class Joey:
    """JoeyNMT in its environment, on data that are prepared in the folder `work`."""

    python: Path
    work: Path

    @staticmethod
    def prepared(
        python: str | Path, work: Path, *, cased: bool = False, tokenizer: Path | None = None
    ) -> Joey:
        """Its own joint BPE of 4,000 pieces, or the tokenizer that is given."""
        joey = Joey(found_python(python), work)
        words: list[str | Path] = ["--data", data_folder(SOURCE)]
        words += ["--cased"] if cased else []
        words += ["--tokenizer", tokenizer] if tokenizer is not None else []
        joey.done("prepare", *words)
        return joey

    def done(self, verb: str, *words: str | Path) -> Child:
        return child([self.python, JOEY, verb, "--work", self.work, *words], f"JoeyNMT's {verb}")

    def faster_threads(self, kind: str, seconds: float, *words: str) -> int:
        """One thread or all, whichever trains faster here: ours looks for that as well."""
        rates = {
            count: self.trained(kind, seconds / 60, count, "--no-validation", *words)
            for count in {1, cores()}
        }
        return max(rates, key=lambda count: float(rates[count]["target_tokens_a_second"]))

    def trained(self, kind: str, minutes: float, threads: int, *words: str) -> dict[str, Any]:
        """What joey.py says of a training, and its peak of memory."""
        length = ["--minutes", str(minutes), "--threads", str(threads)]
        done = self.done("train", "--kind", kind, *length, *words)
        return {**done.found, "peak_bytes": done.peak_bytes}

    def decoded(
        self, kind: str, way: Way, *words: str, threads: int = 1
    ) -> tuple[dict[str, Any], list[str]]:
        """What joey.py says of translating the test sentences, and the translations."""
        batch, beam = way
        out = self.work / "decoded.txt"
        said = ["--beam", str(beam), "--batch", str(batch), "--threads", str(threads)]
        done = self.done("decode", "--kind", kind, *said, "--out", out, *words)
        answers = out.read_text(encoding="utf-8").splitlines()
        return {**done.found, "peak_bytes": done.peak_bytes}, answers


def found_python(python: str | Path) -> Path:
    """The interpreter of a peer; ends the script where there is none."""
    path = Path(python)
    if not path.is_file():
        raise SystemExit(f"{path} is not there: sh bench/peers/setup.sh makes it")
    return path


def warmed(source: str = SOURCE, said: Mapping[str, str] = OPTIONS) -> bytes:
    """Makes the cache of a source, so that no budget is spent on it; its tokenizer."""
    from shoestring import plugins
    from shoestring.core.protocols import silent
    from shoestring.core.run import Recipe

    task = plugins.task_for(source)
    options = vars(plugins.options_from(task.options, dict(said), task.name))
    dataset = task.load(Recipe(task.name, source, options=options), silent)
    return dataset.files["tokenizer.model"]


def is_transformer(run: str | Path) -> bool:
    plain = json.loads((Path(run) / "run.json").read_text(encoding="utf-8"))
    return bool(plain["architecture"]["kind"] == "transformer")


def drawing(wide: float, high: float, rows: int = 1, columns: int = 1) -> Any:
    """A figure and its axes, to be drawn to a file; None where matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError:
        print("no plot: matplotlib is not installed")
        return None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot.subplots(rows, columns, figsize=(wide, high), layout="constrained", squeeze=False)


def ruled(axes: Axes) -> None:
    axes.grid(visible=True, which="both", alpha=0.2)


def drawn(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=120)
    print(f"drawn to {path.relative_to(RESULTS.parent.parent)}")
