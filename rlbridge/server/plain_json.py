"""Samples, spaces and values as the JSON that a person would write, and back.

Numbers are numbers and arrays are nested lists. What JSON has no number for is text, in both directions: "NaN",
"Infinity", "-Infinity". A Dict is an object, a Tuple or Sequence a list, a OneOf ``{"index": 0, "value": ...}``, a
Graph ``{"nodes": [...], "edges": [...], "edge_links": [[0, 1], ...]}``. Bytes in an info are ``{"base64": "..."}``.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from rlbridge.gymnasium_versions import OneOf, multi_discrete_start
from rlbridge.wire import BlockCodec
from rlbridge.wire.errors import WireError
from rlbridge.wire.spaces import AnySpace

_NUMBERS = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def value_to_json(value: Any) -> Any:
    """Any value of an info, a frame or metadata, as what ``json.dumps(..., allow_nan=False)`` takes."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, (np.ndarray, np.generic)):
        plain = value.tolist()
        finite = value.dtype.kind in "biu" or (value.dtype.kind == "f" and bool(np.isfinite(value).all()))
        return plain if finite else value_to_json(plain)
    if isinstance(value, (bytes, bytearray)):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, Mapping):
        return {str(key): value_to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [value_to_json(item) for item in value]
    return repr(value)


def _number(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def sample_to_json(space: AnySpace, sample: Any) -> Any:
    """A sample of a space."""
    if isinstance(space, spaces.Tuple):
        return [sample_to_json(*pair) for pair in zip(space.spaces, sample, strict=True)]
    if isinstance(space, spaces.Dict):
        return {str(key): sample_to_json(inner, sample[key]) for key, inner in space.spaces.items()}
    if isinstance(space, OneOf):
        index, value = sample
        return {"index": int(index), "value": sample_to_json(space.spaces[int(index)], value)}
    if isinstance(space, spaces.Sequence):
        if space.stack:
            sample = _rows(space.feature_space, sample)
        return [sample_to_json(space.feature_space, item) for item in sample]
    if isinstance(space, spaces.Graph):
        return {name: value_to_json(getattr(sample, name)) for name in ("nodes", "edges", "edge_links")}
    return value_to_json(sample)


def _rows(space: AnySpace, batch: Any) -> list[Any]:
    codec = BlockCodec(space)
    leaf = batch
    while isinstance(leaf, (dict, tuple)) and leaf:
        leaf = next(iter(leaf.values())) if isinstance(leaf, dict) else leaf[0]
    length = len(leaf)
    return codec.unstack(codec.pack_batch(batch, length), length)


def sample_from_json(space: AnySpace, value: Any, path: str = "") -> Any:
    """What a person wrote, as a sample of the space. Shapes, dtypes and bounds are checked where it is packed.

    Raises:
        WireError: its structure is another one; the message names where.
    """
    if isinstance(space, _NUMBERS):
        return _numbers(value, len(space.shape or ()), path)
    if isinstance(space, spaces.Tuple):
        items = _list(value, path)
        if len(items) != len(space.spaces):
            raise WireError(f"{_at(path)}{len(items)} items where {len(space.spaces)} are expected")
        pairs = enumerate(zip(space.spaces, items, strict=True))
        return tuple(sample_from_json(inner, item, f"{path}/{i}") for i, (inner, item) in pairs)
    if isinstance(space, spaces.Dict):
        given = _object(value, {str(key) for key in space.spaces}, path)
        return {key: sample_from_json(inner, given[str(key)], f"{path}/{key}") for key, inner in space.spaces.items()}
    if isinstance(space, OneOf):
        given = _object(value, {"index", "value"}, path)
        index = given["index"]
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(space.spaces):
            raise WireError(f"{_at(path)}index {str(index)[:40]} where 0 to {len(space.spaces) - 1} is expected")
        return np.int64(index), sample_from_json(space.spaces[index], given["value"], f"{path}/value")
    if isinstance(space, spaces.Sequence):
        feature = space.feature_space
        samples = [sample_from_json(feature, item, f"{path}/{i}") for i, item in enumerate(_list(value, path))]
        if not space.stack:
            return tuple(samples)
        codec = BlockCodec(feature)
        return codec.unpack_batch(codec.stack(samples), len(samples))
    if isinstance(space, spaces.Graph):
        return _graph(space, value, path)
    return value  # Text


def _graph(space: spaces.Graph, value: Any, path: str) -> spaces.GraphInstance:
    if not isinstance(value, dict) or "nodes" not in value or not set(value) <= {"nodes", "edges", "edge_links"}:
        raise WireError(f"{_at(path)}an object with nodes, edges and edge_links is expected")

    def batch(inner: Any, rows: Any, name: str) -> Any:
        if rows is None or inner is None:
            return rows
        codec = BlockCodec(inner)
        samples = [sample_from_json(inner, row, f"{path}/{name}/{i}") for i, row in enumerate(_list(rows, path))]
        return codec.unpack_batch(codec.stack(samples), len(samples))

    links = value.get("edge_links")
    if links is not None:
        try:
            links = np.asarray(_list(links, path), np.int32).reshape(-1, 2)
        except (ValueError, TypeError, OverflowError):
            raise WireError(f"{_at(path)}edge_links must be a list of pairs of node numbers") from None
    edges = batch(space.edge_space, value.get("edges"), "edges")
    return spaces.GraphInstance(batch(space.node_space, value["nodes"], "nodes"), edges, links)


def _numbers(value: Any, depth: int, path: str) -> Any:
    """Nested lists with the special words as numbers; an empty list in them is left to numpy."""
    if isinstance(value, str):
        if value not in _SPECIAL:
            raise WireError(f"{_at(path)}{value[:40]!r} is no number; beside numbers there are {', '.join(_SPECIAL)}")
        return _SPECIAL[value]
    if isinstance(value, list):
        if depth <= 0:
            raise WireError(f"{_at(path)}a list where a number is expected")
        return [_numbers(item, depth - 1, path) for item in value]
    if value is None or isinstance(value, dict):
        raise WireError(f"{_at(path)}{'null' if value is None else 'an object'} where numbers are expected")
    return value


def _list(value: Any, path: str) -> list[Any]:
    if not isinstance(value, list):
        raise WireError(f"{_at(path)}a list is expected, got {type(value).__name__}")
    return value


def _object(value: Any, keys: set[str], path: str) -> dict[str, Any]:
    if not isinstance(value, dict) or set(value) != keys:
        got = f"the keys {sorted(value)}"[:200] if isinstance(value, dict) else type(value).__name__
        raise WireError(f"{_at(path)}an object with the keys {sorted(keys)} is expected, got {got}")
    return value


def _at(path: str) -> str:
    return f"{path.lstrip('/')}: " if path else ""


def space_to_json(space: AnySpace) -> dict[str, Any]:
    """A space for a person to read: its type, and what makes it that space."""
    described: dict[str, Any] = {"type": type(space).__name__}
    if isinstance(space, spaces.Box):
        described |= {"dtype": str(space.dtype), "shape": list(space.shape)}
        described |= {"low": _bound(space.low), "high": _bound(space.high)}
    elif isinstance(space, spaces.Discrete):
        described |= {"n": int(space.n), "start": int(space.start)}
    elif isinstance(space, spaces.MultiDiscrete):
        described |= {"nvec": space.nvec.tolist(), "start": multi_discrete_start(space).tolist()}
    elif isinstance(space, spaces.MultiBinary):
        described |= {"shape": list(space.shape)}
    elif isinstance(space, spaces.Text):
        described |= {"min_length": space.min_length, "max_length": space.max_length}
        described |= {"characters": "".join(space.character_list)}
    elif isinstance(space, (spaces.Tuple, OneOf)):
        described |= {"spaces": [space_to_json(inner) for inner in space.spaces]}
    elif isinstance(space, spaces.Dict):
        described |= {"spaces": {str(key): space_to_json(inner) for key, inner in space.spaces.items()}}
    elif isinstance(space, spaces.Sequence):
        described |= {"feature_space": space_to_json(space.feature_space)}
    elif isinstance(space, spaces.Graph):
        edges = space_to_json(space.edge_space) if space.edge_space is not None else None
        described |= {"node_space": space_to_json(space.node_space), "edge_space": edges}
    return described


def _bound(values: Any) -> Any:
    """One number where all are the same."""
    same = values.size > 0 and bool((values == values.flat[0]).all())
    return value_to_json(values.flat[0] if same else values)
