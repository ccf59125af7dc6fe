"""Samples and batches as blocks of bytes."""

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.spaces import GraphInstance
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array
from hypothesis import assume, given
from hypothesis import strategies as st

from rlbridge.v1 import spaces_pb2
from rlbridge.wire import BlockCodec, encode_tensor
from rlbridge.wire.blocks import FixedLeaf
from rlbridge.wire.errors import WireError
from rlbridge.wire.tensors import data_type_of
from tests.wire.strategies import (
    HAND_MADE,
    INTEGERS,
    all_spaces,
    arrays,
    arrays_in,
    assert_same,
    tidy,
    tidy_batch,
)

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::UserWarning")


def drawn(space, count=1):
    """Samples from a seed; spaces that are too wide for Gymnasium's own sampling are passed over."""
    space.seed(7)
    try:
        return [tidy(space, space.sample()) for _ in range(count)]
    except (ValueError, OverflowError):
        assume(False)


def assert_views(value):
    """No array is a copy, and none can be written."""
    for array in arrays_in(value):
        assert not array.flags.writeable
        assert not array.flags.owndata


# --------------------------------------------------------------------------------------------------- one sample


@given(all_spaces())
def test_a_sample_survives_exactly(space):
    (sample,) = drawn(space)
    codec = BlockCodec(space)
    blocks = codec.pack(sample)
    assert all(type(block) is bytes for block in blocks)
    got = codec.unpack(blocks)
    assert_same(got, sample)
    assert_views(got)
    written = codec.unpack(blocks, copy=True)
    assert_same(written, sample)
    assert all(array.flags.writeable for array in arrays_in(written))


@pytest.mark.parametrize("name", HAND_MADE)
def test_a_sample_of_each_kind_survives_and_is_in_its_space(name):
    space = HAND_MADE[name]
    codec = BlockCodec(space)
    for sample in drawn(space, 5):
        got = codec.unpack(codec.pack(sample))
        assert_same(got, sample)
        assert got in space


@given(arrays())
def test_every_bit_pattern_of_a_box_survives(array):
    codec = BlockCodec(spaces.Box(0, 1, array.shape, array.dtype.type))
    assert_same(codec.unpack(codec.pack(array)), array)


def test_reading_a_sample_copies_nothing():
    codec = BlockCodec(spaces.Dict({"x": spaces.Box(0, 1, (2, 3)), "y": spaces.MultiBinary(4)}))
    blocks = codec.pack({"x": np.ones((2, 3)), "y": [1, 0, 1, 0]})
    sample = codec.unpack(blocks)
    batch = codec.unpack_batch(blocks, 1)
    for block, key in zip(blocks, "xy", strict=True):
        assert np.shares_memory(sample[key], np.frombuffer(block, np.uint8))
        assert np.shares_memory(batch[key], np.frombuffer(block, np.uint8))
        assert not sample[key].flags.writeable
        assert not batch[key].flags.writeable


def test_a_copy_is_apart_from_the_block():
    codec = BlockCodec(spaces.Box(0, 1, (3,)))
    block = codec.pack(np.zeros(3, np.float32))
    for got in (codec.unpack(block, copy=True), codec.unpack_batch([block[0] * 2], 2, copy=True)):
        got[...] = 7
        assert got.max() == 7
    assert block[0] == bytes(12)


def test_blocks_are_raw_little_endian_elements():
    assert BlockCodec(spaces.Discrete(5, start=-2, dtype=np.int16)).pack(-2) == [b"\xfe\xff"]
    assert BlockCodec(spaces.Box(0, 9, (2,), ">u2")).pack(np.array([1, 2], ">u2")) == [b"\x01\x00\x02\x00"]
    assert BlockCodec(spaces.Box(0, 9, (2, 2), np.uint8)).pack(np.array([[1, 2], [3, 4]]).T) == [b"\x01\x03\x02\x04"]


def test_spaces_of_the_other_byte_order_survive_inside_variable_leaves():
    codec = BlockCodec(spaces.Sequence(spaces.Box(0, 9, (2,), ">u2")))
    assert_same(codec.unpack(codec.pack((np.array([1, 2], ">u2"),))), (np.array([1, 2], "<u2"),))


# ------------------------------------------------------------------------------------------------------- batches


