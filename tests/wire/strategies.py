"""Random spaces and values, small ones, and what it means for two of them to be the same."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.spaces import GraphInstance
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from rlbridge.wire import Opaque

INTEGERS = [np.dtype(name) for name in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")]
FLOATS = [np.dtype(name) for name in ("f2", "f4", "f8")]
DTYPES = [np.dtype(bool), *INTEGERS, *FLOATS]
SHAPES: list[tuple[int, ...]] = [(), (1,), (3,), (2, 2), (1, 2, 1), (0,), (0, 2), (2, 0)]

# ------------------------------------------------------------------------------------------------------- spaces


def _bounds(draw: st.DrawFn, element: st.SearchStrategy[Any], shape: tuple[int, ...], dtype: Any) -> Any:
    """One number for all elements, or an array of them."""
    size = math.prod(shape)
    count = draw(st.sampled_from((1, size)))
    numbers = draw(st.lists(element, min_size=count, max_size=count))
    flat = np.array(numbers * size if count == 1 else numbers, dtype)
    return flat[:size].reshape(shape)


@st.composite
def boxes(draw: st.DrawFn) -> spaces.Box:
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.sampled_from(SHAPES))
    if dtype.kind == "b":
        low = _bounds(draw, st.booleans(), shape, bool)
        return spaces.Box(low, np.asarray(low | _bounds(draw, st.booleans(), shape, bool)), shape, bool)
    if dtype.kind == "f":
        least, most = st.sampled_from([-math.inf, -100.0, -0.0, 0.0]), st.sampled_from([math.inf, 0.0, 0.25, 1000.0])
        low, high = _bounds(draw, least, shape, dtype), _bounds(draw, most, shape, dtype)
        return spaces.Box(low, high, shape, dtype.type)
    info = np.iinfo(dtype)
    # Infinite bounds, which become the type's extremes (in arrays for int64, Gymnasium 1.4 gets them wrong).
    if dtype.kind == "i" and dtype.itemsize < 8 and draw(st.booleans()):
        low = _bounds(draw, st.sampled_from([-math.inf, -7.0, 0.0]), shape, np.float64)
        high = _bounds(draw, st.sampled_from([math.inf, 0.0, 100.0]), shape, np.float64)
        return spaces.Box(low, high, shape, dtype.type)
    low = _bounds(draw, st.sampled_from([int(info.min), 0, 3]), shape, dtype)
    high = _bounds(draw, st.sampled_from([3, 100, int(info.max)]), shape, dtype)
    return spaces.Box(low, high, shape, dtype.type)


@st.composite
def discretes(draw: st.DrawFn) -> spaces.Discrete:
    dtype = draw(st.sampled_from(INTEGERS))
    info = np.iinfo(dtype)
    n = draw(st.integers(1, 100))
    least, most = max(int(info.min), -(2**63)), min(int(info.max), 2**63 - 1) - n
    start = draw(st.sampled_from([0, least, most, min(5, most)]) | st.integers(least, most))
    return spaces.Discrete(n, start=start, dtype=dtype.type)


@st.composite
def multi_discretes(draw: st.DrawFn) -> spaces.MultiDiscrete:
    dtype = draw(st.sampled_from(INTEGERS))
    info = np.iinfo(dtype)
    shape = draw(st.sampled_from(SHAPES))
    nvec = _bounds(draw, st.integers(1, 20), shape, dtype)
    start = _bounds(draw, st.sampled_from([0, int(info.min), int(info.max) - 20, 7]), shape, dtype)
    return spaces.MultiDiscrete(nvec, dtype=dtype.type, start=start)


def multi_binaries() -> st.SearchStrategy[spaces.MultiBinary]:
    return st.sampled_from([1, 5, [1], [4], (2, 3), (1, 1, 2), ()]).map(spaces.MultiBinary)


@st.composite
def texts(draw: st.DrawFn) -> spaces.Text:
    charset = draw(
        st.text(min_size=1, max_size=8) | st.frozensets(st.characters(codec="utf-8"), min_size=1, max_size=8)
    )
    low = draw(st.integers(0, 3))
    return spaces.Text(low + draw(st.integers(0, 5)), min_length=low, charset=charset)


def fixed_leaves() -> st.SearchStrategy[spaces.Space[Any]]:
    return boxes() | discretes() | multi_discretes() | multi_binaries()


def keys() -> st.SearchStrategy[str | int]:
    return st.text(max_size=4) | st.integers(-(2**63), 2**63 - 1)


@st.composite
def dicts(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> spaces.Dict:
    """In insertion order, which is seldom the sorted one."""
    pairs = draw(st.lists(st.tuples(keys(), inner), min_size=1, max_size=3, unique_by=lambda pair: pair[0]))
    return spaces.Dict(pairs)


def _tuples(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[spaces.Tuple]:
    return st.lists(inner, min_size=1, max_size=3).map(spaces.Tuple)


def _composites(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[spaces.Space[Any]]:
    return (
        _tuples(inner)
        | dicts(inner)
        | st.builds(spaces.Sequence, inner, stack=st.booleans())
        | st.lists(inner, min_size=1, max_size=3).map(spaces.OneOf)
    )


def graphs() -> st.SearchStrategy[spaces.Graph]:
    # A sample has ten nodes and up to ninety edges: their spaces stay flat, or nearly so.
    part = fixed_leaves() | _tuples(fixed_leaves()) | dicts(fixed_leaves()) | texts()
    return st.builds(spaces.Graph, part, st.none() | part)


def all_spaces() -> st.SearchStrategy[spaces.Space[Any]]:
    leaves = fixed_leaves() | texts() | graphs()
    return st.recursive(leaves, _composites, max_leaves=4)


# One of each kind, the odd ones of each kind included, all of which Gymnasium itself can sample and check.
HAND_MADE: dict[str, spaces.Space[Any]] = {
    "box": spaces.Box(-1, 1, (3,)),
    "box_scalar": spaces.Box(-1, 1, ()),
    "box_empty": spaces.Box(-1, 1, (2, 0)),
    "box_image": spaces.Box(0, 255, (4, 4, 3), np.uint8),
    "box_unbounded": spaces.Box(np.array([-np.inf, -np.inf, 0]), np.array([np.inf, 0, np.inf]), dtype=np.float64),
    "box_half": spaces.Box(-1, 1, (2,), np.float16),
    "box_int_infinite": spaces.Box(-np.inf, 5, (2,), np.int32),
    "box_bool": spaces.Box(0, 1, (2, 2), bool),
    "discrete": spaces.Discrete(3),
    "discrete_start": spaces.Discrete(3, start=-1, dtype=np.int8),
    "multi_discrete": spaces.MultiDiscrete([3, 2]),
    "multi_discrete_start": spaces.MultiDiscrete([[3, 2], [1, 4]], dtype=np.uint8, start=[[0, 1], [2, 3]]),
    "multi_binary": spaces.MultiBinary(5),
    "multi_binary_shape": spaces.MultiBinary([2, 3]),
    "text": spaces.Text(6, min_length=0, charset="zay€\U0001f600"),
    "tuple": spaces.Tuple([spaces.Discrete(2), spaces.Tuple([spaces.Box(0, 1, (2,)), spaces.Text(3)])]),
    "tuple_empty": spaces.Tuple([]),
    "dict": spaces.Dict(
        [("b", spaces.Discrete(2)), ("a", spaces.Box(0, 1)), (7, spaces.Dict([("x", spaces.Text(2))]))]
    ),
    "sequence": spaces.Sequence(spaces.Box(0, 1, (2,))),
    "sequence_stacked": spaces.Sequence(spaces.Dict({"x": spaces.Box(0, 1, (2,)), "t": spaces.Text(2)}), stack=True),
    "sequence_of_sequences": spaces.Sequence(spaces.Sequence(spaces.Discrete(4), stack=True)),
    "graph": spaces.Graph(spaces.Box(0, 1, (2,)), spaces.Discrete(3)),
    "graph_bare": spaces.Graph(spaces.Discrete(5), None),
    "graph_nested": spaces.Graph(
        spaces.Dict({"p": spaces.Box(0, 1), "t": spaces.Text(2)}), spaces.Tuple([spaces.Discrete(2)])
    ),
    "one_of": spaces.OneOf([spaces.Discrete(2), spaces.Tuple([spaces.Box(0, 1), spaces.Text(2)])]),
    "deep": spaces.Dict(
        {"s": spaces.Sequence(spaces.OneOf([spaces.Graph(spaces.Box(0, 1), None), spaces.Discrete(2)]))}
    ),
}

# ------------------------------------------------------------------------------------------------------- values


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    """Every portable dtype with every bit pattern of its elements: NaNs with a payload, subnormals, negative zeros."""
    dtype, shape = draw(st.sampled_from(DTYPES)), draw(st.sampled_from(SHAPES))
    size = math.prod(shape) * dtype.itemsize
    data = draw(st.binary(min_size=size, max_size=size))
    if dtype.kind == "b":
        data = bytes(byte & 1 for byte in data)
    return np.frombuffer(data, dtype).reshape(shape).copy()


def scalars() -> st.SearchStrategy[Any]:
    return (
        st.none()
        | st.booleans()
        | st.integers()
        | st.integers(-(10**60), 10**60)
        | st.floats()
        | st.text(max_size=8)
        | st.binary(max_size=8)
        | arrays()
        | arrays().filter(lambda array: array.size > 0).map(lambda array: array.ravel()[0])
        | st.builds(Opaque, st.text(max_size=4), st.text(max_size=8))
    )


@st.composite
def object_arrays(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> np.ndarray:
    shape = draw(npst.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=2))
    flat = np.empty(math.prod(shape), object)
    for i in range(flat.size):
        flat[i] = draw(inner)
    return flat.reshape(shape)


def values() -> st.SearchStrategy[Any]:
    return st.recursive(
        scalars(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.lists(inner, max_size=3).map(tuple)
            | st.dictionaries(st.text(max_size=4), inner, max_size=3)
            | object_arrays(inner)
        ),
        max_leaves=6,
    )


# -------------------------------------------------------------------------------------------------- the same


def assert_same(got: Any, expected: Any, where: str = "it") -> None:
    """Equal in type, order, shape, dtype and bits. A scalar of numpy's and an array of shape () are told apart."""
    assert type(got) is type(expected), f"{where}: {type(got)} instead of {type(expected)}"
    if isinstance(expected, np.ndarray) and expected.dtype == object:
        assert got.dtype == object
        assert got.shape == expected.shape, where
        assert_same(list(got.flat), list(expected.flat), where)
    elif isinstance(expected, (np.ndarray, np.generic)):
        assert got.dtype == expected.dtype, where
        assert got.shape == expected.shape, where
        assert got.tobytes() == expected.tobytes(), where
    elif isinstance(expected, dict):
        assert list(got) == list(expected), where
        for key in expected:
            assert_same(got[key], expected[key], f"{where}[{key!r}]")
    elif isinstance(expected, (list, tuple)):
        assert len(got) == len(expected), where
        for i, (one, other) in enumerate(zip(got, expected, strict=True)):
            assert_same(one, other, f"{where}[{i}]")
    elif isinstance(expected, float):
        assert struct.pack("<d", got) == struct.pack("<d", expected), where
    else:
        assert got == expected, where
        assert getattr(got, "type_name", None) == getattr(expected, "type_name", None), where


