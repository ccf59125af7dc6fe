"""Reading an ONNX file before anything runs it.

ONNX is protobuf (``onnx.proto`` in github.com/onnx/onnx, whose field numbers are used here). It is read by hand,
because playing should need onnxruntime and no more, and because whatever is not known here is refused: a file
that gets through is a plain network, without other files, control flow, functions or foreign operators.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from typing import Any

OPSET = 17
MAX_BYTES = 64 * 1024 * 1024
MAX_FIELDS = 100_000
"""Entries of all messages together; a policy of ten layers has a few hundred."""

FLOAT, UINT8, INT64 = 1, 2, 7
_ITEM_BYTES = {FLOAT: 4, UINT8: 1, INT64: 8}


class PolicyFileError(ValueError):
    """A policy file is missing, torn, altered, hostile, or none at all; nothing in it was run."""


@dataclass
class Node:
    """One operator; attributes are numbers, texts, or lists of numbers."""

    operator: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass
class Value:
    """An input or output: its element type and sides; None is a side left open."""

    name: str = ""
    element: int = 0
    shape: list[int | None] = field(default_factory=list)


@dataclass
class OnnxFile:
    """The graph in a file; ``constants`` are the shapes of what is stored in it, by name."""

    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, tuple[int, ...]] = field(default_factory=dict)
    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)


def read_onnx(data: bytes) -> OnnxFile:
    """The graph that ``data`` holds; nothing is run, and nothing but ``data`` is read.

    Raises:
        PolicyFileError: it is torn, too large, or has what no policy needs; says what.
    """
    if len(data) > MAX_BYTES:
        raise PolicyFileError(f"the ONNX file has {len(data):,} bytes; {MAX_BYTES:,} are allowed.")
    return _Reader().model(memoryview(data))


class _Reader:
    """Goes through messages, and counts what it meets. Every occurrence of a field is looked at, so that it does not
    matter how another reader treats a field that comes twice."""

    def __init__(self) -> None:
        self.left = MAX_FIELDS

    def model(self, data: memoryview) -> OnnxFile:
        graphs, opsets = [], []
        for number, value in self.fields(data, "the model"):
            if number == 7:
                graphs.append(self.graph(_bytes(value)))
            elif number == 8:
                opsets.append(self.opset(_bytes(value)))
            elif number not in (1, 2, 3, 4, 5, 6, 14):  # versions, names and remarks
                raise PolicyFileError(f"the model has functions or other parts (field {number}) that no policy needs.")
        if len(graphs) != 1 or opsets != [OPSET]:
            raise PolicyFileError(
                f"the file is torn or no policy: it has {len(graphs)} graphs of operator set {opsets}; "
                f"one of operator set {OPSET} is wanted."
            )
        return graphs[0]

    def opset(self, data: memoryview) -> int:
        version = 0
        for number, value in self.fields(data, "an operator set"):
            if number == 1:
                _require_standard(_text(value), "the file")
            elif number == 2:
                version = _int(value)
        return version

    def graph(self, data: memoryview) -> OnnxFile:
        file = OnnxFile()
        for number, value in self.fields(data, "the graph"):
            if number == 1:
                file.nodes.append(self.node(_bytes(value)))
            elif number == 5:
                _add(file.constants, *self.tensor(_bytes(value)))
            elif number == 11:
                file.inputs.append(self.value(_bytes(value)))
            elif number == 12:
                file.outputs.append(self.value(_bytes(value)))
            elif number not in (2, 10, 13, 16):  # names and remarks
                raise PolicyFileError(f"the graph has parts (field {number}) that no policy needs.")
        return file

    def node(self, data: memoryview) -> Node:
        node, domains = Node(), []
        for number, value in self.fields(data, "a node"):
            if number in (1, 2):
                (node.inputs if number == 1 else node.outputs).append(_text(value))
            elif number == 4:
                node.operator = _text(value)
            elif number == 5:
                _add(node.attributes, *self.attribute(_bytes(value)))
            elif number == 7:
                domains.append(_text(value))
            elif number not in (3, 6, 9):  # names and remarks
                raise PolicyFileError(f"operator {node.operator!r} has parts (field {number}) that no policy needs.")
        for domain in domains:
            _require_standard(domain, f"operator {node.operator!r}")
        return node

    def attribute(self, data: memoryview) -> tuple[str, Any]:
        name = ""
        contents: dict[int, Any] = {}
        for number, value in self.fields(data, "an attribute"):
            if number == 1:
                name = _text(value)
            elif number in (2, 4):  # a float, a text
                contents[number] = bytes(_bytes(value))
            elif number == 3:
                contents[number] = _int(value)
            elif number == 8:
                contents.setdefault(number, []).extend(self.integers(value))
            elif number not in (13, 20):  # a remark, the type
                raise PolicyFileError(
                    f"attribute {name!r} holds a tensor, a graph or a list (field {number}) that no policy needs."
                )
        if len(contents) != 1:
            raise PolicyFileError(f"attribute {name!r} has {len(contents)} contents; it should have one.")
        return name, next(iter(contents.values()))

    def tensor(self, data: memoryview) -> tuple[str, tuple[int, ...]]:
        name, element, stored, shape = "", 0, 0, []
        for number, value in self.fields(data, "a constant"):
            if number == 1:
                shape += self.integers(value)
            elif number == 2:
                element = _int(value)
            elif number == 8:
                name = _text(value)
            elif number == 9:
                stored += len(_bytes(value))
            elif number == 13 or (number == 14 and value != 0):
                raise PolicyFileError(f"constant {name!r} is kept in another file (external data); it is not read.")
            elif number not in (12, 14):
                raise PolicyFileError(f"constant {name!r} is stored in a way (field {number}) that no policy needs.")
        if any(side < 0 for side in shape) or prod(shape) * _ITEM_BYTES.get(element, -1) != stored:
            raise PolicyFileError(
                f"constant {name!r} of shape {shape[:8]} and type {element} cannot be the {stored:,} bytes it has."
            )
        return name, tuple(shape)

    def value(self, data: memoryview) -> Value:
        result = Value()
        for number, content in self.fields(data, "a value"):
            if number == 1:
                result.name = _text(content)
            elif number == 2:
                for kind, tensor in self.fields(_bytes(content), "a type"):
                    if kind not in (1, 6):
                        raise PolicyFileError(f"{result.name!r} is no tensor.")
                    if kind == 1:
                        self.tensor_type(_bytes(tensor), result)
        return result

    def tensor_type(self, data: memoryview, result: Value) -> None:
        for number, content in self.fields(data, "a tensor type"):
            if number == 1:
                result.element = _int(content)
            elif number == 2:
                for _, dimension in self.fields(_bytes(content), "a shape"):
                    side: int | None = None
                    for kind, extent in self.fields(_bytes(dimension), "a side"):
                        side = _int(extent) if kind == 1 else side
                    result.shape.append(side)

    def integers(self, value: int | memoryview) -> list[int]:
        """One integer, or several packed."""
        if isinstance(value, int):
            return [_signed(value)]
        found, at = [], 0
        while at < len(value):
            number, at = _varint(value, at)
            found.append(_signed(number))
            self.count()
        return found

    def fields(self, data: memoryview, where: str) -> Iterator[tuple[int, int | memoryview]]:
        """Field numbers and what they hold: an integer, or bytes."""
        at = 0
        while at < len(data):
            self.count()
            tag, at = _varint(data, at)
            number, wire_type = tag >> 3, tag & 7
            if wire_type == 0:
                integer, at = _varint(data, at)
                yield number, integer
                continue
            if wire_type == 2:
                length, at = _varint(data, at)
            elif wire_type in (1, 5):
                length = 8 if wire_type == 1 else 4
            else:
                raise PolicyFileError(f"the file is torn or no ONNX: {where} has a field of wire type {wire_type}.")
            if at + length > len(data):
                raise PolicyFileError(f"the file is torn: {where} ends {at + length - len(data):,} bytes too early.")
            yield number, data[at : at + length]
            at += length

    def count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise PolicyFileError(f"the file has more than {MAX_FIELDS:,} entries; no policy needs as many.")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    result = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & (2**64 - 1), at
    raise PolicyFileError("the file is torn or no ONNX: a number in it does not end.")


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def _int(value: int | memoryview) -> int:
    if not isinstance(value, int):
        raise PolicyFileError("the file is torn or no ONNX: it has bytes where a number should be.")
    return _signed(value)


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise PolicyFileError("the file is torn or no ONNX: it has a number where bytes should be.")
    return value


def _text(value: int | memoryview) -> str:
    try:
        text = bytes(_bytes(value)).decode()
    except UnicodeDecodeError:
        raise PolicyFileError("the file is torn or no ONNX: a name in it is no text.") from None
    if len(text) > 1_000:
        raise PolicyFileError(f"a name in the file has {len(text):,} characters; no policy needs more than 1,000.")
    return text


def _add(known: dict[str, Any], name: str, content: Any) -> None:
    if name in known:
        raise PolicyFileError(f"the file says twice what {name!r} is.")
    known[name] = content


def _require_standard(domain: str, what: str) -> None:
    if domain not in ("", "ai.onnx"):
        raise PolicyFileError(f"{what} uses operators of {domain[:100]!r}; only ONNX's own are allowed.")
