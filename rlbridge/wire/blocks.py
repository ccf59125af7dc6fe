"""Samples of a space as blocks of bytes, one block a leaf: the form in which observations and actions travel.

``LeafLayout`` in spaces.proto is the specification. A codec is made once a session; a step then costs one
``tobytes`` and one ``np.frombuffer`` a leaf.
"""

from __future__ import annotations

import contextlib
import functools
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from gymnasium import spaces

from rlbridge.gymnasium_versions import OneOf
from rlbridge.v1 import spaces_pb2
from rlbridge.wire.errors import WireError
from rlbridge.wire.spaces import AnySpace
from rlbridge.wire.tensors import Array, data_type_of, decode_tensor, encode_tensor, view_bytes

Block = bytes | bytearray

_FIXED = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


class FixedLeaf:
    """A leaf whose samples all have one dtype and one shape.

    Attributes:
        dtype: little-endian.
        shape: of one sample.
        nbytes: of one sample.
    """

    def __init__(self, space: AnySpace, path: str) -> None:
        assert space.dtype is not None
        assert space.shape is not None
        self.space = space
        self.path = path
        data_type_of(np.dtype(space.dtype))  # refuses what cannot travel
        self.dtype: np.dtype[Any] = np.dtype(space.dtype).newbyteorder("<")
        self.shape: tuple[int, ...] = space.shape
        self.nbytes = math.prod(self.shape) * self.dtype.itemsize
        self._is_scalar = isinstance(space, spaces.Discrete)
        self._is_bool = self.dtype.kind == "b"
        if self._is_scalar:
            limits = np.iinfo(self.dtype)
            self._low, self._high = int(limits.min), int(limits.max)

    def layout(self) -> spaces_pb2.LeafLayout:
        return spaces_pb2.LeafLayout(path=self.path, data_type=data_type_of(self.dtype), shape=self.shape)

    def pack(self, sample: Any) -> bytes:
        if self._is_scalar and isinstance(sample, (int, np.integer)) and self._low <= sample <= self._high:
            return int(sample).to_bytes(self.nbytes, "little", signed=self._low < 0)
        return self._fitted(sample, self.shape).tobytes()

    def unpack(self, block: Block, copy: bool) -> Any:
        if len(block) != self.nbytes or self._is_bool:
            view_bytes(block, self.dtype, self.shape, self._name())  # raises on a wrong length or a 2
        array = np.frombuffer(bytearray(block) if copy else block, self.dtype)
        if self._is_scalar:
            return array[0]
        return array if len(self.shape) == 1 else array.reshape(self.shape)

    def pack_batch(self, batch: Any, n: int) -> bytes:
        return self._fitted(batch, (n, *self.shape)).tobytes()

    def unpack_batch(self, block: Block, n: int, copy: bool) -> Array:
        if len(block) != n * self.nbytes or self._is_bool or not block:
            return view_bytes(bytearray(block) if copy else block, self.dtype, (n, *self.shape), self._name())
        return np.frombuffer(bytearray(block) if copy else block, self.dtype).reshape(n, *self.shape)

    def stack(self, samples: Iterable[Any]) -> bytes:
        shape = self.shape
        # join reads each array's buffer in place: one copy for the whole batch.
        return b"".join([self._fitted(sample, shape) for sample in samples])  # type: ignore[misc]

    def unstack(self, block: Block, n: int) -> list[Any]:
        batch = self.unpack_batch(block, n, False)
        # Plain iteration makes numpy scalars of the rows of [N]: right for Discrete, but a Box's samples are arrays.
        return list(batch) if self._is_scalar or self.shape else [batch[i, ...] for i in range(n)]

    def row(self, block: bytes, i: int, n: int) -> bytes:
        return block[i * self.nbytes : (i + 1) * self.nbytes]

    def join(self, rows: Iterable[bytes]) -> bytes:
        return b"".join(rows)

    def _fitted(self, value: Any, shape: tuple[int, ...]) -> Array:
        """``value`` as a contiguous array of the leaf's dtype, where that loses nothing but float precision."""
        if type(value) is np.ndarray and value.dtype == self.dtype and value.shape == shape:
            return value if value.flags.c_contiguous else np.ascontiguousarray(value)
        try:
            array = np.asarray(value)
        except Exception as error:  # ragged lists, and whatever an object's own __array__ raises
            raise WireError(f"{self._name()}: not an array of numbers ({error})", leaf=self.path) from None
        if array.shape != shape:
            raise WireError(
                f"{self._name()}: shape {list(array.shape)} where {list(shape)} is expected",
                leaf=self.path,
                expected=list(shape),
                got=list(array.shape),
            )
        converted = _converted(array, self.dtype)
        if converted is None:
            raise WireError(
                f"{self._name()}: {array.dtype} {_printed(array)} where {self.dtype} is expected",
                leaf=self.path,
                expected=self.dtype,
                got=array.dtype,
            )
        return converted.reshape(shape)

    def _name(self) -> str:
        return f"leaf {self.path!r}" if self.path else "the value"


