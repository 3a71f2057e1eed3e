"""pixels: a picture file to uint8 pixels, the same way in training and in prediction."""

from __future__ import annotations

import importlib
import io
import os
import stat
import struct
import zlib
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from shoestring.core.errors import DataError, MissingExtra, UserError
from shoestring.tasks.images.reading.exif import without_exif

MAX_PIXELS = 89_478_485  # Pillow's own guard against decompression bombs: 256 MB of RGB
MAX_FILE_BYTES = 1 << 29
_PLUGINS = {  # of Pillow; no other formats are opened, but MPO, which begins as a JPEG
    "JPEG": "Jpeg",
    "PNG": "Png",
    "WEBP": "WebP",
    "BMP": "Bmp",
    "GIF": "Gif",
    "PPM": "Ppm",
    "TIFF": "Tiff",
}
_GREY = ("1", "L", "LA", "La", "I", "F")
_ALPHA = ("RGBA", "LA", "PA", "La", "RGBa")
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
_ORIENTATION = 0x0112
_TURN = "shoestring orientation"  # where an orientation that was read ahead stands in image.info
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# What Pillow's decoders raise on hostile or damaged files, found by fuzzing and in its source.
DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    ArithmeticError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
    UserWarning,  # where warnings are made errors
)


@dataclass(frozen=True)
class Picture:
    pixels: NDArray[np.uint8]  # (H, W, C), upright, transparency laid on white
    format: str  # what the content is, whatever the name says: JPEG, PNG, ...
    grey: bool  # whether the file holds no colour by its kind (not by its values)


def decode(source: str | os.PathLike[str] | bytes, channels: int) -> NDArray[np.uint8]:
    """(H, W, channels) of a file or of encoded bytes. Raises DataError with the reason, or
    MissingExtra for a HEIC picture where the package for it is not installed."""
    return read(source, channels).pixels


def read(source: str | os.PathLike[str] | bytes, channels: int | None) -> Picture:
    """As `decode`, with what else was seen; channels None gives 1 for grey pictures, else 3."""
    name = "the picture" if isinstance(source, bytes) else os.fspath(source)
    with _opened(source, name) as image:
        try:
            image.load()
            image = _upright(image)
            grey = _is_grey(image)
            wanted = channels or (1 if grey else 3)
            pixels = _pixels(image, wanted)
        except DECODE_ERRORS as error:
            raise DataError(f"{name}: {_reason(error)}") from error
        return Picture(pixels, str(image.format or ""), grey)


def probe(source: str | os.PathLike[str] | bytes) -> tuple[int, int, bool]:
    """(height, width, grey) as `read` would give them, from the header where that tells."""
    name = "the picture" if isinstance(source, bytes) else os.fspath(source)
    with _opened(source, name) as image:
        try:
            turned = _orientation(image) >= 5
            grey = _is_grey(image)
        except DECODE_ERRORS as error:
            raise DataError(f"{name}: {_reason(error)}") from error
        width, height = image.size
        return (width, height, grey) if turned else (height, width, grey)


def _opened(source: str | os.PathLike[str] | bytes, name: str) -> Image.Image:
    encoded = source if isinstance(source, bytes) else _file_bytes(source, name)
    if not encoded:
        raise DataError(f"{name}: the file is empty (0 bytes)")
    heic = encoded[4:8] == b"ftyp" and encoded[8:12] in _HEIC_BRANDS
    turn: int | None = None
    if encoded.startswith(b"\xff\xd8\xff"):
        encoded, turn = without_exif(encoded)
    try:
        image = Image.open(io.BytesIO(encoded), formats=_heic_formats() if heic else formats())
    except UnidentifiedImageError as error:
        raise DataError(
            f"{name}: not a picture of a known kind, or its start is damaged"
        ) from error
    except DECODE_ERRORS as error:
        raise DataError(f"{name}: {_reason(error)}") from error
    if image.width * image.height > MAX_PIXELS:
        raise DataError(
            f"{name}: {image.width} x {image.height} pixels are more than the {MAX_PIXELS:,} "
            f"allowed (it may be a decompression bomb)"
        )
    if turn is not None:
        image.info[_TURN] = turn
    return image


