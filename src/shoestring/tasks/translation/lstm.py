"""lstm: an attention encoder-decoder of LSTMs whose decoder runs fused over the whole target.

The first decoder layer reads the target alone (no input feeding), so that it is one call for all
steps; attention for all steps is two batched products; the layers above read state and context.

Shapes: B sentences, S source positions, T target positions, R rows of a search, H units of the
decoder, D units of the memory (both directions of the encoder), E embedding, V pieces, A heads,
N target pieces without padding.
"""

from __future__ import annotations

import math
from typing import NamedTuple, cast

import torch
from torch import nn

from shoestring.core.receipt import Plain
from shoestring.tasks.translation.architecture import (
    attention_units,
    decoder_units,
    encoder_units,
    width,
)
from shoestring.tasks.translation.dropout import LockedDropout
from shoestring.tasks.translation.places import mirror, mirrored, taken
from shoestring.tasks.translation.special import PAD

State = dict[str, torch.Tensor]  # every tensor has the rows of the search first


class Memory(NamedTuple):
    """What the encoder leaves for the decoder."""

    states_BSD: torch.Tensor
    keys_BSH: torch.Tensor  # what queries are held against
    inside_BS: torch.Tensor  # true where a piece stands, false at padding
    first_BH: torch.Tensor  # hidden state of the decoder's first layer before the first piece


