"""Parallel text becomes splits, pieces and findings, the same each time."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shoestring.core.errors import DataError
from shoestring.core.protocols import silent
from shoestring.tasks.translation import data
from shoestring.tasks.translation.data import TranslationDataset
from shoestring.tasks.translation.options import TranslationOptions
from tests.tasks.translation import tiny

PAIRS = tiny.pairs(300)
EN_DE = {"source": "en", "target": "de"}


def write(folder: Path, stem: str, pairs: Sequence[tuple[str, str]]) -> None:
    folder.mkdir(exist_ok=True)
    for i, code in enumerate(("en", "de")):
        text = "".join(f"{pair[i]}\n" for pair in pairs)
        (folder / f"{stem}.{code}").write_text(text, encoding="utf-8")


def load(where: Path | str, **options: Any) -> TranslationDataset:
    return data.load(str(where), TranslationOptions(**options), silent)


def pairs_of(examples: data.TranslationExamples) -> list[tuple[str, str]]:
    return list(zip(examples.sources, examples.targets, strict=True))


def findings(dataset: TranslationDataset) -> dict[str, tuple[int, int]]:
    return {f.kind: (f.count, f.dropped) for f in dataset.findings}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    write(folder, "train", PAIRS[:200])
    write(folder, "val", PAIRS[200:250])
    write(folder, "test", PAIRS[250:])
    return folder


def test_given_splits_are_kept_in_order(corpus: Path) -> None:
    found = load(corpus, source="en")
    assert pairs_of(found.train) == PAIRS[:200]
    assert pairs_of(found.validation) == PAIRS[200:250]
    assert pairs_of(found.test()) == PAIRS[250:]
    assert found.findings == ()
    assert [e.split for e in (found.train, found.validation, found.test())] == [
        "train", "validation", "test",
    ]  # fmt: skip
    assert [found.count(s) for s in ("train", "validation", "test")] == [200, 50, 50]


def test_the_other_direction(corpus: Path) -> None:
    found = load(corpus, source="de", target="en")
    assert pairs_of(found.train) == [(b, a) for a, b in PAIRS[:200]]
    assert found.facts["source"] == "de"
    assert found.fingerprint != load(corpus, source="en").fingerprint


def test_blanks_of_a_source_are_as_one_and_a_target_is_as_written(corpus: Path) -> None:
    pairs = [("the\u00a0dog  runs\there", "der\u00a0Hund  l\u00e4uft\there"), *PAIRS[1:200]]
    write(corpus, "train", pairs)
    found = load(corpus, source="en")
    first = pairs_of(found.train)[0]
    assert first == ("the dog runs here", "der\u00a0Hund  l\u00e4uft\there")


def test_pairs_that_differ_in_blanks_alone_are_one(corpus: Path) -> None:
    odd = [(a, b.replace(" ", "\u00a0")) for a, b in (PAIRS[0], PAIRS[200])]
    write(corpus, "train", [*PAIRS[:200], *odd])
    found = findings(load(corpus, source="en"))
    assert found["duplicate"] == (1, 1)
    assert found["leak"] == (1, 1)


def test_a_table_of_other_languages_by_its_first_line_is_told_of(tmp_path: Path) -> None:
    """Two words can both be codes of languages; such a file is not to be left out in silence."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    for stem, head, pairs in (("train", "en\tde", PAIRS[:200]), ("val", "it\tan", PAIRS[200:])):
        rows = "".join(f"{a}\t{b}\n" for a, b in pairs)
        (folder / f"{stem}.tsv").write_text(f"{head}\n{rows}", encoding="utf-8")
    found = load(folder, source="en", target="de")
    (told,) = [f.message for f in found.findings if f.kind == "languages"]
    assert told.startswith("val has it, an, by the first line of val.tsv; if that is a pair")
    assert told.endswith("not used")
    assert not [f for f in load(folder / "train.tsv", source="en").findings if f.kind != "split"]
    (folder / "val.tsv").rename(folder / "words.tsv")
    (told,) = [f.message for f in load(folder / "words.tsv").findings if f.kind == "languages"]
    assert told == "words has it, an, as its first line says"
    with pytest.raises(
        DataError, match=r"no pairs of en and de, .*by the first line of words\.tsv"
    ):
        data.load_for(f"{folder}/words.tsv", EN_DE, TranslationOptions(), silent)
    with pytest.raises(DataError, match=r"no 'fr', asked .*by the first line of train\.tsv"):
        load(folder, source="fr", target="de")


