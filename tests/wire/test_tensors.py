"""Arrays to bytes and back."""

import numpy as np
import pytest
from hypothesis import given

from rlbridge.v1 import values_pb2
from rlbridge.wire import decode_tensor, encode_tensor
from rlbridge.wire.errors import WireError
from rlbridge.wire.tensors import data_type_of, dtype_of, has_data_type, view_bytes
from tests.wire.strategies import DTYPES, arrays, assert_same

# numpy before 2 has no such thing.
STRING_DTYPE = [np.dtypes.StringDType()] if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else []


@given(arrays())
def test_an_array_survives_bit_for_bit(array):
    message = values_pb2.Tensor.FromString(encode_tensor(array).SerializeToString())
    got = decode_tensor(message)
    assert_same(got, array)
    assert not got.flags.writeable
    assert not got.flags.owndata


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_has_a_data_type_of_its_own(dtype):
    assert dtype_of(data_type_of(dtype)) == dtype
    assert has_data_type(dtype)


def test_all_data_types_of_the_contract_are_known():
    numbers = set(values_pb2.DataType.values()) - {values_pb2.DATA_TYPE_UNSPECIFIED}
    assert {data_type_of(dtype) for dtype in DTYPES} == numbers


def test_the_wire_is_little_endian_whatever_the_array_is():
    for order in "<>":
        message = encode_tensor(np.array([1, 2], f"{order}u2"))
        assert message.data == b"\x01\x00\x02\x00"
        assert message.data_type == values_pb2.DATA_TYPE_UINT16


def test_arrays_in_any_memory_layout_travel_in_row_major_order():
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    for odd in (np.asfortranarray(array), array[:, ::-1, ::2], array.T, np.broadcast_to(np.int16(7), (2, 2))):
        assert_same(decode_tensor(encode_tensor(odd)), odd.copy("C"))


@pytest.mark.parametrize(
    "dtype",
    [np.complex64, np.longdouble, "datetime64[s]", "U3", "S3", object, [("a", "i4")], *STRING_DTYPE],
    ids=str,
)
def test_dtypes_without_a_portable_form_are_refused(dtype):
    dtype = np.dtype(dtype)
    assert not has_data_type(dtype)
    with pytest.raises(WireError, match="cannot travel; those that can: bool, int8"):
        encode_tensor(np.empty(1, dtype))


def test_view_bytes_views_bytes_read_only_and_a_bytearray_writable():
    data = bytes(range(8))
    view = view_bytes(data, np.dtype("<u2"), (2, 2), "it")
    assert not view.flags.writeable
    assert np.shares_memory(view, np.frombuffer(data, np.uint8))
    writable = view_bytes(bytearray(data), np.dtype("<u2"), (2, 2), "it")
    writable[0, 0] = 99
    assert writable[0, 0] == 99


@pytest.mark.parametrize(
    ("data_type", "shape", "data", "match"),
    [
        (values_pb2.DATA_TYPE_INT32, [2], b"1234567", r"7 bytes where int32 \[2\] takes 8"),
        (values_pb2.DATA_TYPE_INT32, [2], b"123456789", r"9 bytes where int32 \[2\] takes 8"),
        (values_pb2.DATA_TYPE_INT8, [2**40], b"", rf"0 bytes where int8 \[{2**40}\] takes {2**40}"),
        (values_pb2.DATA_TYPE_INT8, [-1, -1], b"1", r"no array has 2 dimensions \[-1, -1\]"),
        (values_pb2.DATA_TYPE_INT8, [0, 2**62, 2**62], b"", "no array has the shape"),
        (values_pb2.DATA_TYPE_INT8, [1] * 65, b"1", "no array has 65 dimensions"),
        # The product of these has more digits than Python prints, and with more of them takes minutes to compute.
        (values_pb2.DATA_TYPE_INT8, [2**62] * 300, b"", "no array has 300 dimensions"),
        (values_pb2.DATA_TYPE_INT8, [2**62] * 1_000_000, b"", "no array has 1000000 dimensions"),
        (values_pb2.DATA_TYPE_BOOL, [3], b"\x00\x01\x02", "a boolean holds 2"),
        (values_pb2.DATA_TYPE_UNSPECIFIED, [0], b"", "data type 0 is unknown"),
        (99, [0], b"", "data type 99 is unknown"),
    ],
)
def test_contradictory_tensors_are_refused(data_type, shape, data, match):
    with pytest.raises(WireError, match=match) as caught:
        decode_tensor(values_pb2.Tensor(data_type=data_type, shape=shape, data=data))
    assert len(str(caught.value)) < 3000
