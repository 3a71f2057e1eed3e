"""Every kind of picture becomes uint8 pixels, and no file brings the reader down."""

from __future__ import annotations

import io
import os
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shoestring.core.errors import DataError, MissingExtra, UserError
from shoestring.tasks.images.reading import pixels
from tests.tasks.images.drawn import noise


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)  # type: ignore[arg-type]  # Pillow's options by name
    return file.getvalue()


def reason(content: bytes) -> str:
    with pytest.raises(DataError) as caught:
        pixels.decode(content, 3)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF", "PPM", "WEBP", "JPEG"])
def test_formats(kind: str) -> None:
    image = noise(1, 20, width=30)
    lossless = {"lossless": True} if kind == "WEBP" else {}
    picture = pixels.read(encoded(image, kind, **lossless), 3)
    assert picture.pixels.shape == (20, 30, 3)
    assert picture.format == kind
    if kind not in ("JPEG", "GIF"):
        assert np.array_equal(picture.pixels, np.asarray(image))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F", "I"])
@pytest.mark.parametrize("channels", [1, 3, None])
def test_modes(mode: str, channels: int | None) -> None:
    kind = "TIFF" if mode in ("CMYK", "F", "I") else "PNG"
    base = noise(2, 12, "L" if mode in ("I;16", "F", "I") else "RGB")
    if mode == "I;16":
        image = Image.fromarray(np.asarray(base).astype(np.uint16) * 257)
    elif mode == "I":
        image = Image.fromarray(np.asarray(base).astype(np.int32) * 257)
    else:
        image = base.convert(mode)
    picture = pixels.read(encoded(image, kind), channels)
    grey = mode in ("1", "L", "LA", "I;16", "F", "I")
    assert picture.grey == grey
    assert picture.pixels.shape == (12, 12, channels or (1 if grey else 3))
    if mode in ("I;16", "F", "I"):
        assert np.array_equal(picture.pixels[..., 0], np.asarray(base))


def test_a_grey_palette_is_grey() -> None:
    picture = pixels.read(encoded(noise(3, 8, "L"), "GIF"), None)
    assert picture.grey
    assert picture.pixels.shape == (8, 8, 1)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB", "L"])
def test_transparency_lies_on_white(mode: str) -> None:
    image = Image.new("RGBA", (4, 4), (10, 10, 10, 0))
    if mode == "P":
        drawn = Image.new("P", (4, 4), 1)
        drawn.putpalette([9, 9, 9, 8, 8, 8])
        content = encoded(drawn, transparency=1)
    elif mode == "RGB":
        content = encoded(Image.new("RGB", (4, 4), (9, 9, 9)), transparency=(9, 9, 9))
    elif mode == "L":
        content = encoded(Image.new("L", (4, 4), 9), transparency=9)
    else:
        content = encoded(image.convert(mode))
    assert (pixels.decode(content, 3) == 255).all()
    assert (pixels.decode(content, 1) == 255).all()


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_rotation_is_applied(turn: int, kind: str) -> None:
    upright = Image.new("RGB", (16, 8), (255, 255, 255))
    upright.paste((0, 0, 0), (0, 0, 8, 4))  # one dark corner shows where up is
    back = {
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
    }
    stored = upright.transpose(back[turn]) if turn in back else upright
    exif = Image.Exif()
    exif[0x0112] = turn
    content = encoded(stored, kind, exif=exif)
    seen = pixels.decode(content, 1)[..., 0].astype(int)
    assert seen.shape == (8, 16)
    assert np.abs(seen - np.asarray(upright.convert("L")).astype(int)).max() < 40
    assert pixels.probe(content)[:2] == (8, 16)


