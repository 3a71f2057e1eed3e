"""graph_weights: the arrays of all graphs of a bundle, each of them once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoestring.core.errors import MissingExtra

Array = NDArray[Any]


class Weights:
    """Arrays by content: equal ones stand once, whichever graph uses them."""

    def __init__(self) -> None:
        try:
            import onnx
        except ImportError as error:
            raise MissingExtra("onnx", "train", "exporting a network") from error
        self.onnx = onnx
        self._found: dict[tuple[str, tuple[int, ...], bytes], Any] = {}

    def name(self, values: Array) -> str:
        values = np.ascontiguousarray(values).reshape(values.shape)
        key = (values.dtype.str, values.shape, values.tobytes())
        if key not in self._found:
            name = f"w{len(self._found)}"
            self._found[key] = self.onnx.numpy_helper.from_array(values, name)
        return str(self._found[key].name)

    def to_bytes(self) -> bytes:
        model = self.onnx.ModelProto()
        model.graph.initializer.extend(self._found.values())
        return bytes(model.SerializeToString(deterministic=True))
