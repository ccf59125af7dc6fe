"""Arrays as raw little-endian bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlbridge.v1 import values_pb2
from rlbridge.wire.errors import WireError

Array = NDArray[Any]

_DTYPES: dict[int, np.dtype[Any]] = {
    values_pb2.DATA_TYPE_BOOL: np.dtype(np.bool_),
    values_pb2.DATA_TYPE_INT8: np.dtype("<i1"),
    values_pb2.DATA_TYPE_INT16: np.dtype("<i2"),
    values_pb2.DATA_TYPE_INT32: np.dtype("<i4"),
    values_pb2.DATA_TYPE_INT64: np.dtype("<i8"),
    values_pb2.DATA_TYPE_UINT8: np.dtype("<u1"),
    values_pb2.DATA_TYPE_UINT16: np.dtype("<u2"),
    values_pb2.DATA_TYPE_UINT32: np.dtype("<u4"),
    values_pb2.DATA_TYPE_UINT64: np.dtype("<u8"),
    values_pb2.DATA_TYPE_FLOAT16: np.dtype("<f2"),
    values_pb2.DATA_TYPE_FLOAT32: np.dtype("<f4"),
    values_pb2.DATA_TYPE_FLOAT64: np.dtype("<f8"),
}
_DATA_TYPES: dict[np.dtype[Any], int] = {dtype: data_type for data_type, dtype in _DTYPES.items()}


def dtype_of(data_type: int) -> np.dtype[Any]:
    """The (little-endian) numpy dtype of a ``DataType``.

    Raises:
        WireError: the number is no element type of this protocol version.
    """
    try:
        return _DTYPES[data_type]
    except KeyError:
        raise WireError(f"data type {data_type} is unknown; the peer may speak a newer protocol") from None


def data_type_of(dtype: np.dtype[Any]) -> values_pb2.DataType:
    """The ``DataType`` of a numpy dtype of either byte order.

    Raises:
        WireError: the dtype has no portable form (float128, complex, datetime, text, records).
    """
    try:
        return _DATA_TYPES[dtype.newbyteorder("<")]  # type: ignore[return-value]
    except KeyError:
        names = ", ".join(str(known) for known in _DATA_TYPES)
        raise WireError(f"dtype {dtype} cannot travel; those that can: {names}") from None


def has_data_type(dtype: np.dtype[Any]) -> bool:
    """Whether arrays of this dtype can travel as raw bytes."""
    return dtype.newbyteorder("<") in _DATA_TYPES


def raw_bytes(array: Array) -> bytes:
    """The elements in row-major, little-endian order."""
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def view_bytes(data: bytes | bytearray, dtype: np.dtype[Any], shape: Sequence[int], what: str) -> Array:
    """An array over ``data``, without a copy: read-only over bytes, writable over a bytearray.

    Raises:
        WireError: the length is not what dtype and shape ask for; ``what`` names the thing in the message.
    """
    expected = math.prod(shape) * dtype.itemsize
    if len(data) != expected or any(dim < 0 for dim in shape):
        raise WireError(
            f"{what}: {len(data)} bytes where {dtype} {list(shape)} takes {expected}",
            expected=expected,
            got=len(data),
        )
    try:
        return np.frombuffer(data, dtype).reshape(shape)
    except ValueError as error:  # a zero in the shape beside a number too large for numpy
        raise WireError(f"{what}: no array has the shape {list(shape)} ({error})") from None


def encode_tensor(array: Array) -> values_pb2.Tensor:
    """An array of any portable dtype as a message.

    Raises:
        WireError: its dtype cannot travel.
    """
    return values_pb2.Tensor(data_type=data_type_of(array.dtype), shape=array.shape, data=raw_bytes(array))


def decode_tensor(message: values_pb2.Tensor) -> Array:
    """A read-only array that views the message's bytes.

    Raises:
        WireError: unknown type, or data and shape disagree.
    """
    return view_bytes(message.data, dtype_of(message.data_type), tuple(message.shape), "tensor")
