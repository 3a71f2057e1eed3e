"""shift: pictures corrupted as cameras, files and people do it, in five severities.

After Hendrycks & Dietterich 2019, "Benchmarking neural network robustness to common corruptions
and perturbations" (ImageNet-C), and Mu & Gilmer 2019 (MNIST-C), cut to what needs numpy and Pillow.

Shapes: B pictures, H height, W width, C channels; floats are 0 to 255.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from shoestring.tasks.images.examples import ImageExamples

Floats = NDArray[np.float32]
Draws = NDArray[np.uint64]  # (B,) a key for each picture

_NOISE = (15.0, 25.0, 40.0, 60.0, 85.0)  # standard deviation
_IMPULSES = (0.02, 0.05, 0.09, 0.15, 0.25)  # share of pixels that turn black or white
_BLUR = (0.02, 0.03, 0.045, 0.06, 0.08)  # standard deviation, of the shorter side
_CONTRAST = (0.6, 0.45, 0.3, 0.2, 0.12)  # that is left
_BRIGHTNESS = (25.0, 45.0, 65.0, 85.0, 105.0)  # added; half of the pictures lose as much
_PIXELATE = (0.7, 0.55, 0.42, 0.33, 0.25)  # of the side that is left
_JPEG = (50, 30, 18, 12, 7)  # Pillow's quality
_ROTATION = (8.0, 15.0, 24.0, 33.0, 45.0)  # degrees, either way
_OFFSET = (0.05, 0.09, 0.13, 0.17, 0.22)  # of the side, in any direction


def shifted(examples: ImageExamples, kind: str, severity: int) -> ImageExamples:
    """The examples with corrupted pixels, made when they are taken. What is drawn is drawn by the
    picture's content, so that each run meets the same."""
    corrupt, at = KINDS[kind], severity - 1

    def change(hashes_B: Draws, pixels_BHWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if not len(pixels_BHWC):
            return pixels_BHWC
        changed = corrupt(pixels_BHWC.astype(np.float32), hashes_B, at)
        return np.clip(np.rint(changed), 0, 255).astype(np.uint8)

    return examples.changed(change)


def _gaussian_noise(x_BHWC: Floats, keys_B: Draws, at: int) -> Floats:
    noise = [_random(key).standard_normal(x_BHWC.shape[1:], np.float32) for key in keys_B.tolist()]
    return x_BHWC + _NOISE[at] * np.stack(noise)


def _impulse_noise(x_BHWC: Floats, keys_B: Draws, at: int) -> Floats:
    shape = (*x_BHWC.shape[1:3], 1)
    drawn = np.stack([_random(key).random(shape, np.float32) for key in keys_B.tolist()])
    share = np.float32(_IMPULSES[at])
    x_BHWC = np.where(drawn < share / 2, np.float32(0), x_BHWC)
    return np.where(drawn > 1 - share / 2, np.float32(255), x_BHWC)


def _blur(x_BHWC: Floats, keys_B: Draws, at: int) -> Floats:
    """By a Gaussian; at the edges by what of it lies inside."""
    sigma = _BLUR[at] * min(x_BHWC.shape[1:3])
    for axis, letters in ((1, "ih,bhwc->biwc"), (2, "iw,bhwc->bhic")):
        place = np.arange(x_BHWC.shape[axis], dtype=np.float32)
        weights = np.exp(-((place[:, None] - place) ** 2) / (2 * sigma**2))
        weights /= weights.sum(axis=1, keepdims=True)
        blurred = np.einsum(letters, weights.astype(np.float32), x_BHWC, optimize=True)
        x_BHWC = np.asarray(blurred, np.float32)
    return x_BHWC


def _contrast(x_BHWC: Floats, keys_B: Draws, at: int) -> Floats:
    mean = x_BHWC.mean(axis=(1, 2, 3), keepdims=True)
    return np.asarray(mean + np.float32(_CONTRAST[at]) * (x_BHWC - mean), np.float32)


def _brightness(x_BHWC: Floats, keys_B: Draws, at: int) -> Floats:
    sign = np.where(keys_B >> np.uint64(63), 1, -1).astype(np.float32)
    return x_BHWC + _BRIGHTNESS[at] * sign[:, None, None, None]


def _pixelate(x_BHWC: Floats, keys_B: Draws, at: int) -> Floats:
    for axis in (1, 2):
        side = x_BHWC.shape[axis]
        count = max(1, round(_PIXELATE[at] * side))
        starts = np.arange(count) * side // count
        widths = np.diff([*starts.tolist(), side])
        sums = np.add.reduceat(x_BHWC, starts, axis=axis)
        shape = (1, -1, 1, 1) if axis == 1 else (1, 1, -1, 1)
        means = sums / widths.astype(np.float32).reshape(shape)
        x_BHWC = np.repeat(means, widths, axis=axis)
    return x_BHWC


def _jpeg(x_BHWC: Floats, keys_B: Draws, at: int) -> Floats:
    return np.stack([_through_jpeg(picture, _JPEG[at]) for picture in x_BHWC])


def _through_jpeg(picture: Floats, quality: int) -> Floats:
    from PIL import Image

    pixels = picture.astype(np.uint8)
    grey = pixels.shape[2] == 1
    buffer = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if grey else pixels).save(buffer, "JPEG", quality=quality)
    read = np.asarray(Image.open(buffer), np.float32)
    return read.reshape(picture.shape)