def tidy(space: spaces.Space[Any], sample: Any) -> Any:
    """A sample as its space defines it. Gymnasium draws some samples of shape () as scalars, which is no array."""
    if isinstance(space, (spaces.Box, spaces.MultiDiscrete, spaces.MultiBinary)):
        return np.asarray(sample)
    if isinstance(space, spaces.Tuple):
        return tuple(tidy(*pair) for pair in zip(space.spaces, sample, strict=True))
    if isinstance(space, spaces.Dict):
        return {key: tidy(subspace, sample[key]) for key, subspace in space.spaces.items()}
    if isinstance(space, spaces.Sequence) and not space.stack:
        return tuple(tidy(space.feature_space, item) for item in sample)
    if isinstance(space, spaces.Sequence):
        return tidy_batch(space.feature_space, sample)
    if isinstance(space, spaces.Graph):
        edges = None if sample.edges is None else tidy_batch(space.edge_space, sample.edges)
        return GraphInstance(tidy_batch(space.node_space, sample.nodes), edges, sample.edge_links)
    if isinstance(space, spaces.OneOf):
        return sample[0], tidy(space.spaces[sample[0]], sample[1])
    return sample


def tidy_batch(space: spaces.Space[Any], batch: Any) -> Any:
    if isinstance(space, spaces.Tuple):
        return tuple(tidy_batch(*pair) for pair in zip(space.spaces, batch, strict=True))
    if isinstance(space, spaces.Dict):
        return {key: tidy_batch(subspace, batch[key]) for key, subspace in space.spaces.items()}
    if isinstance(space, (spaces.Text, spaces.Sequence, spaces.Graph, spaces.OneOf)):
        return tuple(tidy(space, item) for item in batch)
    return batch


def arrays_in(value: Any) -> list[np.ndarray]:
    """Every array inside a sample."""
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [array for item in value for array in arrays_in(item)] if isinstance(value, (list, tuple)) else []