def _converted(array: Array, dtype: np.dtype[Any]) -> Array | None:
    """The array, contiguous, in another dtype; None where that would lose more than float precision."""
    if array.dtype.kind not in ("fiub" if dtype.kind == "f" else "iub"):
        return None
    with np.errstate(over="ignore"):
        converted = np.ascontiguousarray(array, dtype)
    if np.can_cast(array.dtype, dtype):
        return converted
    # Of floats, none may become infinite; integers and booleans must all keep their value.
    kept = np.isfinite(converted) | ~np.isfinite(array) if dtype.kind == "f" else converted == array
    return converted if bool(np.all(kept)) else None


def _printed(array: Array) -> str:
    return np.array2string(array, threshold=8) if array.dtype.kind in "fiub" else ""


class VariableLeaf:
    """A leaf whose samples vary in size: Text, Sequence, Graph, OneOf. Its block is a serialised ``SampleBatch``."""

    nbytes = 0  # not bounded by the space

    def __init__(self, space: AnySpace, path: str) -> None:
        self.space = space
        self.path = path

    def layout(self) -> spaces_pb2.LeafLayout:
        return spaces_pb2.LeafLayout(path=self.path, variable=True)

    def pack(self, sample: Any) -> bytes:
        return self.stack((sample,))

    def unpack(self, block: Block, copy: bool) -> Any:
        return self.unpack_batch(block, 1, copy)[0]

    def pack_batch(self, batch: Any, n: int) -> bytes:
        if not isinstance(batch, (tuple, list)) or len(batch) != n:
            got = f"{len(batch)} samples" if isinstance(batch, (tuple, list)) else type(batch).__name__
            raise WireError(f"leaf {self.path!r}: a tuple of {n} samples is expected, got {got}", leaf=self.path)
        return self.stack(batch)

    def unpack_batch(self, block: Block, n: int, copy: bool) -> tuple[Any, ...]:
        samples = self._samples(block)
        if len(samples) != n:
            raise WireError(f"leaf {self.path!r}: {len(samples)} samples where {n} are expected", leaf=self.path)
        with _naming(self.path):
            return tuple(_decode_sample(self.space, sample, copy) for sample in samples)

    def stack(self, samples: Iterable[Any]) -> bytes:
        with _naming(self.path):
            batch = spaces_pb2.SampleBatch(samples=[_encode_sample(self.space, sample) for sample in samples])
        return batch.SerializeToString()

    def unstack(self, block: Block, n: int) -> list[Any]:
        return list(self.unpack_batch(block, n, False))

    def row(self, block: bytes, i: int, n: int) -> bytes:
        return spaces_pb2.SampleBatch(samples=[self._samples(block)[i]]).SerializeToString()

    def join(self, rows: Iterable[bytes]) -> bytes:
        return b"".join(rows)  # serialised messages with repeated fields concatenate

    def _samples(self, block: Block) -> Any:
        try:
            return spaces_pb2.SampleBatch.FromString(bytes(block)).samples
        except DecodeError:
            raise WireError(f"leaf {self.path!r}: {len(block)} bytes that are no SampleBatch", leaf=self.path) from None


@contextlib.contextmanager
def _naming(path: str) -> Iterator[None]:
    """Errors about a sample's inside name the leaf that holds it."""
    try:
        yield
    except WireError as error:
        if not path:
            raise
        raise WireError(f"leaf {path!r}: {error.args[0]}", **{**error.details, "leaf": path}) from None


