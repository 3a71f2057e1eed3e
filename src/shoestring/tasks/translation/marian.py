"""marian: translators of Hugging Face's Marian kind, read from a folder: config, pieces, weights.

Only config.json, vocab.json, the two sentencepiece models and model.safetensors are read: weights
that are pickled are refused. Importing this brings no torch.
Shapes: V pieces, H units.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoestring.core.errors import BundleError, DataError, MissingExtra, UserError
from shoestring.core.receipt import Plain

if TYPE_CHECKING:
    import torch

CONFIG, PIECES, WEIGHTS = "config.json", "vocab.json", "model.safetensors"
SIDES = ("source.spm", "target.spm")
_SPACE = "\u2581"
_ENDS = {"</s>", "<unk>", "<pad>"}
_OTHERWISE = 10.0  # below the least score of a piece: one that only vocab.json has


def folder(words: str) -> Path:
    """The folder that `hf:...` stands for; a name of the hub is downloaded where it is not there
    yet."""
    name = words.removeprefix("hf:")
    if (Path(name) / CONFIG).is_file():
        return Path(name)
    if Path(name).is_dir() or name.count("/") != 1:
        raise UserError(
            f"{words}: {name} is neither a folder with a {CONFIG} nor ORGANISATION/NAME"
        )
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise MissingExtra("huggingface-hub", "pretrained", f"the start {words}") from error
    try:
        found: str = snapshot_download(name, allow_patterns=[CONFIG, PIECES, WEIGHTS, *SIDES])
    except (OSError, ValueError) as error:
        raise UserError(f"{words} could not be downloaded: {error}") from error
    return Path(found)


def options(path: Path) -> Plain:
    """The network of a config.json, as options. UserError for a model of another kind."""
    config = read_json(path / CONFIG)
    said = {
        "model_type": "marian",
        "normalize_before": False,
        "add_final_layer_norm": False,
        "scale_embedding": True,
        "share_encoder_decoder_embeddings": True,
        "tie_word_embeddings": True,
        "decoder_attention_heads": config.get("encoder_attention_heads"),
        "decoder_ffn_dim": config.get("encoder_ffn_dim"),
    }
    for name, wanted in said.items():
        if config.get(name, wanted) != wanted:
            raise UserError(f"{path}: {name} is {config[name]!r}; only {wanted!r} can be a start")
    activation = str(config.get("activation_function", "gelu"))
    return {
        "kind": "marian",
        "units": config["d_model"],
        "encoder_layers": config["encoder_layers"],
        "decoder_layers": config["decoder_layers"],
        "heads": config["encoder_attention_heads"],
        "feed_forward": config["encoder_ffn_dim"],
        "activation": "swish" if activation == "silu" else activation,
    }


def spellings(files: Mapping[str, bytes]) -> tuple[list[bytes], dict[str, int]]:
    """What each piece stands for, and the places of those that stand for nothing: unknown, begin
    (which is what a decoder starts with) and end."""
    table, config = json.loads(files[PIECES]), json.loads(files[CONFIG])
    found = [b""] * (1 + max(table.values()))
    for piece, place in table.items():
        if piece not in _ENDS:
            found[place] = piece.replace(_SPACE, " ").encode()
    ends = {
        "unknown": table["<unk>"],
        "begin": config["decoder_start_token_id"],
        "end": config["eos_token_id"],
    }
    return found, ends


def tensors(path: Path) -> dict[str, torch.Tensor]:
    """The weights by our names; queries, keys and values of one input stand in one matrix."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    for name in (CONFIG, PIECES):
        read_json(path / name)
    if not (path / WEIGHTS).is_file():
        raise BundleError(
            f"{path} has no {WEIGHTS}; pickled weights are not read: save it as safetensors"
        )
    try:
        given = load_file(path / WEIGHTS)
    except SafetensorError as error:
        raise BundleError(f"{path / WEIGHTS} cannot be read: {error}") from error
    shared = next(
        t for n, t in given.items() if n.endswith(("shared.weight", "embed_tokens.weight"))
    )
    bias = given.get("final_logits_bias")
    found = {
        "embedding.weight": shared,
        "output.weight": given.get("lm_head.weight", shared),
        "output.bias": torch.zeros(len(shared)) if bias is None else bias.flatten(),
    }
    for name, sources in _names(given):
        found[name] = torch.cat([given[source] for source in sources])
    return found