def _rotation(x_BHWC: Floats, keys_B: Draws, at: int) -> Floats:
    sign = np.where(keys_B >> np.uint64(63), 1, -1)
    angle = (np.deg2rad(_ROTATION[at]) * sign).astype(np.float32)[:, None, None]
    height, width = x_BHWC.shape[1:3]
    y, x = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    dy, dx = y - (height - 1) / 2, x - (width - 1) / 2
    from_y = np.cos(angle) * dy - np.sin(angle) * dx + (height - 1) / 2
    from_x = np.sin(angle) * dy + np.cos(angle) * dx + (width - 1) / 2
    return _sampled(x_BHWC, from_y, from_x)


def _offset(x_BHWC: Floats, keys_B: Draws, at: int) -> Floats:
    angle = 2 * np.pi * (keys_B >> np.uint64(11)).astype(np.float64) / 2**53
    height, width = x_BHWC.shape[1:3]
    y, x = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    by_y = np.rint(_OFFSET[at] * height * np.sin(angle))[:, None, None]
    by_x = np.rint(_OFFSET[at] * width * np.cos(angle))[:, None, None]
    return _sampled(x_BHWC, y + by_y, x + by_x)


def _sampled(x_BHWC: Floats, y_BHW: NDArray[np.float64], x_BHW: NDArray[np.float64]) -> Floats:
    """Between the four pixels around each place; outside lies what is at the edge."""
    height, width = x_BHWC.shape[1:3]
    y, x = np.clip(y_BHW, 0, height - 1), np.clip(x_BHW, 0, width - 1)
    top, left = np.floor(y).astype(np.int64), np.floor(x).astype(np.int64)
    bottom, right = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
    down, across = (y - top)[..., None], (x - left)[..., None]
    picture = np.arange(len(x_BHWC))[:, None, None]
    above = x_BHWC[picture, top, left] * (1 - across) + x_BHWC[picture, top, right] * across
    below = x_BHWC[picture, bottom, left] * (1 - across) + x_BHWC[picture, bottom, right] * across
    return np.asarray(above * (1 - down) + below * down, np.float32)


def _random(key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=key))


KINDS: dict[str, Callable[[Floats, Draws, int], Floats]] = {
    "gaussian noise": _gaussian_noise,
    "impulse noise": _impulse_noise,
    "blur": _blur,
    "contrast": _contrast,
    "brightness": _brightness,
    "pixelate": _pixelate,
    "jpeg": _jpeg,
    "rotation": _rotation,
    "offset": _offset,
}
