"""Any value an info dictionary, reset options or a frame may hold, as a ``Value`` message."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from rlbridge.v1 import values_pb2
from rlbridge.wire.errors import WireError, utf8
from rlbridge.wire.tensors import Array, checked_shape, decode_tensor, encode_tensor, has_data_type

MAX_DEPTH = 24
_OPAQUE_TEXT = 200
# Python's own limit on int(text) is 4300 digits; a seed or a hash needs far fewer.
_MAX_DIGITS = 4000
_TOO_BIG = 10**_MAX_DIGITS


class Opaque(str):
    """What arrives in place of an object that has no form on the wire: its printed form, and its type's name."""

    __slots__ = ("type_name",)
    type_name: str

    def __new__(cls, type_name: str, text: str) -> Opaque:
        """Make the stand-in for an object of ``type_name`` that printed as ``text``."""
        self = super().__new__(cls, text)
        self.type_name = type_name
        return self

    def __repr__(self) -> str:
        return f"Opaque({self.type_name!r}, {str(self)!r})"


def encode_value(value: Any) -> values_pb2.Value:
    """None, booleans, numbers, text, bytes, arrays, lists, tuples and dictionaries, nested; anything else as opaque.

    Dictionary keys become text. Arrays of text or bytes become arrays of objects.

    Raises:
        WireError: nested deeper than 24 levels (or in a circle), or two keys of a dictionary become the same text.
    """
    message = values_pb2.Value()
    _fill(message, value, 0)
    return message


def _fill(message: values_pb2.Value, value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise WireError(f"a value is nested deeper than {MAX_DEPTH} levels (or contains itself)", limit=MAX_DEPTH)
    if value is None:
        message.none.SetInParent()
    elif isinstance(value, bool):
        message.boolean = value
    elif isinstance(value, np.generic) and has_data_type(value.dtype):
        message.scalar.CopyFrom(encode_tensor(np.asarray(value)))
    elif isinstance(value, int):
        if -(2**63) <= value < 2**63:
            message.integer = value
        elif -_TOO_BIG < value < _TOO_BIG:
            message.big_integer = str(int(value))
        else:
            _fill_opaque(message, value)
    elif isinstance(value, float):
        message.real = value
    elif isinstance(value, Opaque):
        message.opaque.type, message.opaque.text = utf8(value.type_name), utf8(str(value))
    elif isinstance(value, str):
        _fill_text(message, value)
    elif isinstance(value, (bytes, bytearray)):
        message.binary = bytes(value)
    elif isinstance(value, np.ndarray) and has_data_type(value.dtype):
        message.array.CopyFrom(encode_tensor(value))
    elif isinstance(value, np.ndarray) and value.dtype.kind in "OSTU":
        message.objects.shape.extend(value.shape)
        for item in value.ravel().tolist():
            _fill(message.objects.items.add(), item, depth + 1)
    elif isinstance(value, Mapping):
        _fill_map(message.map, value, depth)
    elif isinstance(value, (list, tuple)):
        items = message.tuple if isinstance(value, tuple) else message.list
        items.SetInParent()
        for item in value:
            _fill(items.items.add(), item, depth + 1)
    else:
        _fill_opaque(message, value)


def _fill_map(message: values_pb2.MapValue, value: Mapping[Any, Any], depth: int) -> None:
    message.SetInParent()
    seen = set()
    for key, item in value.items():
        text = utf8(str(key))
        if text in seen:
            raise WireError(f"two keys of a dictionary become the same text, {text!r}")
        seen.add(text)
        _fill(message.entries.add(key=text).value, item, depth + 1)


def _fill_text(message: values_pb2.Value, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:  # lone surrogates: legal in Python, not in UTF-8
        _fill_opaque(message, text)
    else:
        message.text = text


def _fill_opaque(message: values_pb2.Value, value: Any) -> None:
    try:
        text = repr(value)[:_OPAQUE_TEXT]
    except Exception as error:  # anyone's __repr__, and Python's own for an integer of more than 4300 digits
        text = f"<its repr raised {type(error).__name__}>"
    message.opaque.type = utf8(f"{type(value).__module__}.{type(value).__qualname__}")
    message.opaque.text = utf8(text)


def decode_value(message: values_pb2.Value, *, copy: bool = False) -> Any:
    """The value of a message; arrays are read-only views, or writable with ``copy``. The inverse of ``encode_value``.

    Raises:
        WireError: nested too deep, no kind, or data that contradicts itself.
    """
    return _read(message, 0, copy)


def _read(message: values_pb2.Value, depth: int, copy: bool) -> Any:
    if depth > MAX_DEPTH:
        raise WireError(f"a value is nested deeper than {MAX_DEPTH} levels", limit=MAX_DEPTH)
    kind = message.WhichOneof("kind")
    if kind == "map":
        entries = message.map.entries
        result = {entry.key: _read(entry.value, depth + 1, copy) for entry in entries}
        if len(result) != len(entries):
            raise WireError("a map holds the same key twice")
        return result
    if kind == "array":
        array = decode_tensor(message.array)
        return array.copy() if copy else array
    if kind == "scalar":
        if message.scalar.shape:
            raise WireError(f"a scalar has the shape {list(message.scalar.shape)}")
        return decode_tensor(message.scalar)[()]
    if kind in ("boolean", "integer", "real", "text", "binary"):
        return getattr(message, kind)
    if kind == "none":
        return None
    if kind == "list":
        return [_read(item, depth + 1, copy) for item in message.list.items]
    if kind == "tuple":
        return tuple(_read(item, depth + 1, copy) for item in message.tuple.items)
    if kind == "objects":
        return _read_objects(message.objects, depth, copy)
    if kind == "big_integer":
        return _read_big_integer(message.big_integer)
    if kind == "opaque":
        return Opaque(message.opaque.type, message.opaque.text)
    raise WireError("a value has no kind; the peer may speak a newer protocol")


def _read_objects(message: values_pb2.ObjectArray, depth: int, copy: bool) -> Array:
    shape = checked_shape(message.shape, "array of objects")
    if math.prod(shape) != len(message.items):
        raise WireError(f"an array of objects holds {len(message.items)} items, its shape says {list(shape)}")
    flat = np.empty(len(message.items), dtype=object)
    for i, item in enumerate(message.items):
        flat[i] = _read(item, depth + 1, copy)
    try:
        return flat.reshape(shape)
    except ValueError as error:
        raise WireError(f"no array of objects has the shape {list(shape)} ({error})") from None


def _read_big_integer(text: str) -> int:
    digits = text[1:] if text.startswith("-") else text
    if not digits.isascii() or not digits.isdigit() or len(digits) > _MAX_DIGITS:
        raise WireError(f"{text[:40]!r} is not a decimal integer of at most {_MAX_DIGITS} digits")
    return int(text)
