"""The page of a receipt: one file, nothing from outside, whatever the names in it hold."""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from shoestring.core.errors import MissingExtra, RunError, UserError
from shoestring.core.plain import to_plain
from shoestring.core.trials import TrialLine, Trials
from shoestring.engine import store
from shoestring.report import page
from tests import tiny
from tests.report import pages
from tests.report.sheets import RECEIPTS, SCORES

VOID = {"meta", "link", "br", "wbr", "img"}


@dataclass
class Read(HTMLParser):
    """A page as a browser takes it apart: what it says, and every attribute."""

    words: str = ""
    tags: list[str] = field(default_factory=list)
    attributes: list[tuple[str, str, str]] = field(default_factory=list)
    open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words += " " + data


def read(text: str) -> Read:
    found = Read()
    found.feed(text)
    found.words = " ".join(found.words.split())
    assert found.open == []
    return found


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_npz(tmp_path_factory.mktemp("data") / "bars.npz", 90)


@pytest.fixture(scope="module")
def run(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pages.write(tmp_path_factory.mktemp("runs") / f"a{pages.HARM[:8]}", source)


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pages.sentences(tmp_path_factory.mktemp("runs") / "t")


def test_everything_that_a_receipt_knows_stands_on_it(run: Path) -> None:
    words = read(page.html([run])).words
    for said in ("99.31%", "373.1 KB", "60.0 s were asked for, 58.3 s used", "augment", "better",
                 "+0.31 points [+0.12, +0.50]", "skipped", "3 files could not be decoded",
                 "Learning curves", "Confusion", "Worst mistakes", "Each label", "Calibration",
                 "opened 2026-11-23 16:20 UTC", "shoestring train --recipe", "recipe.toml",
                 "slower than planned, now 2,000 steps",
                 "The bundle cannot be opened"):  # fmt: skip
        assert said in words, said


def test_names_and_words_are_never_markup(run: Path, sentences: Path) -> None:
    for folder in (run, sentences):
        found = read(page.html([folder]))
        assert "script" not in found.tags
        assert pages.HARM in found.words
        assert not any(name.startswith("on") for _, name, _ in found.attributes)


def test_nothing_is_asked_of_anybody(run: Path, sentences: Path) -> None:
    text = page.html([run, sentences])
    found = read(text)
    assert not {"script", "iframe", "object", "embed", "form", "base"} & {*found.tags}
    reaching = [(t, n, v) for t, n, v in found.attributes if n in ("src", "href", "srcset")]
    assert reaching
    assert all(value.startswith("data:") for *_, value in reaching)
    assert "@import" not in text
    assert "url(" not in text
    policy = next(v for t, n, v in found.attributes if (t, n) == ("meta", "content") and "src" in v)
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_every_picture_says_what_it_shows(run: Path) -> None:
    text = page.html([run])
    drawn = re.findall(r"<svg[^>]*>", text)
    assert drawn
    assert all('role="img" aria-label="' in tag or 'aria-hidden="true"' in tag for tag in drawn)
    thumbnails = re.findall(r"<img[^>]*>", text)
    assert thumbnails
    assert all(re.search(r'alt="[^"]+"', tag) for tag in thumbnails)


def test_letters_that_turn_a_line_around_are_shown_as_what_they_are(source: Path, tmp_path: Path):
    folder = pages.write(tmp_path / "r", source, environment={"name": "a\u202eb\x00\udc80"})
    text = page.html([folder])
    assert "\u202e" not in text
    assert r"a\u202eb\x00\udc80" in text
    text.encode("utf-8")


def test_a_run_made_of_others_shows_them_as_a_tree(source: Path, tmp_path: Path) -> None:
    first = pages.lineage("runs/first", size_bytes=900_000)
    second = pages.lineage("runs/second", first, technique="prune:ratio=0.5")
    text = page.html([pages.write(tmp_path / "r", source, lineage=(second, first))])
    found = read(text)
    assert "Size and latency against score" in found.words
    assert found.words.index("runs/second") < found.words.index("runs/first")
    assert 'class="tree"' in text


def test_the_limits_are_drawn_in(source: Path, tmp_path: Path) -> None:
    options = {"asked_seconds": 60.0, "used_seconds": 61.5}
    limits = {"size_bytes": 350_000, "latency_ms": 0.05, "quality": 0.99}
    total = replace(RECEIPTS[-1], options={**options, "limits": limits})
    text = page.html([pages.write(tmp_path / "r", source, receipts=(*RECEIPTS[:-1], total))])
    assert text.count('class="limit" x="') == 4  # each measure's own, and the score's in both
    assert "60.0 s were asked for, 61.5 s used, 1.5 s too much." in text


def test_several_stand_side_by_side_and_below_each_by_itself(
    run: Path, source: Path, sentences: Path, tmp_path: Path
) -> None:
    other = pages.write(tmp_path / "b", source, scores=replace(SCORES, quality=0.95))
    found = read(page.html([run, other, sentences]))
    assert found.words.count("on the front: no other one") == 1
    assert found.words.count("Learning curves") == 3
    assert "on the front of these two" in found.words


def test_without_the_data_the_page_says_what_is_missing(tmp_path: Path) -> None:
    source = tiny.write_npz(tmp_path / "bars.npz", 90)
    folder = pages.write(tmp_path / "r", source)
    source.unlink()
    words = read(page.html([folder])).words
    assert "The data are not at hand, so no example is shown" in words
    assert "Worst mistakes" not in words
    assert "Confusion" in words
    tiny.write_npz(source, 90, seed=5)
    assert "The data have changed since the run" in read(page.html([folder])).words
    (folder / store.OUTCOMES).write_bytes(b"-")
    assert "The answers cannot be shown" in read(page.html([folder])).words
    (folder / store.OUTCOMES).unlink()
    assert "holds no answers to show" in read(page.html([folder])).words


def test_translations_are_shown_in_their_direction(sentences: Path) -> None:
    text = page.html([sentences])
    assert "Worst translations" in text
    assert "Length against score" in text
    assert text.count('<dd dir="auto">') > 10


def test_a_page_is_written_where_it_was_asked_for(run: Path, tmp_path: Path) -> None:
    file = page.write([run], tmp_path / "receipt.html")
    assert file.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    for name, said in (("receipt.pdf", r"name it .*receipt\.html"), ("no/r.html", "no folder")):
        with pytest.raises(UserError, match=said):
            page.write([run], tmp_path / name)
    (tmp_path / "d.html").mkdir()
    with pytest.raises(UserError, match="it is a folder"):
        page.write([run], tmp_path / "d.html")
    with pytest.raises(RunError):
        page.write([tmp_path / "nothing"], tmp_path / "receipt.html")


def test_without_jinja_the_install_is_named(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"shoestring\[report\]"):
        page.write([run], tmp_path / "receipt.html")


def test_the_trials_of_a_search_are_shown(source: Path, tmp_path: Path) -> None:
    lines = (
        TrialLine(0, "finished", {"learning_rate": 0.01}, 0.97, 0.1, 100, 1.0, 9.5, "", "defaults"),
        TrialLine(1, "failed", {"learning_rate": 9.0}, reason=pages.HARM),
        TrialLine(2, "stopped early", {"learning_rate": 0.02}, 0.98, 0.1, 50, 0.5, 4.5),
    )
    trials = Trials("accuracy", 100, 3, lines, 2, {"learning_rate": 1.0}, "fANOVA")
    folder = pages.write(tmp_path / "r", source)
    (folder / store.TRIALS).write_text(json.dumps(to_plain(trials)), encoding="utf-8")
    found = read(page.html([folder]))
    for said in ("Trials", "What was tried", "2*", "98.00%", "finished (defaults)", "best so far",
                 f"failed: {pages.HARM}", "What mattered", "100%",
                 "importance: fANOVA"):  # fmt: skip
        assert said in found.words, said
    assert "script" not in found.tags
