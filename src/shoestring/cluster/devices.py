"""devices: what devices can do, read from one table with its sources."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from shoestring.core.errors import UserError

GIGA, TERA = 1e9, 1e12
USUAL = ("bfloat16", "float16", "float32")  # that models are trained in, the first that there is
PRECISIONS = (*USUAL, "float8")
NEEDED = ("memory_gb", "rates", "memory_gb_s", "link_gb_s", "network_gb_s")
_NUMBERS = ("memory_gb", "memory_gb_s", "link_gb_s", "network_gb_s", "price_an_hour")
_WORDS = ("title", "family", "price_as_of", "price_source", "source")


@dataclass(frozen=True)
class Device:
    """One accelerator. Rates are dense operations a second in matrix products by precision;
    bandwidths are bytes a second one way."""

    name: str
    title: str
    family: str
    memory_bytes: float
    rates: Mapping[str, float]
    memory_bandwidth: float
    link_bandwidth: float  # to devices of the same node
    network_bandwidth: float  # to other nodes
    price_an_hour: float | None = None  # dollars
    price_as_of: str = ""
    price_source: str = ""
    source: str = ""

    def rate(self, precision: str) -> float:
        """Operations a second in matrix products; UserError with the precisions there are."""
        if precision not in self.rates:
            raise UserError(
                f"{self.name} has no matrix rate for {precision}; say another --precision: "
                f"{', '.join(self.rates)}"
            )
        return self.rates[precision]

    @property
    def usual(self) -> str:
        """The precision that a model is trained in on it, where nobody says."""
        return next((p for p in USUAL if p in self.rates), next(iter(self.rates)))


@cache
def table() -> Mapping[str, Device]:
    """Every device of devices.toml by name."""
    import tomllib
    from importlib import resources

    text = resources.files("shoestring.cluster").joinpath("devices.toml").read_text("utf-8")
    return {name: from_table(name, row, name) for name, row in tomllib.loads(text).items()}


def device(name: str) -> Device:
    """The device of that name, letters of either case; UserError with the nearest names."""
    known = {key.lower(): found for key, found in table().items()}
    if name.lower() in known:
        return known[name.lower()]
    near = [known[key].name for key in difflib.get_close_matches(name.lower(), known, 3, 0.4)]
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    raise UserError(
        f"there is no device {name!r} in the table; {meant}There are: {', '.join(table())}. "
        "A cluster file can describe another one"
    )


def from_table(name: str, row: Mapping[str, Any], where: str) -> Device:
    """A device from a table of TOML. UserError that names `where` and the field for one that is
    missing, unknown, or no positive number."""
    for field in NEEDED:
        if field not in row:
            raise UserError(
                f"{where} lacks the field {field!r}; a device needs {', '.join(NEEDED)}"
            )
    for field in row:
        if field not in (*_NUMBERS, *_WORDS, "rates"):
            allowed = ", ".join((*_NUMBERS, "rates", *_WORDS))
            raise UserError(f"{where} has no field {field!r}; it has: {allowed}")
    numbers = {f: positive(row[f], f"{where}: {f}") for f in _NUMBERS if f in row}
    rates = row["rates"]
    if not isinstance(rates, Mapping) or not rates:
        raise UserError(
            f"{where}: rates is a table of 10^12 operations a second by precision, such as "
            f"{{ bfloat16 = 312.0 }}, not {rates!r}"
        )
    for precision in rates:
        if precision not in PRECISIONS:
            allowed = ", ".join(PRECISIONS)
            raise UserError(f"{where}: rates has {precision!r}, which is none of {allowed}")
    words = {f: str(row.get(f, "")) for f in _WORDS}
    return Device(
        name=name,
        title=words["title"] or name,
        family=words["family"],
        memory_bytes=numbers["memory_gb"] * GIGA,
        rates={p: positive(r, f"{where}: rates.{p}") * TERA for p, r in rates.items()},
        memory_bandwidth=numbers["memory_gb_s"] * GIGA,
        link_bandwidth=numbers["link_gb_s"] * GIGA,
        network_bandwidth=numbers["network_gb_s"] * GIGA,
        price_an_hour=numbers.get("price_an_hour"),
        price_as_of=words["price_as_of"],
        price_source=words["price_source"],
        source=words["source"],
    )


def positive(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e30:
        raise UserError(f"{where} is a positive number, not {value!r}")
    return float(value)
