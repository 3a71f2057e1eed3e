"""divide: how translators are divided between processes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from shoestring.core.dividing import Matrix, Stage
from shoestring.core.errors import UserError
from shoestring.core.receipt import Plain
from shoestring.tasks.translation.feed import Pairs
from shoestring.tasks.translation.lstm import LstmTranslator
from shoestring.tasks.translation.special import PAD
from shoestring.tasks.translation.transformer import (
    CrossAttention,
    FeedForward,
    Memory,
    SelfAttention,
    TransformerTranslator,
)

Translator = LstmTranslator | TransformerTranslator


def blocks(model: Translator) -> Sequence[nn.Module]:
    """Layers of a Transformer. An LSTM's are small beside its embedding, which is read by hand."""
    if isinstance(model, LstmTranslator):
        return []
    return [*model.encoder, *model.decoder]


def matrices(model: Translator, ways: int) -> dict[str, Matrix]:
    """The rows of the vocabulary at both ends, heads, and the wide layers between. Recurrent layers
    stay whole in every process: each of their steps would wait for the others."""
    tables = [name for name, m in model.named_children() if isinstance(m, nn.Embedding)]
    found = {name: Matrix("table") for name in tables}
    found["output"] = Matrix("gathered")
    if isinstance(model, LstmTranslator):
        return found
    for name, module in model.named_modules():
        if isinstance(module, SelfAttention | CrossAttention) and module.heads % ways == 0:
            module.heads //= ways
            if isinstance(module, SelfAttention):
                found[f"{name}.qkv"] = Matrix("columns", parts=3)
            else:
                found[f"{name}.query"] = Matrix("columns")
                found[f"{name}.kv"] = Matrix("columns", parts=2)
            found[f"{name}.out"] = Matrix("rows")
        elif isinstance(module, FeedForward) and module.wide.out_features % ways == 0:
            found |= {f"{name}.wide": Matrix("columns"), f"{name}.narrow": Matrix("rows")}
    return found


def stages(model: Translator, architecture: Plain, count: int) -> list[Stage]:
    """Layers of the encoder, then those of the decoder, in so many rows; an LSTM's encoder and
    decoder. UserError where there are fewer."""
    if isinstance(model, LstmTranslator):
        if count != 2:
            raise UserError(
                f"an LSTM translator is a pipeline of two stages, encoder and decoder, not of "
                f"{count}; take workers=2, or network transformer"
            )
        return _of_lstm(model)
    layers = len(model.encoder) + len(model.decoder)
    if layers < count:
        raise UserError(
            f"this translator has {layers} layers, too few for {count} stages; take "
            f"workers={layers} or fewer, or more layers"
        )
    bounds = [layers * number // count for number in range(count + 1)]
    return [_of_transformer(model, a, b) for a, b in pairwise(bounds)]


def _of_lstm(model: LstmTranslator) -> list[Stage]:
    table = "embedding" if model.tied else "target_embedding"

    def encoded(words: tuple[Any, ...], received: torch.Tensor | None) -> torch.Tensor:
        """(B, S + 1, D): states, and behind them where both directions end."""
        states_BSD, ends_BD = model.encoded(words[0], words[1])
        return torch.cat([states_BSD, ends_BD[:, None]], 1)

    def decoded(words: tuple[Any, ...], received: torch.Tensor | None) -> torch.Tensor:
        assert received is not None
        memory = model.remembered(words[0], received[:, :-1], received[:, -1])
        return model.read_off(memory, words[2], words[3])

    def shape(inputs: Pairs) -> tuple[int, ...]:
        batch, longest = inputs.source_BS.shape
        return batch, longest + 1, 2 * model.encoder.units

    return [
        Stage(("embedding", "encoder"), encoded, shape),
        Stage((table, "decoder", "output"), decoded, lambda inputs: ()),
    ]


def _of_transformer(model: TransformerTranslator, first: int, end: int) -> Stage:
    """Layers from `first` to before `end`, those of the encoder counted first."""
    encoders, last = len(model.encoder), len(model.encoder) + len(model.decoder)
    names = [f"encoder.{n}" for n in range(first, min(end, encoders))]
    names += [f"decoder.{n - encoders}" for n in range(max(first, encoders), end)]
    table = "embedding" if model.tied else "target_embedding"
    names += ["embedding"] * (not first) + [table] * (first <= encoders < end)
    names += ["encoder_norm"] * (first < encoders <= end)
    names += ["decoder_norm", "output"] * (end == last)

    def work(words: tuple[Any, ...], received: torch.Tensor | None) -> torch.Tensor:
        """What stands at the end: states of the encoder, behind them those of the decoder."""
        source_BS, _, target_in_BT, rows_N = words
        x, target, longest = received, None, source_BS.shape[1]
        if x is None:
            x = model.begun(source_BS)
        elif first > encoders:
            x, target = x[:, :longest], x[:, longest:]
        for number in range(first, min(end, encoders)):
            x = model.encoder[number](x, (source_BS != PAD)[:, None, None])
        if first < encoders <= end:
            x = model.encoder_norm(x)
        if end <= encoders:
            return x
        memory = Memory(x, source_BS != PAD)
        if target is None:
            target = model.begun_target(target_in_BT)
        for number in range(max(first, encoders) - encoders, end - encoders):
            target = model.decoder[number](target, memory)
        if end == last:
            return model.read_off(target, rows_N)
        return torch.cat([x, target], 1)

    def shape(inputs: Pairs) -> tuple[int, ...]:
        if end == last:
            return ()
        batch, longest = inputs.source_BS.shape
        more = inputs.target_in_BT.shape[1] if end > encoders else 0
        return batch, longest + more, model.units

    return Stage(tuple(names), work, shape)
