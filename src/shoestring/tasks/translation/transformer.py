"""transformer: a small pre-norm encoder-decoder of attention and feed-forward layers.

Source: Vaswani et al. 2017; the norm before each sublayer as in Xiong et al. 2020, or after each,
as in the first and in Marian's, which has no norm at the ends of encoder and decoder.

Shapes: B sentences, S source positions, T target positions, R rows of a search, H units, A heads,
V pieces, N target pieces without padding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import nn

from shoestring.core.receipt import Plain
from shoestring.tasks.translation.architecture import stacked, width
from shoestring.tasks.translation.dropout import Dropout
from shoestring.tasks.translation.places import taken
from shoestring.tasks.translation.special import PAD

State = dict[str, torch.Tensor]  # every tensor has the rows of the search first


class Memory(NamedTuple):
    """What the encoder leaves for the decoder."""

    states_BSH: torch.Tensor
    inside_BS: torch.Tensor  # true where a piece stands, false at padding


class SelfAttention(nn.Module):
    """Query, key and value of the same positions, from one matrix."""

    def __init__(self, units: int, heads: int, size: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(units, 3 * heads * size)
        self.out = nn.Linear(heads * size, units)

    def split(self, x_BTH: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Query, key, value, each (B, A, T, H / A)."""
        x_BT3AH = self.qkv(x_BTH).unflatten(2, (3, self.heads, -1))
        query, key, value = x_BT3AH.permute(2, 0, 3, 1, 4)
        return query, key, value

    def joined(self, x_BATH: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.out(x_BATH.transpose(1, 2).flatten(2)))


