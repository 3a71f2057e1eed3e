"""events: the looks of a fit as a TensorBoard event file in the run's folder.

The format is public: records framed as TensorFlow frames them (length, its masked CRC-32C, data,
its masked CRC-32C), each record an `Event` message of protobuf. TensorBoard itself would bring a
web server, gRPC and more than the rest of what is installed for training; scalars need sixty lines.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable
from pathlib import Path

from shoestring.core.errors import RunError
from shoestring.core.receipt import Plain
from shoestring.engine.store import EVENTS

VERSION = "brain.Event:2"
# Values of a look, and what TensorBoard groups them by.
TAGS = {
    "train_loss": "loss/train",
    "validation_loss": "loss/validation",
    "train_accuracy": "accuracy/train",
    "quality": "quality/validation",
    "epoch": "epoch",
}
_DOUBLE, _FLOAT, _VARINT, _BYTES = 1, 5, 0, 2  # wire types of protobuf


def append(folder: Path, lines: Iterable[Plain]) -> None:
    """Adds looks to the run's event file, which begins with its version. Raises RunError where
    that cannot be written."""
    path = folder / EVENTS
    try:
        with path.open("ab") as file:
            if not file.tell():
                file.write(record(event(0, version=VERSION)))
            file.writelines(record(event(int(line["step"]), line)) for line in lines)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error


def rewrite(folder: Path, lines: Iterable[Plain]) -> None:
    """An event file of exactly these looks: what a resume does with those that it will repeat."""
    (folder / EVENTS).unlink(missing_ok=True)
    append(folder, lines)


def event(step: int, line: Plain | None = None, version: str = "") -> bytes:
    """One `Event`: wall_time, step, and the scalars of a look or the version of the file."""
    message = _field(1, _DOUBLE, struct.pack("<d", time.time())) + _field(2, _VARINT, _varint(step))
    if version:
        return message + _sized(3, version.encode())
    values = b"".join(
        _sized(1, _sized(1, tag.encode()) + _field(2, _FLOAT, struct.pack("<f", float(line[name]))))
        for name, tag in TAGS.items()
        if line is not None and name in line
    )
    return message + _sized(5, values)


def record(data: bytes) -> bytes:
    """Data with its length and both checksums."""
    length = struct.pack("<Q", len(data))
    return length + _masked(length) + data + _masked(data)


def _masked(data: bytes) -> bytes:
    """A checksum that is safe to store beside what it is of, as TensorFlow rotates it."""
    crc = crc32c(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def _table() -> tuple[int, ...]:
    found = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        found.append(value)
    return tuple(found)


_TABLE = _table()


def crc32c(data: bytes) -> int:
    """Castagnoli's CRC (RFC 3720), bit-reflected."""
    crc = 0xFFFFFFFF
    for octet in data:
        crc = _TABLE[(crc ^ octet) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


# --- protobuf's wire format ----------------------------------------------------------------------


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def _field(number: int, wire: int, content: bytes) -> bytes:
    return _varint(number << 3 | wire) + content


def _sized(number: int, content: bytes) -> bytes:
    return _field(number, _BYTES, _varint(len(content)) + content)
