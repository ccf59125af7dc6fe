"""Gymnasium spaces as messages and back, exactly: bounds, dtypes, starts, key order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from rlbridge.gymnasium_versions import OneOf, multi_discrete_start
from rlbridge.v1 import spaces_pb2
from rlbridge.wire.errors import WireError, utf8
from rlbridge.wire.tensors import (
    Array,
    checked_shape,
    data_type_of,
    decode_tensor,
    dtype_of,
    encode_tensor,
    raw_bytes,
    view_bytes,
)

MAX_DEPTH = 24
MAX_SAMPLE_BYTES = 1 << 26  # all leaves of one sample; a space that claims more is not built
MAX_SPACES = 10_000  # of one message, inner ones included

AnySpace = spaces.Space[Any]


def encode_space(space: AnySpace) -> spaces_pb2.Space:
    """A space, nested to at most 24 levels, as a message.

    Raises:
        WireError: a space of a kind, or with a dtype, keys or numbers, that cannot travel.
    """
    message = spaces_pb2.Space()
    try:
        _fill(message, space, 0)
    except WireError:
        raise
    except ValueError as error:  # protobuf's: a number beyond 64 bits, text that is not valid Unicode
        raise WireError(f"{utf8(str(space)[:200])} cannot travel: {error}") from error
    return message


def _fill(message: spaces_pb2.Space, space: AnySpace, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise WireError(f"a space is nested deeper than {MAX_DEPTH} levels", limit=MAX_DEPTH)
    if isinstance(space, spaces.Box):
        message.box.data_type = data_type_of(space.dtype)
        message.box.shape.extend(space.shape)
        message.box.low, message.box.high = _short(space.low), _short(space.high)
        message.box.bounded_below, message.box.bounded_above = (
            _short(space.bounded_below),
            _short(space.bounded_above),
        )
    elif isinstance(space, spaces.Discrete):
        message.discrete.data_type = data_type_of(np.dtype(space.dtype))
        message.discrete.n, message.discrete.start = int(space.n), int(space.start)
    elif isinstance(space, spaces.MultiDiscrete):
        message.multi_discrete.nvec.CopyFrom(encode_tensor(space.nvec.astype(space.dtype)))
        message.multi_discrete.start.CopyFrom(encode_tensor(multi_discrete_start(space).astype(space.dtype)))
    elif isinstance(space, spaces.MultiBinary):
        message.multi_binary.shape.extend(space.shape)
        message.multi_binary.flat = not isinstance(space.n, tuple)
    elif isinstance(space, spaces.Text):
        message.text.min_length, message.text.max_length = space.min_length, space.max_length
        message.text.characters = "".join(space.character_list)
    elif isinstance(space, spaces.Tuple):
        message.tuple.SetInParent()
        for subspace in space.spaces:
            _fill(message.tuple.spaces.add(), subspace, depth + 1)
    elif isinstance(space, spaces.Dict):
        _fill_dict(message.dict, space, depth)
    elif isinstance(space, spaces.Sequence):
        message.sequence.stack = space.stack
        _fill(message.sequence.feature_space, space.feature_space, depth + 1)
    elif isinstance(space, spaces.Graph):
        _fill(message.graph.node_space, space.node_space, depth + 1)
        if space.edge_space is not None:
            _fill(message.graph.edge_space, space.edge_space, depth + 1)
    elif isinstance(space, OneOf):
        for subspace in space.spaces:
            _fill(message.one_of.spaces.add(), subspace, depth + 1)
    else:
        raise WireError(f"spaces of type {type(space).__name__} cannot travel; Gymnasium's own can")


def _fill_dict(message: spaces_pb2.DictSpace, space: spaces.Dict, depth: int) -> None:
    message.unsorted = not getattr(space, "sort_keys", True)  # Gymnasium before 1.4 always sorts
    message.SetInParent()
    for key, subspace in space.spaces.items():
        entry = message.entries.add()
        if isinstance(key, str):
            entry.name = key
        elif isinstance(key, int):
            entry.number = key
        else:
            raise WireError(f"a Dict space has the key {key!r}; keys that can travel are text and integers")
        _fill(entry.space, subspace, depth + 1)


def _short(bounds: Array) -> bytes:
    """All elements, or one where all are the same bytes (so an image's bounds take a byte, not a frame)."""
    data = raw_bytes(bounds)
    first = data[: bounds.dtype.itemsize]
    return first if data == first * bounds.size else data


def decode_space(message: spaces_pb2.Space) -> AnySpace:
    """The space of a message, with a fresh random generator. The inverse of ``encode_space``.

    Raises:
        WireError: nested too deep, larger than 64 MiB a sample, of more than 10,000 spaces, or a space that
            Gymnasium does not accept.
    """
    try:
        return _Reader().read(message, 0, 1)
    except WireError:
        raise
    except (ValueError, TypeError, AssertionError, OverflowError, KeyError) as error:
        raise WireError(f"the message describes no valid space: {error}") from error


class _Reader:
    """Reads one message, with the limits on all of it together.

    A stacked Sequence holds its feature space twice, once batched, and a Graph its node and edge spaces; nested,
    they double again. ``copies`` counts that, so a message of a few bytes cannot ask for millions of spaces.
    """

    def __init__(self) -> None:
        self.spaces = 0
        self.nbytes = 0

    def read(self, message: spaces_pb2.Space, depth: int, copies: int) -> AnySpace:
        if depth > MAX_DEPTH:
            raise WireError(f"a space is nested deeper than {MAX_DEPTH} levels", limit=MAX_DEPTH)
        self.spaces += copies
        if self.spaces > MAX_SPACES:
            raise WireError(f"a space is made of more than {MAX_SPACES} spaces", limit=MAX_SPACES)
        kind = message.WhichOneof("kind")
        if kind == "box":
            return self._box(message.box, copies)
        if kind == "discrete":
            discrete = message.discrete
            return spaces.Discrete(discrete.n, start=discrete.start, **_integer(dtype_of(discrete.data_type)))
        if kind == "multi_discrete":
            return self._multi_discrete(message.multi_discrete, copies)
        if kind == "multi_binary":
            shape = self._shape(message.multi_binary.shape, 1, copies)
            return spaces.MultiBinary(shape[0] if message.multi_binary.flat and len(shape) == 1 else shape)
        if kind == "text":
            text = message.text
            return spaces.Text(text.max_length, min_length=text.min_length, charset=text.characters)
        if kind == "tuple":
            return spaces.Tuple([self.read(subspace, depth + 1, copies) for subspace in message.tuple.spaces])
        if kind == "dict":
            return self._dict(message.dict, depth, copies)
        if kind == "sequence":
            stack = message.sequence.stack
            feature_space = self.read(message.sequence.feature_space, depth + 1, 2 * copies if stack else copies)
            return spaces.Sequence(feature_space, stack=stack)
        if kind == "graph":
            graph = message.graph
            node_space = self.read(graph.node_space, depth + 1, 2 * copies)
            edge_space = self.read(graph.edge_space, depth + 1, 2 * copies) if graph.HasField("edge_space") else None
            return spaces.Graph(node_space, edge_space)
        if kind == "one_of":
            return OneOf([self.read(subspace, depth + 1, copies) for subspace in message.one_of.spaces])
        raise WireError("a space has no kind; the peer may speak a newer protocol")

    def _box(self, message: spaces_pb2.BoxSpace, copies: int) -> spaces.Box:
        dtype = dtype_of(message.data_type)
        shape = self._shape(message.shape, dtype.itemsize, copies)
        low = _long(message.low, dtype, shape, "Box low")
        high = _long(message.high, dtype, shape, "Box high")
        box = spaces.Box(low, high, shape, dtype.type)
        # Integer boxes lose the difference between "infinite" and "the type's extreme" in their arrays; keep it.
        box.bounded_below = _long(message.bounded_below, np.dtype(np.bool_), shape, "Box bounded_below").copy()
        box.bounded_above = _long(message.bounded_above, np.dtype(np.bool_), shape, "Box bounded_above").copy()
        return box

    def _multi_discrete(self, message: spaces_pb2.MultiDiscreteSpace, copies: int) -> spaces.MultiDiscrete:
        nvec, start = decode_tensor(message.nvec), decode_tensor(message.start)
        if nvec.dtype != start.dtype or nvec.shape != start.shape:
            raise WireError(f"MultiDiscrete: nvec is {nvec.dtype}{nvec.shape}, start is {start.dtype}{start.shape}")
        self._shape(nvec.shape, nvec.dtype.itemsize, copies)
        return spaces.MultiDiscrete(nvec, dtype=nvec.dtype.type, start=start)

    def _dict(self, message: spaces_pb2.DictSpace, depth: int, copies: int) -> spaces.Dict:
        entries: list[tuple[Any, AnySpace]] = []
        for entry in message.entries:
            kind = entry.WhichOneof("key")
            if kind is None:
                raise WireError("an entry of a Dict space has no key")
            entries.append((getattr(entry, kind), self.read(entry.space, depth + 1, copies)))
        if len({key for key, _ in entries}) != len(entries):
            raise WireError("a Dict space holds the same key twice")
        if message.unsorted:
            return spaces.Dict(entries, sort_keys=False)
        return spaces.Dict(entries)  # a sequence of pairs keeps its order; a dict would be sorted

    def _shape(self, dims: Sequence[int], itemsize: int, copies: int) -> tuple[int, ...]:
        shape = checked_shape(dims, "space")
        self.nbytes += math.prod(shape) * itemsize * copies
        if self.nbytes > MAX_SAMPLE_BYTES:
            raise WireError(
                f"an array of shape {list(shape)} makes a sample of {self.nbytes} bytes, more than {MAX_SAMPLE_BYTES}",
                limit=MAX_SAMPLE_BYTES,
            )
        return shape


def _long(data: bytes, dtype: np.dtype[Any], shape: tuple[int, ...], what: str) -> Array:
    """The elements of a bound: a read-only view, and where one stands for all, no more memory than that one."""
    if len(data) == dtype.itemsize:
        return np.broadcast_to(view_bytes(data, dtype, (), what), shape)
    return view_bytes(data, dtype, shape, what)


def _integer(dtype: np.dtype[Any]) -> dict[str, Any]:
    """Discrete's dtype argument, left out where it is the default: Gymnasium before 1.1 does not know it."""
    return {} if dtype == np.int64 else {"dtype": dtype.type}
