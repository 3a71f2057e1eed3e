"""preprocess: the resizing of pictures, the same in training, in a bundle and in answers."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

OPSET = 19
IR_VERSION = 9


def resize_graph(size: tuple[int, int]) -> bytes:
    """An ONNX graph of one Resize: uint8 (n, h, w, c) in, uint8 (n, size[0], size[1], c) out.

    Antialiased linear, pixel centres at halves; a picture of that size already comes out as it
    went in. Written byte by byte, because an installation that only predicts has no onnx.
    """
    attributes = [
        _text(1, "mode") + _text(4, "linear") + _number(20, 3),
        _text(1, "antialias") + _number(3, 1) + _number(20, 2),
        _text(1, "axes") + _number(8, 1) + _number(8, 2) + _number(20, 7),
    ]
    node = b"".join(_text(1, name) for name in ("pixels", "", "", "size"))
    node += _text(2, "resized") + _text(4, "Resize") + b"".join(_part(5, a) for a in attributes)
    values = b"".join(side.to_bytes(8, "little") for side in size)
    sizes = _number(1, 2) + _number(2, 7) + _text(8, "size") + _part(9, values)
    graph = _part(1, node) + _text(2, "resize") + _part(5, sizes)
    graph += _part(11, _end("pixels", "n", "h", "w", "c"))
    graph += _part(12, _end("resized", "n", *size, "c"))
    opset = _text(1, "") + _number(2, OPSET)
    return _number(1, IR_VERSION) + _part(7, graph) + _part(8, opset)


def _end(name: str, *sides: int | str) -> bytes:
    """A ValueInfoProto: uint8 of this shape."""
    shape = b"".join(
        _part(1, _number(1, side) if isinstance(side, int) else _text(2, side)) for side in sides
    )
    return _text(1, name) + _part(2, _part(1, _number(1, 2) + _part(2, shape)))


def _number(field: int, value: int) -> bytes:
    """A varint field of the protobuf wire format."""
    return _varint(field << 3) + _varint(value)


def _text(field: int, value: str) -> bytes:
    return _part(field, value.encode())


def _part(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


class Resizer:
    """Runs a `resize_graph`. Safe to use from several threads."""

    def __init__(self, graph: bytes) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # pictures are shared out, not the rows of one
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session: Any = onnxruntime.InferenceSession(
            graph, options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(n, h, w, c) to (n, height, width, c)."""
        return cast(NDArray[np.uint8], self._session.run(None, {"pixels": pixels})[0])


def resized(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """At (height, width), by Pillow: only for models whose graph has no Resize, because all
    pictures they were trained on had one size."""
    from PIL import Image

    flat = picture[:, :, 0] if picture.shape[2] == 1 else picture
    image = Image.fromarray(flat).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(image, np.uint8).reshape(*size, picture.shape[2])
