"""What a person may say of answers, where sentences come from, and how one is shown."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.core.errors import DataError, UserError
from shoestring.tasks.translation import answering
from shoestring.tasks.translation.answering import AnswerOptions, Lines, Unreadable, rendered


def from_bytes(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(answering.sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"beam": 0}, "beam is a number of hypotheses from 1 to 64, not 0"),
        ({"nbest": 0}, "nbest is a number of translations from 1"),
        ({"nbest": 5, "beam": 3}, "nbest 5 is more than the beam of 3 finds; give --beam 5"),
        ({"attention": "a.jpg"}, "ends in .png, not 'a.jpg'"),
        ({"no_repeat": 1}, "no_repeat is 0"),
        ({"length_penalty": -1.0}, "length_penalty is a number from 0 to 10"),
        ({"coverage": float("nan")}, "coverage is a number from 0 to 10"),
        ({"max_length": 0}, "max_length is a number of pieces from 1"),
    ],
)
def test_a_wrong_value_is_told_with_the_right_ones(said: dict[str, object], told: str) -> None:
    with pytest.raises(UserError, match=told):
        AnswerOptions(**said)


def test_lines_end_at_a_line_feed_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\ufeffone\r\n\ntwo\x0bx\x85y\u2028z\x00\rw\nlast"
    from_bytes(monkeypatch, text.encode())
    assert list(Lines([])) == ["one", "", "two\x0bx\x85y\u2028z\x00\rw", "last"]
    from_bytes(monkeypatch, b"")
    assert list(Lines([])) == []
    from_bytes(monkeypatch, b"\n")
    assert list(Lines(["-"])) == [""]


@given(st.lists(st.text(alphabet=st.characters(exclude_characters="\n\r\ufeff")), max_size=8))
def test_any_lines_come_back(texts: list[str]) -> None:
    data = "".join(text + "\n" for text in texts).encode("utf-8", "surrogatepass")
    with pytest.MonkeyPatch.context() as patch:
        from_bytes(patch, data)
        found = list(Lines([]))
    for text, line in zip(texts, found, strict=True):
        readable = text.isprintable() or text.encode("utf-8", "ignore").decode() == text
        assert line == text if readable else isinstance(line, Unreadable)


def test_a_line_that_is_no_text_keeps_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    from_bytes(monkeypatch, b"good\nb\xffd\ngood\n")
    before, bad, after = Lines([])
    assert (before, after) == ("good", "good")
    assert bad == Unreadable("line 2 of standard input is not UTF-8 (byte 0xff at 2)")


def test_a_line_without_an_end_fills_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "MOST_BYTES", 100_000)
    long, longest = b"a" * 500_000, b"b" * 100_000
    from_bytes(monkeypatch, b"one\n" + long + b"\n" + longest + b"\n" + long)
    first, second, third, fourth = Lines([])
    assert (first, third) == ("one", longest.decode())
    assert isinstance(second, Unreadable)
    assert isinstance(fourth, Unreadable)
    assert second.error.startswith("line 2 of standard input is longer than 100,000 bytes")


def test_files_are_read_line_by_line_and_sentences_taken_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "in.txt"
    file.write_bytes(b"one\r\ntwo\n")
    assert list(Lines([str(file), "A dog runs.", str(file)])) == [
        *("one", "two"),
        "A dog runs.",
        *("one", "two"),
    ]
    with pytest.raises(DataError, match=r"no file 'in\.txt'.*standard input"):
        Lines(["in.txt"])


def test_groups_are_full_where_there_is_enough(tmp_path: Path) -> None:
    file = tmp_path / "in.txt"
    file.write_text("".join(f"line {n}\n" for n in range(20_000)))
    sizes = [len(group) for group in Lines([str(file)]).groups(512)]
    assert sum(sizes) == 20_000
    assert set(sizes[:-1]) == {512}


@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="there is no such file")
def test_a_file_that_cannot_be_read_is_told() -> None:
    with pytest.raises(DataError, match=r"'/proc/self/mem' cannot be read: "):
        list(Lines(["/proc/self/mem"]))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_named_pipe_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    threading.Thread(target=path.write_text, args=("one\ntwo\n",), daemon=True).start()
    assert list(Lines([str(path)])) == ["one", "two"]
    assert list(Lines([os.devnull])) == []


def test_groups_of_long_lines_are_bounded_in_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "MOST_WAITING", 25)
    path = tmp_path / "a.txt"
    path.write_text(f"{'a' * 10}\n" * 7)
    assert [len(group) for group in Lines([str(path)]).groups(5)] == [3, 3, 1]


def test_a_line_in_a_pipe_is_not_kept_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with open(reading, "rb") as stream, open(writing, "wb", buffering=0) as pipe:
        monkeypatch.setattr(answering.sys, "stdin", SimpleNamespace(buffer=stream))
        groups = Lines([]).groups(512)
        pipe.write(b"one\ntwo\nthr")
        assert next(groups) == ["one", "two"]
        # Some bursts are longer than what one read takes.
        burst = b"".join(b"x" * 100 + b"\n" for _ in range(3000))
        writer = threading.Thread(target=lambda: pipe.write(b"ee\n" + burst))
        writer.start()
        found: list[object] = []
        while len(found) < 3001:
            found += next(groups)
        writer.join()
        assert found[0] == "three"
        pipe.close()
        assert list(groups) == []


def test_an_answer_is_one_line_in_columns() -> None:
    best, second = {"text": "Ein\tHund", "score": -0.25}, {"text": "Der Hund", "score": -1.0}
    assert rendered({"translations": [best]}) == "Ein Hund\t-0.2500"
    assert rendered({"translations": [best, second]}) == "Ein Hund\t-0.2500\tDer Hund\t-1.0000"
    assert rendered({"translations": [{"text": "a\nb\r\nc"}]}) == "a b  c"  # pieces can be bytes
    assert rendered({"translations": [{"text": "", "score": 0.0}]}) == ""
    assert rendered({"input": "line 3", "error": "line 3 is not UTF-8"}) == ""