@given(all_spaces(), st.integers(1, 3))
def test_a_batch_of_gymnasiums_survives_exactly(space, n):
    try:
        batched = batch_space(space, n)
        batched.seed(3)
        batch = tidy_batch(space, batched.sample())
    except (ValueError, OverflowError):
        assume(False)
    codec = BlockCodec(space)
    blocks = codec.pack_batch(batch, n)
    got = codec.unpack_batch(blocks, n)
    assert_same(got, batch)
    assert_views(got)
    written = codec.unpack_batch(blocks, n, copy=True)
    assert_same(written, batch)
    assert all(array.flags.writeable for array in arrays_in(written))


@given(all_spaces(), st.integers(1, 3))
def test_rows_batches_and_samples_agree(space, n):
    samples = drawn(space, n)
    codec = BlockCodec(space)
    blocks = codec.stack(samples)
    joined = tidy_batch(space, concatenate(space, samples, create_empty_array(space, n)))
    assert codec.pack_batch(joined, n) == blocks
    assert_same(codec.unpack_batch(blocks, n), joined)
    assert_same(codec.unstack(blocks, n), samples)
    rows = [codec.row(blocks, i, n) for i in range(n)]
    assert rows == [codec.pack(sample) for sample in samples]
    assert_same([codec.unpack(row) for row in rows], samples)
    assert codec.join(rows) == blocks


@pytest.mark.parametrize("name", HAND_MADE)
def test_a_batch_of_each_kind_survives(name):
    space = HAND_MADE[name]
    codec = BlockCodec(space)
    samples = drawn(space, 3)
    blocks = codec.stack(samples)
    assert_same(codec.unstack(blocks, 3), samples)
    assert_same([codec.unpack(codec.row(blocks, i, 3)) for i in range(3)], samples)
    assert codec.unpack_batch(blocks, 3) in batch_space(space, 3)


@given(all_spaces())
def test_the_layout_describes_the_blocks(space):
    (sample,) = drawn(space)
    codec = BlockCodec(space)
    blocks, layout = codec.pack(sample), codec.layout()
    assert len(layout) == len(blocks) == len(codec.leaves)
    fixed = 0
    for leaf, described, block in zip(codec.leaves, layout, blocks, strict=True):
        assert described.path == leaf.path
        assert described.variable is not isinstance(leaf, FixedLeaf)
        if not described.variable:
            array = np.asarray(leaf.unpack(block, False))
            assert list(described.shape) == list(array.shape)
            assert described.data_type == data_type_of(array.dtype)
            fixed += len(block)
    assert codec.nbytes == fixed


def test_paths_are_the_keys_that_lead_to_a_leaf():
    space = spaces.Dict([("b", spaces.Tuple([spaces.Discrete(2), spaces.Text(1)])), (7, spaces.Box(0, 1))])
    assert [leaf.path for leaf in BlockCodec(space).leaves] == ["b/0", "b/1", "7"]
    assert [leaf.path for leaf in BlockCodec(spaces.Discrete(2)).leaves] == [""]


def test_a_batch_of_nothing():
    for space in (spaces.Box(0, 1, (2,)), spaces.Text(3), spaces.Discrete(2)):
        codec = BlockCodec(space)
        assert codec.stack([]) == [b""]
        assert codec.unstack([b""], 0) == []


# ---------------------------------------------------------------------------------------------- what pack accepts


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_any_integer_type_is_accepted_where_it_holds_the_value(dtype):
    info = np.iinfo(dtype)
    codec = BlockCodec(spaces.Box(info.min, info.max, (1,), dtype.type))
    discrete = BlockCodec(spaces.Discrete(2, dtype=dtype.type))
    for value in (int(info.min), int(info.max), 0, 1):
        expected = np.array([value], dtype)
        assert_same(codec.unpack(codec.pack([value])), expected)
        assert_same(codec.unpack(codec.pack((np.array(value),))), expected)
        assert_same(discrete.unpack(discrete.pack(value)), dtype.type(value))
        for other in INTEGERS:
            if np.iinfo(other).min <= value <= np.iinfo(other).max:
                assert_same(codec.unpack(codec.pack(np.array([value], other))), expected)
                assert_same(discrete.unpack(discrete.pack(other.type(value))), dtype.type(value))
    for value in (int(info.min) - 1, int(info.max) + 1):
        with pytest.raises(WireError, match=f"where {dtype} is expected"):
            codec.pack([value])
        with pytest.raises(WireError, match=f"where {dtype} is expected"):
            discrete.pack(value)
        with pytest.raises(WireError, match=f"where {dtype} is expected"):
            codec.pack_batch([[value]], 1)
        with pytest.raises(WireError, match=f"where {dtype} is expected"):
            codec.stack([[value]])


