"""predict: answers from a bundle of images, and the outcomes and golden vectors of its graph.

Shapes: B pictures, H height, W width, C channels, K labels. Runs without torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from shoestring.core.errors import BundleError, UserError
from shoestring.core.machine import cores
from shoestring.core.protocols import Examples, Outcomes, Progress
from shoestring.core.receipt import Plain
from shoestring.tasks.images.options import AnswerOptions
from shoestring.tasks.images.reading import inputs as given
from shoestring.tasks.images.scores import right, scores

if TYPE_CHECKING:
    from shoestring.tasks.images.data import ImageExamples

__all__ = ["ImagePredictor", "scores"]  # what the task asks this module for

GRAPH = "model.onnx"
_OUTPUTS = ["probabilities"]
_LARGEST_SIDE = 1 << 12  # pixels, of what a bundle may say that its network reads
_BATCH = 64  # pictures of equal shape that are answered at once, at most
_PENDING_BYTES = 64 << 20  # of decoded pictures that wait for a batch to fill
T = TypeVar("T")


class ImagePredictor:
    """Pictures to labels. `files` holds the session of model.onnx."""

    def __init__(self, manifest: Plain, files: Mapping[str, Any]) -> None:
        self.facts = _checked(manifest["facts"])
        self.quantization: Plain = manifest.get("quantization") or {}  # empty of float32
        if GRAPH not in files:
            raise BundleError(f"the bundle has no {GRAPH}")
        session = files[GRAPH]
        self._run = session.run
        self._labels: list[str] = self.facts["labels"]
        self._size: tuple[int, int] = (self.facts["size"][0], self.facts["size"][1])
        self._channels: int = self.facts["channels"]
        self._shape = (*self._size, self._channels)
        ends = [e.name for e in (*session.get_inputs(), *session.get_outputs())]
        if ends != ["pixels", "probabilities"]:
            raise BundleError(f"{GRAPH} maps {ends}, not pixels to probabilities")
        if session.get_outputs()[0].shape[-1] != len(self._labels):
            raise BundleError(f"{GRAPH} does not answer with the {len(self._labels)} labels listed")

    def predict(self, inputs: Any, options: Any) -> list[Plain]:
        if isinstance(inputs, np.ndarray) and inputs.dtype == np.uint8:
            # One picture that is ready: the shortest way, for whoever counts microseconds.
            shape = inputs.shape
            if shape == self._shape or (self._channels == 1 and shape == self._size):
                pixels = inputs.reshape(1, *self._shape)
                row = self._run(_OUTPUTS, {"pixels": pixels})[0][0]
                return [self._answer("input 1", row, options)]
        return list(self.answers(inputs, options))

    def answers(self, inputs: Any, options: Any) -> Iterator[Plain]:
        """As predict, one by one and with flat memory."""
        waiting: list[tuple[str, NDArray[np.uint8] | str]] = []
        waiting_bytes = 0
        for name, picture in _in_parallel(self._decoded, given.listed(inputs)):
            waiting.append((name, picture))
            waiting_bytes += picture.nbytes if isinstance(picture, np.ndarray) else 0
            if len(waiting) >= _BATCH or waiting_bytes > _PENDING_BYTES:
                yield from self._answered(waiting, options)
                waiting, waiting_bytes = [], 0
        yield from self._answered(waiting, options)

    def outcomes(self, examples: Examples, progress: Progress) -> Outcomes:
        """hashes (B,) uint64, labels (B,) int64, probabilities (B, K) float32, and right (B,)
        bool: what accuracy is the mean of."""
        pictures = cast("ImageExamples", examples)  # a task gets its own back
        count = len(pictures)
        probabilities_BK = np.zeros((count, len(self._labels)), np.float32)
        at_once = max(1, min(256, (1 << 22) // (self._size[0] * self._size[1])))
        done = 0
        progress("answering", 0, count)
        for positions, pixels_BHWC in pictures.chunks(at_once):
            probabilities_BK[positions] = self.probabilities(pixels_BHWC)
            done += len(positions)
            progress("answering", done, count)
        labels_B = np.asarray(pictures.labels)
        return {
            "hashes": np.asarray(pictures.hashes),
            "labels": labels_B,
            "probabilities": probabilities_BK,
            "right": right(labels_B, probabilities_BK),
        }

    def probabilities(self, pixels_BHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(B, K) of pictures of one shape; at the model's size where it does not resize."""
        if not self.facts["resize"] and pixels_BHWC.shape[1:3] != self._size:
            pixels_BHWC = np.stack([given.resized(p, self._size) for p in pixels_BHWC])
        feed = {"pixels": np.ascontiguousarray(pixels_BHWC)}
        rows: NDArray[np.float32] = self._run(_OUTPUTS, feed)[0]
        return rows

    def golden(
        self, inputs: Mapping[str, NDArray[Any]] | None = None
    ) -> tuple[Mapping[str, NDArray[Any]], Mapping[str, NDArray[Any]]]:
        if inputs is None:
            inputs = {"fitting": self._patterns(self._size)}
            if self.facts["resize"]:
                height, width = self._size
                inputs["larger"] = self._patterns((height * 2 + 3, width + 5))
        for name, pixels_BHWC in inputs.items():
            if pixels_BHWC.dtype != np.uint8 or pixels_BHWC.ndim != 4:
                raise BundleError(
                    f"golden input {name!r} is not uint8 (n, height, width, channels)"
                )
        return inputs, {name: self.probabilities(pixels) for name, pixels in inputs.items()}

    def latency_inputs(self) -> Mapping[str, Callable[[], object]]:
        picture = self._patterns(self._size)[-1]
        options, encoded = AnswerOptions(), _png(picture)
        batch = np.stack([picture] * _BATCH)
        return {
            "model": lambda: self.predict(picture, options),
            "file": lambda: self.predict(encoded, options),
            "batch": lambda: self.probabilities(batch),
        }

    def _decoded(self, source: Any) -> NDArray[np.uint8] | str:
        """The picture, or why there is none."""
        try:
            picture = given.pixels(source, self._channels)
            if not self.facts["resize"] and picture.shape[:2] != self._size:
                picture = given.resized(picture, self._size)
        except UserError as error:
            return str(error)
        return picture

    def _answered(
        self, waiting: list[tuple[str, NDArray[np.uint8] | str]], options: Any
    ) -> Iterator[Plain]:
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for place, (_, picture) in enumerate(waiting):
            if isinstance(picture, np.ndarray):
                by_shape.setdefault(picture.shape, []).append(place)
        rows: dict[int, NDArray[np.float32]] = {}
        for places in by_shape.values():
            batch = np.stack([np.asarray(waiting[place][1]) for place in places])
            rows.update(zip(places, self.probabilities(batch), strict=True))
        for place, (name, picture) in enumerate(waiting):
            if isinstance(picture, str):
                yield {"input": name, "error": picture.removeprefix(f"{name}: ")}
            else:
                yield self._answer(name, rows[place], options)

    def _answer(self, name: str, row_K: NDArray[np.float32], options: AnswerOptions) -> Plain:
        best = int(row_K.argmax())
        probability, label = float(row_K[best]), self._labels[best]
        top: list[Plain] = [{"label": label, "probability": probability}]
        if options.top > 1:
            order = np.argsort(-row_K, kind="stable")[: options.top]
            top = [{"label": self._labels[k], "probability": float(row_K[k])} for k in order]
        rejected = probability < options.reject
        return {
            "input": name,
            "label": "none" if rejected else label,
            "probability": probability,
            "top": top,
            "rejected": rejected,
        }

    def _patterns(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Four pictures that no library's random numbers decide, and that pack well."""
        y, x, c = np.ogrid[: size[0], : size[1], : self._channels]
        shape = (*size, self._channels)
        slope = (x * 255 // max(1, size[1] - 1) + 40 * c) % 256
        squares = ((y // 3 + x // 3 + c) % 2) * 200 + 20
        rings = ((y - size[0] // 2) ** 2 + (x - size[1] // 3) ** 2 + 30 * c) * 3 % 256
        drawn = [np.zeros(shape), slope, squares, rings]
        return np.stack([np.broadcast_to(d, shape) for d in drawn]).astype(np.uint8)


def _in_parallel(
    work: Callable[[Any], T], named: Iterable[tuple[str, Any]]
) -> Iterator[tuple[str, T]]:
    """(name, work(source)) in order. Decoders let other threads run; no more than one picture
    a core is under way, so that memory stays flat."""
    pairs = iter(named)
    window = list(islice(pairs, 2))
    if len(window) < 2:  # no threads for one picture
        yield from ((name, work(source)) for name, source in window)
        return
    count = cores()
    window += islice(pairs, max(0, count - 2))
    with ThreadPoolExecutor(count) as pool:
        while window:
            yield from zip(
                [name for name, _ in window],
                pool.map(work, [source for _, source in window]),
                strict=True,
            )
            window = list(islice(pairs, count))


def _checked(facts: Plain) -> Plain:
    """The facts, once everything that is used of them is known to be there."""
    labels, size = facts.get("labels"), facts.get("size")
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise BundleError("the bundle's facts have no list of labels")
    if (
        not isinstance(size, list)
        or len(size) != 2
        or not all(isinstance(side, int) and 0 < side <= _LARGEST_SIDE for side in size)
    ):
        raise BundleError(
            f"the bundle's facts have a size of {size!r}, not [height, width], each of 1 to "
            f"{_LARGEST_SIDE}"
        )
    if facts.get("channels") not in (1, 3) or not isinstance(facts.get("resize"), bool):
        raise BundleError("the bundle's facts lack channels (1 or 3) or resize (true or false)")
    return facts


def _png(picture: NDArray[np.uint8]) -> bytes:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture).save(buffer, "PNG")
    return buffer.getvalue()