def _file_bytes(path: str | os.PathLike[str], name: str) -> bytes:
    try:
        info = os.stat(path)  # opening a pipe would wait for ever
        if not stat.S_ISREG(info.st_mode):
            raise DataError(f"{name}: not a regular file")
        if info.st_size > MAX_FILE_BYTES:
            raise DataError(f"{name}: {info.st_size:,} bytes are too many for a picture")
        with open(path, "rb", 0) as file:  # read whole, so a buffer would be in the way
            return file.readall()
    except OSError as error:
        raise DataError(f"{name}: {error.strerror or error}") from error
    except ValueError as error:  # a NUL in the name
        raise DataError(f"{name!r}: {error}") from error


@cache
def formats() -> tuple[str, ...]:
    """Those that are opened. Pillow has dozens more, which take as long again to import."""
    for name in _PLUGINS.values():
        importlib.import_module(f"PIL.{name}ImagePlugin")
    return tuple(f for f in _PLUGINS if f in Image.OPEN)


@cache
def _heic_formats() -> tuple[str, ...]:
    try:
        from pillow_heif import register_heif_opener
    except ImportError as error:
        raise MissingExtra("pillow-heif", "heic", "reading HEIC pictures") from error
    register_heif_opener()
    return ("HEIF",)


def _reason(error: BaseException) -> str:
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return f"more than the {MAX_PIXELS:,} pixels allowed (it may be a decompression bomb)"
    words = " ".join(str(error).split())
    return f"damaged: {words}" if words else f"damaged ({type(error).__name__})"


def _orientation(image: Image.Image) -> int:
    known = image.info.get(_TURN)
    if isinstance(known, int):
        return known
    if not image.info.keys() & {"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"}:
        return 1
    try:
        turn = image.getexif().get(_ORIENTATION, 1)
    except DECODE_ERRORS:
        return 1  # a damaged EXIF block does not make the pixels worse
    return turn if isinstance(turn, int) else 1


def _upright(image: Image.Image) -> Image.Image:
    turn = _TURNS.get(_orientation(image))
    if turn is None:
        return image
    turned = image.transpose(turn)
    turned.format = image.format
    return turned


def _is_grey(image: Image.Image) -> bool:
    if image.mode in ("P", "PA"):
        palette = image.getpalette("RGB") or []
        return palette[0::3] == palette[1::3] == palette[2::3]
    return image.mode in _GREY or image.mode.startswith("I;16")


def _pixels(image: Image.Image, channels: int) -> NDArray[np.uint8]:
    mode = "L" if channels == 1 else "RGB"
    if image.mode.startswith("I") or image.mode == "F":
        grey = _eight_bits(image)
        return np.repeat(grey[:, :, None], channels, axis=2)
    if image.mode in _ALPHA or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    if image.mode != mode:
        image = image.convert(mode)
    height, width = image.height, image.width
    return np.frombuffer(image.tobytes(), np.uint8).reshape(height, width, channels)


def _eight_bits(image: Image.Image) -> NDArray[np.uint8]:
    """Integers are taken as 0..65535; floats as 0..1, or as 0..255 where one is above 1."""
    values = np.asarray(image)
    if image.mode == "F":
        if not np.isfinite(values).all():
            raise ValueError("it holds values that are not finite")
        low, high = float(values.min()), float(values.max())
        if low < 0 or high > 255:
            raise ValueError(f"float values from {low:g} to {high:g}; 0..1 or 0..255 can be read")
        return np.rint(values * (255.0 if high <= 1 else 1.0)).astype(np.uint8)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise ValueError(f"integer values from {low} to {high}; 0 to 65535 can be read")
    return ((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