Leaf = FixedLeaf | VariableLeaf


class BlockCodec:
    """Translates samples and batches of one space to lists of blocks and back.

    Example:
        >>> codec = BlockCodec(spaces.Dict({"x": spaces.Box(0, 1, (2,)), "n": spaces.Discrete(3)}))
        >>> [leaf.path for leaf in codec.leaves]
        ['n', 'x']
        >>> blocks = codec.pack({"x": np.zeros(2, np.float32), "n": 1})
        >>> codec.unpack(blocks)
        {'n': np.int64(1), 'x': array([0., 0.], dtype=float32)}
    """

    def __init__(self, space: AnySpace) -> None:
        self.space = space
        found = list(_walk(space, ()))
        self.leaves: list[Leaf] = [
            (FixedLeaf if isinstance(leaf, _FIXED) else VariableLeaf)(leaf, "/".join(str(key) for key in keys))
            for keys, leaf in found
        ]
        self._getters = [_getter(keys) for keys, _ in found]
        # A space that is its own leaf needs no walking; it is the common case and the hot one.
        self._only = self.leaves[0] if len(found) == 1 and not found[0][0] else None

    @property
    def nbytes(self) -> int:
        """Bytes of one sample's fixed leaves."""
        return sum(leaf.nbytes for leaf in self.leaves)

    def layout(self) -> list[spaces_pb2.LeafLayout]:
        """The description that Open sends."""
        return [leaf.layout() for leaf in self.leaves]

    def pack(self, sample: Any) -> list[bytes]:
        """One sample as blocks.

        Raises:
            WireError: its structure, a shape or a dtype does not fit the space.
        """
        if self._only is not None:
            return [self._only.pack(sample)]
        return [leaf.pack(get(sample)) for leaf, get in zip(self.leaves, self._getters, strict=True)]

    def unpack(self, blocks: Sequence[Block], *, copy: bool = False) -> Any:
        """One sample from blocks; its arrays are read-only views of them, or writable copies.

        Raises:
            WireError: a block is missing, or not of the size its leaf takes.
        """
        self._count(blocks)
        if self._only is not None:
            return self._only.unpack(blocks[0], copy)
        return _build(self.space, (leaf.unpack(block, copy) for leaf, block in zip(self.leaves, blocks, strict=True)))

    def pack_batch(self, batch: Any, n: int) -> list[bytes]:
        """A batch of ``n`` samples in the form that Gymnasium's vector environments use, as blocks."""
        if self._only is not None:
            return [self._only.pack_batch(batch, n)]
        return [leaf.pack_batch(get(batch), n) for leaf, get in zip(self.leaves, self._getters, strict=True)]

    def unpack_batch(self, blocks: Sequence[Block], n: int, *, copy: bool = False) -> Any:
        """A batch of ``n`` from blocks: arrays ``[n, *shape]``, views or copies; tuples for variable leaves."""
        self._count(blocks)
        if self._only is not None:
            return self._only.unpack_batch(blocks[0], n, copy)
        values = (leaf.unpack_batch(block, n, copy) for leaf, block in zip(self.leaves, blocks, strict=True))
        return _build(self.space, values)

    def stack(self, samples: Sequence[Any]) -> list[bytes]:
        """Single samples, one a row, as the blocks of a batch."""
        if self._only is not None:
            return [self._only.stack(samples)]
        return [leaf.stack(map(get, samples)) for leaf, get in zip(self.leaves, self._getters, strict=True)]

    def unstack(self, blocks: Sequence[Block], n: int) -> list[Any]:
        """The rows of a batch as single samples (views)."""
        self._count(blocks)
        columns = [leaf.unstack(block, n) for leaf, block in zip(self.leaves, blocks, strict=True)]
        if self._only is not None:
            return columns[0]
        return [_build(self.space, (column[i] for column in columns)) for i in range(n)]

    def row(self, blocks: Sequence[bytes], i: int, n: int) -> list[bytes]:
        """Row ``i`` of a batch of ``n``, as the blocks of one sample."""
        return [leaf.row(block, i, n) for leaf, block in zip(self.leaves, blocks, strict=True)]

    def join(self, rows: Sequence[Sequence[bytes]]) -> list[bytes]:
        """Samples that are blocks already, one a row, as the blocks of a batch."""
        return [leaf.join(row[k] for row in rows) for k, leaf in enumerate(self.leaves)]

    def _count(self, blocks: Sequence[Block]) -> None:
        if len(blocks) != len(self.leaves):
            raise WireError(
                f"{len(blocks)} blocks where the space has {len(self.leaves)} leaves",
                expected=len(self.leaves),
                got=len(blocks),
            )


