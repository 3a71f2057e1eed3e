"""onnx_reader: what an ONNX file asks for, read from its bytes before any runtime sees them.

A strict reader of the protobuf wire format (https://protobuf.dev/programming-guides/encoding/)
for the part of onnx.proto3 that an exporter of ours writes: a field that is not in the tables
below is refused, and with it external data, functions, training graphs and metadata. Of graphs
inside nodes only the body of a Loop is read, by the same rules, that holds no further one and takes
no more steps than whoever runs the graph says: its count is an input without a value of its own.
Every byte is looked at once; nesting is bounded by the tables. The number of nodes is capped, and
so are the sizes that a graph can state by themselves: those of a Resize, and every list of whole
numbers in an attribute (pads, strides, kernels). What the nodes make of them together is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from shoestring.core.errors import BundleError

LARGEST_SIDE = 4096  # pixels, of what a Resize makes
_LARGEST_NUMBER = 1024  # of pads, strides, kernels and dilations, either side of zero
_MOST_NODES = 10_000
_INT64 = 7  # as ONNX numbers it
_MOST_SIDES = 2  # height and width


class _Kind(Enum):
    """How a field is written. LEN fields that hold a message name its table instead."""

    NUMBER = "number"  # varint
    FLOAT = "float"  # four bytes
    BYTES = "bytes"  # text, raw values, packed numbers, or a message that names nothing
    NUMBERS = "numbers"  # repeated: one varint a field, or packed
    FLOATS = "floats"  # repeated: four bytes a field, or packed


@dataclass(frozen=True)
class _Field:
    name: str
    kind: _Kind | str  # a str is the table of the message inside
    repeated: bool = False


_MODEL = {
    1: _Field("ir_version", _Kind.NUMBER),
    2: _Field("producer_name", _Kind.BYTES),
    3: _Field("producer_version", _Kind.BYTES),
    5: _Field("model_version", _Kind.NUMBER),
    6: _Field("doc_string", _Kind.BYTES),
    7: _Field("graph", "graph"),
    8: _Field("opset_import", "opset", repeated=True),
}
_OPSET = {1: _Field("domain", _Kind.BYTES), 2: _Field("version", _Kind.NUMBER)}
_GRAPH = {
    1: _Field("node", "node", repeated=True),
    2: _Field("name", _Kind.BYTES),
    5: _Field("initializer", "tensor", repeated=True),
    10: _Field("doc_string", _Kind.BYTES),
    11: _Field("input", "value", repeated=True),
    12: _Field("output", _Kind.BYTES, repeated=True),
    13: _Field("value_info", _Kind.BYTES, repeated=True),
}
_VALUE = {
    1: _Field("name", _Kind.BYTES),
    2: _Field("type", _Kind.BYTES),
    3: _Field("doc_string", _Kind.BYTES),
}
_NODE = {
    1: _Field("input", _Kind.BYTES, repeated=True),
    2: _Field("output", _Kind.BYTES, repeated=True),
    3: _Field("name", _Kind.BYTES),
    4: _Field("op_type", _Kind.BYTES),
    5: _Field("attribute", "attribute", repeated=True),
    6: _Field("doc_string", _Kind.BYTES),
    7: _Field("domain", _Kind.BYTES),
}
_ATTRIBUTE = {
    1: _Field("name", _Kind.BYTES),
    2: _Field("f", _Kind.FLOAT),
    3: _Field("i", _Kind.NUMBER),
    4: _Field("s", _Kind.BYTES),
    5: _Field("t", "tensor"),
    7: _Field("floats", _Kind.FLOATS, repeated=True),
    8: _Field("ints", _Kind.NUMBERS, repeated=True),
    9: _Field("strings", _Kind.BYTES, repeated=True),
    13: _Field("doc_string", _Kind.BYTES),
    20: _Field("type", _Kind.NUMBER),
}
# A node of a graph may hold one graph, the nodes of which hold none. It has no weights of its own.
_BODY = {number: _GRAPH[number] for number in (2, 10, 11, 12, 13)}
_BODY |= {1: _Field("node", "node of a body", repeated=True)}
_NODE_OF_A_BODY = _NODE | {5: _Field("attribute", "attribute of a body", repeated=True)}
_ATTRIBUTE_OF_A_BODY = dict(_ATTRIBUTE)
_ATTRIBUTE |= {6: _Field("g", "body")}
_TENSOR = {
    1: _Field("dims", _Kind.NUMBERS, repeated=True),
    2: _Field("data_type", _Kind.NUMBER),
    4: _Field("float_data", _Kind.FLOATS, repeated=True),
    5: _Field("int32_data", _Kind.NUMBERS, repeated=True),
    7: _Field("int64_data", _Kind.NUMBERS, repeated=True),
    8: _Field("name", _Kind.BYTES),
    9: _Field("raw_data", _Kind.BYTES),
}
# Weights that several graphs share are a model that holds nothing else: joined to a graph's bytes
# they extend the list of its initializers and can do nothing more.
_WEIGHTS = {7: _Field("graph", "weights of a graph")}
_WEIGHTS_OF_A_GRAPH = {5: _Field("initializer", "tensor", repeated=True)}
_TABLES = {
    "weights": _WEIGHTS,
    "weights of a graph": _WEIGHTS_OF_A_GRAPH,
    "model": _MODEL,
    "opset": _OPSET,
    "graph": _GRAPH,
    "value": _VALUE,
    "node": _NODE,
    "attribute": _ATTRIBUTE,
    "body": _BODY,
    "node of a body": _NODE_OF_A_BODY,
    "attribute of a body": _ATTRIBUTE_OF_A_BODY,
    "tensor": _TENSOR,
}
# Refused like every field that stands in no table; named here for the sake of the message.
_REFUSED = {
    ("model", 14): "metadata",
    ("model", 20): "a training graph",
    ("model", 25): "functions",
    ("graph", 15): "sparse weights",
    ("attribute", 11): "graphs inside a node",
    ("attribute of a body", 6): "a graph inside a graph inside a node",
    ("attribute of a body", 11): "graphs inside a graph inside a node",
    ("tensor", 13): "external data: weights in another file",
    ("tensor", 14): "external data: weights in another file",
}
_NODES = ("node", "node of a body")
_VARINT, _FIXED64, _LEN, _FIXED32 = 0, 1, 2, 5  # wire types


@dataclass(frozen=True)
class Summary:
    """What a file asks of a runtime."""

    opsets: dict[str, int]  # version by domain; "" is ONNX's own
    operators: frozenset[tuple[str, str]]  # (domain, name)


def read(data: bytes, name: str, shared: bytes = b"") -> Summary:
    """Walks the whole file, and the weights that are joined to it. BundleError, naming the file,
    for anything an exporter of ours does not write."""
    weights = _Reader(shared, f"the shared weights of {name}")
    weights.message("weights", 0, len(shared))
    reader = _Reader(data, name, weights.sides)
    reader.message("model", 0, len(data))
    if not reader.seen_graph:
        raise BundleError(f"{name} is not an ONNX model: it holds no graph")
    return Summary(reader.opsets, frozenset(reader.operators))


class _Reader:
    def __init__(self, data: bytes, name: str, sides: dict[bytes, list[int]] | None = None) -> None:
        self._data, self._name = data, name
        self.opsets: dict[str, int] = {}
        self.operators: set[tuple[str, str]] = set()
        self.seen_graph = False
        self._nodes = 0
        self._resizes: list[list[bytes]] = []  # the inputs of each
        self._loops: list[list[bytes]] = []
        self._inputs: set[bytes] = set()  # of the graph
        self.sides = dict(sides or {})  # by initializer; [] for one that is no size

    def message(self, table: str, at: int, end: int) -> dict[str, int | str | bytes]:
        """Walks one message. Gives what its parent may want of it: a field's number, its word, or
        its first bytes."""
        known = _TABLES[table]
        singles: dict[str, int | str | bytes] = {}
        inputs: list[bytes] = []
        for number, wire, value, start, stop in self._fields(at, end):
            field = known.get(number)
            if field is None:
                what = _REFUSED.get((table, number), f"field {number} of a {table}")
                raise BundleError(f"{self._name} has {what}, which shoestring never writes")
            self._check_wire(field, table, wire)
            # A second value of a single field would replace or extend the first in the runtime.
            if not field.repeated and field.name in singles:
                raise BundleError(f"{self._name} has two values of {table}.{field.name}")
            if isinstance(field.kind, str):
                singles[field.name] = ""
                inside = self.message(field.kind, start, stop)
                if field.name == "initializer":
                    self._note_sides(inside)
                elif (table, field.name) == ("graph", "input"):
                    self._inputs.add(_name(inside))
                elif field.name == "attribute" and "g" in inside:
                    singles["g"] = ""
            elif field.name in ("op_type", "domain"):
                singles[field.name] = self._word(start, stop)
            elif field.name == "ints":
                self._check_numbers(wire, value, start, stop)
            elif table in ("tensor", "value") and field.name == "name":
                singles["name"] = self._data[start:stop]
            elif field.name == "raw_data":  # no more of it than shows that it is no size
                singles["raw_data"] = self._data[start : min(stop, start + 8 * _MOST_SIDES + 1)]
            elif table in _NODES and field.name == "input":
                inputs.append(self._data[start:stop])
            else:
                singles[field.name] = value
        self._note(table, singles, inputs)
        return singles

    def _note(self, table: str, singles: dict[str, int | str | bytes], inputs: list[bytes]) -> None:
        """What a whole message says, once it was walked."""
        if table in _NODES:
            pair = (str(singles.get("domain", "")), str(singles.get("op_type", "")))
            self.operators.add(pair)
            self._nodes += 1
            if self._nodes > _MOST_NODES:
                raise BundleError(f"{self._name} has more than {_MOST_NODES:,} nodes: too many")
            if pair[1] == "Resize":
                self._resizes.append(inputs)
            if pair[1] == "Loop":
                self._loops.append(inputs)
            elif "g" in singles:
                raise BundleError(
                    f"{self._name} has a graph inside a node, which shoestring never writes but "
                    "for the body of a Loop"
                )
        elif table == "opset":
            self.opsets[str(singles.get("domain", ""))] = int(singles.get("version", 0))
        elif table == "graph":
            self.seen_graph = True
            for names in self._resizes:  # initializers may stand behind the nodes
                self._check_resize(names)
            for names in self._loops:
                self._check_loop(names)

    def _note_sides(self, tensor: dict[str, int | str | bytes]) -> None:
        name, raw = _name(tensor), tensor.get("raw_data", b"")
        assert isinstance(raw, bytes)  # so kept by `message`
        if name in self.sides:
            raise BundleError(f"{self._name} has two initializers of one name")
        plain = tensor.get("data_type") == _INT64 and "int64_data" not in tensor
        sides = [int.from_bytes(raw[at : at + 8], "little") for at in range(0, len(raw), 8)]
        self.sides[name] = sides if plain and len(sides) <= _MOST_SIDES else []

    def _check_resize(self, inputs: list[bytes]) -> None:
        """Of x, roi, scales and sizes only the first and the last may be given."""
        sides = self.sides.get(inputs[3], []) if len(inputs) == 4 else []
        if not sides or inputs[1] or inputs[2]:
            raise BundleError(
                f"{self._name} resizes to something else than a height and a width that stand in it"
            )
        if not all(0 < side <= LARGEST_SIDE for side in sides):
            raise BundleError(
                f"{self._name} resizes to {sides}; a side is 1 to {LARGEST_SIDE} pixels"
            )

    def _check_loop(self, inputs: list[bytes]) -> None:
        """An input that has a value of its own, or none, would be a count that nobody gave."""
        count = inputs[0] if inputs else b""
        if count not in self._inputs or count in self.sides:
            raise BundleError(
                f"{self._name} loops as often as it says itself; how often is an input of a graph "
                "of ours"
            )

    def _check_numbers(self, wire: int, value: int, start: int, stop: int) -> None:
        """A list in an attribute: one value a field, or packed."""
        while True:
            if wire == _LEN:
                if start >= stop:
                    return
                value, start = self._varint(start, stop)
            signed = value - (value >> 63 << 64)
            if abs(signed) > _LARGEST_NUMBER:
                raise BundleError(
                    f"{self._name} has {signed} in an attribute; padding, strides and kernels go "
                    f"up to {_LARGEST_NUMBER}"
                )
            if wire != _LEN:
                return

    def _fields(self, at: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
        """(field number, wire type, value of a varint, start and end of the content)."""
        while at < end:
            tag, at = self._varint(at, end)
            number, wire, value, start = tag >> 3, tag & 7, 0, at
            if wire == _VARINT:
                value, at = self._varint(at, end)
            elif wire == _LEN:
                size, start = self._varint(at, end)
                at = start + size
            elif wire in (_FIXED32, _FIXED64):
                at += 4 if wire == _FIXED32 else 8
            else:
                raise self._damaged(at)
            if number == 0 or tag >> 32 or at > end:
                raise self._damaged(start)
            yield number, wire, value, start, at

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = 0
        for shift in range(0, 70, 7):
            if at >= end:
                raise self._damaged(at)
            byte = self._data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                if value >> 64:
                    break
                return value, at
        raise self._damaged(at)

    def _check_wire(self, field: _Field, table: str, wire: int) -> None:
        allowed = {
            _Kind.NUMBER: (_VARINT,),
            _Kind.FLOAT: (_FIXED32,),
            _Kind.BYTES: (_LEN,),
            _Kind.NUMBERS: (_VARINT, _LEN),
            _Kind.FLOATS: (_FIXED32, _LEN),
        }
        kind = field.kind
        if wire not in ((_LEN,) if isinstance(kind, str) else allowed[kind]):
            raise BundleError(f"{self._name} is damaged: {table}.{field.name} has wire type {wire}")

    def _word(self, start: int, stop: int) -> str:
        if stop - start > 200:
            raise self._damaged(start)
        return self._data[start:stop].decode("utf-8", errors="replace")

    def _damaged(self, at: int) -> BundleError:
        return BundleError(f"{self._name} is not an ONNX model: it is damaged at byte {at}")


def _name(message: dict[str, int | str | bytes]) -> bytes:
    """Of a tensor or a value."""
    name = message.get("name", b"")
    assert isinstance(name, bytes)  # so kept by `message`
    return name
