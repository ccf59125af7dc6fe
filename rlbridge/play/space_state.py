"""Gymnasium spaces as plain state, so that a policy can be rebuilt with no environment at hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

MAX_NUMBERS = 2**24
"""Numbers in one observation or action, at most, of a space that comes as JSON: 64 MiB of float32."""


def space_to_state(space: spaces.Space[Any]) -> dict[str, Any]:
    """``space`` as nested dicts of arrays, numbers and strings, as checkpoints hold them."""
    if isinstance(space, spaces.Box):
        return {"kind": "Box", "low": space.low, "high": space.high, "dtype": str(space.dtype)}
    if isinstance(space, spaces.Discrete):
        return {"kind": "Discrete", "n": int(space.n), "start": int(space.start)}
    if isinstance(space, spaces.MultiDiscrete):
        return {"kind": "MultiDiscrete", "nvec": space.nvec, "start": space.start, "dtype": str(space.dtype)}
    if isinstance(space, spaces.MultiBinary):
        n = space.n
        return {"kind": "MultiBinary", "n": int(n) if isinstance(n, (int, np.integer)) else [int(i) for i in n]}
    if isinstance(space, spaces.Dict):
        parts = [[key, space_to_state(part)] for key, part in space.spaces.items()]
        return {"kind": "Dict", "parts": parts}
    if isinstance(space, spaces.Tuple):
        return {"kind": "Tuple", "parts": [space_to_state(part) for part in space.spaces]}
    raise TypeError(f"a {type(space).__name__} space cannot be saved")


def space_from_state(state: dict[str, Any]) -> spaces.Space[Any]:
    """The space that :func:`space_to_state` described.

    Raises:
        ValueError: it describes none that is known here.
    """
    kind = state.get("kind")
    if kind == "Box":
        return spaces.Box(state["low"], state["high"], dtype=np.dtype(state["dtype"]).type)
    if kind == "Discrete":
        return spaces.Discrete(state["n"], start=state["start"])
    if kind == "MultiDiscrete":
        return spaces.MultiDiscrete(state["nvec"], dtype=np.dtype(state["dtype"]).type, start=state["start"])
    if kind == "MultiBinary":
        n = state["n"]
        return spaces.MultiBinary(n if isinstance(n, int) else tuple(n))
    if kind == "Dict":
        return spaces.Dict({key: space_from_state(part) for key, part in state["parts"]})
    if kind == "Tuple":
        return spaces.Tuple([space_from_state(part) for part in state["parts"]])
    raise ValueError(f"no space is called {kind!r}")


def space_to_json(space: spaces.Space[Any]) -> dict[str, Any]:
    """The same as JSON has it: arrays are lists, infinities the texts ``inf`` and ``-inf``.

    A Box's ``low`` and ``high`` are one number where all are equal, else a flat list in row-major order.
    """
    state = space_to_state(space)
    if isinstance(space, spaces.Box):
        return {
            **state,
            "shape": list(space.shape),
            "low": _bound_to_json(space.low),
            "high": _bound_to_json(space.high),
        }
    if isinstance(space, spaces.MultiDiscrete):
        return {**state, "nvec": space.nvec.tolist(), "start": space.start.tolist()}
    if isinstance(space, spaces.Dict):
        return {**state, "parts": [[key, space_to_json(part)] for key, part in space.spaces.items()]}
    if isinstance(space, spaces.Tuple):
        return {**state, "parts": [space_to_json(part) for part in space.spaces]}
    return state


def space_from_json(state: Any) -> spaces.Space[Any]:
    """The space that :func:`space_to_json` described. What comes may be hostile: its size is looked at first.

    Raises:
        Exception: it describes no space, or one of more than ``MAX_NUMBERS`` numbers.
    """
    count = _numbers_in(state)
    if count > MAX_NUMBERS:
        raise ValueError(f"a space of {count:,} numbers; {MAX_NUMBERS:,} are allowed")
    return space_from_state(_without_json(state))


def _numbers_in(state: dict[str, Any]) -> int:
    kind = state["kind"]
    if kind == "Box":
        return _product(state["shape"])
    if kind == "Discrete":
        return int(state["n"])
    if kind == "MultiDiscrete":
        return int(np.sum(np.asarray(state["nvec"], np.float64)))
    if kind == "MultiBinary":
        return _product(state["n"] if isinstance(state["n"], list) else [state["n"]])
    if kind in ("Dict", "Tuple"):
        return sum(_numbers_in(part[1] if kind == "Dict" else part) for part in state["parts"])
    raise ValueError(f"no space is called {str(kind)[:100]!r}")


def _product(shape: list[int]) -> int:
    if not all(isinstance(side, int) and side >= 0 for side in shape):
        raise ValueError(f"{str(shape)[:100]} is no shape")
    return math.prod(shape)


def _without_json(state: dict[str, Any]) -> dict[str, Any]:
    kind = state["kind"]
    if kind == "Box":
        dtype = np.dtype(state["dtype"])
        if dtype.kind not in "biuf":
            raise ValueError(f"{dtype} is no type of number")
        low, high = (_bound_from_json(state[name], tuple(state["shape"]), dtype) for name in ("low", "high"))
        return {**state, "low": low, "high": high}
    if kind == "MultiDiscrete":
        dtype = np.dtype(state["dtype"])
        return {**state, "nvec": np.array(state["nvec"], dtype), "start": np.array(state["start"], dtype)}
    if kind == "Dict":
        return {**state, "parts": [[str(key), _without_json(part)] for key, part in state["parts"]]}
    if kind == "Tuple":
        return {**state, "parts": [_without_json(part) for part in state["parts"]]}
    return state


def _bound_to_json(bound: NDArray[Any]) -> Any:
    values = [value if math.isfinite(value) else str(value) for value in bound.flatten().tolist()]
    return values[0] if values and all(value == values[0] for value in values) else values


def _bound_from_json(values: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    if not isinstance(values, list):
        return np.full(shape, float(values) if isinstance(values, str) else values, dtype)
    numbers = [float(value) if isinstance(value, str) else value for value in values]
    return np.array(numbers, dtype).reshape(shape)
