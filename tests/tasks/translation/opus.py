"""opus: a tiny translator as Hugging Face saves those of Marian, in the tiny language's pieces."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import torch
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

from shoestring.engine import tensorfile
from shoestring.tasks.translation import marian
from tests.tasks.translation.tiny import pairs

GOLDEN = Path(__file__).parent / "marian"


def write(folder: Path) -> Path:
    """The golden model with pieces and sentencepiece models of the tiny language."""
    shutil.copytree(GOLDEN, folder)
    names: dict[str, float] = {}
    for side, which in zip(marian.SIDES, (0, 1), strict=True):
        model = io.BytesIO()
        SentencePieceTrainer.train(
            sentence_iterator=iter([pair[which] for pair in pairs()]),
            model_writer=model,
            model_type="unigram",
            vocab_size=60,
            hard_vocab_limit=False,
            minloglevel=2,
        )
        (folder / side).write_bytes(model.getvalue())
        read = SentencePieceProcessor(model_proto=model.getvalue())
        names |= dict.fromkeys(read.id_to_piece(list(range(3, read.vocab_size()))))
    table = {name: i for i, name in enumerate(["</s>", "<unk>", *names, "<pad>"])}
    (folder / marian.PIECES).write_text(json.dumps(table), "utf-8")
    config = json.loads((folder / marian.CONFIG).read_text("utf-8"))
    config |= {"decoder_start_token_id": table["<pad>"], "vocab_size": len(table)}
    config |= {"decoder_vocab_size": len(table)}
    config |= {"pad_token_id": table["<pad>"], "eos_token_id": table["</s>"]}
    (folder / marian.CONFIG).write_text(json.dumps(config), "utf-8")
    tensors, _ = tensorfile.load(folder / marian.WEIGHTS)
    draws = torch.Generator().manual_seed(0)
    for name in tensors:
        if name.endswith(("shared.weight", "embed_tokens.weight", "lm_head.weight")):
            tensors[name] = torch.randn(len(table), 8, generator=draws)
    tensors["final_logits_bias"] = torch.zeros(1, len(table))
    tensorfile.save(folder / marian.WEIGHTS, tensors, {})
    return folder
