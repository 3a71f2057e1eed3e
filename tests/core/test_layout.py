"""A mesh is read from words and says how many processes there are."""

from __future__ import annotations

import pytest

from shoestring.core.layout import Layout


def test_words_and_back() -> None:
    for words in ("data2", "fsdp4", "tensor2", "pipeline3", "data2xtensor2", "data2xfsdp4"):
        assert Layout.parsed(words).words == words
    assert Layout.parsed("data2xfsdp4") == Layout(data=2, fsdp=4)
    assert Layout().words == "data1"


def test_counts() -> None:
    mesh = Layout(data=2, tensor=3)
    assert (mesh.workers, mesh.parts, mesh.uncut) == (6, 2, False)
    assert Layout(fsdp=4).parts == 4
    assert Layout(data=2).uncut


@pytest.mark.parametrize("words", ["", "data", "2", "data2xdata2", "rows2", "data2-tensor2"])
def test_other_words_are_refused(words: str) -> None:
    with pytest.raises(ValueError, match="mesh is written like data2xtensor2"):
        Layout.parsed(words)


@pytest.mark.parametrize(
    "mesh", [{"data": 0}, {"fsdp": 2, "tensor": 2}, {"data": 2, "pipeline": 2}]
)
def test_axes_that_do_not_go_together_are_refused(mesh: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="mesh"):
        Layout(**mesh)
