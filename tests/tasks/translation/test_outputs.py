from __future__ import annotations

from pathlib import Path

import pytest

from shoestring.core.errors import DataError
from shoestring.tasks.translation import outputs


def read(folder: Path, text: str, count: int) -> list[list[str]]:
    path = folder / "outputs.de"
    path.write_text(text, "utf-8")
    return outputs.read(path, count, "what is trained on in words.tsv")


def test_a_line_is_an_answer(tmp_path: Path) -> None:
    assert read(tmp_path, "eins\n\nzwei drei\n", 3) == [["eins"], [""], ["zwei drei"]]


def test_several_answers_stand_in_columns_best_first(tmp_path: Path) -> None:
    assert read(tmp_path, "eins\tein\nzwei\tzweie\n", 2) == [["eins", "ein"], ["zwei", "zweie"]]
    text = "ein\t-3.5\teins\t-0.2\nzwei\t-1\tzweie\t-2\n"
    assert read(tmp_path, text, 2) == [["eins", "ein"], ["zwei", "zweie"]]


def test_moses_writes_a_line_an_answer(tmp_path: Path) -> None:
    text = "0 ||| ein ||| lm: -3 tm: 2 ||| -3.5\n0 ||| eins ||| lm: 1 ||| -0.5\n2 ||| drei ||| -1\n"
    assert read(tmp_path, text, 3) == [["eins", "ein"], [], ["drei"]]
    assert read(tmp_path, "0 ||| zwei\n0 ||| zweie\n", 1) == [["zwei", "zweie"]]


@pytest.mark.parametrize("text", ["eins\nzwei\n", "0 ||| eins ||| 1\n1 ||| zwei ||| 1\n"])
def test_a_line_too_few_is_an_error_with_both_counts(text: str, tmp_path: Path) -> None:
    said = "has outputs for 2 sources and what is trained on in words.tsv has 3: line n is"
    with pytest.raises(DataError, match=said):
        read(tmp_path, text, 3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0 ||| eins ||| good\n", "line 1: 'good' is no score"),
        ("0 ||| eins ||| 1\neins\n", "line 2: an n-best list has lines of NUMBER"),
    ],
)
def test_a_broken_n_best_list_says_where(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        read(tmp_path, text, 1)


def test_the_closest_answer_is_the_one_most_like_the_reference() -> None:
    answers = ["ein Hund lief weg", "der Hund rannte davon", "Katze"]
    assert outputs.closest(answers, "der Hund rannte weg davon") == answers[1]
    assert outputs.closest(["a", "b"], "c") == "a"
