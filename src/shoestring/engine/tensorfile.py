"""tensorfile: tensors and plain values in one safetensors file. Importing this brings no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoestring.core.errors import RunError
from shoestring.core.plain import to_plain
from shoestring.core.receipt import Plain
from shoestring.engine import store

if TYPE_CHECKING:
    import torch


def save(path: Path, tensors: Mapping[str, torch.Tensor], values: Plain) -> None:
    """Tensors and plain values in one safetensors file, written whole or not at all."""
    store.write_atomically(path, packed(tensors, values))


def packed(tensors: Mapping[str, torch.Tensor], values: Plain) -> bytes:
    """Such a file. A tensor under two names, as tied weights have, is there once."""
    from safetensors.torch import save as whole

    first, same = dict[tuple[object, ...], str](), dict[str, str]()
    for name, t in tensors.items():
        place = (t.device, t.data_ptr(), t.dtype, t.shape, t.stride())
        if t.numel() and first.setdefault(place, name) != name:
            same[name] = first[place]
    once = {n: t.detach().to("cpu").contiguous() for n, t in tensors.items() if n not in same}
    # One key alone: safetensors writes several in an order that differs from process to process.
    notes = {"values": to_plain(values)} | ({"same": same} if same else {})
    return bytes(whole(once, {"notes": json.dumps(notes)}))


def load(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Raises RunError for a file that is not whole."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if "notes" not in metadata:  # as the first runs were written
            return tensors, json.loads(metadata.get("values", "{}"))
        notes = json.loads(metadata["notes"])
        same = notes.get("same", {})
        return tensors | {name: tensors[first] for name, first in same.items()}, notes["values"]
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise RunError(f"{path} cannot be read: {error}") from error
