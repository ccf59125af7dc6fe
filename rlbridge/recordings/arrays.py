"""Samples of a space as named arrays, one a leaf, and back: what an ``.npz`` file holds of them."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from rlbridge.v1 import spaces_pb2
from rlbridge.wire import BlockCodec, decode_space, encode_space
from rlbridge.wire.blocks import FixedLeaf
from rlbridge.wire.errors import WireError

Arrays = dict[str, NDArray[Any]]


def to_arrays(codec: BlockCodec, name: str, samples: Sequence[Sequence[bytes]]) -> Arrays:
    """Packed samples as ``name`` (or ``name/leaf`` of a nested space): ``[T, *shape]`` each, in its own dtype.

    Leaves whose samples vary in size (Text, Sequence, Graph, OneOf) are the bytes of a ``SampleBatch`` message.
    """
    arrays: Arrays = {}
    for leaf, block in zip(codec.leaves, codec.join(samples), strict=True):
        if isinstance(leaf, FixedLeaf):
            array = np.frombuffer(block, leaf.dtype).reshape(len(samples), *leaf.shape)
        else:
            array = np.frombuffer(block, np.uint8)
        arrays[f"{name}/{leaf.path}" if leaf.path else name] = array
    return arrays


def from_arrays(codec: BlockCodec, name: str, arrays: Mapping[str, NDArray[Any]], n: int) -> list[list[bytes]]:
    """The packed samples; the inverse of ``to_arrays``.

    Raises:
        WireError, KeyError: they do not fit the space.
    """
    blocks = [arrays[f"{name}/{leaf.path}" if leaf.path else name].tobytes() for leaf in codec.leaves]
    for leaf, block in zip(codec.leaves, blocks, strict=True):
        if isinstance(leaf, FixedLeaf) and len(block) != n * leaf.nbytes:
            raise WireError(f"{name}/{leaf.path} has {len(block)} bytes, {n} samples take {n * leaf.nbytes}")
    return [codec.row(blocks, i, n) for i in range(n)]


def space_to_text(space: Any) -> str:
    """A space as base64 of its message, exactly."""
    return base64.b64encode(encode_space(space).SerializeToString()).decode()


def space_from_text(text: str) -> Any:
    """The inverse of ``space_to_text``.

    Raises:
        ValueError, WireError: the text is none.
    """
    try:
        return decode_space(spaces_pb2.Space.FromString(base64.b64decode(text, validate=True)))
    except DecodeError as error:
        raise ValueError(f"no space: {error}") from error


def to_json(value: Any) -> Any:
    """An info as JSON has it: arrays become lists, what JSON does not know its text."""
    if isinstance(value, Mapping):
        return {str(key): to_json(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(inner) for inner in value]
    if isinstance(value, np.ndarray):
        return to_json(value.tolist())
    if isinstance(value, np.generic):
        return to_json(value.item())
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
