"""Gymnasium spaces as plain state, so that a checkpoint's policy can be rebuilt with no environment at hand."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces


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
