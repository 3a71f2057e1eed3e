"""verify: re-checks every file of a bundle, and that its graphs answer as when it was made."""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from shoestring.bundle import bundle as bundles
from shoestring.core.errors import BundleError
from shoestring.core.receipt import Plain

if TYPE_CHECKING:
    from numpy.typing import NDArray

_GOLDEN_CAP_BYTES = 1 << 28  # unpacked


def verify(path: str | os.PathLike[str]) -> Plain:
    """Names, sizes, hashes and golden vectors of a bundle, or of the one in a run folder.

    Raises BundleError naming the first thing that is wrong; a file that the manifest does not
    list is one (but for `openings.jsonl` and a receipt). Gives {"ok": True, "files": [...],
    "size_bytes", "model_bytes", "golden": {"max_difference", "tolerance", "inputs"}}.
    """
    folder = bundles.find(path)
    opened = bundles.load(folder)
    manifest = opened.manifest
    with os.scandir(folder) as entries:
        present = sorted(entry.name for entry in entries)
    known = {bundles.MANIFEST, *bundles.BESIDE, *manifest["files"]}
    for name in present:
        if name not in known:
            raise BundleError(
                f"{folder / name} is not listed in {bundles.MANIFEST}; take it out of the folder"
            )
    inputs, expected = read_golden(bundles.read_file(folder, manifest["golden"]["file"], manifest))
    tolerance = float(manifest["golden"]["absolute_tolerance"])
    difference = _largest_difference(opened.predictor.golden(inputs)[1], expected)
    if difference > tolerance:
        raise BundleError(
            f"{folder} answers its golden inputs differently from when it was made: by up to "
            f"{difference:.2g}, where {tolerance:.0e} is allowed. The files are intact, so this "
            "onnxruntime or this processor computes otherwise"
        )
    size_bytes, model_bytes = bundles.sizes(folder, manifest)
    return {
        "ok": True,
        "path": str(folder),
        "task": manifest["task"],
        "version": manifest["version"],
        "files": sorted(manifest["files"]),
        "size_bytes": size_bytes,
        "model_bytes": model_bytes,
        "golden": {
            "inputs": sum(len(batch) for batch in inputs.values()),
            "max_difference": difference,
            "tolerance": tolerance,
        },
    }


def read_golden(
    data: bytes,
) -> tuple[Mapping[str, NDArray[Any]], Mapping[str, NDArray[Any]]]:
    """(inputs, outputs) of a golden.npz. Only arrays of numbers are read; nothing is unpickled."""
    import numpy as np

    inputs: dict[str, NDArray[Any]] = {}
    outputs: dict[str, NDArray[Any]] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > _GOLDEN_CAP_BYTES:
            raise BundleError(f"{bundles.GOLDEN} unpacks to {unpacked:,} bytes: too many")
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            for key in arrays.files:
                kind, _, name = key.partition(".")
                if kind not in ("input", "output"):
                    raise BundleError(f"{bundles.GOLDEN} holds {key!r}, neither input nor output")
                (inputs if kind == "input" else outputs)[name] = arrays[key]
    except (zipfile.BadZipFile, zlib.error, ValueError, KeyError, EOFError, OSError) as error:
        raise BundleError(f"{bundles.GOLDEN} cannot be read: {error}") from error
    if not inputs or not outputs:
        raise BundleError(f"{bundles.GOLDEN} holds no inputs or no outputs")
    return inputs, outputs


def _largest_difference(
    found: Mapping[str, NDArray[Any]], expected: Mapping[str, NDArray[Any]]
) -> float:
    import numpy as np

    if found.keys() != expected.keys():
        raise BundleError(f"{bundles.GOLDEN} has outputs {sorted(expected)}, not {sorted(found)}")
    largest = 0.0
    for name, values in expected.items():
        if found[name].shape != values.shape:
            raise BundleError(
                f"golden output {name!r} has shape {found[name].shape}, not {values.shape}"
            )
        apart = np.abs(found[name].astype(np.float64) - values.astype(np.float64))
        # max() would pass over a NaN; np.inf says that these are not the same answers.
        largest = max(
            largest, float(apart.max(initial=0.0)) if np.isfinite(apart).all() else np.inf
        )
    return largest