def _names(given: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Each of our names with those of the tensors that it is made of."""
    for side in ("encoder", "decoder"):
        number = 0
        while f"model.{side}.layers.{number}.fc1.weight" in given:
            theirs, ours = f"model.{side}.layers.{number}", f"{side}.{number}"
            attention, cross = f"{theirs}.self_attn", f"{theirs}.encoder_attn"
            rows = {
                "attention.qkv": [f"{attention}.{one}_proj" for one in "qkv"],
                "attention.out": [f"{attention}.out_proj"],
                "attention_norm": [f"{attention}_layer_norm"],
                "feed_forward.wide": [f"{theirs}.fc1"],
                "feed_forward.narrow": [f"{theirs}.fc2"],
                "feed_forward_norm": [f"{theirs}.final_layer_norm"],
            }
            if side == "decoder":
                rows |= {
                    "cross.query": [f"{cross}.q_proj"],
                    "cross.kv": [f"{cross}.k_proj", f"{cross}.v_proj"],
                    "cross.out": [f"{cross}.out_proj"],
                    "cross_norm": [f"{cross}_layer_norm"],
                }
            for name, sources in rows.items():
                for kind in ("weight", "bias"):
                    yield f"{ours}.{name}.{kind}", [f"{source}.{kind}" for source in sources]
            number += 1


def tokenizer(path: Path) -> bytes:
    """A sentencepiece model with the pieces of both languages, for one vocabulary: special ones
    and bytes first, as every vocabulary here has them. A piece has the better of its scores in the
    two models, so that a few words fall into other pieces than in the original."""
    from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2

    form: Any = sentencepiece_model_pb2  # made when it is loaded, so that no type knows it
    scores: dict[str, float] = {}
    for side in SIDES:
        read = form.ModelProto()
        try:
            data = (path / side).read_bytes()
            SentencePieceProcessor(model_proto=data)  # says whether it is one
        except (OSError, RuntimeError) as error:
            raise DataError(f"{path / side} cannot be read: {error}") from error
        read.ParseFromString(data)
        for piece in read.pieces:
            scores[piece.piece] = max(piece.score, scores.get(piece.piece, piece.score))
    least = min(scores.values(), default=0.0) - _OTHERWISE
    model = form.ModelProto()
    kinds = form.ModelProto.SentencePiece
    special = (("<pad>", kinds.CONTROL), ("<unk>", kinds.UNKNOWN), ("<s>", kinds.CONTROL))
    for piece, kind in (*special, ("</s>", kinds.CONTROL)):
        model.pieces.add(piece=piece, score=0.0, type=kind)
    for byte in range(256):
        model.pieces.add(piece=f"<0x{byte:02X}>", score=0.0, type=kinds.BYTE)
    known = {piece.piece for piece in model.pieces}
    table = read_json(path / PIECES)
    for piece in sorted(table, key=table.__getitem__):
        if piece not in known and piece not in _ENDS and piece:
            model.pieces.add(piece=piece, score=scores.get(piece, least), type=kinds.NORMAL)
    trainer = model.trainer_spec
    trainer.model_type, trainer.byte_fallback = 1, True  # unigram
    trainer.vocab_size = len(model.pieces)
    trainer.pad_id, trainer.unk_id, trainer.bos_id, trainer.eos_id = range(4)
    rules = model.normalizer_spec
    rules.name, rules.add_dummy_prefix = "identity", True
    rules.remove_extra_whitespaces, rules.escape_whitespaces = False, True
    return bytes(model.SerializeToString(deterministic=True))


def read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise BundleError(f"{path} holds no table")
    return found
