"""Networks for translation: both forms agree, padding changes nothing, sums come out right."""

from __future__ import annotations

import math

import pytest
import torch

from shoestring.core.errors import UserError
from shoestring.engine import device
from shoestring.tasks.translation import architecture
from shoestring.tasks.translation.model import TranslationNetwork
from shoestring.tasks.translation.special import PAD
from tests.tasks.translation.making import PIECES, SMALL, a_network, only, some_pairs

LENGTHS = [(7, 3), (2, 6), (5, 5), (1, 1)]
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


@pytest.mark.parametrize("name", SMALL)
def test_stepping_gives_the_logits_of_the_fused_form(name: str) -> None:
    network, model = a_network(name)
    pairs, targets = some_pairs(LENGTHS)
    with torch.no_grad():
        fused_NV, labels_N = network.logits(model, pairs, targets)
        state = model.start(model.encode(pairs.source_BS, pairs.lengths_B))  # type: ignore[arg-type]
        stepped = []
        for piece_B in pairs.target_in_BT.T:
            logits_BV, state, attention_BS = model.step(state, piece_B)
            stepped.append(logits_BV)
            torch.testing.assert_close(attention_BS.sum(1), torch.ones(len(LENGTHS)))
            assert float(attention_BS[pairs.source_BS == PAD].abs().max()) == 0.0
    inside_TB = targets.T != PAD
    torch.testing.assert_close(torch.stack(stepped)[inside_TB], fused_NV, **CLOSE)
    assert torch.equal(targets.T[inside_TB], labels_N)
    assert float(fused_NV.std()) > 0.05  # or all logits would agree for want of a difference


@pytest.mark.parametrize("name", SMALL)
def test_a_sentence_alone_and_in_a_batch_have_the_same_logits(name: str) -> None:
    network, model = a_network(name)
    pairs, targets = some_pairs(LENGTHS)
    with torch.no_grad():
        fused_NV, _ = network.logits(model, pairs, targets)
        whole = torch.zeros(*targets.T.shape, PIECES)
        whole[targets.T != PAD] = fused_NV
        for row in range(len(LENGTHS)):
            alone_NV, _ = network.logits(model, *only(pairs, targets, row))
            torch.testing.assert_close(whole[: len(alone_NV), row], alone_NV, **CLOSE)


@pytest.mark.parametrize("name", SMALL)
def test_no_position_sees_what_comes_after_it(name: str) -> None:
    network, model = a_network(name)
    pairs, targets = some_pairs([(5, 6)])
    with torch.no_grad():
        before_NV, _ = network.logits(model, pairs, targets)
        pairs.target_in_BT[0, 4] = (pairs.target_in_BT[0, 4] + 1) % PIECES
        after_NV, _ = network.logits(model, pairs, targets)
    assert torch.equal(before_NV[:4], after_NV[:4])
    assert not torch.allclose(before_NV[4:], after_NV[4:])


@pytest.mark.parametrize("name", SMALL)
def test_padding_leaves_no_trace_in_the_gradients(name: str) -> None:
    network, model = a_network(name)
    pairs, targets = some_pairs(LENGTHS)

    def gradients(rows: list[int] | None) -> dict[str, torch.Tensor]:
        model.zero_grad(set_to_none=True)
        batches = [(pairs, targets)] if rows is None else [only(pairs, targets, r) for r in rows]
        for batch in batches:
            logits_NV, labels_N = network.logits(model, *batch)
            torch.nn.functional.cross_entropy(logits_NV, labels_N, reduction="sum").backward()
        return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}

    together, apart = gradients(None), gradients([0, 1, 2, 3])
    assert together.keys() == dict(model.named_parameters()).keys()
    for weight, gradient in together.items():
        torch.testing.assert_close(gradient, apart[weight], atol=2e-4, rtol=1e-3)


