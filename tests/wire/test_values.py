"""Values, as infos and options hold them, to messages and back."""

import collections
import enum

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlbridge.v1 import env_pb2, values_pb2
from rlbridge.wire import Opaque, decode_value, encode_value
from rlbridge.wire.errors import WireError
from rlbridge.wire.values import MAX_DEPTH
from tests.wire.strategies import arrays_in, assert_same, values


def travel(value, **options):
    return decode_value(values_pb2.Value.FromString(encode_value(value).SerializeToString()), **options)


@given(values())
def test_a_value_survives_with_its_exact_types(value):
    assert_same(travel(value), value)


@given(values())
def test_a_copy_owns_its_arrays_and_can_be_written(value):
    got = travel(value, copy=True)
    assert_same(got, value)
    assert all(array.flags.writeable for array in arrays_in(got))


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, False, 0, -1, 2**63 - 1, -(2**63), 2**63, -(2**63) - 1, 2**64, 10**3999, -(10**3999)),
        *(0.0, -0.0, 1.5, float("inf"), float("-inf"), float("nan"), "", "\x00", "€\U0001f600", b"", b"\x00\xff"),
        *([], (), {}, [[]], ((),), {"": {}}),
        *(np.float32(1.5), np.float64(1.5), np.int8(-1), np.uint64(2**64 - 1), np.bool_(True), np.float16(0)),
        *(np.array(1.5), np.array([], np.int8), np.zeros((0, 3)), np.array(None), np.empty((0, 2), object)),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_the_values_at_the_edges(value):
    assert_same(travel(value), value)


def test_the_columns_of_a_vector_environment_survive():
    column = np.empty(2, object)
    column[:] = [{"r": np.float32(1)}, None]
    info = {
        "episode": {"r": np.array([1.0, 0.0]), "_r": np.array([True, False])},
        "x": column,
        "_x": np.array([True, False]),
    }
    assert_same(travel(info), info)


def test_an_array_of_objects_may_hold_arrays_even_of_shape_nothing():
    array = np.empty(3, object)
    array[0], array[1], array[2] = np.array(5), np.array([1, 2]), [np.int8(1)]
    assert_same(travel(array), array)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float64(1.5), np.float64(1.5)),
        (np.str_("x"), "x"),
        (bytearray(b"x"), b"x"),
        (enum.IntEnum("E", "A").A, 1),
        (collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (collections.namedtuple("P", "x y")(1, 2), (1, 2)),
        ({1: "a", None: "b", (1, 2): "c"}, {"1": "a", "None": "b", "(1, 2)": "c"}),
        ({"\ud800": 1}, {"\\ud800": 1}),
        (np.array(["ab", "c"]), np.array(["ab", "c"], object)),
        (np.array([b"ab", b"c"]), np.array([b"ab", b"c"], object)),
        (np.array([[1, 2]], ">i4"), np.array([[1, 2]], "<i4")),
    ],
    ids=repr,
)
def test_what_has_no_exact_form_arrives_as_the_nearest_one(value, expected):
    assert_same(travel(value), expected)


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "2.0.0", reason="numpy before 2 has no StringDType")
def test_arrays_of_numpys_own_text_become_arrays_of_objects():
    assert_same(travel(np.array(["ab", "c"], np.dtypes.StringDType())), np.array(["ab", "c"], object))


class Rude:
    def __repr__(self):
        raise RuntimeError("no")


class Long:
    def __repr__(self):
        return "x" * 1000