class CrossAttention(nn.Module):
    """Queries of the target against keys and values of the source, both from one matrix."""

    def __init__(self, units: int, heads: int, size: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(units, heads * size)
        self.kv = nn.Linear(units, 2 * heads * size)
        self.out = nn.Linear(heads * size, units)

    def queries(self, x_BTH: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.query(x_BTH).unflatten(2, (self.heads, -1))).transpose(1, 2)

    def memory(self, states_BSH: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values, each (B, A, S, H / A)."""
        key, value = self.kv(states_BSH).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return key, value

    def joined(self, x_BATH: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.out(x_BATH.transpose(1, 2).flatten(2)))


class FeedForward(nn.Module):
    def __init__(self, units: int, wide: int, activation: str) -> None:
        super().__init__()
        self.wide = nn.Linear(units, wide)
        self.narrow = nn.Linear(wide, units)
        self.activation = activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.narrow(_ACTIVATIONS[self.activation](self.wide(x))))


_ACTIVATIONS: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": F.relu,
    "swish": F.silu,
    "gelu": F.gelu,
}


class Norm(nn.LayerNorm):
    """A norm of a sublayer: before it, on what it reads, or after it, on the sum."""

    def __init__(self, units: int, after: bool) -> None:
        super().__init__(units)
        self.after = after

    def read(self, x: torch.Tensor) -> torch.Tensor:
        return x if self.after else cast(torch.Tensor, self(x))

    def summed(self, x: torch.Tensor, more: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self(x + more)) if self.after else x + more


class EncoderLayer(nn.Module):
    def __init__(self, a: Plain, name: str) -> None:
        super().__init__()
        units, after, size = a["units"], _after(a), a["units"] // a["heads"]
        self.attention_norm = Norm(units, after)
        self.attention = SelfAttention(units, width(a, f"{name}.heads", a["heads"]), size)
        self.feed_forward_norm = Norm(units, after)
        wide = width(a, f"{name}.feed_forward", a["feed_forward"])
        self.feed_forward = FeedForward(units, wide, a.get("activation", "relu"))
        self.dropout = Dropout(a["dropout"])

    def forward(self, x_BSH: torch.Tensor, inside_B11S: torch.Tensor) -> torch.Tensor:
        query, key, value = self.attention.split(self.attention_norm.read(x_BSH))
        mixed = attended(query, key, value, inside_B11S)
        x_BSH = self.attention_norm.summed(x_BSH, self.dropout(self.attention.joined(mixed)))
        narrow_BSH = self.dropout(self.feed_forward(self.feed_forward_norm.read(x_BSH)))
        return self.feed_forward_norm.summed(x_BSH, narrow_BSH)


class DecoderLayer(nn.Module):
    def __init__(self, a: Plain, name: str) -> None:
        super().__init__()
        units, after, size = a["units"], _after(a), a["units"] // a["heads"]
        self.attention_norm = Norm(units, after)
        self.attention = SelfAttention(units, width(a, f"{name}.heads", a["heads"]), size)
        self.cross_norm = Norm(units, after)
        self.cross = CrossAttention(units, width(a, f"{name}.cross_heads", a["heads"]), size)
        self.feed_forward_norm = Norm(units, after)
        wide = width(a, f"{name}.feed_forward", a["feed_forward"])
        self.feed_forward = FeedForward(units, wide, a.get("activation", "relu"))
        self.dropout = Dropout(a["dropout"])

    def forward(self, x_BTH: torch.Tensor, memory: Memory) -> torch.Tensor:
        query, key, value = self.attention.split(self.attention_norm.read(x_BTH))
        mixed = attended(query, key, value, None)
        x_BTH = self.attention_norm.summed(x_BTH, self.dropout(self.attention.joined(mixed)))
        key, value = self.cross.memory(memory.states_BSH)
        query = self.cross.queries(self.cross_norm.read(x_BTH))
        inside_B11S = memory.inside_BS[:, None, None]
        mixed = attended(query, key, value, inside_B11S)
        x_BTH = self.cross_norm.summed(x_BTH, self.dropout(self.cross.joined(mixed)))
        narrow_BTH = self.dropout(self.feed_forward(self.feed_forward_norm.read(x_BTH)))
        return self.feed_forward_norm.summed(x_BTH, narrow_BTH)

    def step(
        self, x_RH: torch.Tensor, number: int, state: State, after: State
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One position further: x, and (R, S) where it looked, the mean over the heads."""
        x_R1H = x_RH[:, None]
        query, key, value = self.attention.split(self.attention_norm.read(x_R1H))
        key = torch.cat([state[f"keys_{number}"], key], 2)
        value = torch.cat([state[f"values_{number}"], value], 2)
        after[f"keys_{number}"], after[f"values_{number}"] = key, value
        mixed = F.scaled_dot_product_attention(query, key, value)
        x_R1H = self.attention_norm.summed(x_R1H, self.dropout(self.attention.joined(mixed)))
        query = self.cross.queries(self.cross_norm.read(x_R1H))
        keys, values = state[f"memory_keys_{number}"], state[f"memory_values_{number}"]
        scores = (query @ keys.transpose(2, 3)).float() * query.shape[3] ** -0.5
        scores = scores.masked_fill(~state["inside_BS"][:, None, None], -math.inf)
        weights_RA1S = torch.softmax(scores, 3)
        mixed = weights_RA1S.to(values.dtype) @ values
        x_R1H = self.cross_norm.summed(x_R1H, self.dropout(self.cross.joined(mixed)))
        narrow_R1H = self.dropout(self.feed_forward(self.feed_forward_norm.read(x_R1H)))
        x_R1H = self.feed_forward_norm.summed(x_R1H, narrow_R1H)
        return x_R1H[:, 0], weights_RA1S.mean(1)[:, 0]


def _after(a: Plain) -> bool:
    """Whether norms stand after their sublayers."""
    return bool(a["kind"] == "marian")


class TransformerTranslator(nn.Module):
    """Pieces in, logits out: `forward` for all target positions at once, `encode`, `start` and
    `step` for search. Both compute the same."""

    def __init__(self, architecture: Plain) -> None:
        super().__init__()
        a = architecture
        self.units: int = a["units"]
        self.tied: bool = a["tied"]
        self.size: int = a["units"] // a["heads"]  # of a head
        self.embedding = nn.Embedding(a["pieces"], self.units)
        if not self.tied:
            self.target_embedding = nn.Embedding(a["pieces"], self.units)
        self.encoder = nn.ModuleList(
            EncoderLayer(a, f"encoder.{number}") for number in range(a["encoder_layers"])
        )
        self.encoder_norm = nn.Identity() if _after(a) else nn.LayerNorm(self.units)
        self.decoder = nn.ModuleList(
            DecoderLayer(a, f"decoder.{number}") for number in range(a["decoder_layers"])
        )
        self.decoder_norm = nn.Identity() if _after(a) else nn.LayerNorm(self.units)
        self.output = nn.Linear(self.units, a["pieces"])
        if self.tied:
            self.output.weight = self.embedding.weight
        self.dropout = Dropout(a["dropout"])
        self._initialize()

    def _initialize(self) -> None:
        """Matrices by Glorot & Bengio 2010, each part of a fused one by itself."""
        for name, weight in self.named_parameters():
            if weight.ndim == 1:
                (nn.init.ones_ if name.endswith("norm.weight") else nn.init.zeros_)(weight)
            elif "embedding" in name or "output" in name:
                nn.init.normal_(weight, std=self.units**-0.5)
            else:
                parts = stacked(name)
                for part in weight.data.chunk(parts):
                    nn.init.xavier_uniform_(part)

    # --- all target positions at once ---

    def forward(
        self,
        source_BS: torch.Tensor,
        lengths_B: torch.Tensor,
        target_in_BT: torch.Tensor,
        rows_N: torch.Tensor,
    ) -> torch.Tensor:
        """(N, V) logits of the target positions `rows_N`, counted in a flattened (T, B)."""
        memory = self.encode(source_BS, lengths_B)
        x_BTH = self.begun_target(target_in_BT)
        for layer in self.decoder:
            x_BTH = layer(x_BTH, memory)
        return self.read_off(x_BTH, rows_N)

    def begun(self, source_BS: torch.Tensor) -> torch.Tensor:
        """(B, S, H) what the first layer of the encoder reads."""
        return self._embedded(source_BS, self.embedding, 0)

    def begun_target(self, target_in_BT: torch.Tensor) -> torch.Tensor:
        """(B, T, H) what the first layer of the decoder reads."""
        return self._embedded(target_in_BT, self._target_table(), 0)

    def read_off(self, x_BTH: torch.Tensor, rows_N: torch.Tensor) -> torch.Tensor:
        """(N, V) logits, norm and output row by row: rows are counted with the sentence last, as
        the LSTM has it."""
        batch, longest, _ = x_BTH.shape
        here_N = rows_N % batch * longest + rows_N // batch
        x_NH = taken(x_BTH.flatten(0, 1), here_N)
        return cast(torch.Tensor, self.output(self.decoder_norm(x_NH)))

    def _embedded(self, pieces_BT: torch.Tensor, table: nn.Embedding, begin: int) -> torch.Tensor:
        x_BTH = table(pieces_BT) * math.sqrt(self.units)
        places_TH = positions(begin, pieces_BT.shape[1], self.units, x_BTH.device)
        return cast(torch.Tensor, self.dropout(x_BTH + places_TH))

    def _target_table(self) -> nn.Embedding:
        return self.embedding if self.tied else self.target_embedding

    # --- step by step ---

    def encode(self, source_BS: torch.Tensor, lengths_B: torch.Tensor) -> Memory:
        inside_BS = source_BS != PAD
        x_BSH = self.begun(source_BS)
        for layer in self.encoder:
            x_BSH = layer(x_BSH, inside_BS[:, None, None])
        return Memory(self.encoder_norm(x_BSH), inside_BS)

    def start(self, memory: Memory) -> State:
        """The state before the first piece, one row a sentence: keys and values of the memory,
        of the pieces so far (none), and how many those are."""
        states_BSH = memory.states_BSH
        state: State = {"inside_BS": memory.inside_BS}
        for number, part in enumerate(self.decoder):
            layer = cast(DecoderLayer, part)
            key, value = layer.cross.memory(states_BSH)
            state[f"memory_keys_{number}"], state[f"memory_values_{number}"] = key, value
            empty = (len(states_BSH), layer.attention.heads, 0, self.size)
            state[f"keys_{number}"] = key.new_zeros(empty)
            state[f"values_{number}"] = value.new_zeros(empty)
        return state

    def step(self, state: State, piece_R: torch.Tensor) -> tuple[torch.Tensor, State, torch.Tensor]:
        """(R, V) logits, the state after the piece, and (R, S) attention of the last layer."""
        after = dict(state)
        begin = state["keys_0"].shape[2]
        x_RH = self._embedded(piece_R[:, None], self._target_table(), begin)[:, 0]
        for number, layer in enumerate(self.decoder):
            x_RH, weights_RS = cast(DecoderLayer, layer).step(x_RH, number, state, after)
        return self.output(self.decoder_norm(x_RH)), after, weights_RS


def attended(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, inside: torch.Tensor | None
) -> torch.Tensor:
    """(B, A, T, H / A) what each query found inside the mask; without one, at or before itself.
    In float32 on a CPU: the backward of the kernel in bfloat16 takes ten times as long there."""
    if query.device.type != "cpu":
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask=inside, is_causal=inside is None
        )
    with torch.autocast("cpu", enabled=False):
        mixed = F.scaled_dot_product_attention(
            query.float(), key.float(), value.float(), attn_mask=inside, is_causal=inside is None
        )
    return mixed.to(query.dtype)


def positions(begin: int, count: int, units: int, device: torch.device) -> torch.Tensor:
    """(count, units) sines, then cosines, of the positions from `begin` on."""
    half = units // 2
    rates_H = torch.exp(torch.arange(half, device=device) * (-math.log(10_000.0) / half))
    angles_TH = torch.arange(begin, begin + count, device=device)[:, None] * rates_H
    return torch.cat([torch.sin(angles_TH), torch.cos(angles_TH)], 1)