@pytest.mark.parametrize(
    ("space", "value", "expected"),
    [
        (spaces.Box(-1, 1, (2,)), [0, 1], np.array([0, 1], np.float32)),
        (spaces.Box(-1, 1, (2,)), (0.1, True), np.array([0.1, 1], np.float32)),
        (spaces.Box(-1, 1, (2,)), np.array([0.1, 0.2]), np.array([0.1, 0.2], np.float32)),
        (spaces.Box(-1, 1, (2,)), [np.inf, -np.inf], np.array([np.inf, -np.inf], np.float32)),
        (spaces.Box(-1, 1, (1,)), [float("nan")], np.array([np.nan], np.float32)),
        (spaces.Box(-1, 1, ()), 0.5, np.array(0.5, np.float32)),
        (spaces.Box(-1, 1, (1,)), [2**70], None),
        (spaces.Box(0, 1, (2,), bool), [0, 1], np.array([False, True])),
        (spaces.MultiBinary(2), [True, False], np.array([1, 0], np.int8)),
        (spaces.MultiDiscrete([3, 3]), [np.uint8(2), 1], np.array([2, 1])),
        (spaces.Discrete(3), np.array(2, np.uint8), np.int64(2)),
        (spaces.Discrete(3), True, np.int64(1)),
        (spaces.Text(3), np.str_("ab"), "ab"),
        (spaces.Tuple([spaces.Discrete(2), spaces.Discrete(2)]), [1, 0], (np.int64(1), np.int64(0))),
        (spaces.Sequence(spaces.Discrete(2)), [1, 0], (np.int64(1), np.int64(0))),
        (spaces.Sequence(spaces.Discrete(2), stack=True), [1, 0], np.array([1, 0])),
        (spaces.OneOf([spaces.Discrete(2)]), (np.uint8(0), 1), (np.int64(0), np.int64(1))),
    ],
    ids=lambda value: str(value)[:40],
)
def test_python_numbers_and_lists_are_accepted(space, value, expected):
    codec = BlockCodec(space)
    if expected is None:  # beyond 64 bits numpy makes objects of integers
        with pytest.raises(WireError):
            codec.pack(value)
    else:
        assert_same(codec.unpack(codec.pack(value)), expected)


BOX = spaces.Box(-1, 1, (2,))
NESTED = spaces.Dict({"a": spaces.Tuple([spaces.Discrete(2), BOX]), "s": spaces.Sequence(BOX)})


class Stubborn:
    def __array__(self, *args, **kwargs):
        raise RuntimeError("not today")


