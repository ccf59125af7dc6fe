"""Bytes that no honest peer would send: each gives a clear error, and none a crash, a hang or a large allocation."""

import pytest
from google.protobuf.message import DecodeError
from gymnasium import spaces
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rlbridge.v1 import env_pb2, spaces_pb2, values_pb2
from rlbridge.wire import (
    BlockCodec,
    decode_space,
    decode_tensor,
    decode_value,
    encode_space,
    encode_tensor,
    encode_value,
)
from rlbridge.wire.errors import BridgeError, WireError, decode_error, encode_error
from tests.wire.strategies import HAND_MADE, all_spaces, arrays, values

pytestmark = [
    pytest.mark.usefixtures("little_memory"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::UserWarning"),
]

# ------------------------------------------------------------------------------------------------ damaged at random


@st.composite
def damage(draw, data):
    """One to four changes: a bit, a byte, a piece left out, put in or repeated, the end cut off."""
    data = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(["bit", "byte", "insert", "delete", "repeat", "truncate"]))
        if kind == "bit" and at < len(data):
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "byte" and at < len(data):
            data[at] = draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]) | st.integers(0, 255))
        elif kind == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=12))
        elif kind == "delete":
            del data[at : at + draw(st.integers(1, 8))]
        elif kind == "repeat":
            data[at:at] = data[at : at + draw(st.integers(1, 40))]
        else:
            del data[at:]
    return bytes(data)


def attempt(parse, read):
    """Whether the bytes could be read; any failure but the two that are allowed is the test's."""
    try:
        read(parse())
    except (WireError, DecodeError):
        return False
    return True


@settings(max_examples=200)
@given(st.data(), all_spaces())
def test_damaged_spaces(data, space):
    damaged = data.draw(damage(encode_space(space).SerializeToString()))
    attempt(lambda: spaces_pb2.Space.FromString(damaged), decode_space)


@settings(max_examples=200)
@given(st.data(), values())
def test_damaged_values(data, value):
    damaged = data.draw(damage(encode_value(value).SerializeToString()))
    attempt(lambda: values_pb2.Value.FromString(damaged), decode_value)


@given(st.data(), arrays())
def test_damaged_tensors(data, array):
    damaged = data.draw(damage(encode_tensor(array).SerializeToString()))
    attempt(lambda: values_pb2.Tensor.FromString(damaged), decode_tensor)


@given(st.data(), all_spaces(), st.integers(1, 3))
def test_damaged_blocks(data, space, n):
    space.seed(1)
    try:
        samples = [space.sample() for _ in range(n)]
    except (ValueError, OverflowError):
        assume(False)
    codec = BlockCodec(space)
    for blocks, read in ((codec.pack(samples[0]), codec.unpack), (codec.stack(samples), lambda b: codec.unstack(b, n))):
        if not blocks:
            continue
        hurt = data.draw(st.integers(0, len(blocks) - 1))
        blocks[hurt] = data.draw(damage(blocks[hurt]))
        attempt(lambda blocks=blocks: blocks, read)


@given(st.data(), st.text(max_size=8), st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=3))
def test_damaged_errors(data, text, details):
    error = WireError(text)
    error.details = details
    damaged = data.draw(damage(encode_error(error).SerializeToString()))
    try:
        got = decode_error(env_pb2.Error.FromString(damaged))
    except DecodeError:
        return
    assert isinstance(got, BridgeError)
    assert encode_error(got).SerializeToString()


@given(st.binary(max_size=60))
def test_arbitrary_bytes(data):
    attempt(lambda: spaces_pb2.Space.FromString(data), decode_space)
    attempt(lambda: values_pb2.Value.FromString(data), decode_value)
    for space in HAND_MADE.values():
        codec = BlockCodec(space)
        attempt(lambda codec=codec: [data] * len(codec.leaves), codec.unpack)
        attempt(
            lambda codec=codec: [data] * len(codec.leaves), lambda blocks, codec=codec: codec.unpack_batch(blocks, 2)
        )


