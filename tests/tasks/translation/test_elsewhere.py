from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from sentencepiece import SentencePieceProcessor

from shoestring import plugins
from shoestring.autopilot.train import train
from shoestring.bundle import bundle
from shoestring.core.errors import DataError
from shoestring.core.protocols import Donor
from shoestring.tasks.translation import elsewhere, marian, synthetic
from shoestring.tasks.translation.model import TranslationNetwork
from shoestring.tasks.translation.special import BOS, EOS, PAD, UNK
from shoestring.tasks.translation.transfer import rows_of_shared
from tests import tiny
from tests.tasks.translation import opus
from tests.tasks.translation.tiny import pairs, write

FACTS = {"source": "en", "target": "de"}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A translator as others publish them."""
    return opus.write(tmp_path_factory.mktemp("hub") / "opus")


def by_hand(folder: Path, line: str) -> str:
    """The likeliest piece again and again, in the translator's own vocabulary."""
    files = {name: (folder / name).read_bytes() for name in (marian.CONFIG, marian.PIECES)}
    theirs, ends = marian.spellings(files)
    table = json.loads(files[marian.PIECES])
    network = TranslationNetwork("marian")
    ours = [b""] * 4 + theirs  # special pieces first, then all of theirs
    model = network.build(network.architecture(marian.options(folder), {"pieces": len(ours)}))
    known = {UNK: ends["unknown"], BOS: ends["begin"], EOS: ends["end"]}
    known |= {4 + i: i for i, piece in enumerate(theirs) if piece}
    found = rows_of_shared(model, Donor(marian.tensors(folder), {}, {}), [], [], known)
    model.load_state_dict(found.tensors)
    model.eval()
    cut = SentencePieceProcessor(model_file=str(folder / marian.SIDES[0]))
    source = [4 + table[p] if p in table else UNK for p in cut.encode(line, out_type=str)] + [EOS]
    written = [BOS]
    with torch.no_grad():
        while len(written) <= 2 * len(source) + 10:
            inputs = torch.tensor([source]), torch.tensor([len(source)]), torch.tensor([written])
            logits = model(*inputs, torch.tensor([len(written) - 1]))[0]
            logits[[PAD, BOS, *(4 + i for i, piece in enumerate(theirs) if not piece)]] = -1e9
            written.append(int(logits.argmax()))
            if written[-1] == EOS:
                break
    return b"".join(ours[p] for p in written[1:] if p != EOS).decode().removeprefix(" ")


def test_it_writes_what_the_translator_finds_likeliest(published: Path) -> None:
    writes = elsewhere.writer(f"hf:{published}", FACTS, 1, bundle.predictor)
    lines = [one for one, _ in pairs()[:6]]
    found = [one for (one,) in writes(lines, 1)]
    assert found == [by_hand(published, line) for line in lines]
    assert len(set(found)) > 1
    for row in writes(lines[:2], 3):
        assert 1 < len(row) <= 3


def test_a_translator_from_elsewhere_teaches_a_training(published: Path, tmp_path: Path) -> None:
    recipe = tiny.recipe(write(tmp_path), steps=2)
    words = f"distill:teacher=hf:{published},mix=1"
    run = train(recipe=recipe, techniques=[words], out=tmp_path / "s")
    (hook,) = run.recipe.hooks
    recorded = plugins.technique(hook)
    sources, targets = synthetic.read(recorded.lesson)  # type: ignore[attr-defined]  # distill's
    writes = elsewhere.writer(f"hf:{published}", FACTS, 1, bundle.predictor)
    ((expected,),) = writes([sources[0]], 1)
    assert targets[0] == expected.strip() or not expected.strip()
    assert "level=sequence" in hook


def test_a_model_of_the_source_that_is_none_is_named(published: Path, tmp_path: Path) -> None:
    folder = opus.write(tmp_path / "opus")
    (folder / marian.SIDES[0]).write_bytes(b"no model")
    with pytest.raises(DataError, match=r"source\.spm"):
        elsewhere.writer(f"hf:{folder}", FACTS, 1, bundle.predictor)