@pytest.mark.parametrize(
    ("value", "type_name", "text"),
    [
        (1j, "builtins.complex", "1j"),
        ({1}, "builtins.set", "{1}"),
        (np.datetime64("2020-01-01"), "numpy.datetime64", None),
        (np.array([1j]), "numpy.ndarray", "array([0.+1.j])"),
        (np.longdouble(1), f"numpy.{np.longdouble.__name__}", None),
        ("a\ud800", "builtins.str", "'a\\ud800'"),
        (10**4000, "builtins.int", "1" + "0" * 199),
        (-(10**5000), "builtins.int", "<its repr raised ValueError>"),
        (Rude(), f"{__name__}.Rude", "<its repr raised RuntimeError>"),
        (Long(), f"{__name__}.Long", "x" * 200),
        (Opaque("a.T\ud800", "b\udfff"), "a.T\\ud800", "b\\udfff"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_travel_is_named(value, type_name, text):
    for got in (travel(value), travel([value])[0], travel({"k": value})["k"]):
        assert type(got) is Opaque
        assert got.type_name == type_name
        assert text is None or str(got) == text
        assert repr(got) == f"Opaque({type_name!r}, {str(got)!r})"


def test_an_opaque_value_stays_what_it_is_on_a_second_journey():
    once = travel({1})
    assert_same(travel(once), once)


def wrapped(value):
    array = np.empty(1, object)
    array[0] = value
    return array


def nested(wrap, depth):
    value = 7
    for _ in range(depth):
        value = wrap(value)
    return value


@pytest.mark.parametrize(
    "wrap", [lambda v: [v], lambda v: (v,), lambda v: {"k": v}, wrapped], ids=["list", "tuple", "map", "objects"]
)
def test_values_nest_24_levels_and_no_deeper(wrap):
    deepest = nested(wrap, MAX_DEPTH)
    # Inside the largest envelope it must also stay below protobuf's own limit of 100 nested messages.
    envelope = env_pb2.ExchangeResponse(step=env_pb2.StepResponse(info=encode_value(deepest)))
    envelope = env_pb2.ExchangeResponse.FromString(envelope.SerializeToString())
    assert_same(decode_value(envelope.step.info), deepest)
    with pytest.raises(WireError, match="deeper than 24"):
        encode_value(wrap(deepest))


@pytest.mark.parametrize("kind", ["list", "tuple", "map", "objects"])
def test_a_reader_refuses_the_25th_level_too(kind):
    message = values_pb2.Value(integer=7)
    for level in range(MAX_DEPTH + 1):
        outer = values_pb2.Value()
        if kind == "map":
            outer.map.entries.add(key="k").value.CopyFrom(message)
        else:
            getattr(outer, kind).items.append(message)
        if kind == "objects":
            outer.objects.shape.append(1)
        message = outer
        if level == MAX_DEPTH - 1:
            decode_value(message)
    with pytest.raises(WireError, match="deeper than 24"):
        decode_value(message)


def test_values_that_contain_themselves_are_refused():
    circular_list: list = []
    circular_list += [circular_list, circular_list]
    circular_map: dict = {}
    circular_map["k"] = circular_map
    circular_array = np.empty(1, object)
    circular_array[0] = circular_array
    for value in (circular_list, circular_map, circular_array):
        with pytest.raises(WireError, match="contains itself"):
            encode_value(value)


def test_keys_that_become_the_same_text_are_refused_by_the_writer():
    with pytest.raises(WireError, match="two keys of a dictionary become the same text, '1'"):
        encode_value({"a": {1: "x", "1": "y"}})


def test_a_key_that_comes_twice_is_refused_by_the_reader():
    message = encode_value({"k": 1})
    message.map.entries.add(key="k").value.integer = 2
    with pytest.raises(WireError, match="same key twice"):
        decode_value(message)


@pytest.mark.parametrize(
    ("message", "match"),
    [
        (values_pb2.Value(), "no kind"),
        (values_pb2.Value(map=values_pb2.MapValue(entries=[values_pb2.MapEntry(key="k")])), "no kind"),
        (
            values_pb2.Value(scalar=values_pb2.Tensor(data_type=5, shape=[1], data=b"12345678")),
            r"a scalar has the shape \[1\]",
        ),
        (values_pb2.Value(scalar=values_pb2.Tensor(data_type=5, data=b"1234567")), "7 bytes"),
        (values_pb2.Value(objects=values_pb2.ObjectArray(shape=[2])), r"holds 0 items, its shape says \[2\]"),
        (values_pb2.Value(objects=values_pb2.ObjectArray(shape=[-1])), "no array has 1 dimensions"),
        (values_pb2.Value(objects=values_pb2.ObjectArray(shape=[0, 2**62])), "no array of objects|cannot"),
        (values_pb2.Value(objects=values_pb2.ObjectArray(shape=[2**62] * 100_000)), "no array has 100000 dimensions"),
        (
            values_pb2.Value(objects=values_pb2.ObjectArray(items=[values_pb2.Value(integer=1)] * 2)),
            r"2 items, .* \[\]",
        ),
        *(
            (values_pb2.Value(big_integer=text), "is not a decimal integer")
            for text in ("", "-", "+1", "1.0", "1e3", " 1", "1_000", "٣", "--1", "0x10", "9" * 4001, "9" * 10**6)
        ),
    ],
)
def test_contradictory_values_are_refused(message, match):
    with pytest.raises(WireError, match=match) as caught:
        decode_value(message)
    assert len(str(caught.value)) < 3000


@given(st.integers(-(10**4000) + 1, 10**4000 - 1))
def test_integers_of_any_width_up_to_4000_digits(value):
    assert_same(travel(value), value)
