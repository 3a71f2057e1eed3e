"""manifest: bundle.json, read with suspicion and written lean, for its bytes ship too."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

from shoestring.core.errors import BundleError
from shoestring.core.plain import to_plain
from shoestring.core.receipt import Plain, Scores

VERSION = 1  # a newer bundle is refused, an older one is read for ever
TOLERANCE = 1e-4  # absolute, of golden outputs: other processors round differently
ROUNDED_TOLERANCE = 0.05  # the same in whole steps, of which another one is taken by a hair
_CAP_BYTES = 1 << 24  # of bundle.json itself
_MOST_FILES = 64
OWN = ("version", "task", "facts", "files", "golden")  # keys of the format itself
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,99}")  # no separator, no leading dot
_SHA256 = re.compile(r"[0-9a-f]{64}")


def compose(
    task_name: str, facts: Any, files: Mapping[str, bytes], golden: str, extra: Plain
) -> dict[str, Any]:
    """The manifest of these files. `extra` adds what is not the format's own."""
    tolerance = ROUNDED_TOLERANCE if extra.get("quantization") else TOLERANCE
    own = {
        "version": VERSION,
        "task": task_name,
        "facts": facts,
        "files": {
            name: {"size_bytes": len(data), "sha256": sha256(data).hexdigest()}
            for name, data in files.items()
        },
        "golden": {"file": golden, "absolute_tolerance": tolerance},
    }
    return {**own, **{k: v for k, v in extra.items() if k not in OWN}}


def headline(scores: Scores) -> dict[str, Any]:
    """Scores without their tables and empty fields, in six digits: what a manifest carries."""
    plain = {
        k: v for k, v in to_plain(scores).items() if v not in (None, "", {}) and k != "details"
    }
    return cast(dict[str, Any], _short(plain))


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _short(v) for k, v in value.items()}
    return float(f"{value:.6g}") if isinstance(value, float) else value


def to_bytes(manifest: Plain) -> bytes:
    """JSON with one line for each part: short, and still fit for eyes and diffs."""
    lines = (
        f"{json.dumps(key)}:{json.dumps(value, separators=(',', ':'), ensure_ascii=False)}"
        for key, value in manifest.items()
    )
    return ("{" + ",\n".join(lines) + "}\n").encode()


def read(path: Path) -> dict[str, Any]:
    """The manifest at `path`, checked for everything that later code relies on."""
    data = read_regular(path, _CAP_BYTES)
    if len(data) > _CAP_BYTES:
        raise BundleError(f"{path} is larger than {_CAP_BYTES:,} bytes: no bundle's manifest is")
    try:
        manifest = json.loads(data.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not JSON: {error}") from error
    if not isinstance(manifest, dict):
        raise BundleError(f"{path} is not a bundle's manifest: it holds no table of values")
    version = manifest.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise BundleError(f"{path} is not a bundle's manifest: its version is {version!r}")
    if version > VERSION:
        raise BundleError(
            f"{path} is of bundle version {version}; this shoestring reads up to {VERSION}: "
            "upgrade shoestring to open it"
        )
    for key, kind in (("task", str), ("facts", dict), ("files", dict), ("golden", dict)):
        if not isinstance(manifest.get(key), kind):
            raise BundleError(f"{path} is not a bundle's manifest: {key!r} is missing or wrong")
    _check_files(path, manifest["files"])
    golden, tolerance = manifest["golden"].get("file"), manifest["golden"].get("absolute_tolerance")
    if golden not in manifest["files"]:
        raise BundleError(f"{path} names {golden!r} as golden vectors, but does not list that file")
    if not isinstance(tolerance, int | float) or not 0 <= tolerance <= 0.1:
        raise BundleError(f"{path} has a golden tolerance of {tolerance!r}; it is 0 to 0.1")
    return manifest


def _check_files(path: Path, files: dict[str, Any]) -> None:
    if not 0 < len(files) <= _MOST_FILES:
        raise BundleError(f"{path} lists {len(files)} files; a bundle has 1 to {_MOST_FILES}")
    for name, listed in files.items():
        if not _NAME.fullmatch(name) or name == path.name:
            raise BundleError(f"{path} lists {name!r}, which is not a name of a file in the bundle")
        size = listed.get("size_bytes") if isinstance(listed, dict) else None
        digest = listed.get("sha256") if isinstance(listed, dict) else None
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise BundleError(f"{path} gives {name} a size of {size!r}")
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            raise BundleError(f"{path} gives {name} a sha256 of {digest!r}")


def read_regular(path: Path, most: int) -> bytes:
    """Up to `most + 1` bytes of a regular file; a symbolic link, a device or a pipe is refused."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        if path.is_symlink():
            raise BundleError(f"{path} is a symbolic link; a bundle only has regular files")
        with open(path, "rb", opener=lambda name, _: os.open(name, flags)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise BundleError(f"{path} is not a regular file")
            return file.read(most + 1)
    except FileNotFoundError as error:
        raise BundleError(f"{path} is missing; copy the bundle again") from error
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror or error}") from error


def _no_constant(word: str) -> float:
    raise ValueError(f"{word} is not a JSON number")