def test_facts_and_pieces(corpus: Path) -> None:
    found = load(corpus, source="en", pieces=400)
    assert found.facts["source"], found.facts["target"] == ("en", "de")
    tokenizer = found.train.tokenizer
    assert tokenizer is not None
    assert found.files == {"tokenizer.model": tokenizer.model}
    assert found.facts["pieces"] == tokenizer.size <= 400
    assert found.facts["bleu_tokenizer"] == "13a"
    assert found.facts["examples"] == 200
    json.dumps(found.facts)
    for examples in (found.train, found.validation, found.test()):
        for texts, pieces in (
            (examples.sources, examples.source_pieces),
            (examples.targets, examples.target_pieces),
        ):
            assert [tokenizer.decode(row.tolist()) for row in pieces.rows()] == list(texts)
    longest = [int(p.lengths.max()) for p in (found.train.source_pieces, found.train.target_pieces)]
    assert found.facts["longest"] == longest
    assert load(corpus, source="en", pieces=310).facts["pieces"] <= 310


def test_loading_again_gives_the_same_from_the_cache(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load(corpus, source="en")
    monkeypatch.setattr(data, "gather", None)  # nothing is read again
    again = load(corpus, source="en")
    assert again.fingerprint == first.fingerprint
    assert pairs_of(again.train) == pairs_of(first.train)
    assert again.train.hashes.tolist() == first.train.hashes.tolist()
    assert again.files == first.files
    assert again.facts == first.facts


def test_a_changed_file_is_read_again(corpus: Path) -> None:
    before = load(corpus, source="en")
    write(corpus, "train", PAIRS[:199])
    assert len(load(corpus, source="en").train) == 199
    assert load(corpus, source="en").fingerprint != before.fingerprint


FORMS = ["moses", "gz", "crlf", "bom", "nfd", "tsv", "jsonl", "tmx", "po"]


@pytest.mark.parametrize("form", FORMS)
def test_the_same_pairs_in_any_form_are_the_same_data(form: str, tmp_path: Path) -> None:
    plain, folder = tmp_path / "plain", tmp_path / "form"
    folder.mkdir()
    rows = [*PAIRS[:100], ("the child", "das Kind läuft"), ("green", "grün")]
    write(plain, "train", rows)
    columns = {c: "".join(f"{p[i]}\n" for p in rows) for i, c in enumerate(("en", "de"))}
    for code, text in columns.items():
        path = folder / f"train.{code}"
        if form == "moses":
            path.write_text(text, encoding="utf-8")
        elif form == "gz":
            (folder / f"train.{code}.gz").write_bytes(gzip.compress(text.encode()))
        elif form == "crlf":
            path.write_bytes(text.replace("\n", "\r\n").encode())
        elif form == "bom":
            path.write_text(text, encoding="utf-8-sig")
        elif form == "nfd":
            path.write_text(unicodedata.normalize("NFD", text), encoding="utf-8")
    if form == "tsv":
        lines = ["en\tde", *("\t".join(pair) for pair in rows)]
        (folder / "train.tsv").write_text("\n".join(lines), encoding="utf-8")
    elif form == "jsonl":
        objects = [json.dumps({"en": a, "de": b}) for a, b in rows]
        (folder / "train.jsonl").write_text("\n".join(objects), encoding="utf-8")
    elif form == "tmx":
        units = "".join(
            f'<tu><tuv xml:lang="en"><seg>{a}</seg></tuv>'
            f'<tuv xml:lang="de"><seg>{b}</seg></tuv></tu>'
            for a, b in rows
        )
        whole = f'<tmx version="1.4"><header srclang="en"/><body>{units}</body></tmx>'
        (folder / "train.tmx").write_text(whole, encoding="utf-8")
    elif form == "po":
        messages = "".join(f'msgid "{a}"\nmsgstr "{b}"\n\n' for a, b in rows)
        head = 'msgid ""\nmsgstr ""\n"Language: de\\n"\n'
        (folder / "train.po").write_text(f"{head}\n{messages}", encoding="utf-8")
    expected, found = load(plain, source="en"), load(folder, source="en")
    assert found.fingerprint == expected.fingerprint
    assert found.files == expected.files


# --- splits that are made here ------------------------------------------------------------------


def test_validation_is_set_aside_by_content(tmp_path: Path) -> None:
    write(tmp_path / "a", "all", PAIRS)
    write(tmp_path / "b", "all", PAIRS[::-1])
    one, other = (load(tmp_path / name, source="en") for name in ("a", "b"))
    assert set(pairs_of(one.validation)) == set(pairs_of(other.validation))
    assert len(one.validation) == 15
    assert not set(one.train.sources) & set(one.validation.sources)
    assert findings(one)["split"] == (15, 0)
    anew = load(tmp_path / "a", source="en", split_seed=1)
    assert set(pairs_of(anew.validation)) != set(pairs_of(one.validation))
    with pytest.raises(DataError, match="there is no test split"):
        one.test()


def test_a_test_split_is_set_aside_where_there_are_enough_pairs(tmp_path: Path) -> None:
    write(tmp_path, "all", tiny.pairs(2_100))
    found = load(tmp_path, source="en")
    assert [found.count(s) for s in ("train", "validation", "test")] == [1_896, 99, 105]
    every = [s for e in (found.train, found.validation, found.test()) for s in e.sources]
    assert len(set(every)) == 2_100
    assert load(tmp_path, source="en", test_share=0.2).count("test") == 420
    assert load(tmp_path, source="en", test_share=0).count("test") == 0


def test_translations_of_one_source_stay_on_one_side(tmp_path: Path) -> None:
    write(tmp_path, "all", [(a, f"{b} {i}") for a, b in PAIRS[:60] for i in range(3)])
    found = load(tmp_path, source="en", validation_share=0.3)
    assert not set(found.train.sources) & set(found.validation.sources)


def test_a_share_of_train(corpus: Path) -> None:
    half = load(corpus, source="en", train_share=0.5)
    assert len(half.train) == 100
    assert len(half.validation) == 50
    assert findings(half)["left out"] == (100, 100)
    fifth = load(corpus, source="en", train_share=0.2)
    assert set(fifth.train.sources) < set(half.train.sources)


# --- what is found ------------------------------------------------------------------------------


def test_leaks_are_taken_out_of_train_unless_told_otherwise(corpus: Path) -> None:
    write(corpus, "train", [*PAIRS[:200], *PAIRS[210:213], *PAIRS[260:262]])
    found = load(corpus, source="en")
    assert findings(found) == {"leak": (5, 5)}
    assert pairs_of(found.train) == PAIRS[:200]
    kept = load(corpus, source="en", keep_leaks=True)
    assert len(kept.train) == 205
    assert findings(kept) == {"leak": (5, 0)}


def test_a_leak_into_a_test_set_that_is_not_opened_counts(corpus: Path) -> None:
    write(corpus, "test_2018", [*PAIRS[:3], *tiny.pairs(400)[350:]])
    found = load(corpus, source="en")
    assert findings(found)["leak"] == (3, 3)
    assert pairs_of(found.test()) == PAIRS[250:]
    assert "by name there are test_2018 as well" in found.findings[0].message


def test_a_source_with_another_target_is_reported_and_kept(corpus: Path) -> None:
    write(corpus, "train", [*PAIRS[:200], (PAIRS[210][0], "etwas ganz anderes")])
    found = load(corpus, source="en")
    assert findings(found) == {"leak": (1, 0)}
    assert len(found.train) == 201


def test_filters_look_at_train_alone_but_for_what_is_empty_or_endless(corpus: Path) -> None:
    bad = [("same", "same"), ("", "leer"), ("w " * 10_000, "lang"), ("красный кот", "Katze")]
    for stem, good in (("train", PAIRS[:200]), ("val", PAIRS[200:250]), ("test", PAIRS[250:])):
        write(corpus, stem, [*good, *((f"{stem} {a}".strip() if a else a, b) for a, b in bad)])
    found = load(corpus, source="en")
    assert [found.count(s) for s in ("train", "validation", "test")] == [201, 52, 53]
    assert findings(found)["empty"] == (3, 3)
    assert findings(found)["too long"] == (2, 2)
    assert findings(found)["wrong script"] == (1, 1)


def test_unusual_text_goes_through(corpus: Path) -> None:
    odd = [("🐕🐈🐕", "🐕🐈 🐕"), ("שלום \u202ealeph", "مرحبا"), ("▁ ▁▁", "▁_")]
    write(corpus, "train", [*PAIRS[:200], *odd])
    found = load(corpus, source="en", keep_wrong_script=True)
    assert pairs_of(found.train)[200:] == odd
    tokenizer = found.train.tokenizer
    assert tokenizer is not None
    assert tokenizer.decode(found.train.source_pieces.row(201).tolist()) == odd[1][0]


def test_broken_lines_stop_or_are_left_out(corpus: Path) -> None:
    path = corpus / "train.de"
    path.write_bytes(path.read_bytes().replace(PAIRS[41][1].encode(), b"d\xf6rt", 1))
    with pytest.raises(DataError, match=r"train\.de, line 42: .*--on-bad skip"):
        load(corpus, source="en")
    found = load(corpus, source="en", on_bad="skip")
    assert findings(found) == {"broken": (1, 1)}
    assert PAIRS[41] not in pairs_of(found.train)
    assert len(found.train) == 199


@pytest.mark.parametrize("pairs", [PAIRS[:1], [PAIRS[0], (PAIRS[0][0], "anders")]])
def test_one_pair_is_too_few(pairs: list[tuple[str, str]], tmp_path: Path) -> None:
    write(tmp_path, "all", pairs)
    with pytest.raises(DataError, match="at least two pairs of different source are needed"):
        load(tmp_path, source="en")


def test_two_pairs_are_enough(tmp_path: Path) -> None:
    write(tmp_path, "all", PAIRS[:2])
    found = load(tmp_path, source="en")
    assert [len(found.train), len(found.validation)] == [1, 1]


def test_nothing_left_to_train_on(corpus: Path) -> None:
    write(corpus, "train", PAIRS[200:220])
    left_out = "no pair is left to train on: 20 pairs of train stand in validation or test"
    with pytest.raises(DataError, match=left_out):
        load(corpus, source="en")
    write(corpus, "train", [(one, one) for one, _ in PAIRS[:200]])
    left_out = "no pair is left to train on: 200 pairs with source and target the same were left"
    with pytest.raises(DataError, match=left_out):
        load(corpus, source="en")
    (corpus / "train.en").unlink()
    with pytest.raises(DataError, match="nothing to train on, only test, val"):
        load(corpus, source="en")


def test_a_part_alone_is_not_trained_on(corpus: Path) -> None:
    for words in (f"{corpus}:test", "dates:train"):
        with pytest.raises(DataError, match="names one part; train on "):
            load(words, source="en")


def test_a_failed_reading_leaves_nothing_in_the_cache(corpus: Path) -> None:
    (corpus / "train.de").write_text("one line\n")
    for _ in range(2):
        with pytest.raises(DataError, match=r"train\.en has 200 lines"):
            load(corpus, source="en")


# --- grading ------------------------------------------------------------------------------------


def test_a_source_is_read_for_a_bundle(corpus: Path) -> None:
    facts = load(corpus, source="en").facts
    options = TranslationOptions()
    for words, split, pairs in (
        (f"{corpus}", "test", PAIRS[250:]),
        (f"{corpus}:test", "test", PAIRS[250:]),
        (f"{corpus}:validation", "validation", PAIRS[200:250]),
        (f"{corpus}:val", "validation", PAIRS[200:250]),
        (f"{corpus}:train", "train", PAIRS[:200]),
        (f"{corpus / 'val'}", "validation", PAIRS[200:250]),
    ):
        found = data.load_for(words, facts, options, silent)
        assert found.split == split
        assert pairs_of(found) == pairs
        assert found.tokenizer is None
    whole = load(corpus, source="en")
    graded = data.load_for(str(corpus), facts, options, silent)
    assert graded.hashes.tolist() == whole.test().hashes.tolist()


def test_nothing_is_filtered_for_grading_but_what_is_empty(corpus: Path) -> None:
    facts = load(corpus, source="en").facts
    write(corpus, "test", [("same", "same"), ("", "leer"), *PAIRS[:2], *PAIRS[:2]])
    found = data.load_for(str(corpus), facts, TranslationOptions(), silent)
    assert len(found) == 5
    assert [(f.kind, f.count) for f in found.findings] == [("empty", 1)]


def test_grading_says_what_does_not_fit(corpus: Path) -> None:
    facts = {"source": "en", "target": "fr"}
    with pytest.raises(DataError, match="has no pairs of en and fr"):
        data.load_for(str(corpus), facts, TranslationOptions(), silent)
    facts = {"source": "en", "target": "de"}
    with pytest.raises(
        DataError, match=r"no part 'test_2020' of its own \(it has test, train, val\)"
    ):
        data.load_for(f"{corpus}:test_2020", facts, TranslationOptions(), silent)
    with pytest.raises(DataError, match="the bundle's source is 'en', not 'de'"):
        data.load_for(str(corpus), facts, TranslationOptions(source="de"), silent)
    (corpus / "test.de").write_text(" \n \n")
    with pytest.raises(DataError, match="is empty"):
        data.load_for(str(corpus), facts, TranslationOptions(), silent)


# --- what others lean on ------------------------------------------------------------------------


def test_the_tiny_source_is_whole(tmp_path: Path) -> None:
    found = load(tiny.write(tmp_path))
    assert (found.facts["source"], found.facts["target"]) == ("en", "de")
    assert [f.kind for f in found.findings] == ["languages", "split", "split"]
    assert np.unique(found.train.hashes).size == len(found.train)


def test_loading_brings_no_torch(corpus: Path) -> None:
    code = (
        "import sys\n"
        "from shoestring.tasks.translation import data, options\n"
        f"data.load({str(corpus)!r}, options.TranslationOptions(source='en'), lambda *_: None)\n"
        "assert not {'torch', 'onnxruntime', 'babel'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
