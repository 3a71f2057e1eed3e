"""IDX files come back as written, and damaged ones are named with what is wrong."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from shoestring.core.errors import DataError
from shoestring.data import idx

WHOLE = st.sampled_from(["u1", "i1", "i2", "i4", "f4", "f8"])


@given(
    WHOLE.flatmap(
        lambda d: arrays.arrays(
            d,
            arrays.array_shapes(max_dims=4, max_side=5, min_side=0),
            elements={"allow_nan": False} if d[0] == "f" else None,
        )
    ),
    st.booleans(),
)
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, values: np.ndarray, zipped: bool):
    path = tmp_path_factory.mktemp("idx") / "a"
    idx.write(path, values)
    if zipped:
        path.write_bytes(gzip.compress(path.read_bytes()))
    back = idx.read(path)
    assert back.dtype == values.dtype
    assert np.array_equal(back, values)
    assert back.shape == values.shape


@given(st.binary(max_size=40))
def test_any_bytes_give_an_array_or_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("idx") / "file"
    for start in (b"", b"\0\0\x08\x01", b"\x1f\x8b\x08\0"):
        path.write_bytes(start + content)
        try:
            idx.read(path)
        except DataError as error:
            assert str(path) in str(error)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "begins with nothing"),
        (b"\x89PNG....", "is not an IDX file"),
        (b"\0\0\x08\x03\0\0", "cut off inside its header"),
        (b"\0\0\x08\x01\0\0\0\x05abc", "3 bytes instead of the 5"),
        (b"\0\0\x08\x01\0\0\0\x02abc", "more bytes than the 2"),
        (b"\0\0\x08\x02" + b"\xff" * 8 + b"abc", "3 bytes instead"),
        (
            gzip.compress(b"\0\0\x08\x01\0\0\1\0" + b"ab" * 128, mtime=0)[:-9],
            "cannot be read as IDX",
        ),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "train-labels-idx1-ubyte"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words):
        idx.read(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere.*No such file"):
        idx.read(tmp_path / "nowhere")
