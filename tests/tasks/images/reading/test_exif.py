"""The orientation of a JPEG is the one that Pillow finds, and its pixels stay."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from shoestring.tasks.images.reading.exif import without_exif
from tests.tasks.images.drawn import noise


def jpeg(exif: Image.Exif | bytes = b"") -> bytes:
    file = io.BytesIO()
    noise(1).save(file, "JPEG", exif=exif)
    return file.getvalue()


@given(
    st.dictionaries(
        st.sampled_from([0x010F, 0x0110, 0x0112, 0x011A, 0x0128, 0x8298]),
        st.integers(1, 8) | st.text("abc", min_size=1),
    ),
    st.sampled_from("<>"),
)
def test_what_pillow_reads_is_read(tags: dict[int, int | str], order: str) -> None:
    exif = Image.Exif()
    exif.endian = order
    for tag, value in tags.items():
        text = tag in (0x010F, 0x0110, 0x8298)
        exif[tag] = str(value) if text else value if isinstance(value, int) else 1
    content = jpeg(exif)
    bare, turn = without_exif(content)
    with Image.open(io.BytesIO(content)) as whole, Image.open(io.BytesIO(bare)) as rest:
        assert turn == whole.getexif().get(0x0112, 1)
        assert "exif" not in rest.info
        assert np.array_equal(np.asarray(whole), np.asarray(rest))


def test_without_a_block_nothing_changes() -> None:
    assert without_exif(jpeg()) == (jpeg(), None)


def test_two_blocks_and_several_pictures_are_left_to_pillow() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = jpeg(exif)
    length = struct.unpack(">H", content[content.index(b"Exif") - 2 :][:2])[0]
    start = content.index(b"Exif") - 4
    twice = content[:start] + content[start : start + 2 + length] + content[start:]
    assert without_exif(twice) == (twice, None)
    index = b"\xff\xe2\0\x0aMPF\0II*\0"
    several = content[:2] + index + content[2:]
    assert without_exif(several) == (several, None)


@pytest.mark.parametrize(
    "block", [b"", b"II", b"XX*\0" + bytes(20), b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\0\x09"]
)
def test_a_damaged_block_means_upright(block: bytes) -> None:
    assert without_exif(jpeg(b"Exif\0\0" + block))[1] == 1


@given(st.binary(max_size=80))
def test_any_bytes_are_taken(content: bytes) -> None:
    without_exif(content)
    for start in (b"\xff\xd8\xff\xe1", b"\xff\xd8\xff\xe1\0\x20Exif\0\0II*\0\x08\0\0\0"):
        bare, turn = without_exif(start + content)
        assert turn is None or 1 <= turn <= 8
        assert len(bare) <= len(start + content)