class Encoder(nn.Module):
    """Both directions, layer by layer. The backward one reads each sentence mirrored within its
    length, so that padding comes last for both and changes nothing."""

    def __init__(self, embedding: int, units: list[int], dropout: float) -> None:
        super().__init__()
        self.units = units[-1]  # of a direction, as they leave it
        sizes = list(zip([embedding, *(2 * size for size in units)], units, strict=False))
        self.forwards = nn.ModuleList(nn.LSTM(*size) for size in sizes)
        self.backwards = nn.ModuleList(nn.LSTM(*size) for size in sizes)
        self.dropout = LockedDropout(dropout)

    def forward(
        self, x_SBE: torch.Tensor, lengths_B: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(S, B, D) states, and (B, D) the last state of each direction."""
        mirror_SB = mirror(lengths_B, len(x_SBE))
        x = x_SBE
        for number, (onward, back) in enumerate(zip(self.forwards, self.backwards, strict=True)):
            x = self.dropout(x) if number else x
            onward_SBH, _ = onward(x)
            back_SBH, _ = back(mirrored(x, mirror_SB))
            x = torch.cat([onward_SBH, mirrored(back_SBH, mirror_SB)], 2)
        half = x.shape[2] // 2
        last_B = (lengths_B - 1) * x.shape[1] + torch.arange(x.shape[1], device=x.device)
        ends_BH = taken(onward_SBH.flatten(0, 1), last_B)
        return x, torch.cat([ends_BH, x[0, :, half:]], 1)


class Attention(nn.Module):
    """Where each target position looks: multiplicative (Luong et al. 2015, "general", scaled as
    Vaswani et al. 2017 do, with heads) or additive (Bahdanau et al. 2015)."""

    def __init__(self, units: int, memory: int, architecture: Plain) -> None:
        super().__init__()
        self.heads: int = architecture["heads"]
        self.additive = architecture["attention"] == "additive"
        mixed = attention_units(architecture) if self.additive else units
        self.key = nn.Linear(memory, mixed, bias=False)
        if self.additive:
            self.query = nn.Linear(units, mixed)
            self.score = nn.Linear(mixed, 1, bias=False)

    def forward(self, query_BTH: torch.Tensor, memory: Memory) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, T, D) contexts, and (B, T, S) weights, the mean over the heads."""
        outside_B11S = ~memory.inside_BS[:, None, None]
        if self.additive:
            sum_BTSH = self.query(query_BTH)[:, :, None] + memory.keys_BSH[:, None]
            scores_BATS = self.score(torch.tanh(sum_BTSH)).squeeze(3)[:, None]
        else:
            query_BATH, keys_BASH = self._split(query_BTH), self._split(memory.keys_BSH)
            scores_BATS = query_BATH @ keys_BASH.transpose(2, 3)
            scores_BATS = scores_BATS.float() * query_BATH.shape[3] ** -0.5
        scores_BATS = scores_BATS.float().masked_fill(outside_B11S, -math.inf)
        weights_BATS = torch.softmax(scores_BATS, 3)
        states_BASD = self._split(memory.states_BSD)
        context_BATD = weights_BATS.to(states_BASD.dtype) @ states_BASD
        context_BTD = context_BATD.transpose(1, 2).flatten(2)
        return context_BTD, weights_BATS.mean(1)

    def _split(self, x_BSH: torch.Tensor) -> torch.Tensor:
        """Heads apart: (B, A, S, H / A)."""
        batch, longest, _ = x_BSH.shape
        return x_BSH.reshape(batch, longest, self.heads, -1).transpose(1, 2)


class Decoder(nn.Module):
    """A first LSTM over the target, attention with its states, further LSTMs over both."""

    def __init__(self, embedding: int, units: list[int], memory: int, architecture: Plain) -> None:
        super().__init__()
        first, *above = units
        sizes = zip([first + memory, *above], above, strict=False)
        self.bridge = nn.Linear(memory, first)
        self.first = nn.LSTM(embedding, first)
        self.attention = Attention(first, memory, architecture)
        self.above = nn.ModuleList(nn.LSTM(*size) for size in sizes)
        self.readout = nn.Linear(units[-1] + memory, embedding)


class LstmTranslator(nn.Module):
    """Pieces in, logits out: `forward` for all target positions at once, `encode`, `start` and
    `step` for search. Both compute the same."""

    def __init__(self, architecture: Plain) -> None:
        super().__init__()
        a = architecture
        self.tied: bool = a["tied"]
        self.units = decoder_units(a)  # of each layer
        encoder, pieces = encoder_units(a), a["pieces"]
        embedding, memory = width(a, "embedding", a["embedding"]), 2 * encoder[-1]
        self.embedding = nn.Embedding(pieces, embedding)
        if not self.tied:
            self.target_embedding = nn.Embedding(pieces, embedding)
        self.encoder = Encoder(embedding, encoder, a["dropout"])
        self.decoder = Decoder(embedding, self.units, memory, a)
        self.output = nn.Linear(embedding, pieces)
        if self.tied:
            self.output.weight = self.embedding.weight
        self.dropout = LockedDropout(a["dropout"])
        self.scale = math.sqrt(embedding)  # of what is read: the shared matrix is small
        self._initialize()

    def _initialize(self) -> None:
        """Matrices by Glorot & Bengio 2010, recurrent ones orthogonal gate by gate (Saxe et al.
        2014), forget gates open (Jozefowicz et al. 2015)."""
        for name, weight in self.named_parameters():
            if weight.ndim == 1:
                nn.init.zeros_(weight)
                if "bias_ih" in name:
                    units = len(weight) // 4
                    nn.init.ones_(weight.data[units : 2 * units])
            elif "embedding" in name or "output" in name:
                nn.init.normal_(weight, std=weight.shape[1] ** -0.5)
            elif "weight_hh" in name:
                for gate in weight.data.chunk(4):
                    nn.init.orthogonal_(gate)
            elif "weight_ih" in name:
                for gate in weight.data.chunk(4):
                    nn.init.xavier_uniform_(gate)
            else:
                nn.init.xavier_uniform_(weight)

    # --- all target positions at once ---

    def forward(
        self,
        source_BS: torch.Tensor,
        lengths_B: torch.Tensor,
        target_in_BT: torch.Tensor,
        rows_N: torch.Tensor,
    ) -> torch.Tensor:
        """(N, V) logits of the target positions `rows_N`, counted in a flattened (T, B)."""
        return self.read_off(self.encode(source_BS, lengths_B), target_in_BT, rows_N)

    def read_off(
        self, memory: Memory, target_in_BT: torch.Tensor, rows_N: torch.Tensor
    ) -> torch.Tensor:
        hidden_TBF, _ = self._decoded(target_in_BT, memory)
        return cast(torch.Tensor, self.output(self._read(taken(hidden_TBF.flatten(0, 1), rows_N))))

    def _decoded(
        self, target_in_BT: torch.Tensor, memory: Memory
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(T, B, H + D) what the readout takes, and (B, T, S) attention."""
        decoder = self.decoder
        first_1BH = memory.first_BH[None]
        x_TBE = self._embedded(target_in_BT.T, self._target_table())
        state_TBH, _ = decoder.first(x_TBE, (first_1BH, torch.zeros_like(first_1BH)))
        context_BTD, weights_BTS = decoder.attention(state_TBH.transpose(0, 1), memory)
        context_TBD = context_BTD.transpose(0, 1)
        for number, layer in enumerate(decoder.above):
            reads = (
                state_TBH if number else torch.cat([state_TBH, context_TBD.to(state_TBH.dtype)], 2)
            )
            state_TBH, _ = layer(self.dropout(reads))
        hidden_TBF = torch.cat([state_TBH, context_TBD.to(state_TBH.dtype)], 2)
        return self.dropout(hidden_TBF), weights_BTS

    def _read(self, hidden_RF: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.decoder.readout(hidden_RF))

    def _embedded(self, pieces: torch.Tensor, table: nn.Embedding) -> torch.Tensor:
        return cast(torch.Tensor, self.dropout(table(pieces) * self.scale))

    def _target_table(self) -> nn.Embedding:
        return self.embedding if self.tied else self.target_embedding

    # --- step by step ---

    def encode(self, source_BS: torch.Tensor, lengths_B: torch.Tensor) -> Memory:
        return self.remembered(source_BS, *self.encoded(source_BS, lengths_B))

    def encoded(
        self, source_BS: torch.Tensor, lengths_B: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, S, D) states, and (B, D) where both directions end."""
        x_SBE = self._embedded(source_BS.T, self.embedding)
        states_SBD, ends_BD = self.encoder(x_SBE, lengths_B)
        return self.dropout(states_SBD).transpose(0, 1), ends_BD

    def remembered(
        self, source_BS: torch.Tensor, states_BSD: torch.Tensor, ends_BD: torch.Tensor
    ) -> Memory:
        return Memory(
            states_BSD,
            self.decoder.attention.key(states_BSD),
            source_BS != PAD,
            torch.tanh(self.decoder.bridge(ends_BD)),
        )

    def start(self, memory: Memory) -> State:
        """The state before the first piece, one row a sentence: the memory, and hidden and cell
        of every layer."""
        state: State = memory._asdict()
        first_BH = state.pop("first_BH")
        for number, units in enumerate(self.units):
            empty_BH = first_BH.new_zeros(len(first_BH), units)
            state[f"hidden_{number}"] = empty_BH if number else first_BH
            state[f"cell_{number}"] = empty_BH
        return state

    def step(self, state: State, piece_R: torch.Tensor) -> tuple[torch.Tensor, State, torch.Tensor]:
        """(R, V) logits, the state after the piece, and (R, S) attention."""
        decoder, after = self.decoder, dict(state)
        memory = Memory(
            state["states_BSD"], state["keys_BSH"], state["inside_BS"], state["hidden_0"]
        )
        x_RE = self._embedded(piece_R, self._target_table())
        state_RH = self._stepped(decoder.first, 0, x_RE, after)
        context_R1D, weights_R1S = decoder.attention(state_RH[:, None], memory)
        context_RD = context_R1D[:, 0].to(state_RH.dtype)
        for number, layer in enumerate(decoder.above):
            reads = state_RH if number else torch.cat([state_RH, context_RD], 1)
            state_RH = self._stepped(cast(nn.LSTM, layer), number + 1, self.dropout(reads), after)
        logits_RV = self.output(self._read(torch.cat([state_RH, context_RD], 1)))
        return logits_RV, after, weights_R1S[:, 0]

    def _stepped(
        self, layer: nn.LSTM, number: int, x_RE: torch.Tensor, after: State
    ) -> torch.Tensor:
        """One step of a layer; its hidden and cell in `after` are replaced."""
        hidden, cell = f"hidden_{number}", f"cell_{number}"
        state_1RH, (hidden_1RH, cell_1RH) = layer(
            x_RE[None], (after[hidden][None], after[cell][None])
        )
        after[hidden], after[cell] = hidden_1RH[0], cell_1RH[0]
        return cast(torch.Tensor, state_1RH[0])
