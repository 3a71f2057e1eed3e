"""ct2: a Transformer of ours in CTranslate2: converts the weights of a run, and translates, timed.

    .env-ctranslate2/bin/python bench/peers/ctranslate2/ct2.py convert --run runs/t --work WORK
    .env-ctranslate2/bin/python bench/peers/ctranslate2/ct2.py translate --work WORK --text FILE

The conversion is exact: pre-norm layers, ReLU, embeddings scaled by the root of the width, our
table of positions, tied or separate matrices. Text goes in and comes out: tokenizing and
detokenizing by sentencepiece are on the clock, as for anybody who translates. One JSON object a
way of decoding is printed; the last line is a list of them.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

Weights = Mapping[str, NDArray[np.float32]]
POSITIONS = 1024  # in the table; more than any sentence has pieces
EPSILON = 1e-5  # of layer norms: torch's default
SPECIAL = ("<pad>", "<unk>", "<s>", "</s>")  # by their places, which are 0 to 3


def main() -> None:
    parser = argparse.ArgumentParser(description="A Transformer of ours in CTranslate2.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("convert")
    one.add_argument("--run", type=Path, required=True, help="a run with a transformer")
    one.add_argument("--quantization", default="int8", choices=["int8", "float32"])
    two = verbs.add_parser("translate")
    two.add_argument("--text", type=Path, required=True, help="a file, one sentence a line")
    two.add_argument("--beam", type=int, action="append", default=[])
    two.add_argument("--batch", type=int, action="append", default=[], help="sentences")
    two.add_argument("--rounds", type=int, default=1)
    two.add_argument("--threads", type=int, default=1)
    two.add_argument("--backend", choices=["mkl", "onednn"], help="of its products; else its own")
    two.add_argument("--out", type=Path, help="a folder: BEAM-BATCH.txt holds the translations")
    for verb in (one, two):
        verb.add_argument("--work", type=Path, required=True, help="the converted model's folder")
    given = parser.parse_args()
    # It reads these when it is loaded.
    os.environ["OMP_NUM_THREADS"] = str(getattr(given, "threads", 1))
    if getattr(given, "backend", None):
        os.environ["CT2_USE_MKL"] = "1" if given.backend == "mkl" else "0"
    found = {"convert": convert, "translate": translate}[given.verb](given)
    print(json.dumps(found))


# --- converting ----------------------------------------------------------------------------------


def convert(given: argparse.Namespace) -> dict[str, Any]:
    """The run's weights as a CTranslate2 model in the folder of work, tokenizer beside it."""
    import ctranslate2  # type: ignore[import-not-found]  # only in .env-ctranslate2
    import sentencepiece

    run = json.loads((given.run / "run.json").read_text(encoding="utf-8"))
    architecture = run["architecture"]
    if architecture["kind"] != "transformer":
        raise SystemExit(f"{given.run.name} holds a {architecture['kind']}, no transformer")
    tokenizer = next(given.run.rglob("tokenizer.model"))
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(tokenizer))
    spec = specification(architecture, load_file(given.run / "model.safetensors"))
    words = [*SPECIAL, *(pieces.id_to_piece(i) for i in range(len(SPECIAL), len(pieces)))]
    words += [f"<unused {i}>" for i in range(len(words), architecture["pieces"])]
    spec.register_source_vocabulary(words)
    spec.register_target_vocabulary(words)
    spec.config.unk_token, spec.config.bos_token, spec.config.eos_token = words[1:4]
    spec.config.decoder_start_token = words[2]
    spec.config.add_source_eos = True
    spec.config.layer_norm_epsilon = EPSILON
    spec.validate()
    spec.optimize(quantization=given.quantization)
    given.work.mkdir(parents=True, exist_ok=True)
    spec.save(str(given.work))
    (given.work / "tokenizer.model").write_bytes(tokenizer.read_bytes())
    size = sum(path.stat().st_size for path in given.work.iterdir() if path.is_file())
    return {"size_bytes": size, "ctranslate2": ctranslate2.__version__}