@pytest.mark.parametrize("name", HAND_MADE)
def test_every_truncation(name):
    """Cut anywhere, a message or a block is refused or reads as something shorter, and a fixed block is refused."""
    space = HAND_MADE[name]
    whole = encode_space(space).SerializeToString()
    for end in range(len(whole)):
        attempt(lambda end=end: spaces_pb2.Space.FromString(whole[:end]), decode_space)
    space.seed(2)
    codec = BlockCodec(space)
    for leaf, block in zip(codec.leaves, codec.pack(space.sample()), strict=True):
        for end in range(0, len(block), 1 + len(block) // 300):
            assert not attempt(lambda block=block, end=end: block[:end], lambda cut, leaf=leaf: leaf.unpack(cut, False))


# -------------------------------------------------------------------------------------------------- made by hand


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def field(number, payload):
    """A length-delimited field."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def tower(numbers, depth, inside=b""):
    """Fields in fields, ``depth`` times over, without the help of a protobuf library."""
    for _ in range(depth):
        for number in reversed(numbers):
            inside = field(number, inside)
    return inside


TOWERS = {
    "tuple": (spaces_pb2.Space, decode_space, [6, 1]),
    "dict": (spaces_pb2.Space, decode_space, [7, 1, 2]),
    "sequence": (spaces_pb2.Space, decode_space, [8, 1]),
    "graph": (spaces_pb2.Space, decode_space, [9, 1]),
    "one_of": (spaces_pb2.Space, decode_space, [10, 1]),
    "list": (values_pb2.Value, decode_value, [10, 1]),
    "map": (values_pb2.Value, decode_value, [12, 1, 2]),
    "objects": (values_pb2.Value, decode_value, [13, 2]),
}


@pytest.mark.parametrize("depth", [25, 40, 10_000])
@pytest.mark.parametrize("name", TOWERS)
def test_towers_of_messages(name, depth):
    message, read, numbers = TOWERS[name]
    data = tower(numbers, depth)
    with pytest.raises((WireError, DecodeError)):
        read(message.FromString(data))


def test_a_tower_of_samples():
    codec = BlockCodec(spaces.Sequence(spaces.Sequence(spaces.Text(1))))
    for depth in (40, 10_000):
        with pytest.raises(WireError):
            codec.unpack([tower([1, 3], depth)])


FLOAT64 = values_pb2.DATA_TYPE_FLOAT64
INT64 = values_pb2.DATA_TYPE_INT64


def box(*shape, data_type=FLOAT64, low=bytes(8), high=bytes(8), bounded=b"\x01"):
    return {
        "box": {
            "data_type": data_type,
            "shape": shape,
            "low": low,
            "high": high,
            "bounded_below": bounded,
            "bounded_above": bounded,
        }
    }


def tensor(*numbers, shape=None, data_type=INT64):
    data = b"".join(number.to_bytes(8, "little", signed=True) for number in numbers)
    return values_pb2.Tensor(data_type=data_type, shape=[len(numbers)] if shape is None else shape, data=data)


def stack_tower(depth):
    inside = spaces_pb2.Space(discrete={"data_type": INT64, "n": 2})
    for _ in range(depth):
        inside = spaces_pb2.Space(sequence={"feature_space": inside, "stack": True})
    return {"sequence": inside.sequence}


def graph_tower(depth):
    inside = spaces_pb2.Space(discrete={"data_type": INT64, "n": 2})
    for _ in range(depth):
        inside = spaces_pb2.Space(graph={"node_space": inside, "edge_space": inside})
    return {"graph": inside.graph}


ONE = spaces_pb2.Space(discrete={"data_type": INT64, "n": 1})
NEGATIVE_INFINITY = b"\x00\x00\x00\x00\x00\x00\xf0\xff"
NAN = b"\x00\x00\x00\x00\x00\x00\xf8\x7f"

BAD_SPACES = {
    "nothing": {},
    "box 2^40": box(2**40),
    "box 2^62 by 2^62": box(2**62, 2**62),
    "box 0 by 2^62": box(0, 2**62),
    "box 0 by 2^62 without elements": box(0, 2**62, low=b"", high=b"", bounded=b""),
    "box negative": box(-1),
    "box negative twice": box(-4, -4),
    "box of 100,000 dimensions": box(*[2**62] * 100_000),
    "box without bounds": box(2, low=b""),
    "box with a bound too long": box(2, low=bytes(17)),
    "box without boundedness": box(2, bounded=b""),
    "box half bounded": box(1, bounded=b"\x02"),
    "box upside down": box(1, high=NEGATIVE_INFINITY),
    "box of nan": box(1, low=NAN),
    "box of no type": box(1, data_type=0),
    "box of an unknown type": box(1, data_type=77),
    "65 boxes of 1 MiB": {"tuple": {"spaces": [spaces_pb2.Space(**box(1 << 17))] * 65}},
    "a thousand boxes of 64 MiB": {"tuple": {"spaces": [spaces_pb2.Space(**box(1 << 23))] * 1000}},
    "discrete 0": {"discrete": {"data_type": INT64, "n": 0}},
    "discrete -1": {"discrete": {"data_type": INT64, "n": -1}},
    "discrete of floats": {"discrete": {"data_type": FLOAT64, "n": 2}},
    "discrete of booleans": {"discrete": {"data_type": values_pb2.DATA_TYPE_BOOL, "n": 2}},
    "discrete 300 of int8": {"discrete": {"data_type": values_pb2.DATA_TYPE_INT8, "n": 300}},
    "discrete from -1 of uint8": {"discrete": {"data_type": values_pb2.DATA_TYPE_UINT8, "n": 2, "start": -1}},
    "discrete of no type": {"discrete": {"n": 2}},
    "multi_discrete 0": {"multi_discrete": {"nvec": tensor(2, 0), "start": tensor(0, 0)}},
    "multi_discrete -1": {"multi_discrete": {"nvec": tensor(-1), "start": tensor(0)}},
    "multi_discrete without start": {"multi_discrete": {"nvec": tensor(2)}},
    "multi_discrete of two shapes": {"multi_discrete": {"nvec": tensor(2), "start": tensor(0, 0)}},
    "multi_discrete of floats": {
        "multi_discrete": {"nvec": tensor(2, data_type=FLOAT64), "start": tensor(0, data_type=FLOAT64)}
    },
    "multi_discrete 2^40": {"multi_discrete": {"nvec": tensor(shape=[2**40]), "start": tensor(shape=[2**40])}},
    "multi_binary 2^40": {"multi_binary": {"shape": [2**40]}},
    "multi_binary 2^40 flat": {"multi_binary": {"shape": [2**40], "flat": True}},
    "multi_binary 0": {"multi_binary": {"shape": [0]}},
    "multi_binary 0 by 2^62": {"multi_binary": {"shape": [0, 2**62]}},
    "multi_binary -1": {"multi_binary": {"shape": [-1], "flat": True}},
    "text of less than nothing": {"text": {"min_length": -1, "max_length": 1, "characters": "a"}},
    "text to less than nothing": {"text": {"min_length": 0, "max_length": -1, "characters": "a"}},
    "text from 3 to 2": {"text": {"min_length": 3, "max_length": 2, "characters": "a"}},
    "tuple of nothing": {"tuple": {"spaces": [{}]}},
    "tuple of a million": {"tuple": {"spaces": [ONE] * 1_000_000}},
    "dict without a key": {"dict": {"entries": [{"space": ONE}]}},
    "dict without a space": {"dict": {"entries": [{"name": "a"}]}},
    "dict with a key twice": {"dict": {"entries": [{"name": "a", "space": ONE}] * 2}},
    "dict with a number twice": {"dict": {"entries": [{"number": 0, "space": ONE}] * 2}},
    "sequence of nothing": {"sequence": {}},
    "graph of nothing": {"graph": {}},
    "graph with edges of nothing": {"graph": {"node_space": ONE, "edge_space": {}}},
    "one of none": {"one_of": {}},
    "stacked sequences": stack_tower(24),
    "graphs of graphs": graph_tower(12),
}


@pytest.mark.parametrize("name", BAD_SPACES)
def test_spaces_made_by_hand(name):
    data = spaces_pb2.Space(**BAD_SPACES[name]).SerializeToString()
    with pytest.raises(WireError) as caught:
        decode_space(spaces_pb2.Space.FromString(data))
    assert 10 < len(str(caught.value)) < 2000


@pytest.mark.parametrize(
    "space",
    [
        {"text": {"min_length": 0, "max_length": 2**62, "characters": "a"}},
        {"text": {"min_length": 2**62, "max_length": 2**62}},
        {"discrete": {"data_type": INT64, "n": 2**63 - 1, "start": -(2**63)}},
        box(0, 2**30, low=b"", high=b"", bounded=b""),
        box(0, 2**30),
        stack_tower(6),
        graph_tower(3),
    ],
    ids=lambda space: next(iter(space)),
)
def test_spaces_that_are_large_but_cost_nothing_are_read(space):
    message = spaces_pb2.Space(**space)
    assert encode_space(decode_space(message)) is not None


def test_the_largest_image_fits_into_little_memory():
    # 64 MiB of elements are 256 MiB of bounds in Gymnasium's Box; more than a copy of two beside them is too much.
    message = spaces_pb2.Space(**box(1 << 26, data_type=values_pb2.DATA_TYPE_UINT8, low=b"\x00", high=b"\xff"))
    assert decode_space(message).shape == (1 << 26,)


@pytest.mark.parametrize("inner", [spaces.Text(1), spaces.Sequence(spaces.Text(1)), spaces.OneOf([spaces.Tuple([])])])
def test_a_million_empty_samples(inner):
    batch = field(1, b"") * 1_000_000
    with pytest.raises(WireError, match="1000000 samples where 1 are expected"):
        BlockCodec(inner).unpack([batch])
    with pytest.raises(WireError, match="a sample of kind None"):
        BlockCodec(spaces.Sequence(inner)).unpack([field(1, field(3, batch))])


def test_a_batch_without_bytes_is_not_a_billion_rows():
    for space in (spaces.Box(0, 1, (0,)), spaces.Tuple([]), spaces.Dict([])):
        codec = BlockCodec(spaces.Sequence(space, stack=True))
        length = b"\x08" + varint(2**30)
        blocks = field(2, b"") * len(BlockCodec(space).leaves)
        with pytest.raises(WireError, match=f"a batch of {2**30} samples in 0 bytes"):
            codec.unpack([field(1, field(6, length + blocks))])


def test_a_million_digits():
    with pytest.raises(WireError, match="not a decimal integer"):
        decode_value(values_pb2.Value.FromString(field(4, b"9" * 10**6)))


def test_a_shape_whose_product_takes_minutes():
    dims = varint(2**62) * 100_000
    for message, read, data in (
        (values_pb2.Value, decode_value, field(13, field(1, dims))),
        (values_pb2.Value, decode_value, field(8, field(2, dims))),
        (spaces_pb2.Space, decode_space, field(1, field(2, dims))),
        (spaces_pb2.Space, decode_space, field(4, field(1, dims))),
        (spaces_pb2.Space, decode_space, field(3, field(1, field(2, dims)) + field(2, field(2, dims)))),
    ):
        with pytest.raises(WireError):
            read(message.FromString(data))