def loop():
    value = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("space", "value", "match"),
    [
        (BOX, np.zeros(3, np.float32), r"shape \[3\] where \[2\] is expected"),
        (BOX, np.zeros((2, 1), np.float32), r"shape \[2, 1\] where \[2\]"),
        (BOX, 0.5, r"shape \[\] where \[2\]"),
        (BOX, [[1, 2], [3]], "not an array of numbers"),
        (BOX, ["a", "b"], "where float32 is expected"),
        (BOX, [None, None], "where float32 is expected"),
        (BOX, None, r"shape \[\] where \[2\]"),
        (BOX, {}, r"shape \[\] where \[2\]"),
        (BOX, [1j, 2j], "complex128  where float32"),
        (BOX, [1e300, 0], r"float64 \[1.e\+300 0.e\+000\] where float32"),
        (BOX, np.array(["2020", "2021"], "datetime64[Y]"), "where float32"),
        (BOX, Stubborn(), "not an array of numbers .not today."),
        (BOX, loop(), "not an array of numbers"),
        (spaces.Box(0, 1, (1,), np.float16), [70000], r"int64 \[70000\] where float16"),
        (spaces.Box(0, 1, (2,), bool), [0, 2], r"int64 \[0 2\] where bool"),
        (spaces.Box(0, 255, (1,), np.uint8), [1.0], r"float64 \[1.\] where uint8"),
        (spaces.Discrete(3), 1.0, "float64 1. where int64"),
        (spaces.Discrete(3), np.array([1]), r"shape \[1\] where \[\]"),
        (spaces.Discrete(3), "1", "where int64 is expected"),
        (spaces.Discrete(3), None, "object  where int64 is expected"),
        (spaces.Discrete(3, dtype=np.int8), 128, "int64 128 where int8"),
        (spaces.Discrete(3, dtype=np.uint8), -1, "int64 -1 where uint8"),
        (spaces.Discrete(3), 2**63, "uint64 9223372036854775808 where int64"),
        (spaces.Discrete(3), 2**70, "object  where int64"),
        (spaces.Box(0, 2**64 - 1, (1,), np.uint64), np.array([-1]), r"int64 \[-1\] where uint64"),
        (spaces.MultiDiscrete([3, 3]), [0.5, 1], r"float64 \[0.5 1. \] where int64"),
        (spaces.Text(3), b"ab", "a text is expected, got bytes"),
        (spaces.Text(3), "\ud800", "not valid Unicode"),
        (spaces.Sequence(BOX), BOX, "a tuple of samples is expected, got Box"),
        (spaces.Sequence(BOX), "ab", "a tuple of samples is expected, got str"),
        (spaces.Sequence(BOX), ([1, 2], [1]), r"shape \[1\] where \[2\]"),
        (spaces.Sequence(BOX, stack=True), 5, "a batch of samples is expected, got int"),
        (spaces.Sequence(BOX, stack=True), None, "a batch of samples is expected, got NoneType"),
        (spaces.Sequence(BOX, stack=True), np.float32(1), "a batch of samples is expected, got float32"),
        (spaces.Sequence(BOX, stack=True), [[1, 2], [3]], "not an array of numbers"),
        (spaces.Sequence(NESTED, stack=True), {"a": ([1], [[1, 2], [3, 4]]), "s": ()}, r"\[2, 2\] where \[1, 2\]"),
        (spaces.OneOf([BOX]), (1, [1, 2]), r"\(index below 1, sample\) is expected, got \(1, \[1, 2\]\)"),
        (spaces.OneOf([BOX]), (-1, [1, 2]), "index below 1"),
        (spaces.OneOf([BOX]), (0.9, [1, 2]), "index below 1"),
        (spaces.OneOf([BOX]), ("0", [1, 2]), "index below 1"),
        (spaces.OneOf([BOX]), (None, [1, 2]), "index below 1"),
        (spaces.OneOf([BOX]), 0, "index below 1"),
        (spaces.OneOf([BOX]), (0,), "index below 1"),
        (spaces.OneOf([BOX]), (0, [1]), r"shape \[1\] where \[2\]"),
        (spaces.Graph(BOX, None), (np.zeros((1, 2)), None, None), "a GraphInstance is expected, got tuple"),
        (spaces.Graph(BOX, None), GraphInstance(None, None, None), "a batch of samples is expected, got NoneType"),
        (spaces.Graph(BOX, None), GraphInstance([[0, 0]], [1], [[0, 0]]), "its space has no edge space"),
        (spaces.Graph(BOX, BOX), GraphInstance([[0, 0]], [[0, 0]], [[0.0, 0.0]]), r"edge_links are float64\[1, 2\]"),
        (spaces.Graph(BOX, BOX), GraphInstance([[0, 0]], [[0, 0]], [0, 0]), r"edge_links are int64\[2\]"),
        (NESTED, {"a": (0, [1, 2])}, "leaf 's' is missing in a dict"),
        (NESTED, {"a": (0,), "s": ()}, "leaf 'a/1' is missing in a dict"),
        (NESTED, None, "leaf 'a/0' is missing in a NoneType"),
        (NESTED, 5, "leaf 'a/0' is missing in a int"),
        (NESTED, np.zeros(2), "leaf 'a/0' is missing in a ndarray"),
        (NESTED, np.zeros(2, [("b", "i4")]), "leaf 'a/0' is missing in a ndarray"),
        (NESTED, {"a": (0, [1, 2, 3]), "s": ()}, r"leaf 'a/1': shape \[3\] where \[2\] is expected"),
        (NESTED, {"a": (0.5, [1, 2]), "s": ()}, "leaf 'a/0': float64 0.5 where int64 is expected"),
        (NESTED, {"a": (0, [1, 2]), "s": ([1, 2], [3])}, r"leaf 's': the value: shape \[1\] where \[2\] is expected"),
    ],
    ids=lambda value: ascii(value)[:30] if not isinstance(value, spaces.Space) else type(value).__name__,
)
def test_what_does_not_fit_is_refused_with_leaf_and_numbers(space, value, match):
    codec = BlockCodec(space)
    for pack in (codec.pack, lambda value: codec.stack([value])):
        with pytest.raises(WireError, match=match):
            pack(value)


