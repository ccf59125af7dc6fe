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

MAX_DIMS = 64  # numpy's own limit (32 before numpy 2, which then refuses the rest)

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
        return _DATA_TYPES[_little_endian(dtype)]  # type: ignore[return-value]
    except KeyError:
        names = ", ".join(str(known) for known in _DATA_TYPES)
        raise WireError(f"dtype {dtype} cannot travel; those that can: {names}") from None


def has_data_type(dtype: np.dtype[Any]) -> bool:
    """Whether arrays of this dtype can travel as raw bytes."""
    return _little_endian(dtype) in _DATA_TYPES


def _little_endian(dtype: np.dtype[Any]) -> np.dtype[Any]:
    # numpy's variable-width text has no byte order, and raises where it is asked for one.
    return dtype.newbyteorder("<") if dtype.kind in "biuf" else dtype


def checked_shape(dims: Sequence[int], what: str) -> tuple[int, ...]:
    """The dimensions of a message as a shape whose product is safe to compute and to print.

    Raises:
        WireError: more dimensions than numpy has, or negative ones; ``what`` names the thing in the message.
    """
    if len(dims) > MAX_DIMS or any(dim < 0 for dim in dims):
        raise WireError(f"{what}: no array has {len(dims)} dimensions {list(dims[:MAX_DIMS])}")
    return tuple(dims)


def raw_bytes(array: Array) -> bytes:
    """The elements in row-major, little-endian order."""
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def view_bytes(data: bytes | bytearray, dtype: np.dtype[Any], shape: Sequence[int], what: str) -> Array:
    """An array over ``data``, without a copy: read-only over bytes, writable over a bytearray.

    Raises:
        WireError: the length is not what dtype and shape ask for, or a boolean is neither 0 nor 1; ``what`` names
            the thing in the message.
    """
    shape = checked_shape(shape, what)
    expected = math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        raise WireError(
            f"{what}: {len(data)} bytes where {dtype} {list(shape)} takes {expected}",
            expected=expected,
            got=len(data),
        )
    if dtype.kind == "b" and data and np.frombuffer(data, np.uint8).max() > 1:
        raise WireError(f"{what}: a boolean holds {np.frombuffer(data, np.uint8).max()}; 0 and 1 are the two there are")
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