def test_damaged_exif_does_not_cost_the_picture() -> None:
    content = encoded(noise(4, 8), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert pixels.decode(content, 3).shape == (8, 8, 3)


def test_only_the_first_frame_of_a_moving_picture() -> None:
    first, second = noise(5, 8, "L"), noise(6, 8, "L")
    content = encoded(first, "GIF", save_all=True, append_images=[second])
    assert np.array_equal(pixels.decode(content, 1)[..., 0], np.asarray(first))


def test_a_file_by_name_and_by_content_are_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    noise(7).save(path)
    by_path = pixels.decode(path, 3)
    assert np.array_equal(by_path, pixels.decode(str(path), 3))
    assert np.array_equal(by_path, pixels.decode(path.read_bytes(), 3))


@pytest.mark.parametrize("size", [(1, 1), (20_000, 1), (1, 20_000)])
def test_odd_sizes(size: tuple[int, int]) -> None:
    assert pixels.decode(encoded(Image.new("L", size, 9)), 1).shape == (size[1], size[0], 1)


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header promises more than memory holds."""

    def block(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + block(b"IHDR", head)
        + block(b"IDAT", zlib.compress(bytes(1000)))
        + block(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [9_500, 13_000, 50_000])
def test_a_decompression_bomb_is_refused(side: int) -> None:
    assert "decompression bomb" in reason(bomb(side, side))


def test_what_is_no_picture_says_so() -> None:
    assert "empty (0 bytes)" in reason(b"")
    assert "not a picture of a known kind" in reason(b"hello")
    assert "damaged" in reason(encoded(noise(8, 64), "JPEG")[:700])
    assert "damaged" in reason(encoded(noise(8, 64))[:300])
    assert "not a picture of a known kind" in reason(b"%!PS-Adobe-3.0 EPSF-3.0\n")


def test_a_name_stands_before_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "broken.jpg"
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"broken.jpg: the file is empty"):
        pixels.decode(path, 3)


def test_what_is_no_readable_file_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = tmp_path / "link.png"
    link.symlink_to(tmp_path / "nowhere")
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    big = tmp_path / "big.png"
    with big.open("wb") as file:
        file.truncate(pixels.MAX_FILE_BYTES + 1)
    for path, words in (
        (link, "No such file"),
        (pipe, "not a regular file"),
        (tmp_path, "not a regular file"),
        (big, "too many for a picture"),
        ("a\0b", "null"),
    ):
        with pytest.raises(DataError, match=words):
            pixels.decode(path, 3)
    locked = tmp_path / "locked.png"
    noise(1).save(locked)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(pixels, "open", refuse, raising=False)
    with pytest.raises(DataError, match=r"locked.png: Permission denied"):
        pixels.decode(locked, 3)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.full((2, 2), np.nan, np.float32), "not finite"),
        (np.full((2, 2), -1, np.float32), "float values from -1"),
        (np.full((2, 2), 256, np.float32), "float values from 256"),
        (np.full((2, 2), -1, np.int32), "integer values from -1"),
        (np.full((2, 2), 65536, np.int32), "integer values from 65536"),
    ],
)
def test_values_that_are_no_brightness_are_refused(values: np.ndarray, words: str) -> None:
    assert words in reason(encoded(Image.fromarray(values), "TIFF"))


def test_heic_names_the_install_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    pixels._heic_formats.cache_clear()
    with pytest.raises(MissingExtra, match=r"pillow-heif.*shoestring\[heic\]"):
        pixels.decode(b"\0\0\0\x18ftypheic" + bytes(40), 3)


STARTS = [
    encoded(noise(9, 24), "JPEG", exif=b"Exif\0\0" + Image.Exif().tobytes()),
    encoded(noise(9, 24), "PNG"),
    encoded(noise(9, 24), "GIF"),
    encoded(noise(9, 24), "BMP"),
    encoded(noise(9, 24), "WEBP"),
    encoded(noise(9, 24), "TIFF"),
    encoded(noise(9, 24), "PPM"),
]


@settings(max_examples=400)
@given(
    st.sampled_from(STARTS),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6),
    st.floats(0, 1),
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_any_damage_gives_pixels_or_a_clear_error(content, changes, kept) -> None:
    damaged = bytearray(content[: int(len(content) * max(kept, 0.1))])
    for place, value in changes:
        damaged[int(place * len(damaged))] = value
    for function in (pixels.probe, lambda c: pixels.read(c, None)):
        try:
            function(bytes(damaged))
        except UserError as error:
            assert str(error).startswith("the picture: ")
