"""Event files: framed and checked as TensorBoard reads them, and no longer than the looks."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from shoestring.core.errors import RunError
from shoestring.engine import events, store

LINES = [
    {"step": 4, "epoch": 0.5, "train_loss": 1.25, "validation_loss": 1.5, "quality": 0.25},
    {"step": 300, "epoch": 1.0, "train_loss": 0.5, "validation_loss": 0.75, "quality": 0.5},
]


def records(path: Path) -> Iterator[bytes]:
    """The records of a file, each with both of its checksums found right."""
    data = path.read_bytes()
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        body = data[12 : 12 + length]
        assert data[: 16 + length] == events.record(body)
        yield body
        data = data[16 + length :]


def fields(message: bytes) -> Iterator[tuple[int, object]]:
    """(number, value) of a protobuf message."""
    while message:
        key, message = varint(message)
        number, wire = key >> 3, key & 7
        value: object
        if wire == 0:
            value, message = varint(message)
        elif wire == 1:
            (value,), message = struct.unpack("<d", message[:8]), message[8:]
        elif wire == 5:
            (value,), message = struct.unpack("<f", message[:4]), message[4:]
        else:
            size, message = varint(message)
            value, message = message[:size], message[size:]
        yield number, value


def varint(message: bytes) -> tuple[int, bytes]:
    number = shift = 0
    for place, octet in enumerate(message):
        number |= (octet & 0x7F) << shift
        shift += 7
        if octet < 0x80:
            return number, message[place + 1 :]
    raise AssertionError("a number without an end")


def scalars(path: Path) -> list[tuple[int, dict[str, float]]]:
    """(step, values by tag) of every record but the first, which is the version."""
    first, *others = (dict(fields(body)) for body in records(path))
    assert first[3] == b"brain.Event:2"
    found = []
    for event in others:
        summary = event[5]
        assert isinstance(summary, bytes)
        values = [dict(fields(value)) for _, value in fields(summary) if isinstance(value, bytes)]
        found.append((event[2], {value[1].decode(): value[2] for value in values}))
    return found


@pytest.mark.parametrize(
    ("data", "checksum"), [(b"", 0), (b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA)]
)
def test_checksums_are_those_of_the_standard(data: bytes, checksum: int) -> None:
    assert events.crc32c(data) == checksum  # RFC 3720, B.4


def test_looks_are_scalars_at_their_steps(tmp_path: Path) -> None:
    for line in LINES:
        events.append(tmp_path, [line])
    (first_step, first), (last_step, last) = scalars(tmp_path / store.EVENTS)
    assert (first_step, last_step) == (4, 300)
    assert first["loss/train"] == 1.25
    assert last == {
        "loss/train": 0.5,
        "loss/validation": 0.75,
        "quality/validation": 0.5,
        "epoch": 1.0,
    }


def test_a_resume_begins_again_from_what_it_knows(tmp_path: Path) -> None:
    events.append(tmp_path, LINES)
    events.rewrite(tmp_path, LINES[:1])
    assert [step for step, _ in scalars(tmp_path / store.EVENTS)] == [4]
    events.rewrite(tmp_path, [])
    assert scalars(tmp_path / store.EVENTS) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"none.events\.out"):
        events.append(tmp_path / "none", LINES)


def test_an_event_file_is_not_taken_for_what_the_data_brought(tmp_path: Path) -> None:
    events.append(tmp_path, LINES)
    (tmp_path / "tokenizer.model").write_bytes(b"-")
    assert set(store.kept(tmp_path)) == {"tokenizer.model"}