def specification(architecture: Mapping[str, Any], weights: Weights) -> Any:
    """CTranslate2's TransformerSpec, filled. The names are those of our module's state."""
    from ctranslate2.specs import common_spec, transformer_spec

    layers = (architecture["encoder_layers"], architecture["decoder_layers"])
    spec = transformer_spec.TransformerSpec.from_config(
        layers, architecture["heads"], pre_norm=True, activation=common_spec.Activation.RELU
    )
    table = weights["embedding.weight"]
    target = weights.get("target_embedding.weight", table)
    places = positions(POSITIONS, architecture["units"])
    spec.encoder.embeddings[0].weight = table
    spec.decoder.embeddings.weight = target
    for side in (spec.encoder, spec.decoder):
        side.position_encodings.encodings = places
    for number, layer in enumerate(spec.encoder.layer):
        name = f"encoder.{number}"
        _attention(layer.self_attention, weights, f"{name}.attention", ("qkv", "out"))
        _norm(layer.self_attention.layer_norm, weights, f"{name}.attention_norm")
        _feed_forward(layer.ffn, weights, name)
    for number, layer in enumerate(spec.decoder.layer):
        name = f"decoder.{number}"
        _attention(layer.self_attention, weights, f"{name}.attention", ("qkv", "out"))
        _norm(layer.self_attention.layer_norm, weights, f"{name}.attention_norm")
        _attention(layer.attention, weights, f"{name}.cross", ("query", "kv", "out"))
        _norm(layer.attention.layer_norm, weights, f"{name}.cross_norm")
        _feed_forward(layer.ffn, weights, name)
    _norm(spec.encoder.layer_norm, weights, "encoder_norm")
    _norm(spec.decoder.layer_norm, weights, "decoder_norm")
    # A file of weights may hold a shared matrix once.
    spec.decoder.projection.weight = weights.get("output.weight", target)
    spec.decoder.projection.bias = weights["output.bias"]
    return spec


def positions(count: int, units: int) -> NDArray[np.float32]:
    """(count, units) sines, then cosines, as our network has them."""
    half = units // 2
    rates = np.exp(np.arange(half) * (-math.log(10_000.0) / half))
    angles = np.arange(count)[:, None] * rates
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


def _attention(spec: Any, weights: Weights, name: str, parts: tuple[str, ...]) -> None:
    for linear, part in zip(spec.linear, parts, strict=True):
        _linear(linear, weights, f"{name}.{part}")


def _feed_forward(spec: Any, weights: Weights, name: str) -> None:
    _norm(spec.layer_norm, weights, f"{name}.feed_forward_norm")
    _linear(spec.linear_0, weights, f"{name}.feed_forward.wide")
    _linear(spec.linear_1, weights, f"{name}.feed_forward.narrow")


def _linear(spec: Any, weights: Weights, name: str) -> None:
    spec.weight, spec.bias = weights[f"{name}.weight"], weights[f"{name}.bias"]


def _norm(spec: Any, weights: Weights, name: str) -> None:
    spec.gamma, spec.beta = weights[f"{name}.weight"], weights[f"{name}.bias"]


# --- translating ---------------------------------------------------------------------------------


def translate(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Seconds of each round, for every beam and batch asked for. In batches of one, each sentence
    is a call of its own, as when they come one after the other."""
    import ctranslate2
    import sentencepiece

    translator = ctranslate2.Translator(
        str(given.work), device="cpu", inter_threads=1, intra_threads=given.threads
    )
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(given.work / "tokenizer.model"))
    lines = given.text.read_text(encoding="utf-8").splitlines()

    def called(texts: list[str], beam: int, batch: int) -> list[str]:
        sources = pieces.encode(texts, out_type=str)
        # As long as ours may become, or those of a weak network that never end take for ever.
        longest = 2 * (max(map(len, sources)) + 1) + 10
        results = translator.translate_batch(
            sources, beam_size=beam, max_batch_size=batch, max_decoding_length=longest
        )
        return [pieces.decode(result.hypotheses[0]) for result in results]

    def whole(beam: int, batch: int, texts: list[str]) -> list[str]:
        if batch > 1:
            return called(texts, beam, batch)
        return [line for text in texts for line in called([text], beam, 1)]

    found = []
    for beam in given.beam or [1]:
        for batch in given.batch or [64]:
            whole(beam, batch, lines[:64])
            seconds, answers = [], list[str]()
            for _ in range(given.rounds):
                began = time.perf_counter()
                answers = whole(beam, batch, lines)
                seconds.append(time.perf_counter() - began)
            if given.out is not None:
                given.out.mkdir(parents=True, exist_ok=True)
                text = "".join(f"{line}\n" for line in answers)
                (given.out / f"{beam}-{batch}.txt").write_text(text, encoding="utf-8")
            values = {"beam": beam, "batch": batch, "sentences": len(lines), "seconds": seconds}
            found.append({**values, "compute_type": translator.compute_type})
            print(json.dumps(found[-1]), flush=True)
    return found


if __name__ == "__main__":
    main()