@pytest.mark.skipif(not device.has_bfloat16("cpu"), reason="no bfloat16 on this processor")
@pytest.mark.parametrize("name", SMALL)
def test_bfloat16_stays_near_float32(name: str) -> None:
    network, model = a_network(name)
    pairs, targets = some_pairs(LENGTHS)
    with torch.no_grad():
        exact_NV, _ = network.logits(model, pairs, targets)
        with torch.autocast("cpu", torch.bfloat16):
            rough_NV, _ = network.logits(model, pairs, targets)
    assert float((rough_NV.float() - exact_NV).abs().max()) < 0.1 * float(exact_NV.abs().max())


@pytest.mark.parametrize("name", SMALL)
def test_a_fresh_network_guesses_and_dropout_draws_from_torchs_generator(name: str) -> None:
    network = TranslationNetwork(name.partition(",")[0])
    torch.manual_seed(0)
    model = network.build(network.architecture(SMALL[name], {"pieces": PIECES}))
    pairs, targets = some_pairs(LENGTHS)
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        logits_NV, labels_N = network.logits(model, pairs, targets)
        drawn.append(logits_NV)
        loss = float(torch.nn.functional.cross_entropy(logits_NV.detach(), labels_N))
        # A tied transformer looks at its own input at first, hence the room.
        assert loss < 2 * math.log(PIECES)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("name", SMALL)
def test_parts_hold_every_weight_and_muon_takes_matrices_that_are_no_embedding(name: str) -> None:
    network, model = a_network(name)
    parts = dict(network.parts(model))
    assert next(iter(parts)) == "embedding"
    held = {id(p) for part in parts.values() for p in part.parameters()}
    assert held == {id(p) for p in model.parameters()}
    hidden = {id(p) for p in network.orthogonal(model)}
    named = {n for n, p in model.named_parameters() if id(p) in hidden}
    assert named
    assert not any("embedding" in n or "output" in n or "bias" in n for n in named)
    counts = {n: network.orthogonal(model)[p] for n, p in model.named_parameters() if n in named}
    for name, count in counts.items():
        gates = "weight_ih" in name or "weight_hh" in name
        assert count == (4 if gates else 3 if "qkv" in name else 2 if ".kv." in name else 1)


@pytest.mark.parametrize("name", SMALL)
def test_state_dict_rebuilds_the_network(name: str) -> None:
    network, model = a_network(name)
    options = network.architecture(SMALL[name], {"pieces": PIECES})
    again = network.build(network.architecture(options, {"pieces": PIECES}))
    again.load_state_dict(model.state_dict())
    pairs, targets = some_pairs(LENGTHS)
    with torch.no_grad():
        one, other = (network.logits(m, pairs, targets)[0] for m in (model, again.eval()))
    assert torch.equal(one, other)


def test_multiply_accumulates_count_each_matrix_once_a_piece() -> None:
    facts = {"pieces": 1000}
    small = architecture.expand({"kind": "lstm", "decoder_layers": 1}, facts)
    more = architecture.expand({"kind": "lstm", "decoder_layers": 1}, {"pieces": 2000})
    per_piece = (architecture.macs(more) - architecture.macs(small)) / architecture.TYPICAL_PIECES
    assert per_piece == 1000 * small["embedding"]
    assert architecture.macs(architecture.expand({"kind": "transformer"}, facts)) > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "gru"}, "there is no network 'gru' for text; there are: lstm, transformer"),
        ({"kind": "lstm", "unit": 3}, "the network lstm has no option 'unit'; it has: embedding"),
        ({"kind": "lstm", "embedding": 0}, "embedding of a network is a whole number from 1"),
        ({"kind": "lstm", "dropout": 1.0}, "dropout of a network is a share from 0 to below 1"),
        ({"kind": "lstm", "tied": 1}, "tied of a network is true or false, not 1"),
        ({"kind": "lstm", "attention": "dot"}, "is multiplicative or additive, not 'dot'"),
        ({"kind": "lstm", "attention": "additive", "heads": 2}, "additive attention has one head"),
        ({"kind": "lstm", "heads": 3}, "a multiple of heads"),
        ({"kind": "transformer", "units": 30}, "a multiple of heads"),
        ({"kind": "transformer", "units": 15, "heads": 5}, "an even number"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message.replace("(", r"\(")):
        architecture.expand(options, {"pieces": 100})