def _walk(space: AnySpace, keys: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], AnySpace]]:
    """The leaves of a space, depth first, each with the keys that lead to it."""
    if isinstance(space, spaces.Tuple):
        for i, subspace in enumerate(space.spaces):
            yield from _walk(subspace, (*keys, i))
    elif isinstance(space, spaces.Dict):
        for key, subspace in space.spaces.items():
            yield from _walk(subspace, (*keys, key))
    else:
        yield keys, space


def _getter(keys: tuple[Any, ...]) -> Callable[[Any], Any]:
    def get(value: Any) -> Any:
        try:
            return functools.reduce(lambda inner, key: inner[key], keys, value)
        except (LookupError, TypeError, ValueError):
            path = "/".join(str(key) for key in keys)
            raise WireError(f"leaf {path!r} is missing in a {type(value).__name__}", leaf=path) from None

    return get


def _build(space: AnySpace, values: Iterator[Any]) -> Any:
    """The inverse of walking: leaf values, in order, in the structure of the space."""
    if isinstance(space, spaces.Tuple):
        return tuple(_build(subspace, values) for subspace in space.spaces)
    if isinstance(space, spaces.Dict):
        return {key: _build(subspace, values) for key, subspace in space.spaces.items()}
    return next(values)


# ------------------------------------------------------------------------------------- samples of variable leaves


def _encode_sample(space: AnySpace, value: Any) -> spaces_pb2.Sample:
    sample = spaces_pb2.Sample()
    if isinstance(space, _FIXED):
        leaf = FixedLeaf(space, "")
        sample.tensor.CopyFrom(encode_tensor(leaf._fitted(value, leaf.shape)))
    elif isinstance(space, spaces.Text):
        if not isinstance(value, str):
            raise WireError(f"a text is expected, got {type(value).__name__}")
        try:
            sample.text = value
        except UnicodeEncodeError as error:
            raise WireError(f"a text that is not valid Unicode cannot travel ({error})") from None
    elif isinstance(space, (spaces.Tuple, spaces.Dict)):
        sample.items.SetInParent()
        subspaces: Iterable[Any] = space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)
        for key, subspace in subspaces:
            sample.items.samples.append(_encode_sample(subspace, _getter((key,))(value)))
    elif isinstance(space, spaces.Sequence) and space.stack:
        sample.stacked.CopyFrom(_encode_stacked(space.feature_space, value))
    elif isinstance(space, spaces.Sequence):
        if not isinstance(value, (tuple, list)):
            raise WireError(f"a tuple of samples is expected, got {type(value).__name__}")
        sample.items.SetInParent()
        sample.items.samples.extend(_encode_sample(space.feature_space, item) for item in value)
    elif isinstance(space, spaces.Graph):
        _fill_graph(sample.graph, space, value)
    elif isinstance(space, OneOf):
        index = _one_of_index(space, value)
        sample.one_of.index = index
        sample.one_of.sample.CopyFrom(_encode_sample(space.spaces[index], value[1]))
    else:
        raise WireError(f"samples of {type(space).__name__} cannot travel")
    return sample


def _one_of_index(space: OneOf[Any], value: Any) -> int:
    if isinstance(value, (tuple, list)) and len(value) == 2:
        with contextlib.suppress(TypeError):
            index = operator.index(value[0])
            if 0 <= index < len(space.spaces):
                return index
    raise WireError(f"(index below {len(space.spaces)}, sample) is expected, got {str(value)[:80]}")


