"""Weights of other translators: across vocabularies, out of bundles, and Marian's.

`marian/` holds a tiny model that transformers 5.23 made and saved, and the logits it gave.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import shoestring
from shoestring.core.errors import BundleError, DataError, MissingExtra, UserError
from shoestring.core.protocols import Donor
from shoestring.core.run import Run
from shoestring.engine import store, tensorfile
from shoestring.tasks.translation import graph, marian, pretrained, transfer
from shoestring.tasks.translation.model import TranslationNetwork
from shoestring.tasks.translation.special import BOS, EOS, FIRST_LEARNED, PAD, UNK
from shoestring.tasks.translation.tokenizer import Tokenizer
from tests import tiny
from tests.tasks.translation import making, opus, shipping
from tests.tasks.translation.tiny import NETWORKS, pairs, write

GOLDEN = opus.GOLDEN
FAST: dict[str, Any] = {
    "precision": "float32",
    "threads": 1,
    "batch_size": 128,
    "learning_rate": 1e-4,
}
NETWORK = "transformer:" + ",".join(f"{k}={v}" for k, v in NETWORKS["transformer"].items())


def files_of(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in (marian.CONFIG, marian.PIECES)}


# --- across vocabularies ------------------------------------------------------------------------


def test_shared_pieces_keep_their_rows_and_others_begin_afresh() -> None:
    _, model = making.a_network("lstm")
    ours = [b""] * 4 + [f"piece {n}".encode() for n in range(4, making.PIECES)]
    theirs = [b""] * 4 + [b" new", *ours[:3:-1]]
    table = torch.arange(len(theirs) * 16.0).view(len(theirs), 16)
    donor = Donor({"embedding.weight": table, "output.bias": table[:, 0]}, {}, {})
    same = {piece: piece for piece in range(4)}
    found = transfer.rows_of_shared(model, donor, [*ours[:-1], b" other"], theirs, same)
    rows = found.tensors["embedding.weight"]
    assert torch.equal(rows[:4], table[:4])
    for here, piece in enumerate(ours[4:-1], 4):
        assert torch.equal(rows[here], table[theirs.index(piece)])
    assert torch.equal(rows[-1], model.embedding.weight[-1])
    assert torch.equal(found.tensors["output.bias"][:4], table[:4, 0])
    assert found.notes == ("39 of 40 pieces are in both vocabularies and keep their rows",)


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("parent")
    source = write(folder)
    return shoestring.train(source, out=folder / "a", steps=40, network=NETWORK, **FAST)


def test_the_other_direction_takes_over_encoder_and_embedding(parent: Run, tmp_path: Path) -> None:
    path = tmp_path / "words.tsv"
    rows = ["de\ten", *(f"{other} Mond\t{one} moon" for one, other in pairs())]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    run = shoestring.train(
        path,
        out=tmp_path / "b",
        steps=1,
        techniques=[f"transfer:start={parent.path},parts=embedding+encoder,freeze=encoder"],
        **FAST,
    )
    (told,) = [r.reason for r in run.receipts if r.technique == "start"]
    assert "whole: embedding, encoder, encoder_norm" in told
    assert "from nothing: decoder, decoder_norm" in told
    assert "pieces are in both vocabularies and keep their rows" in told
    before, after = (tensorfile.load(r.path / store.WEIGHTS)[0] for r in (parent, run))
    name = "encoder.0.attention.qkv.weight"
    assert torch.equal(before[name], after[name])
    ours = Tokenizer((run.path / graph.TOKENIZER).read_bytes()).spellings()
    theirs = Tokenizer((parent.path / graph.TOKENIZER).read_bytes()).spellings()
    assert torch.equal(
        before["embedding.weight"][theirs.index(b" H", FIRST_LEARNED)],
        after["embedding.weight"][ours.index(b" H", FIRST_LEARNED)],
    )


def test_a_run_lends_its_vocabulary(parent: Run, tmp_path: Path) -> None:
    source = write(tmp_path)
    run = shoestring.train(
        source,
        out=tmp_path / "b",
        steps=1,
        options={"vocabulary": str(parent.path)},
        techniques=[f"transfer:start={parent.path}"],
        **FAST,
    )
    assert (run.path / graph.TOKENIZER).read_bytes() == (parent.path / graph.TOKENIZER).read_bytes()
    (told,) = [r.reason for r in run.receipts if r.technique == "start"]
    assert "vocabularies" not in told
    with pytest.raises(UserError, match="pieces and vocabulary contradict each other"):
        shoestring.train(source, options={"vocabulary": "a", "pieces": 400}, out=tmp_path / "c")
    with pytest.raises(DataError, match="is no run and no bundle"):
        shoestring.train(source, options={"vocabulary": "nowhere"}, out=tmp_path / "c")


def test_a_tied_matrix_leaves_no_linear_probe(parent: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the last part shares its matrix with a frozen one"):
        shoestring.train(
            parent.recipe.source,
            out=tmp_path / "b",
            steps=1,
            techniques=[f"transfer:start={parent.path},freeze=all"],
            **FAST,
        )
    assert not (tmp_path / "b").exists()


# --- out of a bundle ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", making.SMALL)
def test_a_bundle_gives_the_weights_back(name: str) -> None:
    network, model = making.a_network(name)
    architecture = network.architecture(making.SMALL[name], {"pieces": making.PIECES})
    donor = transfer.unpacked(lambda: network.build(architecture), graph.graphs(model, False), {})
    again = network.build(architecture).eval()
    again.load_state_dict(donor.tensors)
    batch, targets = making.some_pairs([(5, 4), (3, 6)])
    with torch.no_grad():
        torch.testing.assert_close(
            network.logits(again, batch, targets)[0], network.logits(model, batch, targets)[0]
        )


def test_an_int8_bundle_is_refused() -> None:
    network, model = making.a_network("transformer")
    architecture = network.architecture(making.SMALL["transformer"], {"pieces": making.PIECES})
    with pytest.raises(BundleError, match="hold int8 weights; start from its run"):
        transfer.unpacked(lambda: network.build(architecture), graph.graphs(model, True), {})


# --- Marian -------------------------------------------------------------------------------------


def a_marian() -> tuple[TranslationNetwork, Any, dict[int, int]]:
    """The golden model as a network of ours, and our piece for each of its pieces."""
    network = TranslationNetwork("marian")
    theirs, ends = marian.spellings(files_of(GOLDEN))
    ours = [b""] * 4 + [piece for piece in theirs if piece]
    model = network.build(network.architecture(marian.options(GOLDEN), {"pieces": len(ours)}))
    special = {UNK: ends["unknown"], BOS: ends["begin"], EOS: ends["end"]}
    donor = Donor(marian.tensors(GOLDEN), {}, {})
    found = transfer.rows_of_shared(model, donor, ours, theirs, special)
    model.load_state_dict(found.tensors)
    place = {theirs.index(piece): i for i, piece in enumerate(ours) if piece}
    return network, model.eval(), place | {ends["unknown"]: UNK, ends["end"]: EOS}


def test_a_marian_network_gives_the_logits_of_transformers() -> None:
    _, model, place = a_marian()
    with np.load(GOLDEN / "golden.npz") as golden:
        source, target, wanted = (golden[n] for n in ("source", "target", "logits"))
    pad = json.loads((GOLDEN / marian.PIECES).read_text("utf-8"))["<pad>"]
    place[pad] = PAD
    source_BS = torch.tensor([[place[p] for p in row] for row in source.tolist()])
    target_BT = torch.tensor([[place[p] for p in row] for row in target.tolist()])
    target_BT[:, 0] = BOS  # Marian begins with its padding
    count = target_BT.numel()
    with torch.no_grad():
        logits = model(source_BS, (source_BS != PAD).sum(1), target_BT, torch.arange(count))
    found = logits.view(target.shape[1], target.shape[0], -1).transpose(0, 1).numpy()
    for theirs, ours in place.items():
        if ours != PAD:
            np.testing.assert_allclose(found[:, :, ours], wanted[:, :, theirs], atol=1e-5)


@pytest.mark.parametrize("activation", ["swish", "gelu", "relu"])
def test_a_marian_network_ships_what_it_is(activation: str) -> None:
    network = TranslationNetwork("marian")
    options = {**NETWORKS["marian"], "activation": activation}
    torch.manual_seed(0)
    model = network.build(network.architecture(options, {"pieces": making.PIECES})).eval()
    steps = shipping.steps(model)
    from shoestring.tasks.translation.agreement import _judged
    from shoestring.tasks.translation.steps import judged

    sources = shipping.ended(shipping.some([5, 3], making.PIECES))
    targets = shipping.some([4, 6], making.PIECES, 1)
    shipped, _, _ = judged(steps, sources, targets)
    np.testing.assert_allclose(shipped, _judged(model, sources, targets), atol=1e-4)


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A translator as others publish them."""
    return opus.write(tmp_path / "opus")