@pytest.mark.parametrize(
    ("value", "leaf"), [({"a": (0, [1]), "s": ()}, "a/1"), ({"a": (0, [1, 2]), "s": 5}, "s"), ({}, "a/0")]
)
def test_programs_find_the_leaf_in_the_details(value, leaf):
    with pytest.raises(WireError) as caught:
        BlockCodec(NESTED).pack(value)
    assert caught.value.details["leaf"] == leaf


@pytest.mark.parametrize(
    ("space", "batch", "match"),
    [
        (BOX, np.zeros((3, 2)), r"shape \[3, 2\] where \[2, 2\] is expected"),
        (BOX, np.zeros(2), r"shape \[2\] where \[2, 2\] is expected"),
        (spaces.Discrete(3), 1, r"shape \[\] where \[2\] is expected"),
        (spaces.Discrete(3), [0.5, 1], "where int64 is expected"),
        (spaces.Text(3), ("a",), "a tuple of 2 samples is expected, got 1 samples"),
        (spaces.Text(3), "ab", "a tuple of 2 samples is expected, got str"),
        (spaces.Dict({"x": BOX}), {"y": np.zeros((2, 2))}, "leaf 'x' is missing in a dict"),
    ],
)
def test_batches_that_do_not_fit_are_refused(space, batch, match):
    with pytest.raises(WireError, match=match):
        BlockCodec(space).pack_batch(batch, 2)


# ------------------------------------------------------------------------------------------------ what unpack refuses


@pytest.mark.parametrize(
    ("space", "blocks", "match"),
    [
        (BOX, [b"1234567"], r"7 bytes where float32 \[2\] takes 8"),
        (BOX, [b"123456789"], "9 bytes where"),
        (BOX, [], "0 blocks where the space has 1 leaves"),
        (BOX, [bytes(8), bytes(8)], "2 blocks where the space has 1 leaves"),
        (spaces.Tuple([]), [b""], "1 blocks where the space has 0 leaves"),
        (spaces.Discrete(2), [b"1234"], r"4 bytes where int64 \[\] takes 8"),
        (spaces.Box(0, 1, (2,), bool), [b"\x01\x02"], "a boolean holds 2"),
        (spaces.Tuple([BOX, BOX]), [bytes(8), bytes(4)], r"leaf '1': 4 bytes where float32 \[2\] takes 8"),
        (spaces.Tuple([spaces.Text(2)]), [b"\xff"], "leaf '0': 1 bytes that are no SampleBatch"),
        (spaces.Tuple([spaces.Text(2)]), [b""], "leaf '0': 0 samples where 1 are expected"),
    ],
)
def test_blocks_that_do_not_fit_are_refused(space, blocks, match):
    codec = BlockCodec(space)
    with pytest.raises(WireError, match=match):
        codec.unpack(blocks)


def test_batches_of_blocks_that_do_not_fit_are_refused():
    codec = BlockCodec(spaces.Tuple([BOX, spaces.Text(2)]))
    blocks = codec.stack([([0, 0], "a"), ([0, 0], "b")])
    for read in (codec.unpack_batch, codec.unstack):
        with pytest.raises(WireError, match=r"leaf '0': 16 bytes where float32 \[3, 2\] takes 24"):
            read(blocks, 3)
        with pytest.raises(WireError, match="leaf '1': 2 samples where 3 are expected"):
            read([bytes(24), blocks[1]], 3)
        with pytest.raises(WireError, match="1 blocks where the space has 2"):
            read(blocks[:1], 2)


LINKED = spaces.Graph(BOX, spaces.Discrete(2))
NODES = spaces_pb2.StackedSample(length=1, blocks=[bytes(8)])


