"""joey: JoeyNMT on parallel text: prepares the data, trains for stated minutes, decodes, all timed.

    .env-joeynmt/bin/python bench/peers/joeynmt/joey.py prepare --data DATA --work WORK
    .env-joeynmt/bin/python bench/peers/joeynmt/joey.py train --work WORK --kind rnn --minutes 10
    .env-joeynmt/bin/python bench/peers/joeynmt/joey.py decode --work WORK --kind rnn --beam 5

Training is JoeyNMT's own `train`: its loop, its loss, its batches, its validation. From outside
come a stop after the minutes, with a last look at validation before it, and the counts. Text is
raw; a joint sentencepiece BPE is trained on both sides of train, as in JoeyNMT's documentation,
lowercased by JoeyNMT itself unless --cased. The last line printed is a JSON object.
"""

from __future__ import annotations

import argparse
import gzip
import json
import logging
import os
import time
from pathlib import Path
from typing import Any

import sentencepiece
import torch
import yaml  # type: ignore[import-untyped]  # brings no types
from joeynmt import prediction, training  # type: ignore[import-not-found]  # only in .env-joeynmt
from joeynmt.config import parse_global_args  # type: ignore[import-not-found]

HERE = Path(__file__).resolve().parent
LANGUAGES = ("en", "de")  # and the names of splits, of Multi30k's files
SPLITS = ("train", "val", "test_2016_flickr")
PARTS = ("train", "dev", "test")  # as JoeyNMT names them
WARM_STEPS = 3  # off the clock that gives tokens a second, not off the minutes