def test_a_published_translator_trains_and_ships_with_its_own_pieces(
    published: Path, tmp_path: Path
) -> None:
    run = shoestring.train(
        write(tmp_path),
        out=tmp_path / "run",
        steps=1,
        options={"vocabulary": f"hf:{published}"},
        techniques=[f"transfer:start=hf:{published},freeze=embedding"],
        **FAST,
    )
    assert run.recipe.network["kind"] == "marian"
    assert run.recipe.network["units"] == 8
    (told,) = [r.reason for r in run.receipts if r.technique == "start"]
    assert "whole: embedding, encoder, decoder, output" in told
    tokenizer = Tokenizer((run.path / graph.TOKENIZER).read_bytes())
    table = json.loads((published / marian.PIECES).read_text("utf-8"))
    assert tokenizer.size == FIRST_LEARNED + len(table) - 3
    for text in ("one red dog", "fünf alte Bäume", "ζ"):
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert shoestring.predict(run.path, ["one red dog"])[0]["translations"]


def test_a_folder_that_is_no_translator_is_refused(published: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither a folder with a config"):
        pretrained.pretrained(f"hf:{tmp_path}")
    config = json.loads((published / marian.CONFIG).read_text("utf-8"))
    (published / marian.CONFIG).write_text(json.dumps({**config, "model_type": "t5"}), "utf-8")
    with pytest.raises(UserError, match="model_type is 't5'; only 'marian' can be a start"):
        pretrained.pretrained(f"hf:{published}")
    (published / marian.WEIGHTS).unlink()
    with pytest.raises(BundleError, match="pickled weights are not read"):
        marian.tensors(published)


def test_without_the_hub_the_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtra, match=r'pip install "shoestring\[pretrained\]"'):
        pretrained.pretrained("hf:organisation/name")


def test_the_shapes_of_another_kind_do_not_fit(parent: Run, tmp_path: Path) -> None:
    fresh, _ = tiny.prepared(tmp_path, Path(parent.recipe.source))
    assert fresh.recipe.network["kind"] == "lstm"
    with pytest.raises(UserError, match=r"nothing of .* fits this network: encoder\.forwards\.0"):
        shoestring.train(
            parent.recipe.source,
            out=tmp_path / "b",
            steps=1,
            network="lstm:embedding=24,encoder_units=16,decoder_units=32",
            techniques=[f"transfer:start={parent.path},parts=encoder"],
            **FAST,
        )
