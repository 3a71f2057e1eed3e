"""preprocess: the resizing that ships in the bundle, run by the same engine in training."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from shoestring.core.errors import MissingExtra

OPSET = 19
IR_VERSION = 9


def resize_graph(size: tuple[int, int]) -> bytes:
    """An ONNX graph of one Resize: uint8 (n, h, w, c) in, uint8 (n, size[0], size[1], c) out.

    Antialiased linear, pixel centres at halves; a picture of that size already comes out as it
    went in. Raises MissingExtra where the package onnx is not installed.
    """
    try:
        from onnx import TensorProto, helper
    except ImportError as error:
        raise MissingExtra("onnx", "train", "resizing pictures") from error
    node = helper.make_node(
        "Resize",
        ["pixels", "", "", "size"],
        ["resized"],
        mode="linear",
        antialias=1,
        axes=[1, 2],
        coordinate_transformation_mode="half_pixel",
    )
    graph = helper.make_graph(
        [node],
        "resize",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", "h", "w", "c"])],
        [helper.make_tensor_value_info("resized", TensorProto.UINT8, ["n", *size, "c"])],
        [helper.make_tensor("size", TensorProto.INT64, [2], list(size))],
    )
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
    return cast(bytes, model.SerializeToString())


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