def main() -> None:
    parser = argparse.ArgumentParser(description="JoeyNMT on parallel text.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("prepare")
    one.add_argument("--data", type=Path, required=True, help="the folder of SPLIT.LANGUAGE")
    one.add_argument("--languages", nargs=2, default=LANGUAGES, help="from and into")
    one.add_argument("--splits", nargs=3, default=SPLITS, help="training, validation, test")
    one.add_argument("--pieces", type=int, default=4000)
    one.add_argument("--cased", action="store_true")
    one.add_argument("--tokenizer", type=Path, help="a sentencepiece model instead of a new one")
    one.add_argument("--threads", type=int, default=1)
    two = verbs.add_parser("train")
    two.add_argument("--minutes", type=float, required=True)
    two.add_argument("--seed", type=int, default=42)
    two.add_argument("--set", action="append", default=[], metavar="PLACE=VALUE")
    two.add_argument("--no-validation", action="store_true", help="for the rate alone")
    three = verbs.add_parser("decode")
    three.add_argument("--beam", type=int, default=1)
    three.add_argument("--batch", type=int, default=64, help="sentences")
    three.add_argument("--sentences", type=int, help="only the first so many")
    three.add_argument("--rounds", type=int, default=1)
    three.add_argument("--out", type=Path, help="a file for the translations")
    for verb in (one, two, three):
        verb.add_argument("--work", type=Path, required=True, help="a folder for all that is made")
    for verb in (two, three):
        verb.add_argument("--kind", choices=["rnn", "transformer"], required=True)
        verb.add_argument("--name", help="of the model's folder; else its kind")
        verb.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    found = {"prepare": prepare, "train": train, "decode": decode}[given.verb](given)
    print(json.dumps({**found, "joeynmt": "2.3.0", "torch": torch.__version__}))


def prepare(given: argparse.Namespace) -> dict[str, Any]:
    """Plain text files, tokenizer.model, pieces.txt and prepared.json in the folder of work."""
    given.work.mkdir(parents=True, exist_ok=True)
    lines = {}
    for name, split in zip(PARTS, given.splits, strict=True):
        for language in given.languages:
            text = _text(given.data / f"{split}.{language}")
            (given.work / f"{name}.{language}").write_text(text, encoding="utf-8")
            lines[name, language] = text.splitlines()
    model = given.work / "tokenizer.model"
    if given.tokenizer is not None:
        model.write_bytes(given.tokenizer.read_bytes())
    else:
        both = [line for language in given.languages for line in lines["train", language]]
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(both if given.cased else [line.lower() for line in both]),
            model_prefix=str(model.with_suffix("")),
            model_type="bpe",
            vocab_size=given.pieces,
            character_coverage=1.0,
            num_threads=given.threads,
            minloglevel=2,
        )
    opened = sentencepiece.SentencePieceProcessor(model_file=str(model))
    # JoeyNMT puts its own <unk>, <pad>, <s> and </s> before these.
    kept = [i for i in range(len(opened)) if not (opened.is_control(i) or opened.is_unknown(i))]
    pieces = [opened.id_to_piece(i) for i in kept]
    (given.work / "pieces.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    said = {"cased": given.cased, "languages": list(given.languages)}
    (given.work / "prepared.json").write_text(json.dumps(said))
    into = lines["train", given.languages[1]]
    targets = opened.encode([t if given.cased else t.lower() for t in into])
    # With the end of each sentence, as JoeyNMT counts.
    return {"pieces": len(pieces), "train_target_tokens": sum(len(t) + 1 for t in targets)}


def _text(path: Path) -> str:
    packed = path.with_name(f"{path.name}.gz")
    if path.exists():
        return path.read_text(encoding="utf-8")
    return gzip.decompress(packed.read_bytes()).decode("utf-8")


def configuration(given: argparse.Namespace) -> dict[str, Any]:
    """The file of this kind, with folders filled in and every --set obeyed."""
    found: dict[str, Any] = yaml.safe_load((HERE / f"{given.kind}.yaml").read_text("utf-8"))
    work = given.work.resolve()
    said = json.loads((work / "prepared.json").read_text())
    cased = said["cased"]
    found["model_dir"] = str(work / (given.name or given.kind))
    for name in PARTS:
        found["data"][name] = str(work / name)
    for side, language in zip(("src", "trg"), said["languages"], strict=True):
        changed = {"lang": language, "lowercase": not cased, "voc_file": str(work / "pieces.txt")}
        files = {"tokenizer_cfg": {"model_file": str(work / "tokenizer.model")}}
        found["data"][side] = {**found["data"][side], **changed, **files}
    for words in getattr(given, "set", []):
        place, _, value = words.partition("=")
        *path, last = place.split(".")
        inner = found
        for name in path:
            inner = inner[name]
        inner[last] = yaml.safe_load(value)
    return found


# --- training ------------------------------------------------------------------------------------


class Timed(training.TrainManager):  # type: ignore[misc]  # JoeyNMT brings no types
    """JoeyNMT's manager, with a clock. An interrupt is how its loop can be told to stop."""

    NEVER = 1 << 30  # a validation_freq that asks for no look at all
    seconds = 0.0  # that may be spent; set before the training starts
    last: Timed  # the one that trained

    def train_and_validate(self, train_data: Any, valid_data: Any) -> None:
        Timed.last = self
        self.valid = valid_data
        self.began = time.perf_counter()
        self.validation_seconds, self.longest = 0.0, 0.0
        self.curve: list[dict[str, float]] = []
        self.counted: tuple[float, float, int] | None = None  # clock, of validation, tokens
        self.ended = self.began
        super().train_and_validate(train_data, valid_data)

    def _train_step(self, batch: Any) -> tuple[float, int]:
        now = time.perf_counter()
        if self.counted is None and self.stats.steps >= WARM_STEPS:
            self.counted = (now, self.validation_seconds, self.stats.total_tokens)
        self.tokens = self.stats.total_tokens
        self.ended, self.validated = now, self.validation_seconds
        # The last look at validation is to end within the time as well.
        if now - self.began + 1.1 * self.longest >= Timed.seconds:
            seen = bool(self.curve) and self.curve[-1]["steps"] == self.stats.steps
            if not seen and self.args.validation_freq < Timed.NEVER:
                self._validate(self.valid)
            raise KeyboardInterrupt
        found: tuple[float, int] = super()._train_step(batch)
        return found

    def _validate(self, valid_data: Any) -> None:
        began = time.perf_counter()
        super()._validate(valid_data)
        spent = time.perf_counter() - began
        self.validation_seconds += spent
        self.longest = max(self.longest, spent)
        last = (self.model_dir / "validations.txt").read_text(encoding="utf-8").splitlines()[-1]
        words = dict(part.split(": ") for part in last.split("\t") if ": " in part)
        seconds = time.perf_counter() - self.began
        scores = {"bleu": float(words["bleu"]), "perplexity": float(words["ppl"])}
        self.curve.append({"seconds": seconds, "steps": self.stats.steps, **scores})


def train(given: argparse.Namespace) -> dict[str, Any]:
    """The minutes cover JoeyNMT's loop and its looks at validation, not its start."""
    found = configuration(given)
    found["random_seed"] = given.seed
    if given.no_validation:
        found["training"] |= {"validation_freq": Timed.NEVER, "logging_freq": Timed.NEVER}
    Path(found["model_dir"]).mkdir(parents=True, exist_ok=True)
    logging.getLogger("joeynmt").setLevel(logging.WARNING)
    Timed.seconds = 60.0 * given.minutes
    training.TrainManager = Timed
    training.train(rank=0, world_size=None, cfg=found, skip_test=True)
    manager = Timed.last
    rate = 0.0  # of a training that was too short to count a step
    if manager.counted is not None:
        began, validated, tokens = manager.counted
        seconds = manager.ended - began - (manager.validated - validated)
        rate = (manager.tokens - tokens) / seconds if seconds else 0.0
    return {
        "kind": given.kind,
        "seconds": time.perf_counter() - manager.began,
        "validation_seconds": manager.validation_seconds,
        "steps": manager.stats.steps,
        "target_tokens": manager.stats.total_tokens,
        "target_tokens_a_second": rate,
        "best_validation_bleu": max((p["bleu"] for p in manager.curve), default=None),
        "curve": manager.curve,
        "parameters": sum(p.numel() for p in manager.model.parameters()),
        "threads": given.threads,
    }


# --- decoding ------------------------------------------------------------------------------------


def decode(given: argparse.Namespace) -> dict[str, Any]:
    """The best checkpoint on the test sentences. On the clock: JoeyNMT's `predict`, from text in
    memory to text; neither its start nor its scores are."""
    found = configuration(given)
    if given.sentences is not None:
        for language in json.loads((given.work / "prepared.json").read_text())["languages"]:
            whole = (given.work / f"test.{language}").read_text(encoding="utf-8").splitlines()
            kept = "\n".join(whole[: given.sentences]) + "\n"
            (given.work / f"first.{language}").write_text(kept, encoding="utf-8")
        found["data"]["test"] = str(given.work.resolve() / "first")
    del found["data"]["dev"]
    wanted = {"beam_size": given.beam, "batch_size": given.batch, "eval_metrics": []}
    found["testing"] |= wanted
    logging.getLogger("joeynmt").setLevel(logging.WARNING)
    args = parse_global_args(found, rank=0, mode="test")
    model, _, _, test = prediction.prepare(args, rank=0, mode="test")
    path = args.model_dir / "best.ckpt"
    model.load_state_dict(torch.load(path, map_location="cpu")["model_state"])
    seconds, hypotheses = [], []
    for _ in range(given.rounds):
        began = time.perf_counter()
        with torch.no_grad():
            _, _, hypotheses, _, _, _ = prediction.predict(
                model=model,
                data=test,
                device=args.device,
                n_gpu=0,
                args=args.test,
                autocast=args.autocast,
            )
        seconds.append(time.perf_counter() - began)
    if given.out is not None:
        given.out.write_text("".join(f"{line}\n" for line in hypotheses), encoding="utf-8")
    return {
        "kind": given.kind,
        "beam": given.beam,
        "batch": given.batch,
        "threads": given.threads,
        "sentences": len(hypotheses),
        "seconds": seconds,
    }


if __name__ == "__main__":
    main()