def _fill_graph(message: spaces_pb2.GraphSample, space: spaces.Graph, value: Any) -> None:
    if not isinstance(value, spaces.GraphInstance):
        raise WireError(f"a GraphInstance is expected, got {type(value).__name__}")
    message.nodes.CopyFrom(_encode_stacked(space.node_space, value.nodes))
    if value.edges is not None:
        if space.edge_space is None:
            raise WireError("a graph has edges, its space has no edge space")
        message.edges.CopyFrom(_encode_stacked(space.edge_space, value.edges))
    if value.edge_links is not None:
        message.edge_links.CopyFrom(encode_tensor(_checked_links(np.asarray(value.edge_links))))


def _encode_stacked(space: AnySpace, batch: Any) -> spaces_pb2.StackedSample:
    codec = BlockCodec(space)
    try:
        length = len(codec._getters[0](batch)) if codec.leaves else 0
    except TypeError:
        raise WireError(f"a batch of samples is expected, got {type(batch).__name__}") from None
    return spaces_pb2.StackedSample(length=length, blocks=codec.pack_batch(batch, length))


def _decode_sample(space: AnySpace, sample: spaces_pb2.Sample, copy: bool) -> Any:
    kind = sample.WhichOneof("kind")
    if isinstance(space, _FIXED) and kind == "tensor":
        array = decode_tensor(sample.tensor)
        array = array.copy() if copy else array
        if array.dtype != np.dtype(space.dtype).newbyteorder("<") or array.shape != space.shape:
            raise WireError(f"a tensor {array.dtype}{array.shape} where {space} is expected")
        return array[()] if isinstance(space, spaces.Discrete) else array
    if isinstance(space, spaces.Text) and kind == "text":
        return sample.text
    if isinstance(space, (spaces.Tuple, spaces.Dict)) and kind == "items":
        subspaces = list(space.spaces.values() if isinstance(space, spaces.Dict) else space.spaces)
        items = sample.items.samples
        if len(items) != len(subspaces):
            raise WireError(f"{len(items)} items where {len(subspaces)} are expected")
        values = [_decode_sample(*pair, copy) for pair in zip(subspaces, items, strict=True)]
        return dict(zip(space.spaces, values, strict=True)) if isinstance(space, spaces.Dict) else tuple(values)
    if isinstance(space, spaces.Sequence) and kind == ("stacked" if space.stack else "items"):
        if space.stack:
            return _decode_stacked(space.feature_space, sample.stacked, copy)
        return tuple(_decode_sample(space.feature_space, item, copy) for item in sample.items.samples)
    if isinstance(space, spaces.Graph) and kind == "graph":
        return _decode_graph(space, sample.graph, copy)
    if isinstance(space, OneOf) and kind == "one_of":
        index = sample.one_of.index
        if index >= len(space.spaces):
            raise WireError(f"index {index} where there are {len(space.spaces)} spaces")
        return np.int64(index), _decode_sample(space.spaces[index], sample.one_of.sample, copy)
    raise WireError(f"a sample of kind {kind} where {type(space).__name__} is expected")


def _decode_graph(space: spaces.Graph, graph: spaces_pb2.GraphSample, copy: bool) -> spaces.GraphInstance:
    edges = None
    if graph.HasField("edges"):
        if space.edge_space is None:
            raise WireError("a graph has edges, its space has no edge space")
        edges = _decode_stacked(space.edge_space, graph.edges, copy)
    links = _checked_links(decode_tensor(graph.edge_links)) if graph.HasField("edge_links") else None
    if copy and links is not None:
        links = links.copy()
    return spaces.GraphInstance(_decode_stacked(space.node_space, graph.nodes, copy), edges, links)


def _checked_links(links: Array) -> Array:
    if links.dtype.kind not in "iu" or links.ndim != 2 or links.shape[1] != 2:
        raise WireError(f"edge_links are {links.dtype}{list(links.shape)}; integers [edges, 2] are expected")
    return links


def _decode_stacked(space: AnySpace, message: spaces_pb2.StackedSample, copy: bool) -> Any:
    # Samples without a byte (zeros in their shape) cost the sender nothing, and the reader a row each.
    nbytes = sum(map(len, message.blocks))
    if message.length > max(nbytes, 1 << 20):
        raise WireError(f"a batch of {message.length} samples in {nbytes} bytes")
    return BlockCodec(space).unpack_batch(message.blocks, message.length, copy=copy)


__all__ = ["BlockCodec", "FixedLeaf", "VariableLeaf"]
