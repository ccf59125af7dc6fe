"""Gymnasium spaces to messages and back."""

import warnings

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given

from rlbridge.v1 import env_pb2, spaces_pb2
from rlbridge.wire import decode_space, encode_space
from rlbridge.wire.errors import WireError
from rlbridge.wire.spaces import MAX_DEPTH, MAX_SPACES
from tests.wire.strategies import HAND_MADE, all_spaces, assert_same, tidy

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::UserWarning")


def travel(space):
    return decode_space(spaces_pb2.Space.FromString(encode_space(space).SerializeToString()))


def assert_same_space(got, expected):
    """What Gymnasium's == looks at, and what it does not: order of keys and characters, boundedness, types."""
    assert type(got) is type(expected)
    assert got == expected
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    if isinstance(expected, spaces.Box):
        for name in ("low", "high", "bounded_below", "bounded_above"):
            # Of shape (), Gymnasium's own bounded_below is a scalar of numpy's.
            assert_same(getattr(got, name), np.asarray(getattr(expected, name)), name)
            assert getattr(got, name).flags.writeable, name
    elif isinstance(expected, spaces.Discrete):
        assert_same((got.n, got.start), (expected.n, expected.start))
    elif isinstance(expected, spaces.MultiDiscrete):
        assert_same((got.nvec, got.start), (expected.nvec, expected.start))
    elif isinstance(expected, spaces.MultiBinary):
        assert_same(got.n, expected.n)
    elif isinstance(expected, spaces.Text):
        assert (got.min_length, got.max_length) == (expected.min_length, expected.max_length)
        assert got.character_list == expected.character_list
    elif isinstance(expected, spaces.Dict):
        assert_same(list(got.spaces), list(expected.spaces))
        for key in expected.spaces:
            assert_same_space(got[key], expected[key])
    elif isinstance(expected, (spaces.Tuple, spaces.OneOf)):
        assert len(got.spaces) == len(expected.spaces)
        for one, other in zip(got.spaces, expected.spaces, strict=True):
            assert_same_space(one, other)
    elif isinstance(expected, spaces.Sequence):
        assert got.stack is expected.stack
        assert_same_space(got.feature_space, expected.feature_space)
    else:
        assert_same_space(got.node_space, expected.node_space)
        assert (got.edge_space is None) == (expected.edge_space is None)
        if expected.edge_space is not None:
            assert_same_space(got.edge_space, expected.edge_space)


def draws(space):
    """Three samples from a seed, or the kind of failure: some spaces are too wide for Gymnasium's own sampling."""
    space.seed(5)
    try:
        return [tidy(space, space.sample()) for _ in range(3)]
    except (ValueError, OverflowError) as error:
        return [type(error).__name__]


@given(all_spaces())
def test_a_space_survives_exactly(space):
    assert_same_space(travel(space), space)


@given(all_spaces())
def test_both_sides_draw_the_same_samples_from_the_same_seed(space):
    assert_same(draws(travel(space)), draws(space))


@pytest.mark.parametrize("name", HAND_MADE)
def test_one_of_each_kind_survives_and_draws_the_same(name):
    space = HAND_MADE[name]
    got = travel(space)
    assert_same_space(got, space)
    samples = draws(space)
    assert_same(draws(got), samples)
    assert len(samples) == 3
    assert all(sample in got for sample in samples)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Text(0, min_length=0, charset=""),
        spaces.Text(3, charset="\x00 \n"),
        spaces.Dict([]),
        spaces.Tuple([]),
        spaces.MultiBinary(()),
        spaces.MultiDiscrete(np.array(3)),
        spaces.MultiDiscrete(np.zeros((0,), np.int64)),
        spaces.Discrete(2**63 - 1),
        spaces.Discrete(1, start=-(2**63)),
        spaces.Discrete(255, dtype=np.uint8),
        spaces.Box(-np.inf, np.inf, (2,), np.int8),
        spaces.Box(-(2**63), 2**63 - 1, (), np.int64),
        spaces.Box(0, 2**64 - 1, (1,), np.uint64),
        spaces.Box(5e-324, np.finfo(np.float64).max, (1,), np.float64),
        spaces.Box(-0.0, 0.0, (1,)),
        spaces.Box(np.inf, np.inf, (1,)),
    ],
    ids=str,
)
def test_the_spaces_at_the_edges_survive(space):
    assert_same_space(travel(space), space)


def test_a_signed_box_keeps_infinite_apart_from_the_types_extreme():
    infinite, extreme = spaces.Box(-np.inf, 5, (2,), np.int8), spaces.Box(-128, 5, (2,), np.int8)
    assert infinite == extreme
    assert not travel(infinite).bounded_below.any()
    assert travel(extreme).bounded_below.all()


def test_dict_spaces_keep_an_order_that_is_not_the_sorted_one():
    got = travel(
        spaces.Dict(
            [("b", spaces.Discrete(2)), (3, spaces.Discrete(2)), ("a", spaces.Discrete(2)), (-1, spaces.Text(1))]
        )
    )
    assert_same(list(got.spaces), ["b", 3, "a", -1])


def test_uniform_bounds_take_one_element_and_differing_ones_all():
    image = encode_space(spaces.Box(0, 255, (64, 64, 3), np.uint8)).box
    assert (image.low, image.high, image.bounded_below, image.bounded_above) == (b"\x00", b"\xff", b"\x01", b"\x01")
    assert len(encode_space(spaces.Box(np.array([0, 1]), np.array([2, 2]), dtype=np.float32)).box.low) == 8
    assert len(encode_space(spaces.Box(np.array([-0.0, 0.0]), np.array([2, 2]), dtype=np.float32)).box.low) == 8