def graph(**parts):
    return spaces_pb2.Sample(graph=spaces_pb2.GraphSample(nodes=NODES, **parts))


def stacked(length, *blocks):
    return spaces_pb2.Sample(stacked=spaces_pb2.StackedSample(length=length, blocks=blocks))


def one_of(index, **parts):
    return spaces_pb2.Sample(one_of=spaces_pb2.OneOfSample(index=index, **parts))


@pytest.mark.parametrize(
    ("space", "sample", "match"),
    [
        (spaces.Text(2), spaces_pb2.Sample(), "a sample of kind None where Text"),
        (spaces.Text(2), stacked(0), "a sample of kind stacked where Text"),
        (spaces.Sequence(BOX), stacked(0), "a sample of kind stacked where Sequence"),
        (
            spaces.Sequence(BOX, stack=True),
            spaces_pb2.Sample(items=spaces_pb2.SampleBatch()),
            "kind items where Sequence",
        ),
        (spaces.Sequence(BOX, stack=True), stacked(1), "0 blocks where the space has 1 leaves"),
        (spaces.Sequence(BOX, stack=True), stacked(1, bytes(8), bytes(8)), "2 blocks where the space has 1 leaves"),
        (spaces.Sequence(BOX, stack=True), stacked(2, bytes(8)), r"8 bytes where float32 \[2, 2\] takes 16"),
        (spaces.Sequence(BOX, stack=True), stacked(2**60, bytes(8)), f"a batch of {2**60} samples in 8 bytes"),
        (spaces.Sequence(spaces.Box(0, 1, (0,)), stack=True), stacked(2**60, b""), f"a batch of {2**60} samples in 0"),
        (spaces.Sequence(spaces.Tuple([]), stack=True), stacked(2**60), f"a batch of {2**60} samples in 0 bytes"),
        (spaces.OneOf([BOX]), one_of(1), "index 1 where there are 1 spaces"),
        (spaces.OneOf([BOX]), one_of(2**32 - 1), f"index {2**32 - 1} where there are 1 spaces"),
        (spaces.OneOf([BOX]), one_of(0), "a sample of kind None where Box"),
        (
            spaces.OneOf([BOX]),
            one_of(0, sample={"tensor": encode_tensor(np.zeros(2))}),
            r"a tensor float64\(2,\) where Box",
        ),
        (
            spaces.OneOf([BOX]),
            one_of(0, sample={"tensor": encode_tensor(np.zeros(3, "f4"))}),
            r"a tensor float32\(3,\)",
        ),
        (spaces.OneOf([spaces.Tuple([BOX])]), one_of(0, sample={"items": {}}), "0 items where 1 are expected"),
        (LINKED, graph(edge_links=encode_tensor(np.zeros((1, 2)))), r"edge_links are float64\[1, 2\]"),
        (LINKED, graph(edge_links=encode_tensor(np.zeros((1, 3), int))), r"edge_links are int64\[1, 3\]"),
        (LINKED, graph(edge_links=encode_tensor(np.zeros(2, int))), r"edge_links are int64\[2\]"),
        (LINKED, graph(edges=spaces_pb2.StackedSample(length=1)), "0 blocks where the space has 1 leaves"),
        (spaces.Graph(BOX, None), graph(edges=NODES), "a graph has edges, its space has no edge space"),
        (spaces.Graph(BOX, None), spaces_pb2.Sample(graph=spaces_pb2.GraphSample()), "0 blocks where the space has 1"),
    ],
)
def test_samples_that_do_not_fit_their_space_are_refused(space, sample, match):
    codec = BlockCodec(spaces.Dict({"leaf": space}))
    block = spaces_pb2.SampleBatch(samples=[sample]).SerializeToString()
    with pytest.raises(WireError, match=f"leaf 'leaf': .*{match}") as caught:
        codec.unpack([block])
    assert caught.value.details["leaf"] == "leaf"


def test_links_to_nodes_that_are_not_there_arrive_for_the_space_to_refuse():
    """The codec checks form, Gymnasium's contains checks content."""
    codec = BlockCodec(LINKED)
    for links in ([[-1, 0]], [[0, 1]]):
        sample = GraphInstance(np.zeros((1, 2), np.float32), np.array([1]), np.array(links, np.int32))
        got = codec.unpack(codec.pack(sample))
        assert_same(got, sample)
        assert got not in LINKED