def nested(wrap, depth):
    space = spaces.Discrete(2)
    for _ in range(depth):
        space = wrap(space)
    return space


WRAPPERS = {
    "tuple": lambda space: spaces.Tuple([space]),
    "dict": lambda space: spaces.Dict({"k": space}),
    "sequence": spaces.Sequence,
    "one_of": lambda space: spaces.OneOf([space]),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_spaces_nest_24_levels_and_no_deeper(wrap):
    deepest = nested(wrap, MAX_DEPTH)
    # Inside an answer it must also stay below protobuf's own limit of 100 nested messages.
    envelope = env_pb2.OpenResponse(observation_space=encode_space(deepest))
    assert decode_space(env_pb2.OpenResponse.FromString(envelope.SerializeToString()).observation_space) == deepest
    with pytest.raises(WireError, match="deeper than 24"):
        encode_space(wrap(deepest))


def deeper(kind, message):
    outer = spaces_pb2.Space()
    if kind == "dict":
        outer.dict.entries.add(name="k").space.CopyFrom(message)
    elif kind in ("sequence", "stacked"):
        outer.sequence.feature_space.CopyFrom(message)
        outer.sequence.stack = kind == "stacked"
    elif kind == "graph":
        outer.graph.node_space.CopyFrom(message)
    else:
        getattr(outer, kind).spaces.append(message)
    return outer


@pytest.mark.parametrize("kind", WRAPPERS)
def test_a_reader_refuses_the_25th_level_too(kind):
    message = encode_space(spaces.Discrete(2))
    for _ in range(MAX_DEPTH):
        message = deeper(kind, message)
    decode_space(message)
    with pytest.raises(WireError, match="deeper than 24"):
        decode_space(deeper(kind, message))


@pytest.mark.parametrize("kind", ["stacked", "graph"])
def test_spaces_that_hold_their_parts_twice_cannot_double_without_end(kind):
    message = encode_space(spaces.Discrete(2))
    for _ in range(3):
        message = deeper(kind, message)
    decode_space(message)
    for _ in range(MAX_DEPTH - 3):
        message = deeper(kind, message)
    with pytest.raises(WireError, match=f"more than {MAX_SPACES} spaces"):
        decode_space(message)


def test_a_space_of_too_many_spaces_is_refused():
    message = spaces_pb2.Space()
    message.tuple.spaces.extend([encode_space(spaces.Discrete(2))] * MAX_SPACES)
    with pytest.raises(WireError, match=f"more than {MAX_SPACES} spaces"):
        decode_space(message)
    del message.tuple.spaces[0]
    assert len(decode_space(message)) == MAX_SPACES - 1


def test_the_64_mib_are_those_of_all_leaves_together():
    quarter = spaces_pb2.Space()
    quarter.box.CopyFrom(encode_space(spaces.Box(0, 1, (1,), np.float64)).box)
    quarter.box.shape[:] = [1 << 21]
    message = spaces_pb2.Space()
    message.tuple.spaces.extend([quarter] * 5)
    with pytest.raises(WireError, match=r"sample of 83886080 bytes, more than 67108864"):
        decode_space(message)
    message = spaces_pb2.Space()
    message.multi_binary.shape.append((1 << 26) + 1)
    with pytest.raises(WireError, match="67108865 bytes"):
        decode_space(message)


class Custom(spaces.Space):
    pass


@pytest.mark.parametrize(
    ("space", "match"),
    [
        (Custom(), "Custom cannot travel"),
        (spaces.Tuple([Custom()]), "Custom cannot travel"),
        (spaces.Box(0, 1, (1,), np.longdouble), "cannot travel"),
        (spaces.Dict([((1, 2), spaces.Discrete(2))]), r"key \(1, 2\)"),
        (spaces.Dict([(2**63, spaces.Discrete(2))]), "cannot travel"),
        (spaces.Dict([("\ud800", spaces.Discrete(2))]), "cannot travel"),
        (spaces.Text(2, charset="\ud800"), "cannot travel"),
        (spaces.Text(2**63), "cannot travel"),
        (spaces.Discrete(2**63, dtype=np.uint64), "cannot travel"),
        (spaces.Discrete(2, start=2**63, dtype=np.uint64), "cannot travel"),
    ],
    ids=lambda value: ascii(str(value))[:40],
)
def test_spaces_that_cannot_travel_are_refused(space, match):
    with pytest.raises(WireError, match=match) as caught:
        encode_space(space)
    str(caught.value).encode()


def test_spaces_of_the_other_byte_order_arrive_in_the_wires():
    got = travel(spaces.Box(np.array([1, 2]), np.array([3, 4]), dtype=">i2"))
    assert got.dtype == np.dtype("<i2")
    assert_same((got.low, got.high), (np.array([1, 2], "<i2"), np.array([3, 4], "<i2")))


def test_reading_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for space in HAND_MADE.values():
            travel(space)


def test_a_dict_that_does_not_sort_its_keys_stays_one():
    if "sort_keys" not in spaces.Dict.__init__.__kwdefaults__:
        pytest.skip("this Gymnasium always sorts")
    space = spaces.Dict({"b": spaces.Discrete(2), "a": spaces.Discrete(3)}, sort_keys=False)
    decoded = decode_space(encode_space(space))
    assert (list(decoded.spaces), decoded.sort_keys) == (["b", "a"], False)
